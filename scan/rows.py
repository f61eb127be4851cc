"""Files and datasets -> rows in order. What cannot be read costs its own row: it comes as a row with a `problem`.

One row is one document. JSON Lines may be compressed (gz, bz2, xz, zst) and lie anywhere fsspec reaches; where such a file
breaks off, the damage is its last row. Parquet and datasets keep their types.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from gzip import BadGzipFile
from io import BufferedReader
from itertools import islice
from lzma import LZMAError
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mvh.documents.tables import Row

JSON_LINES = (".jsonl", ".ndjson", ".json")
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
PARQUET = (".parquet",)
BATCH_ROWS = 256  # rows of a Parquet file held at once
DAMAGE = (EOFError, BadGzipFile, zlib.error, LZMAError, pa.ArrowInvalid)  # what readers of files raise


def kind_of(name: str) -> str | None:
    """How a file of this name is read: "jsonl", "parquet", or None."""
    suffixes = PurePosixPath(name.lower()).suffixes[-2:]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes = suffixes[:-1]
    return (
        "jsonl"
        if suffixes[-1:] and suffixes[-1] in JSON_LINES
        else "parquet"
        if suffixes[-1:] == [".parquet"]
        else None
    )


def is_compressed(name: str) -> bool:
    """Whether rows of the file can only be reached by reading it from its beginning."""
    return name.lower().endswith(COMPRESSED)


def open_stream(name: str) -> BinaryIO:
    """A file anywhere fsspec reaches, decompressed."""
    if not name.lower().endswith(".zst"):
        return fsspec.open(name, "rb", compression="infer").open()
    raw = pa.PythonFile(fsspec.open(name, "rb").open(), mode="r")
    # fsspec's reader ends with the first frame, and without a word where the file was cut off; Arrow's does neither
    return BufferedReader(pa.CompressedInputStream(raw, "zstd"))


def is_damage(error: Exception) -> bool:
    """Whether a file is broken for good; a disk or a network that failed is not: trying again may help."""
    return isinstance(error, DAMAGE) or (type(error) is OSError and error.errno is None)  # the latter: bz2 and Arrow


# --- JSON Lines ---


def json_lines(stream: BinaryIO, name: str) -> Iterator[bytes | str]:
    """The lines that are not blank; where the file is damaged, a last sentence on that instead of a line."""
    try:
        for line in stream:
            if line.strip():
                yield line
    except Exception as error:
        if not is_damage(error):
            raise
        yield f"{PurePosixPath(name).name} is damaged from here on ({str(error) or type(error).__name__})."


def json_row(line: bytes | str, number: int, column: str) -> Row:
    """One line as a row."""
    if isinstance(line, str):
        return Row(number, {}, None, line)
    try:
        values = json.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except (ValueError, RecursionError) as error:
        return Row(number, {}, None, f"Row {number} is no JSON ({error}).")
    if not isinstance(values, dict):
        return Row(number, {}, None, f"Row {number} is no JSON object but {type(values).__name__}.")
    return checked(values, number, column)


def checked(values: dict[str, Any], number: int, column: str) -> Row:
    """A row whose text is a text, or a sentence on why it is none."""
    text = values.get(column)
    if column not in values:
        problem = f"Row {number} has no {column!r}; it has {', '.join(map(str, list(values)[:20])) or 'nothing'}."
    elif not isinstance(text, str):
        problem = f"Row {number} has no text in {column!r} but {type(text).__name__}."
    elif any("\ud800" <= character <= "\udfff" for character in text):
        problem = f"Row {number} holds a lone surrogate, which is no text."
    else:
        return Row(number, values, text)
    return Row(number, values, None, problem)


def read_json_lines(name: str, column: str, first: int, rows: int | None, offset: int | None) -> Iterator[Row]:
    """Rows first, first + 1, ... (from 0) of a file; `offset` is where the first one begins, if that is known."""
    with open_stream(name) as stream:
        skipped = 0
        if offset is not None:
            stream.seek(offset)
            skipped = first
        lines = islice(json_lines(stream, name), first - skipped, None if rows is None else first - skipped + rows)
        for number, line in enumerate(lines, start=first + 1):
            yield json_row(line, number, column)


# --- Parquet and datasets ---


def parquet_schema(name: str) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        ValueError: If it is none.
    """
    try:
        with open_stream(name) as stream:
            return pq.ParquetFile(stream).schema_arrow
    except Exception as error:
        if not is_damage(error):
            raise
        raise ValueError(f"{PurePosixPath(name).name} is no Parquet file ({str(error).splitlines()[0]}).") from error


def read_parquet(name: str, column: str, first: int, rows: int | None, offset: int | None) -> Iterator[Row]:
    """Rows of a Parquet file; only the row groups that hold them are read. A damaged group loses its own rows only.

    Each row that is lost is one with a problem; of a file that cannot be opened there is one.
    """
    try:
        with open_stream(name) as stream:
            file = pq.ParquetFile(stream)
            begin = 0
            for group in range(file.num_row_groups):
                end = begin + file.metadata.row_group(group).num_rows
                wanted = range(max(first, begin), end if rows is None else min(end, first + rows))
                if wanted:
                    yield from _group_rows(file, group, begin, wanted, column)
                begin = end
    except Exception as error:
        if not is_damage(error):
            raise
        yield Row(first + 1, {}, None, f"{PurePosixPath(name).name} is damaged ({_first_line(error)}).")


def _group_rows(file: pq.ParquetFile, group: int, begin: int, wanted: range, column: str) -> Iterator[Row]:
    """The wanted rows, numbered from 0 over the file, of a row group that begins at row `begin`."""
    number = wanted.start
    try:
        batches = file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group])
        values = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(islice(values, wanted.start - begin, wanted.stop - begin), start=wanted.start + 1):
            yield checked(row, number, column)
    except Exception as error:
        if not is_damage(error):
            raise
        problem = f"The row group {group} that holds this row is damaged ({_first_line(error)})."
        yield from (Row(lost, {}, None, problem) for lost in range(number + 1, wanted.stop + 1))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@lru_cache(maxsize=4)
def open_dataset(name: str, config: str | None, split: str) -> Any:
    """A split of a dataset on the Hub or in a folder, by `datasets.load_dataset`.

    Raises:
        ValueError: If there is no such dataset or split.
    """
    from datasets import load_dataset

    try:
        return load_dataset(name, config, split=split)
    except Exception as error:  # what datasets and the Hub raise has no common base
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"There is no file {name}, and as a dataset it cannot be opened: {said}") from error


def read_dataset(dataset: Any, column: str, first: int, rows: int | None) -> Iterator[Row]:
    """Rows of an opened dataset."""
    stop = len(dataset) if rows is None else min(first + rows, len(dataset))
    tables = dataset.with_format("arrow")
    number = first
    for begin in range(first, stop, BATCH_ROWS):
        for row in tables[begin : min(begin + BATCH_ROWS, stop)].to_pylist():
            number += 1
            yield checked(row, number, column)
