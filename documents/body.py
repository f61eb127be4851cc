"""Blocks -> the same blocks, marked where they are headings, references or code: what is not the author's running text.

Where a file says what a block is (a style, a tag), that stands. Lines of plain text and PDF are recognised by their
looks, and only where the looks are plain: what is in doubt stays body.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mvh.documents.blocks import BODY, Block
from mvh.documents.plain import text_blocks
from mvh.documents.reference_list import LONGEST_TITLE, is_references_title, list_end

CODE_END = re.compile(r"(?:[{}]|(?:=|\w\().*;|\w\(.*\)\s*:|=>|\\)$")  # of a stripped line
CODE_START = re.compile(
    r"(?:(?:from\s+[\w.]+\s+)?import\s+[\w.*{]|def\s+\w+\s*\(|class\s+\w+\s*[(:{]|#include\b|return\b.*[;)]$|"
    r"(?:for|while|if)\s*\(.*\)\s*\{?$|(?:const|let|var)\s+\w+\s*=|\w+(?:\.\w+)*\s*[-+*/]?=\s*\S|>>>(?:\s|$)|\$\s+\w|</?\w+[^>]*>$)"
)
NUMBERED_TITLE = re.compile(r"(?:\d{1,2}(?:\.\d{1,2})*\.?|[IVX]+\.)\s+[^\W\d_]")
SENTENCE_ENDS = '.!?:…。！？؟।"”»’)]'
LEAST_CODE_LINES = 3
LONGEST_CODE_END = 120  # characters of a line whose end is asked


def mark_body(blocks: Sequence[Block], by_looks: bool) -> list[Block]:
    """Mark references and, where lines are known by their looks only, code and headings.

    Args:
        blocks: A document's blocks; those marked by their reader stay so.
        by_looks: The file has no markup (plain text, PDF), so titles and code are guessed from the lines.
    """
    marked = _code(_references(blocks, by_looks))
    return [
        replace(block, kind="heading") if by_looks and block.kind == BODY and _title_line(marked, index) else block
        for index, block in enumerate(marked)
    ]


@dataclass(frozen=True)
class Body:
    """The running text of a plain text, and where it stands there.

    Attributes:
        text: What was kept.
        starts: First character of each kept piece in `text`, ascending.
        origins: The same in the whole text.
    """

    text: str
    starts: list[int]
    origins: list[int]

    def back(self, result: dict[str, Any]) -> dict[str, Any]:
        """A detector's result for `text`, its segments and passages placed in the whole text."""
        spans = ("segments", "passages")
        return result | {
            name: [span | self._place(span["start"], span["end"]) for span in result[name]] for name in spans
        }

    def _place(self, start: int, end: int) -> dict[str, int]:
        first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, max(start, end - 1)) - 1
        return {
            "start": self.origins[first] + start - self.starts[first],
            "end": self.origins[last] + end - self.starts[last],
        }


def body_of(text: str) -> Body:
    """The body of a plain text such as a row of a table: without titles, references and code, as its lines look."""
    return body_from(marked_lines(text))


def marked_lines(text: str) -> list[Block]:
    """The lines of a plain text, marked by their looks."""
    return mark_body(text_blocks(text), by_looks=True)


def body_from(blocks: Sequence[Block]) -> Body:
    """The body among the marked blocks of a text, which they tile."""
    kept: list[str] = []
    starts: list[int] = []
    origins: list[int] = []
    position = origin = 0
    for block in blocks:
        if block.kind == BODY:
            if not origins or origin != origins[-1] + position - starts[-1]:  # a piece begins
                starts.append(position)
                origins.append(origin)
            kept.append(block.text)
            position += len(block.text)
        origin += len(block.text)
    return Body("".join(kept), starts, origins)


def _references(blocks: Sequence[Block], by_looks: bool) -> list[Block]:
    result = list(blocks)
    index = 0
    while index < len(blocks):
        title = blocks[index]
        end = index
        if (by_looks or title.kind == "heading") and is_references_title(title.text):
            end = list_end(blocks, index, lambda other: by_looks and _title_line(blocks, other))
        for inside in range(index, end):
            if blocks[inside].kind in (BODY, "heading"):
                result[inside] = replace(blocks[inside], kind="references")
        index = max(index + 1, end)
    return result


def _code(blocks: Sequence[Block]) -> list[Block]:
    """Mark runs of at least three lines that look like code; a blank or closing line inside a run belongs to it."""
    looks = [block.kind == BODY and _code_line(block.text.strip()) for block in blocks]
    result = list(blocks)
    begin = 0
    while begin < len(blocks):
        if not looks[begin]:
            begin += 1
            continue
        end = last = begin
        while end < len(blocks) and blocks[end].kind == BODY and end - last <= 2:
            last = end if looks[end] else last
            end += 1
        run = range(begin, last + 1)
        filled = [index for index in run if blocks[index].text.strip()]
        if sum(looks[index] for index in run) >= LEAST_CODE_LINES and sum(looks[i] for i in filled) * 3 >= 2 * len(
            filled
        ):
            for index in run:
                result[index] = replace(blocks[index], kind="code")
        begin = last + 1
    return result


def _code_line(line: str) -> bool:
    """Whether a stripped line looks like code; the patterns for ends are not linear, so a long line is not asked."""
    return CODE_START.match(line) is not None or (len(line) < LONGEST_CODE_END and CODE_END.search(line) is not None)


def _title_line(blocks: Sequence[Block], index: int) -> bool:
    """A short line as papers set their titles, `3.1 Results` or `METHODS`: apart from sentences, and in no list of such.

    A title stands after a blank line, a sentence's end or what is no body, and the next line begins no word in the middle of
    a sentence. So a wrapped line that happens to begin with a number stays body.
    """
    line = blocks[index].text.strip() if len(blocks[index].text) <= 2 * LONGEST_TITLE else ""
    if not 2 < len(line) <= LONGEST_TITLE or line[-1] in ".,;:!?-–。！？" or len(line.split()) > 10:
        return False
    numbered = NUMBERED_TITLE.match(line)
    if not (line.isupper() and len(line) > 4 if numbered is None else not line[numbered.end() - 1].islower()):
        return False
    before, after = blocks[max(0, index - 3) : index][::-1], blocks[index + 1 : index + 4]
    if before and before[0].kind == BODY and (last := before[0].text.strip()) and last[-1] not in SENTENCE_ENDS:
        return False
    following, *_ = [text for block in after if (text := block.text.strip())] or [""]
    if following[:1].islower():
        return False
    neighbours = [text for block in (*before, *after) if (text := block.text.strip())]
    if numbered:
        return not any(NUMBERED_TITLE.match(text) for text in neighbours)
    return not any(text.isupper() for text in neighbours)
