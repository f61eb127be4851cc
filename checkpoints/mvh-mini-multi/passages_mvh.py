"""Flagged segments -> passages: adjacent ones joined, their edges moved to where the text seems to switch.

Segments are flagged on a grid of 256 tokens, and authors do not switch on it. A second look at the segments on either
side of an edge finds the switch: their tokens are cut into *blocks* of BLOCK_TOKENS, and two neighbouring blocks at a
time are scored by the same model as a short *window* of their own: so edges move in steps of two blocks, but for the last
block of an odd number. The passage then ends where the sum of (margin - THRESHOLD) over its blocks is largest (a
maximum-sum interval, as in CUSUM change-point detection). Edges stay inside the flagged segments and their direct
neighbours, and every flagged segment keeps a part of its passage. Whether there is a passage is decided by the corrected
tests alone; edges carry no error rate.

The constants were chosen on spliced texts of the choosing role (experiments/splices.py). Tried and given up: windows that
overlap by a block, which cost twice as much and place edges a little better; windows of one, three or four blocks; and block
scores read off the segment's own hidden states, as attention has mixed both sides of a switch by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .segmentation_mvh import BLOCK_TOKENS

THRESHOLD = -0.5  # margin that a block inside a passage should exceed; between -1 and 0 it hardly matters
END_COST = 4.0  # what leaving the document's own end must gain, in margins: most whole machine texts stay whole


def runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of every stretch of flagged segments, in order."""
    padded = np.concatenate([[False], np.asarray(flags, dtype=bool), [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1])  # (2 r,)
    return [(int(first), int(after) - 1) for first, after in zip(changes[::2], changes[1::2], strict=True)]


def merge_passages(segments: Sequence[dict[str, Any]], positive: str) -> list[dict[str, Any]]:
    """Join adjacent segments labelled `positive` into passages, edges on the grid.

    Args:
        segments: Segments in reading order, with "start", "end", "label", "score" and "adjusted_p_value".
        positive: The label that counts as flagged.

    Returns:
        Dicts of "start", "end", "score" and "adjusted_p_value". A passage's score is the mean of its segments' scores
        weighted by characters; its adjusted p-value is the largest among them, so each was rejected at that level.
    """
    passages = []
    for first, last in runs([segment["label"] == positive for segment in segments]):
        members = segments[first : last + 1]
        lengths = [member["end"] - member["start"] for member in members]
        weights = lengths if sum(lengths) else None
        passages.append(
            {
                "start": members[0]["start"],
                "end": members[-1]["end"],
                "score": float(np.average([member["score"] for member in members], weights=weights)),
                "adjusted_p_value": max(member["adjusted_p_value"] for member in members),
            }
        )
    return passages


def edge_segments(flags: Sequence[bool]) -> list[int]:
    """Indices of the segments that a second look must read: the ends of every run and their unflagged neighbours."""
    near = {index for first, last in runs(flags) for index in (first - 1, first, last, last + 1)}
    return sorted(index for index in near if 0 <= index < len(flags))


def block_margins(
    n_blocks: int, wanted: Sequence[int], score: Callable[[list[tuple[int, int]]], np.ndarray]
) -> np.ndarray:
    """Score some blocks of a document, each in the window that it shares with a neighbour.

    Blocks 0 and 1 share a window, 2 and 3 the next; where their number is odd, the last is scored with the one before it.

    Args:
        n_blocks: Number n of blocks of the document.
        wanted: Indices of the blocks to score.
        score: w windows, given as (first block, block after the last), -> their margins, shape (w,).

    Returns:
        Margins, shape (n,), nan for blocks not wanted. They do not depend on which others are wanted.
    """
    margins = np.full(n_blocks, np.nan)  # (n,)
    last = max(n_blocks - 2, 0)  # window k holds blocks k and k + 1
    window_of = {block: min(block - block % 2, last) for block in wanted}
    windows = sorted(set(window_of.values()))
    if windows:
        scores = dict(zip(windows, score([(k, min(k + 2, n_blocks)) for k in windows]), strict=True))
        for block, window in window_of.items():
            margins[block] = scores[window]
    return margins


def refine_passages(
    segments: Sequence[dict[str, Any]],
    positive: str,
    starts: np.ndarray,
    tokens: np.ndarray,
    margins: np.ndarray,
    threshold: float = THRESHOLD,
    end_cost: float = END_COST,
) -> list[dict[str, Any]]:
    """As `merge_passages`, with every edge moved to the best switch among the block edges near it.

    Args:
        segments: See `merge_passages`; they tile the document.
        positive: See `merge_passages`.
        starts: First character of each of the n blocks, ascending, shape (n,).
        tokens: Tokens of each block, shape (n,).
        margins: Logit margins of the blocks, shape (n,); nan where unknown: edges never move into such blocks.
        threshold: Margin above which a block speaks for the passage.
        end_cost: What leaving the document's first or last character must gain, in margins of full blocks; inf never
            leaves them.

    Returns:
        As many passages as `merge_passages` gives, disjoint and in order; score and p-value are those of the flagged
        segments.

    Raises:
        ValueError: If the three arrays differ in shape.
    """
    if not starts.shape == tokens.shape == margins.shape:
        raise ValueError(f"Blocks have {starts.shape} starts, {tokens.shape} token counts and {margins.shape} margins.")
    flags = [segment["label"] == positive for segment in segments]
    known = np.isfinite(margins)
    ends = np.append(starts[1:], segments[-1]["end"])  # (n,)
    gains = np.where(known, (margins - threshold) * tokens / BLOCK_TOKENS, 0.0)
    total = np.concatenate([[0.0], np.cumsum(gains)])  # (n + 1,): gains of the blocks before each

    passages, used = merge_passages(segments, positive), 0  # characters before `used` belong to earlier passages
    for passage, (first, last) in zip(passages, runs(flags), strict=True):
        opening, closing = first == 0, last == len(flags) - 1
        low = segments[first if opening else first - 1]["start"]
        high = segments[last if closing else last + 1]["end"]
        shared = not closing and last + 2 < len(flags) and flags[last + 2]  # the next passage may come as close
        left = _edges(passage["start"], max(low, used), segments[first]["end"] - 1, starts[known])
        right = _edges(passage["end"], segments[last]["start"] + 1, high - shared, ends[known])
        # (left, right): gain of every pair of edges over the blocks between them
        gain = total[np.searchsorted(starts, right)][None, :] - total[np.searchsorted(starts, left)][:, None]
        if opening:
            gain = gain - np.where(left == passage["start"], 0.0, end_cost)[:, None]
        if closing:
            gain = gain - np.where(right == passage["end"], 0.0, end_cost)[None, :]
        gain = np.where(left[:, None] < right[None, :], gain, -np.inf)
        if np.isfinite(gain).any():
            i, j = np.unravel_index(np.argmax(gain), gain.shape)
            passage["start"], passage["end"] = int(left[i]), int(right[j])
        used = passage["end"] + 1
    return passages


def _edges(grid: int, low: int, high: int, bounds: np.ndarray) -> np.ndarray:
    """Positions an edge may take: its place on the grid, then the block bounds in [low, high]; the first wins ties."""
    inside = bounds[(bounds >= low) & (bounds <= high) & (bounds != grid)]
    return np.concatenate([[grid], inside]).astype(np.int64)
