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

REFERENCES = frozenset(
    "references|bibliography|works cited|literature|literature cited|reference list|literatur|literaturverzeichnis|quellen|"
    "bibliographie|références|références bibliographiques|bibliografía|referencias|bibliografia|riferimenti|"
    "riferimenti bibliografici|referências|literatuur|referenser|litteratur|daftar pustaka|referensi|"
    "список литературы|литература|библиография|список использованных источников|список використаних джерел|література|"
    "използвана литература|参考文献|參考文獻|المراجع|المصادر|حوالہ جات|מקורות|ביבליוגרפיה".split("|")
)
AFTER_REFERENCES = re.compile(
    r"(appendix|appendices|annex|supplement\w*|anhang|anexo|annexe|appendice|приложени[ея]|додат\w+|附录|附錄)\b",
    re.IGNORECASE,
)
NUMBERING = re.compile(r"^\W*(?:(?:[\dIVXivx]+|[A-Z])[.)]?\s+)?|[\s:.*_#]+$")
CITED = re.compile(r"\b(?:1[89]|20)\d\d[a-z]?\b|^\s*\[\d+\]|\bdoi\b|https?://", re.IGNORECASE)
CODE_END = re.compile(r"(?:[{}]|(?:=|\w\().*;|\w\(.*\)\s*:|=>|\\)\s*$")
CODE_START = re.compile(
    r"^\s*(?:(?:from\s+[\w.]+\s+)?import\s+[\w.*{]|def\s+\w+\s*\(|class\s+\w+\s*[(:{]|#include\b|return\b.*[;)]\s*$|"
    r"(?:for|while|if)\s*\(.*\)\s*\{?\s*$|(?:const|let|var)\s+\w+\s*=|\w+(?:\.\w+)*\s*[-+*/]?=\s*\S|>>>\s|\$\s+\w|</?\w+[^>]*>\s*$)"
)
NUMBERED_TITLE = re.compile(r"(?:\d{1,2}(?:\.\d{1,2})*\.?|[IVX]+\.)\s+[^\W\d_]")
LEAST_CODE_LINES = 3


def is_references_title(text: str) -> bool:
    """Whether a line or heading names a list of references, numbering aside."""
    return NUMBERING.sub("", text.strip()).casefold() in REFERENCES


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
    kept: list[str] = []
    starts: list[int] = []
    origins: list[int] = []
    position = origin = 0
    for block in mark_body(text_blocks(text), by_looks=True):
        if block.kind == BODY:
            if not origins or origin != origins[-1] + position - starts[-1]:  # a piece begins
                starts.append(position)
                origins.append(origin)
            kept.append(block.text)
            position += len(block.text)
        origin += len(block.text)
    return Body("".join(kept), starts, origins)


def _references(blocks: Sequence[Block], by_looks: bool) -> list[Block]:
    result: list[Block] = []
    inside, level = False, None
    for index, block in enumerate(blocks):
        heading = block.kind == "heading"
        if is_references_title(block.text) and (heading or (by_looks and _cites(blocks[index + 1 :]))):
            inside, level = True, block.level
        elif inside and (_ends(block, level) if heading else by_looks and _names_appendix(block.text)):
            inside = False
        result.append(replace(block, kind="references") if inside and block.kind in (BODY, "heading") else block)
    return result


def _ends(heading: Block, level: int | None) -> bool:
    """Whether a heading ends the references that a heading of `level` began: the same level or above, or none known."""
    return heading.level is None or level is None or heading.level <= level


def _names_appendix(line: str) -> bool:
    return len(line.strip()) <= 80 and AFTER_REFERENCES.match(NUMBERING.sub("", line.strip())) is not None


def _cites(following: Sequence[Block], looked_at: int = 16) -> bool:
    """Whether the next lines look like entries: an entry of three lines has a year, a number or an address."""
    lines = [block.text for block in following[: 3 * looked_at] if block.text.strip()][:looked_at]
    return sum(CITED.search(line) is not None for line in lines) * 4 >= max(len(lines), 1)


def _code(blocks: Sequence[Block]) -> list[Block]:
    """Mark runs of at least three lines that look like code; a blank or closing line inside a run belongs to it."""
    looks = [block.kind == BODY and _code_line(block.text) for block in blocks]
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
    return CODE_START.match(line) is not None or (CODE_END.search(line) is not None and len(line) < 120)


def _title_line(blocks: Sequence[Block], index: int) -> bool:
    """A short line as papers set their titles, `3.1 Results` or `METHODS`, and no item of a list of such."""
    line = blocks[index].text.strip()
    if not 2 < len(line) <= 80 or line[-1] in ".,;:!?-–。！？" or len(line.split()) > 10:
        return False
    around = [
        block.text.strip() for block in (*blocks[max(0, index - 3) : index][::-1], *blocks[index + 1 : index + 4])
    ]
    neighbours = [text for text in around if text]
    if NUMBERED_TITLE.match(line):
        return not any(NUMBERED_TITLE.match(text) for text in neighbours)
    return line.isupper() and len(line) > 4 and not any(text.isupper() for text in neighbours)
