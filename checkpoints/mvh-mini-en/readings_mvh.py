"""What several members make of one document, brought onto one grid of segments.

Members cut a text at different places, because they count in tokens of their own. The segments of an ensemble are those of
its first member: they tile the text, and their number and lengths count as a single detector's would. A member's *margin*
on such a segment is the mean of the margins of its own segments, weighted by the characters they share with it; its
*p-value* there is that of the one segment of its own that shares most, chosen by position alone, so it stays a p-value.
Members that cut alike are not changed by either.

Margins of different members have different scales. "mean_score" first maps each member's margins linearly onto the first
member's scale, so that human segments have the same mean and standard deviation for all (`human_scale`); "mean_margin"
averages them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .references_mvh import Document


@dataclass(frozen=True)
class Reading:
    """One member's segments of a document.

    Attributes:
        document: Their scores, m of them.
        spans: First character of each and the one after its last, shape (m, 2); they tile the text.
    """

    document: Document
    spans: np.ndarray


def margins_on(grid: np.ndarray, reading: Reading) -> np.ndarray:
    """A member's margins on the segments of a grid: means over its own, weighted by shared characters.

    Args:
        grid: Spans that tile the same text, shape (g, 2). Where one has no characters (tokenizers cut some characters in
            several tokens) it takes the margin at its place.
        reading: The member's.

    Returns:
        Shape (g,).
    """
    if np.array_equal(grid, reading.spans):
        return reading.document.margins
    margins, spans = reading.document.margins, reading.spans
    edges = np.append(spans[:, 0], spans[-1, 1])  # (m + 1,)
    sums = np.concatenate([[0.0], np.cumsum(margins * np.diff(edges))])  # (m + 1,): margins summed over characters
    lengths = grid[:, 1] - grid[:, 0]  # (g,)
    over = np.interp(grid[:, 1], edges, sums) - np.interp(grid[:, 0], edges, sums)  # (g,)
    here = margins[_holding(spans, grid[:, 0])]  # (g,)
    return np.where(lengths > 0, over / np.maximum(lengths, 1), here)


def nearest(grid: np.ndarray, reading: Reading) -> np.ndarray:
    """Index of the member's segment that shares most characters with each segment of a grid (g, 2), shape (g,)."""
    if np.array_equal(grid, reading.spans):
        return np.arange(len(grid))
    first = _holding(reading.spans, grid[:, 0])  # (g,)
    last = np.maximum(first, _holding(reading.spans, grid[:, 1] - 1))  # (g,)
    chosen = []
    for (start, end), low, high in zip(grid, first, last, strict=True):
        mine = reading.spans[low : high + 1]
        chosen.append(low + int(np.argmax(np.minimum(mine[:, 1], end) - np.maximum(mine[:, 0], start))))
    return np.array(chosen)


def _holding(spans: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """Index of the segment that holds each character."""
    return np.maximum(np.searchsorted(spans[:, 0], characters, side="right") - 1, 0)


def mean_document(readings: Sequence[Reading], scales: Sequence[Sequence[float]] | None = None) -> Document:
    """The mean of the members' margins on the first member's segments.

    Args:
        readings: One of each member, the first one's grid being the document's.
        scales: (mean, standard deviation) of each member's human margins, to map them onto the first one's; None
            averages them as they are.

    Returns:
        The first member's document with the combined margins (m,), unread as far as by the member that reads least of it; of
        one member it is its own.
    """
    grid = readings[0].spans
    rows = [margins_on(grid, reading) for reading in readings]
    if scales is not None:
        first_mean, first_sd = scales[0]
        rows[1:] = [
            (row - mean) / sd * first_sd + first_mean for row, (mean, sd) in zip(rows[1:], scales[1:], strict=True)
        ]
    told = max(reading.document.document_type for reading in readings)  # "" of a member that has no feature to read it
    unread = max(reading.document.unread for reading in readings)
    return replace(readings[0].document, margins=np.mean(rows, axis=0), document_type=told, unread=unread)


def human_scale(margins: np.ndarray, weights: np.ndarray) -> list[float]:
    """Mean and standard deviation of the margins of human segments.

    Args:
        margins: Shape (n,).
        weights: Shape (n,), those of a document's segments adding up to 1.

    Raises:
        ValueError: If all margins are equal: they have no scale.
    """
    mean = float(np.average(margins, weights=weights))
    spread = float(np.sqrt(np.average((margins - mean) ** 2, weights=weights)))
    if not spread > 0:
        raise ValueError(f"All {len(margins)} human margins equal {mean}: they have no spread to measure others by.")
    return [mean, spread]
