"""A CSV, JSON Lines or Parquet file whose rows hold texts -> the same file with columns added, row by row.

The result grows as NAME.part and takes its name when it is complete, so an interrupted run leaves the rows it finished and
never a file that looks whole. All other columns come through unchanged, and of rows that cannot be judged nothing is lost:
cells beyond the header stand at the row's end, after the added ones, and a line that is no JSON object in a column of its own.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TextIO

COLUMNS = ("label", "p_value", "margin", "passages", "doubts", "error")
RAW = "line"  # where a line that is no JSON object comes out, in JSON Lines


@dataclass(frozen=True)
class Row:
    """A row: its text, or a sentence on why it has none, and what the table needs to write it again."""

    number: int
    content: Any
    text: str | None
    problem: str | None = None


class Table(Protocol):
    """A file of rows, read once and written once beside it."""

    def rows(self) -> Iterator[Row]:
        """The rows in order; raises ValueError where the file is damaged."""

    def start(self, out: Path) -> None:
        """Begin to write."""

    def write(self, row: Row, added: dict[str, Any]) -> None:
        """Add a row with the new columns."""

    def close(self) -> None:
        """Let go of the files; what was written is kept."""


def open_table(path: Path, column: str) -> Table:
    """The table in a file.

    Raises:
        ValueError: If it has no such column or cannot be read.
    """
    return TABLES[path.suffix.lower()](path, column)


def part_of(out: Path) -> Path:
    """The file that grows until `out` is complete."""
    return out.with_name(out.name + ".part")


def names_beside(existing: Sequence[str]) -> dict[str, str]:
    """Added column -> its name in a table that may have columns of that name already: the first that is free."""
    return {name: free_name(name, existing) for name in COLUMNS}


def free_name(name: str, existing: Collection[str]) -> str:
    """The first of `name`, mvh_`name`, mvh_`name`_2 ... that no column has."""
    return next(free for free in _names(name) if free not in existing)


def _names(name: str) -> Iterator[str]:
    """label, mvh_label, mvh_label_2, mvh_label_3 ..."""
    yield name
    yield f"mvh_{name}"
    yield from (f"mvh_{name}_{number}" for number in count(2))


def added_columns(result: dict[str, Any]) -> dict[str, Any]:
    """A detector's result as the values of the added columns; `doubts` is one text, None where the p-value holds."""
    keys = ("start", "end", "score", "adjusted_p_value")
    return {
        **{key: result[key] for key in ("label", "p_value", "margin")},
        "passages": [{key: passage[key] for key in keys} for passage in result["passages"]],
        "doubts": " ".join(result.get("doubts", ())) or None,
        "error": result["error"]["message"] if "error" in result else None,
    }


def _text(value: Any, number: int) -> tuple[str | None, str | None]:
    """The text of a cell, or why it is none."""
    if not isinstance(value, str):
        return None, f"row {number} has no text but {type(value).__name__}."
    if any("\ud800" <= character <= "\udfff" for character in value):
        return None, f"row {number} holds a lone surrogate, which is no text."
    return value, None


class _Rows:
    """A file for `csv.writer` whose rows end as those of the table do.

    The writer quotes a line break in a cell only if it is one of its own line ends, so it is left with both.
    """

    def __init__(self, file: TextIO, end: str) -> None:
        self.file, self.end = file, end

    def write(self, row: str) -> int:
        """Write one row."""
        return self.file.write(row.removesuffix("\r\n") + self.end)


