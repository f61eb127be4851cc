"""A document's text -> blocks for a page: cut at page and paragraph ends, every passage and segment border in its place.

Nothing is added to the text and nothing is lost: joined together, the runs of all blocks are the text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

BLOCK = 4_000  # characters after which a block ends at the next end of a line: browsers skip blocks out of sight
LONGEST_BLOCK = 12_000  # a line longer than this is cut at a space, or anywhere
SHADES = (1.0, 1 / 5, 1 / 20)  # the shade darkens where the adjusted p-value is at most alpha times this


class Run(NamedTuple):
    """Text within one segment: `shade` 0 (not flagged) to 3; `segment` is the segment's number where one begins here."""

    text: str
    shade: int
    segment: int | None


class Part(NamedTuple):
    """Runs inside one passage (numbered from 1), or between passages (None); `first` and `last` of that passage."""

    passage: int | None
    first: bool
    last: bool
    runs: list[Run]


class Block(NamedTuple):
    """A stretch of the text; `page` is the page's number where a page begins here."""

    page: int | None
    parts: list[Part]


def shade(adjusted_p_value: float, alpha: float) -> int:
    """How dark a flagged stretch is drawn: 0 (above alpha), or 1 to 3."""
    return sum(adjusted_p_value <= alpha * factor for factor in SHADES)


def blocks(text: str, result: dict[str, Any], pages: Sequence[tuple[int, int, int]] = ()) -> list[Block]:
    """Cut a text for the page.

    Args:
        text: The document.
        result: Its result; passages and segments are in order and disjoint.
        pages: (number, start, end) of the document's pages in order, in characters; text between two pages goes with the
            page before.

    Raises:
        ValueError: If the result or the pages reach beyond the text: they belong to another one.
    """
    for what, end in (
        *(("result", span["end"]) for span in (result["segments"][-1:] + result["passages"][-1:])),
        *(("last page", end) for _, _, end in pages[-1:]),
    ):
        if end > len(text):
            raise ValueError(
                f"The {what} ends at character {end:,} and the text has {len(text):,}: they do not belong together."
            )
    numbers = {start: number for number, start, _ in reversed(pages)}
    bounds = [0, *sorted(start for start in numbers if 0 < start < len(text)), len(text)]
    cut: list[Block] = []
    spans = _Spans(result)
    for low, high in zip(bounds, bounds[1:], strict=False):
        start = low
        while start < high:
            end = _block_end(text, start, high)
            cut.append(Block(numbers.get(start) if start == low else None, spans.parts(text, start, end)))
            start = end
    return cut


def _block_end(text: str, start: int, limit: int) -> int:
    """Where the block that begins at `start` ends: after a line, else after a space, else anywhere."""
    if limit - start <= BLOCK:
        return limit
    line = text.find("\n", start + BLOCK, min(limit, start + LONGEST_BLOCK))
    if line >= 0:
        return line + 1
    if limit - start <= LONGEST_BLOCK:
        return limit
    longest = start + LONGEST_BLOCK
    for sign in (" ", "。", "؟", "."):
        if (found := text.rfind(sign, start + BLOCK, longest)) >= 0:
            return found + 1
    return longest


class _Spans:
    """Segments and passages of a result, ready to be looked up by position."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.alpha = result["alpha"] or 0.0
        self.segments, self.passages = result["segments"], result["passages"]
        self.segment_starts = [segment["start"] for segment in self.segments]
        self.passage_starts = [passage["start"] for passage in self.passages]
        edges = {*self.segment_starts, *self.passage_starts, *(passage["end"] for passage in self.passages)}
        self.edges = sorted(edges)

    def parts(self, text: str, start: int, end: int) -> list[Part]:
        """The parts of text[start:end]."""
        inside = self.edges[bisect_right(self.edges, start) : bisect_right(self.edges, end - 1)]
        found: list[Part] = []
        for low, high in zip([start, *inside], [*inside, end], strict=True):
            index = bisect_right(self.passage_starts, low) - 1
            passage = index if index >= 0 and low < self.passages[index]["end"] else None
            run = Run(text[low:high], self._shade(passage, low), self._border(low))
            if found and found[-1].passage == (None if passage is None else passage + 1):
                found[-1].runs.append(run)
            elif passage is None:
                found.append(Part(None, False, False, [run]))
            else:
                begins = low == self.passages[passage]["start"]
                found.append(Part(passage + 1, begins, self.passages[passage]["end"] <= end, [run]))
        return found

    def _shade(self, passage: int | None, position: int) -> int:
        """By the segment's p-value; a passage's edge may lie in an unflagged neighbour: there by the passage's own."""
        if passage is None:
            return 0
        p_value = self.passages[passage]["adjusted_p_value"]
        index = bisect_right(self.segment_starts, position) - 1
        if index >= 0 and self.segments[index]["adjusted_p_value"] <= self.alpha:
            p_value = self.segments[index]["adjusted_p_value"]
        return max(1, shade(p_value, self.alpha))

    def _border(self, position: int) -> int | None:
        index = bisect_right(self.segment_starts, position) - 1
        return index + 1 if index > 0 and self.segment_starts[index] == position else None
