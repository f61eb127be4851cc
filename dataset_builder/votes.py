"""Raw votes of annotators: who gave which comment which label, from a CSV or JSON Lines file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mvh.dataset_builder.tables import csv_records
from mvh.dataset_builder.texts import ROWS

FIELDS = ("comment", "annotator", "label")
SPELLED = {"0": 0, "0.0": 0, "1": 1, "1.0": 1}


class Vote(NamedTuple):
    """One annotator's label of one comment."""

    comment: str
    annotator: str
    label: int


def read_votes(path: str | Path) -> list[Vote]:
    """Votes of a CSV or JSON Lines file (.jsonl) with the fields comment, annotator and label (0 or 1), in UTF-8.

    Comments are taken without the white space around them.

    Raises:
        ValueError: If a field is missing or blank, a label is neither 0 nor 1, an annotator votes twice on a comment,
            there is one annotator only, or no comment has two votes; the sentence names file and line.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    votes: list[Vote] = []
    placed: dict[tuple[str, str], str] = {}
    for place, row in _rows(path):
        found = ["" if row.get(name) is None else str(row[name]).strip() for name in FIELDS]
        if blank := [name for name, value in zip(FIELDS, found, strict=True) if not value]:
            raise ValueError(f"{place}: a vote needs {', '.join(FIELDS)}, and {', '.join(blank)} is missing or blank.")
        comment, annotator, label = found
        if label not in SPELLED:
            raise ValueError(f"{place}: the label must be 0 or 1, got {label[:60]!r}.")
        if (before := placed.setdefault((comment, annotator), place)) != place:
            raise ValueError(
                f"{place}: annotator {annotator} voted on the same comment before, at {before}; one vote each."
            )
        votes.append(Vote(comment, annotator, SPELLED[label]))
    annotators = {vote.annotator for vote in votes}
    if len(annotators) < 2:
        who = f"all {len(votes)} votes are of {annotators.pop()}" if annotators else "it holds no vote"
        raise ValueError(f"{path.name}: agreement needs two annotators or more, and {who}.")
    if max(Counter(vote.comment for vote in votes).values()) < 2:
        raise ValueError(f"{path.name}: none of the {len(votes)} comments has two votes, so nothing can be compared.")
    return votes


def _rows(path: Path) -> Iterator[tuple[str, dict[Any, Any]]]:
    """`(where it stands, row)` of a CSV or JSON Lines file."""
    if path.suffix.lower() != ".jsonl":
        yield from ((f"{path.name}, line {line}", cells) for line, cells in csv_records(path, FIELDS))
        return
    for place, row in ROWS[".jsonl"](path, "comment"):
        if not isinstance(row, dict):
            raise ValueError(f"{place}: a vote is a JSON object with {', '.join(FIELDS)}, got {str(row)[:60]}.")
        yield place, row
