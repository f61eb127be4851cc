"""One's own texts -> (name, text) pairs: a folder of documents, one document, or a table with a column of texts.

    mine/**/*.pdf, *.txt …   one text per file, named by its path inside the folder: whatever `documents` reads
    mine.docx                one text
    mine.jsonl               one object per line with "text", and "id", "label", "source" where there are any
    mine.csv, mine.tsv       a header with a column "text", and the same others, between commas, semicolons or tabs
    mine.parquet             the same columns

Documents are read as `mvh detect` reads them, so that texts to compare with come out of PDF as those to be judged do. Unlike
the reader of published files, this one refuses what it cannot use: a user who calibrates or audits with a few hundred texts
wants to mend the file, not to lose rows quietly. A folder is read to its end first, so that all bad files are named at once.
"""

from __future__ import annotations

import csv
import json
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mvh.dataset_builder.tables import refuse_ragged
from mvh.dataset_builder.writing import LABELS
from mvh.documents.body import body_of
from mvh.documents.files import Found, find_files
from mvh.documents.kinds import SUFFIXES
from mvh.documents.reader import Reader

logger = logging.getLogger(__name__)

NAMED = 10  # bad files of a folder that are named one by one


def read_own_rows(
    path: str | Path, label: int | None = None, body_only: bool = False, text_column: str = "text"
) -> list[dict[str, Any]]:
    """The texts of a folder or file, in the order of the file or of the sorted paths.

    Args:
        path: Folder of documents, or a file: a document of any kind `mvh detect` reads, .jsonl, .csv, .tsv or .parquet.
        label: 0 (human) or 1 (machine): rows that bear another label are refused. Rows without one are taken.
        body_only: Leave out headings, running heads, references and code, as `mvh detect --body-only` does: of rows, too.
        text_column: Where a table has its texts.

    Returns:
        Of each text a dict of "id" (of a document its path), "text", and "source" and "label" (None where its row has none).

    Raises:
        ValueError: If a file or row has no readable text or is labelled otherwise than `label`, or if there is no text at
            all; the sentence names the files, or file and line.
        FileNotFoundError: If there is no such file or folder.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if kind not in ("folder", *SUFFIXES, *ROWS):
        known = ", ".join(("a folder", *SUFFIXES, *ROWS))
        raise ValueError(f"{path.name}: texts are read from {known}, and this is {kind or 'a bare name'}.")
    rows = []
    column = text_column if kind in ROWS else "text"
    for place, row in ROWS.get(kind, partial(_documents, body_only=body_only))(path, column):
        text = row.get(column) if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip():
            needed = f"a JSON object with a {column!r}" if kind == ".jsonl" else f"a {column!r}"
            raise ValueError(f"{place}: needs {needed} that is not blank, got {str(row)[:60]}.")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(f"{place}: the text holds a lone surrogate, which no UTF-8 file can store.")
        if label is not None and "label" in row and _spelled(row["label"]) not in (str(label), LABELS[label]):
            raise ValueError(f"{place}: only {LABELS[label]} texts are taken here, and the label is {row['label']!r}.")
        if body_only and kind in ROWS:
            text = body_of(text).text
            if not text.strip():
                raise ValueError(f"{place}: nothing is left of the text without headings, references and code.")
        source = row.get("source")
        name = str(row["id"]) if row.get("id") not in (None, "") else place.rpartition(", ")[2]
        told = label if label is not None else _label(row.get("label"), place)
        rows.append({"id": name, "text": text, "source": None if source in (None, "") else str(source), "label": told})
    if not rows:
        raise ValueError(f"{path.name}: holds no text.")
    return rows


Rows = Iterator[tuple[str, Any]]  # (where it stands, the row as it stands there)


def _documents(path: Path, column: str, body_only: bool) -> Rows:
    """The documents of a folder, or the one document; raises a ValueError that names those that cannot be read."""
    is_folder = path.is_dir()
    bad: list[str] = []
    count = 0
    with Reader(body_only) as reader:
        for found in find_files([str(path)], path, logger.warning) if is_folder else [Found(path.name, path)]:
            name = found.path.relative_to(path).as_posix() if is_folder else path.name
            count += 1
            try:
                if found.problem:
                    raise ValueError(found.problem)
                extracted = reader.read(found.path)
            except (ValueError, OSError) as error:
                why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                bad.append(f"{path.name if name == '.' else name} {why}")
                continue
            for note in extracted.notes:
                logger.warning("%s: %s", name, note)
            if not extracted.text.strip():
                bad.append(f"{name} holds no text.")
                continue
            yield name, {"id": name, column: extracted.text}
    if bad:
        more = f" And {len(bad) - NAMED} more." if len(bad) > NAMED else ""
        several = f"{len(bad)} of the {count} files in {path.name} cannot be read; mend them or take them out. "
        raise ValueError((several if len(bad) > 1 else "") + " ".join(bad[:NAMED]) + more)


def _jsonl(path: Path, column: str) -> Rows:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            place = f"{path.name}, line {number}"
            try:
                yield place, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{place}: is no JSON ({error}).") from error


def _csv(path: Path, column: str) -> Rows:
    before = csv.field_size_limit(sys.maxsize)  # 131,072 characters by default: a book is longer
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=_delimiter(path, column), strict=True)
            for row in reader:
                place = f"{path.name}, line {reader.line_num}"
                refuse_ragged(row, place)
                yield place, row
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num}: is no CSV ({error}).") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}, after line {reader.line_num}: is not UTF-8 ({error.reason}).") from error
    finally:
        csv.field_size_limit(before)


def _delimiter(path: Path, column: str) -> str:
    """What stands between the cells: a comma, a semicolon or a tab, whichever makes `column` one of the header."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
    headers = {mark: next(csv.reader([first], delimiter=mark), []) for mark in ",;\t"}
    for mark, header in headers.items():
        if column in header:
            return mark
    names = max(headers.values(), key=len) or "none"
    raise ValueError(f"{path.name}, line 1: needs a column {column!r}, and has {names}.")


def _parquet(path: Path, column: str) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise ValueError(f"{path.name}: needs a column {column!r}, and has {file.schema_arrow.names}.")
            columns = [name for name in (column, "id", "label", "source") if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path.name} is damaged after row {number} ({str(error).splitlines()[0]}).") from error


ROWS: dict[str, Callable[[Path, str], Rows]] = {".jsonl": _jsonl, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}


def _label(value: Any, place: str) -> int | None:
    """0 or 1 as a row says it in whichever way, None where it says nothing.

    Raises:
        ValueError: If it says something else.
    """
    for label, name in enumerate(LABELS):
        if value is not None and _spelled(value) in (str(label), name):
            return label
    if value is None or not _spelled(value):
        return None
    raise ValueError(f"{place}: a label is 0 or {LABELS[0]}, 1 or {LABELS[1]}, or is left out, and this is {value!r}.")


def _spelled(label: Any) -> str:
    """A label as text: 0, "0", 0.0 and " Human " of four files mean the same; true is no label."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return str(label).strip().lower()
