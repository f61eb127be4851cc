"""Who goes where: roles for pairs, balanced samples, and the rule that keeps one text from sitting in two roles.

Everything is decided by seeded hashes of names, never by a running random generator. So a pair's role depends neither
on the order of the rows nor, where it shares no text with another pair, on the other rows; and samples nest: the 500
documents of a small sample are among the 1,000 of a larger one with the same seed.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar

ROLES: dict[str, float] = {"train": 0.8, "choose": 0.05, "calibration_segments": 0.075, "calibration_documents": 0.075}

Key = TypeVar("Key", bound=str)


def unit_hash(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that looks random and is the same for the same arguments, on every machine."""
    digest = hashlib.blake2b(f"{seed}|{purpose}|{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53  # 53 bits: all that a float holds, so 1.0 cannot come out


def assign_roles(pairs: Iterable[str], seed: int) -> dict[str, str]:
    """Give every pair one of `ROLES`, in about their shares.

    Args:
        pairs: Names of pairs, in any order, repeated or not.
        seed: Another seed deals the roles anew.

    Returns:
        Role by pair. A pair's role depends on its name and the seed alone.
    """
    names, bounds = list(ROLES), list(accumulate(ROLES.values()))
    # rounding may leave the last bound just below 1; the last role takes that rest
    return {pair: names[bisect_right(bounds[:-1], unit_hash(seed, "role", pair))] for pair in pairs}


def merge_pairs(pairs_and_texts: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Join the pairs that share a text, directly or through other pairs, into groups (union-find).

    A role is given to a group, not to a pair: so the same text under two pairs cannot be trained on and calibrated on.

    Args:
        pairs_and_texts: Per row its pair and a fingerprint of its text.

    Returns:
        For every pair the name of its group: the group's alphabetically first pair, its own name if it shares nothing.
    """
    parent: dict[str, str] = {}
    owner: dict[bytes, str] = {}

    def root(pair: str) -> str:
        while parent[pair] != pair:
            parent[pair] = pair = parent[parent[pair]]  # halve the path on the way up
        return pair

    for pair, text in pairs_and_texts:
        parent.setdefault(pair, pair)
        first, second = sorted((root(pair), root(owner.setdefault(text, pair))))
        parent[second] = first
    return {pair: root(pair) for pair in parent}


def apportion(total: int, weights: Mapping[Key, float], capacity: Mapping[Key, int]) -> dict[Key, int]:
    """Share out `total` seats by weight: one for every key that can hold one, the rest by Sainte-Laguë's divisors.

    Args:
        total: Seats to give.
        weights: Relative claim of each key.
        capacity: The most seats each key can hold.

    Returns:
        Seats by key, summing to `total`. A larger total takes no seat from any key.

    Raises:
        ValueError: If `total` exceeds all capacity or does not give every key its one seat.
    """
    seats = {key: min(1, capacity[key]) for key in sorted(weights)}
    if total > sum(capacity[key] for key in seats):
        raise ValueError(f"{total} are wanted, but only {sum(capacity[key] for key in seats)} are available.")
    if total < sum(seats.values()):
        raise ValueError(f"{total} are wanted, but one for each of {', '.join(seats)} makes {sum(seats.values())}.")
    for _ in range(total - sum(seats.values())):
        free = [key for key in seats if seats[key] < capacity[key]]
        best = max(free, key=lambda key: weights[key] / (2 * seats[key] + 1))
        seats[best] += 1
    return seats


def balanced_sample(rows: Sequence[Mapping[str, Any]], documents: int, seed: int) -> list[Mapping[str, Any]]:
    """Draw documents, half of them human and half machine, with every language of the pool in them.

    A language gets the same share of both labels, its share of the pool, as far as it has documents: otherwise the
    language would betray the label. Within a language and label the pairs come in hashed order, one document of each
    pair before the second of any: so both labels tend to come from the same pairs, that is on the same topics.

    Args:
        rows: The pool; of each row `id`, `label`, `lang` and `pair` are read.
        documents: Size of the sample, an even number.
        seed: Another seed draws other documents.

    Returns:
        The rows chosen, in the order of the pool. The set does not depend on that order.

    Raises:
        ValueError: If `documents` is odd, more than the pool holds of a label, or too few for one document per label
            and language.
    """
    if documents < 2 or documents % 2:
        raise ValueError(f"A sample balanced by label needs an even number of documents, at least 2, got {documents}.")
    cells: dict[tuple[int, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        cells[row["label"], row["lang"]].append(index)
    weights = Counter(row["lang"] for row in rows)
    chosen: list[int] = []
    for label, name in enumerate(("human", "machine")):
        capacity = {lang: len(cells[label, lang]) for lang in weights}
        try:
            quota = apportion(documents // 2, weights, capacity)
        except ValueError as error:
            raise ValueError(f"A sample of {documents} needs {documents // 2} {name} documents: {error}") from None
        for lang, count in quota.items():
            chosen.extend(_in_hashed_order(rows, cells[label, lang], seed)[:count])
    return [rows[index] for index in sorted(chosen)]


def largest_balanced(rows: Iterable[Mapping[str, Any]]) -> int:
    """The largest even number of documents that `balanced_sample` can draw: twice the rarer label.

    0 where that is too few for one document of every language that a label has.
    """
    languages: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for row in rows:
        languages[row["label"]][row["lang"]] += 1
    rarer = min(counts.total() for counts in languages)
    return 2 * rarer if rarer >= max(map(len, languages)) else 0


def sample_training(
    pools: Sequence[Sequence[Mapping[str, Any]]], documents: int | None, seed: int
) -> list[list[Mapping[str, Any]]]:
    """A balanced sample of the documents to train on, equal parts from each file; the other roles keep every document.

    A small training sample does not make calibration any coarser: choosing and calibration always use all there is.
    A text that several files hold is taken once: into the sample from the first file that draws it, elsewhere from the
    first file that has it. So every file's part has the languages of that file, although files may share texts.

    Args:
        pools: The rows of each file; of each row `id`, `label`, `lang`, `pair`, `role` and `fingerprint` are read.
        documents: Size of the training sample over all files; None takes every document.
        seed: See `balanced_sample`.

    Returns:
        The rows chosen, by file.

    Raises:
        ValueError: If the sample cannot be drawn, see `balanced_sample`, or cannot be shared out evenly.
    """
    if documents is not None and len(pools) > 1 and documents % (2 * len(pools)):
        raise ValueError(
            f"A sample from {len(pools)} files, balanced by label in each, needs a multiple of {2 * len(pools)} documents, "
            f"got {documents}."
        )
    chosen: list[list[Mapping[str, Any]]] = []
    held: set[bytes] = set()  # texts of the files so far
    drawn: set[bytes] = set()  # of those the ones that are trained on
    for rows in pools:
        training = [row for row in rows if row["role"] == "train" and row["fingerprint"] not in drawn]
        if documents is not None:
            training = balanced_sample(training, documents // len(pools), seed)
        others = [row for row in rows if row["role"] != "train" and row["fingerprint"] not in held]
        chosen.append([*training, *others])
        held.update(row["fingerprint"] for row in rows)
        drawn.update(row["fingerprint"] for row in training)
    return chosen


def _in_hashed_order(rows: Sequence[Mapping[str, Any]], indices: Iterable[int], seed: int) -> list[int]:
    """Indices with the first document of every pair before the second of any, pairs in hashed order."""
    by_pair: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        by_pair[rows[index]["pair"]].append(index)
    keyed: list[tuple[int, float, int]] = []
    for pair, members in by_pair.items():
        members.sort(key=lambda index: unit_hash(seed, "document", rows[index]["id"]))
        keyed.extend((turn, unit_hash(seed, "pair", pair), index) for turn, index in enumerate(members))
    return [index for *_, index in sorted(keyed)]
