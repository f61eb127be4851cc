"""A document longer than any calibrated one -> parts of calibrated lengths, and their p-values -> one.

A whole document can only be ranked among human ones of its length, and long ones are rare. So a longer one is cut between
segments into K consecutive parts of about equal length, none longer than the longest calibration document; each is ranked
in the group of its length as a document of its own; and the p-value of the whole is K / k times the k-th smallest of theirs,
where k is the smallest majority of K. In words: it is flagged at alpha where more than half of its parts are at alpha k / K.

P(p <= alpha) <= alpha whatever the dependence between the parts (Rueger, Metrika 25, 1978), *if* a part of a long human text
scores no higher than the whole human texts of the group it is ranked in. Nobody can promise that, and a statistic that grows
with the length, such as the largest margin, breaks it; results/long_documents.md measures it for the shipped detectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .references_mvh import Calibration, Document


def parts_of(document: Document, calibration: Calibration) -> list[Document]:
    """The parts that a document is judged by: itself, unless it is longer than the calibration documents of its script.

    A part holds the segments whose middles lie in its K-th of the tokens, so it is at most one segment longer than that.

    Returns:
        At least one document, in order, whose segments are together those of the document. The document itself also where
        two of its segments are longer than any calibration document, or a part would be shorter than all of them: texts of
        a sentence or two say nothing of long ones.
    """
    longest, tokens = calibration.longest(document.script), document.core_tokens  # tokens: (m,)
    room = longest - int(tokens.max())
    if document.tokens <= longest or room < tokens.max():
        return [document]
    count = -(-document.tokens // room)
    owner = ((2 * np.cumsum(tokens) - tokens) * count // (2 * document.tokens)).astype(int)  # (m,)
    cuts = np.flatnonzero(np.diff(owner)) + 1
    parts = [
        replace(document, margins=margins, core_tokens=core)
        for margins, core in zip(np.split(document.margins, cuts), np.split(tokens, cuts), strict=True)
    ]
    return parts if min(part.tokens for part in parts) >= calibration.shortest_tokens else [document]


def majority(parts: int) -> int:
    """The smallest majority: how many of the parts must be flagged before the whole is."""
    return parts // 2 + 1


def factor(parts: int) -> float:
    """K / k, from 1 to 2: how many times as often as one part at most so many of them are flagged at once."""
    return parts / majority(parts)


def majority_rate(rates: Sequence[float]) -> float:
    """At most how often a majority k of K parts is flagged at once, if each is at its own rate: their sum / k (Markov)."""
    return min(1.0, sum(rates) / majority(len(rates)))


def majority_p_value(p_values: Sequence[float]) -> float:
    """K / k times the k-th smallest of K p-values, at most 1, where k is their smallest majority; one alone stays as it is."""
    return min(1.0, factor(len(p_values)) * sorted(p_values)[majority(len(p_values)) - 1])
