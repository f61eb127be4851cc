"""Predictions in the forms that shared tasks take, and the unlabelled files they hand out.

    semeval   FILE.semeval.jsonl   {"id": …, "label": 0 | 1} per line (SemEval-2024 Task 8, subtask A)
    raid      FILE.raid.json       [{"id": …, "score": …}, …], score in [0, 1], higher = machine (RAID's leaderboard)

SemEval counts accuracy and knows no third answer: where a detector is uncertain the sign of its margin decides. A text
that could not be read is human, with score 0. Scores are never rounded.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mvh.dataset_builder.tables import refuse_ragged
from mvh.placing import whole_file

TEXT_FIELDS = ("text", "generation")  # SemEval's and RAID's name of the text


def semeval_lines(predicted: Iterable[dict[str, Any]]) -> str:
    """One JSON object per line; an id that was a number is one again."""
    lines = []
    for row in predicted:
        decided = {"human": 0, "machine": 1}.get(row["decision"])
        label = int((row["margin"] or 0.0) > 0) if decided is None else decided
        name = row["id"]
        number = name.isdecimal() and str(int(name)) == name
        lines.append(json.dumps({"id": int(name) if number else name, "label": label}, ensure_ascii=False) + "\n")
    return "".join(lines)


def raid_list(predicted: Iterable[dict[str, Any]]) -> str:
    """A JSON list of id and score."""
    rows = [{"id": row["id"], "score": 0.0 if row["score"] is None else row["score"]} for row in predicted]
    return json.dumps(rows, ensure_ascii=False, indent=0) + "\n"


SUBMISSIONS: dict[str, tuple[str, Callable[[Iterable[dict[str, Any]]], str]]] = {  # name -> ending, predictions -> file
    "semeval": ("semeval.jsonl", semeval_lines),
    "raid": ("raid.json", raid_list),
}


def write_submissions(names: Sequence[str], predicted: Sequence[dict[str, Any]], file: str, out: Path) -> list[Path]:
    """Write the predictions on one file in each form named; returns the paths."""
    paths = []
    for name in names:
        ending, form = SUBMISSIONS[name]
        path = out / f"{Path(file).stem}.{ending}"
        with whole_file(path, "utf-8") as whole:
            whole.write(form(predicted))
        paths.append(path)
    return paths


def read_unlabelled(path: Path) -> Iterator[dict[str, Any]]:
    """Stream the rows of a test set without labels: JSONL, or CSV with a header; a blank text is passed on.

    Yields:
        `{"id": str, "text": str, "label": None, "source": str}`; `source` is empty where the file has none.

    Raises:
        ValueError: If the file is of another kind, or a row has no id or no text; the sentence names file and line.
    """
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise ValueError(f"Unlabelled texts are read from .jsonl and .csv, and {path.name} is neither.")
    for number, row in _numbered(path):
        text = next((row[field] for field in TEXT_FIELDS if isinstance(row.get(field), str)), None)
        if text is None or row.get("id") in (None, ""):
            raise ValueError(
                f"{path.name}, row {number}: needs an id and a {' or '.join(TEXT_FIELDS)}, got {sorted(row)}."
            )
        yield {"id": str(row["id"]), "text": text, "label": None, "source": str(row.get("source") or "")}


def _numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    before = csv.field_size_limit(sys.maxsize)  # 131,072 characters by default: a book is longer
    try:
        with path.open(encoding="utf-8-sig", newline="" if path.suffix.lower() == ".csv" else None) as file:
            if path.suffix.lower() == ".csv":
                for number, row in enumerate(csv.DictReader(file, strict=True), start=1):
                    refuse_ragged(row, f"{path.name}, row {number}")
                    yield number, row
                return
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = json.loads(line)
                    yield number, row if isinstance(row, dict) else {}
    except (csv.Error, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}.") from error
    finally:
        csv.field_size_limit(before)
