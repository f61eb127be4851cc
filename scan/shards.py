"""The files of the output: one for each shard, JSON Lines or Parquet as the input was, there whole or not at all.

A file takes its name when it is complete and on disk (`mvh.placing`): a full disk, a kill or an error leaves what stood there
before. The same rows make the same bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mvh.placing import whole_file
from mvh.scan.rows import BATCH_ROWS
from mvh.scan.scorer import COLUMNS, PREFIX

Write = Callable[[dict[str, Any]], None]
NUMBER = pa.float64()
PASSAGES = pa.list_(
    pa.struct([("start", pa.int64()), ("end", pa.int64()), ("score", NUMBER), ("adjusted_p_value", NUMBER)])
)
TYPES = {
    **dict.fromkeys(("label", "group", "error"), pa.string()),
    **dict.fromkeys(("score", "margin", "p_value"), NUMBER),
    "passages": PASSAGES,
    **dict.fromkeys(("doubts", "warnings"), pa.list_(pa.string())),
}
ADDED = pa.schema([(PREFIX + name, TYPES[name]) for name in COLUMNS])  # the columns of a scan, in Arrow types


def added_schema(schema: pa.Schema | None) -> pa.Schema | None:
    """The columns of the input and ours, which take the place of an earlier scan's; None stays None."""
    if schema is None:
        return None
    return pa.schema([field for field in schema if field.name not in ADDED.names] + list(ADDED))


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """Write plain JSON types as a file of their own; its folder is made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(content, indent=indent, ensure_ascii=False).encode() + b"\n")


@contextmanager
def shard_file(folder: Path, index: int, schema: pa.Schema | None) -> Iterator[Write]:
    """A function that writes rows into a new file of the folder: Parquet where there is a schema, else JSON Lines.

    Args:
        folder: Where to; made if needed.
        index: Number of the shard.
        schema: Columns of the rows, in Arrow types.
    """
    kind, suffix = (_json_lines, ".jsonl.gz") if schema is None else (_parquet, ".parquet")
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{index:05d}{suffix}") as file, kind(file, schema) as write:
        yield write


def read_shard(folder: Path, index: int) -> tuple[pa.Schema | None, Iterator[dict[str, Any]]]:
    """The schema and the rows of a written shard."""
    path = folder / f"{index:05d}.parquet"
    if path.exists():
        batches = pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS)
        return pq.read_schema(path), (row for batch in batches for row in batch.to_pylist())
    return None, _gzip_rows(folder / f"{index:05d}.jsonl.gz")


def _gzip_rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rb") as file:
        for line in file:
            yield json.loads(line)


@contextmanager
def _json_lines(file: BinaryIO, schema: None) -> Iterator[Write]:
    with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:  # no name and no time inside

        def write(row: dict[str, Any]) -> None:
            line = json.dumps(row, ensure_ascii=False)
            if any("\ud800" <= character <= "\udfff" for character in line):
                line = json.dumps(row)  # a lone surrogate in some column has no UTF-8
            packed.write(line.encode() + b"\n")

        yield write


@contextmanager
def _parquet(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:

        def write(row: dict[str, Any]) -> None:
            rows.append(row)
            if len(rows) == BATCH_ROWS:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        yield write
        flush()
