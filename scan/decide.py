"""Counts of the shards -> a decision over all documents together, without holding any of them.

Benjamini-Hochberg across documents needs every p-value before it can keep or remove the first document: that is why a scan
scores first and keeps afterwards. But conformal p-values are ranks, (r + 1) / (n + 1) for the n calibration documents of a
group (times K / k for a document judged by K parts), so a corpus of any size has few different ones. How often each occurs is
enough for the exact procedure, and a few kilobytes hold it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

BINS = 20  # of the histograms, over [0, 1]
EXAMPLES = 20  # failed rows that are quoted


@dataclass
class Counts:
    """What a shard, or all of them, amounts to.

    Attributes:
        documents: Rows read; scored + failed.
        failed: Rows without a verdict because of an error.
        labels: Documents by label.
        p_values: How often each document p-value occurs, over documents without a doubt whether it holds.
        histogram: All document p-values in BINS bins over [0, 1]; the last one closed.
        scores: The same of the scores.
        groups: Documents by calibration group and label.
        examples: The first failed rows: source, row, why.
        characters: Characters of the texts that were scored.
        seconds: Time the worker spent.
        model: What the detector is (`Scorer.about`).
    """

    documents: int = 0
    failed: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    p_values: Counter[float] = field(default_factory=Counter)
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)
    scores: list[int] = field(default_factory=lambda: [0] * BINS)
    groups: dict[str, Counter[str]] = field(default_factory=dict)
    examples: list[tuple[str, str]] = field(default_factory=list)
    characters: int = 0
    seconds: float = 0.0
    model: dict[str, Any] | None = None

    @property
    def scored(self) -> int:
        """Documents with a score."""
        return self.documents - self.failed

    def add(self, found: Mapping[str, Any], characters: int, place: str) -> None:
        """Count one document: what `Scorer` says of it, its length, and where it lies."""
        self.documents += 1
        if found["error"] is not None:
            self.failed += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append((place, found["error"]))
            return
        self.characters += characters
        self.labels[found["label"]] += 1
        self.scores[_bin(found["score"])] += 1
        self.groups.setdefault(found["group"] or "no calibration", Counter())[found["label"]] += 1
        if found["p_value"] is not None:
            self.histogram[_bin(found["p_value"])] += 1
            if decided(found):
                self.p_values[found["p_value"]] += 1

    def __add__(self, other: Counts) -> Counts:
        """Both together.

        Raises:
            ValueError: If they were made by different detectors.
        """
        if self.model and other.model and self.model != other.model:
            raise ValueError(f"Parts of this scan were scored by {self.model} and parts by {other.model}; scan again.")
        return Counts(
            documents=self.documents + other.documents,
            failed=self.failed + other.failed,
            labels=self.labels + other.labels,
            p_values=self.p_values + other.p_values,
            histogram=[a + b for a, b in zip(self.histogram, other.histogram, strict=True)],
            scores=[a + b for a, b in zip(self.scores, other.scores, strict=True)],
            groups={
                name: self.groups.get(name, Counter()) + other.groups.get(name, Counter())
                for name in sorted({*self.groups, *other.groups}, key=_natural)
            },
            examples=[*self.examples, *other.examples][:EXAMPLES],
            characters=self.characters + other.characters,
            seconds=self.seconds + other.seconds,
            model=self.model or other.model,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; p-values as pairs, because the keys of a JSON object are strings."""
        return vars(self) | {"p_values": sorted(self.p_values.items())}

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Counts:
        """The counts that `to_json` wrote."""
        return cls(
            **read
            | {
                "labels": Counter(read["labels"]),
                "p_values": Counter({p_value: count for p_value, count in read["p_values"]}),
                "groups": {name: Counter(labels) for name, labels in read["groups"].items()},
                "examples": [(place, why) for place, why in read["examples"]],
            }
        )


def _natural(name: str) -> list[str | int]:
    """A key that puts "65 to 128 tokens" before "129 to 256 tokens"."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _bin(value: float) -> int:
    return min(int(value * BINS), BINS - 1)


def decided(found: Mapping[str, Any]) -> bool:
    """Whether a document's p-value takes part in the decision: it was scored, has one, and nothing speaks against it."""
    return found["error"] is None and found["p_value"] is not None and not found["doubts"]


def read_counts(paths: Iterable[Path]) -> Counts:
    """The counts of some shards together, in order.

    Raises:
        ValueError: If one is missing: its shard has not been scored.
    """
    total = Counts()
    for path in paths:
        try:
            total += Counts.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ValueError(
                f"Shard {path.stem} has not been scored: give the same command again to go on. Logs of what happened are in "
                f"{path.parents[1] / 'logs'}."
            ) from None
    return total


def together(p_values: Mapping[float, int], documents: int, fdr: float) -> dict[str, Any]:
    """Benjamini-Hochberg across documents, from how often each p-value occurs.

    The documents flagged are those with p <= threshold, the largest p with p n / #{p_i <= p} <= fdr: the same as
    `voting_mvh.screen` on the whole list. Conformal p-values that share a calibration are PRDS (Bates et al. 2023), so the
    expected share of human documents among the flagged is at most `fdr`, where documents are independent of each other and
    human ones are like those of the calibration.

    Args:
        p_values: p-value -> its number of documents.
        documents: Number n of documents judged together; those without a p-value count as p = 1.
        fdr: Level, in (0, 1).

    Returns:
        "threshold" (None where nothing is flagged), "flagged", and "needed": how many documents must reach the smallest
        p-value that occurs before any is flagged.
    """
    if not p_values:
        return {"threshold": None, "flagged": 0, "needed": None}
    values = np.array(sorted(p_values))  # (k,) different p-values, ascending
    at_most = np.cumsum([p_values[value] for value in values])  # (k,) documents with p <= value
    adjusted = np.minimum.accumulate((values / (at_most / documents))[::-1])[::-1]  # (k,) as statsmodels rounds it
    kept = np.flatnonzero(adjusted <= fdr)
    return {
        "threshold": float(values[kept[-1]]) if len(kept) else None,
        "flagged": int(at_most[kept[-1]]) if len(kept) else 0,
        "needed": int(np.ceil(values[0] * documents / fdr - 1e-9)),
    }


def is_flagged(found: Mapping[str, Any], threshold: float | None) -> bool:
    """Whether a document is flagged together with the others."""
    return threshold is not None and decided(found) and found["p_value"] <= threshold
