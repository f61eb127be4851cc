"""SemEval-2024 Task 8 JSONL -> rows of one schema, every row validated, every fault named by file, line and field.

A row of the published files is `{"id", "label", "text", "model", "source"}` with label 0 (human) or 1 (machine). Two
more fields are taken where a file has them: `lang`, the ISO 639-1 code of the text, and `pair`, shared by texts that
were made from one prompt or one original. Where they are absent, the pair is the row's own id behind the name of its
file, and the language follows from the source: English domains such as `wikihow`, or a language's name such as
`arabic`. A row may also name its `document_type`, one of `features_mvh.REGISTERS`. Other fields are ignored.

The reader is strict about types, because a tolerant one hides broken exports: a label must be the JSON integer 0 or 1;
`true`, `1.0` and `"1"` are refused. An id may be an integer or a string; both become a string, so 7 and "7" are the
same id. Blank lines are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from mvh.features_mvh import REGISTERS

SOURCE_LANGUAGES: dict[str, str] = {
    **dict.fromkeys(("wikipedia", "wikihow", "peerread", "reddit", "arxiv", "outfox", "english"), "en"),
    "arabic": "ar",
    "bulgarian": "bg",
    "chinese": "zh",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "kazakh": "kk",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "turkish": "tr",
    "urdu": "ur",
    "vietnamese": "vi",
}


class Digest(Protocol):
    """Anything that is fed bytes, such as `hashlib.sha256()`."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""


class BadRow(ValueError):
    """A row that cannot be used: the field at fault, the reason (a fixed phrase, to be counted) and what was found."""

    def __init__(self, field: str, reason: str, found: str = "") -> None:
        super().__init__(f"{reason}, {found}" if found else reason)
        self.field, self.reason = field, reason

    def record(self, file: str, line: int) -> dict[str, Any]:
        """The line of rejected.jsonl: file, line (from 1), field, reason, and all of it as one sentence."""
        message = f"{file}, line {line}, field '{self.field}': {self}."
        return {"file": file, "line": line, "field": self.field, "reason": self.reason, "message": message}


def parse_row(line: bytes, stem: str) -> dict[str, Any]:
    r"""One line of a JSONL file as a row of the schema.

    Args:
        line: The bytes of the line.
        stem: Name of the file without its ending; goes before the id where the row has no pair of its own.

    Returns:
        `{"id": str, "text": str, "label": 0 | 1, "model": str, "source": str, "lang": str, "pair": str}`, and
        `document_type` where the line has one.

    Raises:
        BadRow: If anything is missing, of another type or out of range.

    Examples:
        >>> parse_row(b'{"id": 3, "label": 1, "text": "Hi.", "model": "gpt", "source": "reddit"}', "train")
        {'id': '3', 'text': 'Hi.', 'label': 1, 'model': 'gpt', 'source': 'reddit', 'lang': 'en', 'pair': 'train:3'}
    """
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRow("line", "the line is not UTF-8", f"its first bad byte is number {error.start + 1}") from None
    except (ValueError, RecursionError) as error:
        raise BadRow("line", "the line is not JSON", _short(error)) from None
    if not isinstance(row, dict):
        raise BadRow("line", "the line is not a JSON object", f"got {_short(row)}")
    for field in ("id", "label", "text", "model", "source"):
        if field not in row:
            raise BadRow(field, "the field is missing", f"the row has {_short(sorted(row))}")
    if type(row["label"]) is not int or row["label"] not in (0, 1):
        raise BadRow("label", "the label is not the integer 0 or 1", f"got {_short(row['label'])}")
    clean: dict[str, Any] = {
        "id": _identifier(row, "id"),
        "text": _string(row, "text"),
        "label": row["label"],
        "model": _string(row, "model"),
        "source": _string(row, "source"),
    }
    if "lang" in row:
        clean["lang"] = _string(row, "lang")
    elif (source := clean["source"].strip().lower()) in SOURCE_LANGUAGES:
        clean["lang"] = SOURCE_LANGUAGES[source]
    else:
        raise BadRow(
            "source", "the source names no known language and the row has no lang", f"got {_short(row['source'])}"
        )
    clean["pair"] = _identifier(row, "pair") if "pair" in row else f"{stem}:{clean['id']}"
    if row.get("document_type") is not None:
        clean["document_type"] = _string(row, "document_type")
        if clean["document_type"] not in REGISTERS:
            found = f"got {_short(row['document_type'])}"
            raise BadRow("document_type", f"the document type is none of {', '.join(REGISTERS)}", found)
    return clean


def numbered_rows(
    path: str | Path,
    reject: Callable[[dict[str, Any]], None] | None = None,
    strict: bool = False,
    digest: Digest | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream `(line number from 1, row)`; see `read_semeval`. `digest` is fed every byte of the file on the way."""
    path = Path(path)
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if digest is not None:
                digest.update(line)
            content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not content.strip():
                continue
            try:
                row = parse_row(content, path.stem)
                if row["id"] in seen:
                    raise BadRow("id", "the id occurred before in this file", f"got {_short(row['id'])}")
            except BadRow as error:
                if error.field == "line" and not line.endswith(b"\n"):
                    error = BadRow("line", "the file ends in the middle of this row", str(error))
                report(error.record(path.name, number), reject, strict)
                continue
            seen.add(row["id"])
            yield number, row


def read_semeval(
    path: str | Path, reject: Callable[[dict[str, Any]], None] | None = None, strict: bool = False
) -> Iterator[dict[str, Any]]:
    """Stream the valid rows of a SemEval-2024 Task 8 file (or of one of the same shape) in their order.

    Args:
        path: JSONL file in UTF-8, with or without a byte order mark.
        reject: Called for every row set aside with `{"file", "line", "field", "reason", "message"}`; `field` is "line"
            where the line as a whole is at fault.
        strict: Raise at the first bad row instead.

    Yields:
        `{"id": str, "text": str, "label": 0 | 1, "model": str, "source": str, "lang": str, "pair": str}`.

    Raises:
        ValueError: If `strict` and a row is bad; the sentence names file, line and field.
        FileNotFoundError: If there is no such file.
    """
    for _, row in numbered_rows(path, reject, strict):
        yield row


def report(record: dict[str, Any], reject: Callable[[dict[str, Any]], None] | None, strict: bool) -> None:
    """Hand a rejected row's record to `reject`, or raise its sentence if `strict`."""
    if strict:
        raise ValueError(record["message"])
    if reject is not None:
        reject(record)


def _string(row: dict[str, Any], field: str) -> str:
    """The field's value, if it is a string that holds more than white space and can be written as UTF-8."""
    value = row[field]
    if not isinstance(value, str):
        raise BadRow(field, "the value is not a string", f"got {_short(value)}")
    if not value.strip():
        raise BadRow(field, "the value is empty or blank", f"got {_short(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"character {error.start + 1} is U+{ord(value[error.start]):04X}"
        raise BadRow(field, "the value holds a lone surrogate, which no UTF-8 file can store", found) from None
    return value


def _identifier(row: dict[str, Any], field: str) -> str:
    """The field's value as a string, if it is an integer or a string that is not blank."""
    return str(row[field]) if type(row[field]) is int else _string(row, field)


def _short(value: object, limit: int = 60) -> str:
    """The value as a sentence may quote it: JSON where it is JSON, at most `limit` characters."""
    try:
        shown = str(value) if isinstance(value, Exception) else json.dumps(value)
    except RecursionError:  # writing takes a little more depth than reading did
        shown = f"a {type(value).__name__} nested too deep to be shown"
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
