"""From which length on the detector can tell: measured on texts of the choosing role, cut short.

Below that length it finds fewer than half of the machine texts, so "not flagged" means nothing there and the verdict is
"uncertain". A text that is flagged stays flagged: its p-value is as valid as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mvh.calibration_mvh import Calibration, Document
from mvh.voting_mvh import document_p_value

WORDS = (10, 20, 30, 50, 75, 100, 150)
TOKEN_EDGES = (12, 16, 24, 32, 48, 64, 96, 128, 192)


def cut_short(texts: Iterable[str]) -> list[str]:
    """The beginnings of the texts, of every length in WORDS that a text has."""
    split = [text.split() for text in texts]
    return [" ".join(words[:count]) for words in split for count in WORDS if len(words) >= count]


def power_by_length(machine: Sequence[Document], calibration: Calibration, alpha: float) -> list[dict[str, Any]]:
    """Share of machine documents with p <= alpha, for each range of lengths between TOKEN_EDGES."""
    tokens = np.array([document.tokens for document in machine])
    flagged = np.array([document_p_value(d, calibration) <= alpha for d in machine])
    rows = []
    for low, high in zip((1, *TOKEN_EDGES), (*TOKEN_EDGES, None), strict=True):
        inside = (tokens >= low) & (tokens < high if high else True)
        rows.append(
            {"low": low, "texts": int(inside.sum()), "power": float(flagged[inside].mean()) if inside.any() else None}
        )
    return rows


def shortest_tellable(rows: Sequence[dict[str, Any]], power: float = 0.5) -> int:
    """The length in tokens from which on every range of lengths has at least that power.

    Args:
        rows: What `power_by_length` returns; ranges without texts count as the next longer one.
        power: Share of machine texts that must be found, in [0, 1].

    Returns:
        Lower bound of the shortest such range, 1 where all have it.

    Raises:
        ValueError: If not even the longest texts are found that often.
    """
    measured = [row for row in rows if row["power"] is not None]
    good = 0
    for row in reversed(measured):
        if row["power"] < power:
            break
        good = row["low"]
    if not good:
        found = f"{measured[-1]['power']:.0%} of those of {measured[-1]['low']} tokens or more" if measured else "none"
        raise ValueError(
            f"The detector finds too few of the texts it looks for to tell anything: {found}, below {power:.0%}."
        )
    return good
