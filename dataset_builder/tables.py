"""A CSV with named columns -> its records, each with the line where it begins: cells may hold newlines and quotes."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def refuse_ragged(cells: dict[str | None, Any], place: str) -> None:
    """Raise a ValueError where a record has not as many cells as the header: an unquoted separator cut a text in two."""
    columns = sum(name is not None for name in cells)
    given = columns + len(cells.get(None, ())) - sum(value is None for value in cells.values())
    if given != columns:
        raise ValueError(
            f"{place}: has {given} cells and the header {columns}; a text with a separator or a line break stands in quotes."
        )


def csv_records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str | None, Any]]]:
    """Stream `(line from 1, cells by column)` of a CSV file in UTF-8, with or without a byte order mark.

    A record with too few cells has None in the columns it lacks; cells beyond the header stand in a list under None.

    Raises:
        ValueError: If one of `columns` is missing in the header, or the file is no CSV or not UTF-8.
        FileNotFoundError: If there is no such file.
    """
    begins = 1
    before = csv.field_size_limit(sys.maxsize)  # 131,072 characters by default
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [name for name in columns if name not in (reader.fieldnames or [])]:
                header = ", ".join(reader.fieldnames or [])[:100] or "nothing"
                raise ValueError(f"{path.name} lacks the column {', '.join(missing)}; its header has {header}.")
            begins = reader.line_num + 1
            for cells in reader:
                yield begins, cells
                begins = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {begins}: is no CSV ({error}).") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 ({error.reason}).") from error
    finally:
        csv.field_size_limit(before)
