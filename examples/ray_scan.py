"""A corpus through a detector on Ray Data: a pool of actors, each of which loads the detector once.

    python examples/ray_scan.py posts.jsonl scanned/ --model USER/NAME --actors 8 [--gpus 1]

Needs `pip install 'ray[data]'`. Parquet or JSON Lines with "text" in, Parquet with the columns of a scan out. Nothing is
resumed here: where a run may be killed, use `mvh scan --executor ray`.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import ray

from mvh.scan import Scorer
from mvh.scan.shards import ADDED


class Score:
    """An actor: loads on its first batch and stays."""

    def __init__(self, model: str) -> None:
        self.scorer = Scorer(model, threads=1)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Add the columns of a scan."""
        for name, values in self.scorer.columns(table["text"].to_pylist()).items():
            table = table.append_column(name, pa.array(values, ADDED.field(name).type))
        return table


parser = argparse.ArgumentParser()
parser.add_argument("input")
parser.add_argument("output")
parser.add_argument("--model")
parser.add_argument("--actors", type=int, default=1)
parser.add_argument("--gpus", type=float, default=0)
args = parser.parse_args()
parquet = args.input.endswith(".parquet") or any(Path(args.input).glob("*.parquet"))
rows = (ray.data.read_parquet if parquet else ray.data.read_json)(args.input)
how = {"compute": ray.data.ActorPoolStrategy(size=args.actors), "batch_size": 256, "batch_format": "pyarrow"}
rows.map_batches(Score, fn_constructor_args=(args.model,), num_gpus=args.gpus, **how).write_parquet(args.output)
