"""The Russian toxic comments (Kaggle `blackmoon/russian-language-toxic-comments`) -> rows of the schema, split in two.

The file is a CSV with the columns `comment` and `toxic` (0.0 or 1.0): 14,412 comments of 2ch and Pikabu, 4,826 of them
toxic. Label 0, neutral, is the null class; label 1 is toxic. Comments are taken without the white space around them
(most end in a newline, others do not). Only then 257 of them show as repetitions of another: they are left out before
anything is split, the first label stays, and how many bear the other label (43) is counted.

A fifth of the comments, the same share of both labels, is held out as test, as in the article (which names no seed).
Comments that agree in all letters and digits share a `pair` and are held out together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mvh.dataset_builder.build import fingerprint
from mvh.dataset_builder.sampling import merge_pairs, unit_hash
from mvh.dataset_builder.semeval import BadRow, report
from mvh.dataset_builder.tables import csv_records
from mvh.normalization_mvh import normalize

LABELS = ("neutral", "toxic")
COLUMNS = ("comment", "toxic")
PUBLISHED = {"rows": 14_412, "toxic": 4_826}
TEST_SHARE = 0.2
SOURCE = "russian-language-toxic-comments"

Reject = Callable[[dict[str, Any]], None]

URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
NICKNAME = re.compile(r"(?<!\w)@\w[\w.-]*")
PUNCTUATION = re.compile(r"[^\w\s]|_")


def article_preprocess(text: str) -> str:
    """The article's preparation for its two baselines: URLs and nicknames to keywords, no punctuation, lower case.

    The article names the steps, not their patterns: here an address begins with http://, https:// or www. and becomes
    "url", a nickname begins with @ and becomes "user", and every character that is neither letter, digit nor white
    space (symbols and emoji too) becomes a space. Runs of white space become one space. May leave nothing.

    Examples:
        >>> article_preprocess("@vasya_99, смотри: https://pikabu.ru/story — НУ И БРЕД!!!")
        'user смотри url ну и бред'
    """
    text = NICKNAME.sub(" user ", URL.sub(" url ", text))
    return " ".join(PUNCTUATION.sub(" ", text).lower().split())


PREPROCESS: dict[str, Callable[[str], str]] = {"none": str, "article": article_preprocess}


def read_toxic(
    path: str | Path, reject: Reject | None = None, strict: bool = False, counts: Counter[str] | None = None
) -> list[dict[str, Any]]:
    """The comments of the CSV in their order, without repetitions.

    Args:
        path: CSV file in UTF-8 with the columns `comment` and `toxic`; others are ignored.
        reject: Called for every row set aside with `{"file", "line", "field", "reason", "message"}`.
        strict: Raise at the first bad row instead.
        counts: Is given "rows", "toxic" (both of the valid rows), "duplicates" (rows left out because they repeat an
            earlier comment), "both_labels" (those of them under the other label) and "rejected".

    Returns:
        Rows `{"id", "text", "label", "model", "source", "lang", "pair"}`: the id is the file's stem and the line where
        the comment begins, the pair a fingerprint of the comment's letters and digits, the same for comments that
        `article_preprocess` makes the same: they may differ in nicknames and links.

    Raises:
        ValueError: If a column is missing, the file is no CSV, is not UTF-8 or holds no valid row, or if `strict` and a
            row is bad (no label 0 or 1, blank comment, other number of cells); the sentence names file and line.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    counts = Counter() if counts is None else counts
    counts.update(dict.fromkeys(("rows", "toxic", "duplicates", "both_labels", "rejected"), 0))
    labels: dict[str, int] = {}  # of every comment so far
    rows = []
    for line, cells in csv_records(path, COLUMNS):
        try:
            text, label, normalized = _parse(cells)
        except BadRow as error:
            counts["rejected"] += 1
            report(error.record(path.name, line), reject, strict)
            continue
        counts["rows"] += 1
        counts["toxic"] += label
        if text in labels:
            counts["duplicates"] += 1
            counts["both_labels"] += labels[text] != label
            continue
        labels[text] = label
        origin = {"model": "human", "source": SOURCE, "lang": "ru", "pair": fingerprint(normalized).hex()}
        rows.append({"id": f"{path.stem}:{line}", "text": text, "label": label, **origin})
    if not rows:
        raise ValueError(f"{path.name} holds no valid comment; {counts['rejected']} rows were rejected.")
    groups = merge_pairs((row["pair"], fingerprint(article_preprocess(row["text"]) or row["text"])) for row in rows)
    return [row | {"pair": groups[row["pair"]]} for row in rows]


def split_toxic(
    rows: Sequence[dict[str, Any]], seed: int = 0, share: float = TEST_SHARE
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Hold out a share of the comments of each label, by a seeded hash of their pairs.

    Args:
        rows: As `read_toxic` gives them, in any order: the split does not depend on it.
        seed: Another seed holds out other comments.
        share: Of the pairs of each label, in (0, 1).

    Returns:
        Training and test rows, each in the order of `rows`; no pair is in both.

    Raises:
        ValueError: If a label has too few comments to be in both parts.
    """
    labels: dict[str, int] = {}  # a pair of both labels counts as toxic
    for row in rows:
        labels[row["pair"]] = max(row["label"], labels.get(row["pair"], 0))
    held_out: set[str] = set()
    for label, name in enumerate(LABELS):
        pairs = sorted(
            (pair for pair in labels if labels[pair] == label), key=lambda pair: unit_hash(seed, "test", pair)
        )
        size = round(share * len(pairs))
        if not 0 < size < len(pairs):
            raise ValueError(
                f"A share of {share} of {len(pairs)} different {name} comments leaves training or test empty."
            )
        held_out.update(pairs[:size])
    train = [row for row in rows if row["pair"] not in held_out]
    return train, [row for row in rows if row["pair"] in held_out]


def _parse(cells: dict[str | None, Any]) -> tuple[str, int, str]:
    """Comment, label and normalised comment of a record."""
    if None in cells or None in cells.values():
        named = sum(value is not None for name, value in cells.items() if name is not None)
        found = f"{named + len(cells.get(None, []))} instead of {len(cells) - (None in cells)}"
        raise BadRow("line", "the row has not as many cells as the header", found)
    text = cells["comment"].strip()
    if not text:
        raise BadRow("comment", "the comment is empty or blank")
    try:
        label = float(cells["toxic"])
    except ValueError:
        label = -1.0
    if label not in (0.0, 1.0):
        raise BadRow("toxic", "the label is neither 0 nor 1", f"got {cells['toxic'][:60]!r}")
    normalized = normalize(text).text
    if not normalized.strip():
        raise BadRow("comment", "nothing is left of the comment after normalisation")
    return text, int(label), normalized
