"""One's own texts -> (name, text) pairs: a folder of text files, one text file, JSON Lines or CSV.

    mine/**/*.txt, *.md      one text per file, named by its path inside the folder
    mine.txt, mine.md        one text
    mine.jsonl               one object per line with "text", and "id", "label", "source" where there are any
    mine.csv                 a header with a column "text", and the same others

Every file must be UTF-8. Unlike the reader of published files, this one stops at the first text it cannot use: a user
who calibrates or audits with a few hundred texts of their own wants to mend the file, not to lose rows quietly.
"""

from __future__ import annotations

import csv
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mvh.dataset_builder.writing import LABELS

logger = logging.getLogger(__name__)

TEXT_SUFFIXES = (".txt", ".md")


def read_texts(path: str | Path, label: int | None = None) -> list[tuple[str, str]]:
    """The texts of a folder or file as (name, text), in the order of the file or of the sorted paths.

    Args:
        path: Folder, or file ending in .txt, .md, .jsonl or .csv.
        label: 0 (human) or 1 (machine): rows that bear another label are refused. Rows without one are taken.

    Raises:
        ValueError: If a file or row has no readable text, is labelled otherwise than `label`, is not UTF-8, or if there
            is no text at all; the sentence names file and line.
        FileNotFoundError: If there is no such file or folder.
    """
    return [(row["id"], row["text"]) for row in read_own_rows(path, label)]


def read_own_rows(path: str | Path, label: int | None = None) -> list[dict[str, Any]]:
    """As `read_texts`, each text a dict of "id", "text" and "source" (None where its row has none)."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if kind not in READERS:
        raise ValueError(f"{path.name}: texts are read from {', '.join(READERS)}, and this is {kind or 'a bare name'}.")
    rows = []
    for place, row in READERS[kind](path):
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{place}: needs {NEEDS[kind]} that is not blank, got {str(row)[:60]}.")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(f"{place}: the text holds a lone surrogate, which no UTF-8 file can store.")
        if label is not None and "label" in row and _spelled(row["label"]) not in (str(label), LABELS[label]):
            raise ValueError(f"{place}: only {LABELS[label]} texts are taken here, and the label is {row['label']!r}.")
        source = row.get("source")
        name = str(row["id"]) if row.get("id") not in (None, "") else place.rpartition(", ")[2]
        rows.append({"id": name, "text": text, "source": None if source in (None, "") else str(source)})
    if not rows:
        raise ValueError(f"{path.name}: holds no text; texts are read from {', '.join(READERS)}.")
    return rows


Rows = Iterator[tuple[str, Any]]  # (where it stands, the row as it stands there)


def _folder(path: Path) -> Rows:
    ignored: Counter[str] = Counter()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        inside = file.relative_to(path)
        if file.suffix.lower() in TEXT_SUFFIXES and not any(part.startswith(".") for part in inside.parts):
            yield inside.as_posix(), {"id": inside.as_posix(), "text": _decoded(file, inside.as_posix())}
        else:
            ignored[file.suffix.lower() or file.name] += 1
    if ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common(5))
        logger.warning("%s: %d files are no .txt or .md and are ignored (%s).", path.name, ignored.total(), kinds)


def _one_text(path: Path) -> Rows:
    yield path.name, {"id": path.name, "text": _decoded(path, path.name)}


def _jsonl(path: Path) -> Rows:
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


def _csv(path: Path) -> Rows:
    before = csv.field_size_limit(sys.maxsize)  # 131,072 characters by default: a book is longer
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if "text" not in (reader.fieldnames or []):
                raise ValueError(f"{path.name}, line 1: needs a column 'text', and has {reader.fieldnames or 'none'}.")
            for row in reader:
                yield f"{path.name}, line {reader.line_num}", row
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num}: is no CSV ({error}).") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}, after line {reader.line_num}: is not UTF-8 ({error.reason}).") from error
    finally:
        csv.field_size_limit(before)


READERS: dict[str, Callable[[Path], Rows]] = {
    "folder": _folder,
    **dict.fromkeys(TEXT_SUFFIXES, _one_text),
    ".jsonl": _jsonl,
    ".csv": _csv,
}
NEEDS = {
    **dict.fromkeys(("folder", *TEXT_SUFFIXES), "a text"),
    ".jsonl": "a JSON object with a 'text'",
    ".csv": "a 'text'",
}


def _decoded(file: Path, name: str) -> str:
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name}, line {line}: is not UTF-8 ({error.reason}).") from error


def _spelled(label: Any) -> str:
    """A label as text: 0, "0" and " Human " of three files mean the same; true is no label."""
    return str(label).strip().lower()