class CsvTable:
    """Comma, semicolon or tab separated values with a header."""

    def __init__(self, path: Path, column: str) -> None:
        csv.field_size_limit(sys.maxsize)  # 131,072 characters by default: a book is longer
        self.path = path
        self.file: TextIO | None = None
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline()
                headers = {mark: next(csv.reader([first], delimiter=mark), []) for mark in ",;\t"}
        except UnicodeDecodeError as error:
            raise ValueError(f"is not UTF-8 ({error.reason}).") from error
        fitting = [mark for mark, header in headers.items() if column in header]
        if not fitting:
            raise ValueError(
                f"has no column {column!r} and has {max(headers.values(), key=len)}; name it by --text-column."
            )
        self.delimiter, self.header = fitting[0], headers[fitting[0]]
        self.column, self.end = self.header.index(column), "\r\n" if first.endswith("\r\n") else "\n"

    def rows(self) -> Iterator[Row]:
        """See `Table`."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, delimiter=self.delimiter, strict=True)
                next(reader)
                for number, cells in enumerate((cells for cells in reader if cells), start=1):
                    if len(cells) != len(self.header):
                        problem = f"row {number} has {len(cells)} cells and the header {len(self.header)}."
                        yield Row(number, cells, None, problem)
                    else:
                        yield Row(number, cells, cells[self.column])
        except csv.Error as error:
            raise ValueError(f"is no CSV in line {reader.line_num} ({error}).") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"is not UTF-8 after line {reader.line_num} ({error.reason}).") from error

    def start(self, out: Path) -> None:
        """See `Table`."""
        self.file = out.open("w", encoding="utf-8", newline="")
        self.writer = csv.writer(_Rows(self.file, self.end), delimiter=self.delimiter, lineterminator="\r\n")
        self.writer.writerow([*self.header, *names_beside(self.header).values()])

    def write(self, row: Row, added: dict[str, Any]) -> None:
        """See `Table`; passages as JSON, nothing as an empty cell, surplus cells of a bad row at its end."""
        values = {**added, "passages": json.dumps(added["passages"])}
        width = len(self.header)
        cells, surplus = row.content[:width], row.content[width:]
        missing = [""] * (width - len(cells))
        judged = ["" if values[name] is None else values[name] for name in COLUMNS]
        self.writer.writerow([*cells, *missing, *judged, *surplus])

    def close(self) -> None:
        """See `Table`."""
        if self.file is not None:
            self.file.close()


class JsonlTable:
    """One JSON object per line."""

    def __init__(self, path: Path, column: str) -> None:
        self.path, self.column = path, column
        self.file: TextIO | None = None
        keys: dict[str, None] = {}
        for _, value, problem, _ in self._lines():
            keys |= dict.fromkeys(() if problem else value)
        if column not in keys:
            raise ValueError(f"has no column {column!r} and has {list(keys)[:20]}; name it by --text-column.")
        self.names = names_beside(list(keys))
        self.raw = free_name(RAW, keys)

    def _lines(self) -> Iterator[tuple[int, Any, str | None, bytes]]:
        """Number, value, what is wrong with it, and the line itself."""
        with self.path.open("rb") as file:
            for number, line in enumerate((line for line in file if line.strip()), start=1):
                try:
                    value = json.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
                except (ValueError, RecursionError) as error:
                    yield number, None, f"row {number} is no JSON ({error}).", line
                    continue
                problem = (
                    None if isinstance(value, dict) else f"row {number} is no JSON object but {type(value).__name__}."
                )
                yield number, value, problem, line

    def rows(self) -> Iterator[Row]:
        """See `Table`."""
        for number, value, problem, line in self._lines():
            if problem:
                yield Row(number, {self.raw: line.rstrip(b"\r\n").decode(errors="backslashreplace")}, None, problem)
            else:
                yield Row(number, value, *_text(value.get(self.column), number))

    def start(self, out: Path) -> None:
        """See `Table`."""
        self.file = out.open("w", encoding="utf-8")

    def write(self, row: Row, added: dict[str, Any]) -> None:
        """See `Table`; a line that was no JSON object comes out as text in a column `line`, with the added columns."""
        assert self.file is not None  # started
        values = row.content | {self.names[name]: added[name] for name in COLUMNS}
        self.file.write(_json_line(values))

    def close(self) -> None:
        """See `Table`."""
        if self.file is not None:
            self.file.close()


def _json_line(values: dict[str, Any]) -> str:
    line = json.dumps(values, ensure_ascii=False)
    return (json.dumps(values) if any("\ud800" <= c <= "\udfff" for c in line) else line) + "\n"


class ParquetTable:
    """A Parquet file, read and written in batches with its own types."""

    def __init__(self, path: Path, column: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self.file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"is no Parquet file ({str(error).splitlines()[0]}).") from error
        schema = self.file.schema_arrow
        if column not in schema.names:
            raise ValueError(f"has no column {column!r} and has {schema.names}; name it by --text-column.")
        self.column, self.names = column, names_beside(schema.names)
        self.writer: Any = None
        number = pa.float64()
        passage = pa.struct(
            [("start", pa.int64()), ("end", pa.int64()), ("score", number), ("adjusted_p_value", number)]
        )
        types = (pa.string(), number, number, pa.list_(passage), pa.string(), pa.string())
        self.added = [pa.field(self.names[name], kind) for name, kind in zip(COLUMNS, types, strict=True)]
        self.schema = pa.schema([*schema, *self.added], metadata=schema.metadata)
        self.waiting: list[dict[str, Any]] = []
        self.batch: Any = None

    def rows(self) -> Iterator[Row]:
        """See `Table`."""
        import pyarrow as pa

        number = 0
        try:
            for batch in self.file.iter_batches(batch_size=256):
                for index, value in enumerate(batch.column(self.column)):
                    number += 1
                    text, problem = _text(value.as_py(), number)
                    yield Row(number, (batch, index), text, problem)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"is damaged after row {number} ({str(error).splitlines()[0]}).") from error

    def start(self, out: Path) -> None:
        """See `Table`."""
        import pyarrow.parquet as pq

        self.writer = pq.ParquetWriter(out, self.schema)

    def write(self, row: Row, added: dict[str, Any]) -> None:
        """See `Table`."""
        self.batch, index = row.content
        self.waiting.append(added)
        if index == self.batch.num_rows - 1:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self.waiting or self.writer is None:
            return
        columns = [
            pa.array([added[name] for added in self.waiting], type=field.type)
            for name, field in zip(COLUMNS, self.added, strict=True)
        ]
        done = self.batch.slice(0, len(self.waiting))
        self.writer.write_batch(pa.record_batch([*done.columns, *columns], schema=self.schema))
        self.waiting = []

    def close(self) -> None:
        """See `Table`."""
        self._flush()
        if self.writer is not None:
            self.writer.close()
        self.file.close()


TABLES: dict[str, Callable[[Path, str], Table]] = {
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".jsonl": JsonlTable,
    ".ndjson": JsonlTable,
    ".parquet": ParquetTable,
}
TABLE_SUFFIXES = tuple(TABLES)
