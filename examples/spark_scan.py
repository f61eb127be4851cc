"""A corpus through a detector on Spark: `mapInArrow`, the detector loaded once in every Python worker.

    spark-submit examples/spark_scan.py posts.jsonl scanned/ [USER/NAME]

Needs `pip install pyspark` and Java 17; PYSPARK_PYTHON must name this Python. JSON Lines with a column "text" in, Parquet
with the columns of a scan out. Keep `spark.sql.execution.arrow.maxRecordsPerBatch` at some hundred rows for long texts.
"""

import sys
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from mvh.scan import Scorer
from mvh.scan.shards import ADDED

source, target = sys.argv[1:3]
scorer = Scorer(sys.argv[3] if len(sys.argv) > 3 else None, threads=1)  # pickles as a path; loads where it is called


def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches with the columns of a scan."""
    for batch in batches:
        found = scorer.columns(batch.column("text").to_pylist())
        added = [pa.array(found[field.name], field.type) for field in ADDED]
        yield pa.RecordBatch.from_arrays([*batch.columns, *added], [*batch.schema.names, *ADDED.names])


spark = SparkSession.builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "256").getOrCreate()
rows = spark.read.json(source)
schema = StructType(rows.schema.fields + from_arrow_schema(ADDED).fields)
rows.mapInArrow(score, schema).write.mode("errorifexists").parquet(target)
spark.stop()
