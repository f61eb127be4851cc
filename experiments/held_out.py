"""Which texts a detector may learn from, choose on, take its threshold from and be tested on: one place for the rules.

Roles are those of `dataset_builder.build`: given to groups of pairs that share a text, by a seeded hash. Whatever shares
a group with a test text is taken out of all roles. Thresholds come from human texts of the calibration roles: the same
sources as the training texts, but not learnt from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mvh.dataset_builder.build import fingerprint
from mvh.dataset_builder.sampling import ROLES, assign_roles, merge_pairs, unit_hash
from mvh.experiments.scored import family

Row = dict[str, Any]

LEARN, CHOOSE, THRESHOLD = "train", "choose", "threshold"  # what a role is used for here
USES = {role: role if role in (LEARN, CHOOSE) else THRESHOLD for role in ROLES}


def by_use(rows: Sequence[Row], tests: Iterable[Row], seed: int) -> dict[str, list[Row]]:
    """The rows by use ("train", "choose", "threshold"), without those that share a group with a test row.

    Args:
        rows: Rows as `baselines.reference.read_rows` gives them: of each `pair` and `normalised` are read.
        tests: The rows to be tested on, in the same form.
        seed: Of the roles.
    """
    tests = list(tests)
    groups = merge_pairs((row["pair"], fingerprint(row["normalised"])) for part in (rows, tests) for row in part)
    roles = assign_roles(groups.values(), seed)
    tested = {groups[row["pair"]] for row in tests}
    uses: dict[str, list[Row]] = {use: [] for use in (LEARN, CHOOSE, THRESHOLD)}
    for row in rows:
        if groups[row["pair"]] not in tested:
            uses[USES[roles[groups[row["pair"]]]]].append(row)
    return uses


def humans(rows: Iterable[Row]) -> list[Row]:
    """Those labelled human."""
    return [row for row in rows if row["label"] == 0]


def collection(row: Mapping[str, Any]) -> str:
    """The collection a row comes from: "l2r" of "l2r:Business"."""
    return family(row["source"])


def in_turn(rows: Iterable[Row], seed: int, purpose: str, key: Callable[[Row], Any]) -> list[Row]:
    """All rows in an order of which every beginning is balanced: one of each kind in turn, in hashed order within it."""
    kinds: dict[Any, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (unit_hash(seed, purpose, row["id"]), row["id"])):
        kinds[key(row)].append(row)
    places = [(place, str(kind), row) for kind, members in kinds.items() for place, row in enumerate(members)]
    return [row for _, _, row in sorted(places, key=lambda entry: entry[:2])]


def first_of_each_label(rows: Iterable[Row], most: int | None, seed: int, purpose: str) -> list[Row]:
    """At most `most` rows of each label, by hashed order; all for None."""
    rows = list(rows)
    labels = sorted({row["label"] for row in rows})
    return [
        row
        for label in labels
        for row in in_turn((row for row in rows if row["label"] == label), seed, purpose, lambda row: 0)[:most]
    ]


def segments_of(row: Row, characters: int) -> int:
    """How many segments a text makes, at so many characters a segment."""
    return (len(row["normalised"]) - 1) // characters + 1


def training_sample(rows: Iterable[Row], segments: int | None, characters: int, seed: int) -> list[Row]:
    """Documents for about `segments` training segments, equally many of both labels, over the collections in turn.

    Args:
        rows: The rows to draw from.
        segments: How many segments together, at most half of them of each label; None takes every row.
        characters: Of a segment, see `segments_of`.
        seed: Of the order; a larger sample holds the smaller one.

    Raises:
        ValueError: If a label is absent.
    """
    rows = list(rows)
    if segments is None:
        return rows
    sample = []
    for label in (0, 1):
        pool = [row for row in rows if row["label"] == label]
        if not pool:
            raise ValueError(
                f"A training needs both labels, and of label {label} there is none among {len(rows)} texts."
            )
        room = segments // 2
        for row in in_turn(pool, seed, "training sample", collection):
            room -= segments_of(row, characters)
            if room < 0:
                break
            sample.append(row)
    return sample
