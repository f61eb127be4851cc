"""Where a list of references begins and ends: it is a list as long as the text looks like entries, whatever its title says.

A chapter may be called "Literature" and cite in its sentences, and a chapter may follow a list of references. So the text
after a title is read in stretches of about the length of an entry. A stretch looks like entries where it bears a mark that
entries bear and sentences hardly do: `Smith, J.`, `[12]`, `(2019). T`, `2019, 12`, an address. `Smith (2019) argues` and
`(Smith, 2019)` are no marks. What is in doubt is no list.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from mvh.documents.blocks import BODY, Block

REFERENCES = frozenset(
    "references|bibliography|works cited|literature|literature cited|reference list|literatur|literaturverzeichnis|quellen|"
    "bibliographie|références|références bibliographiques|bibliografía|referencias|bibliografia|riferimenti|"
    "riferimenti bibliografici|referências|literatuur|referenser|litteratur|daftar pustaka|referensi|"
    "список литературы|литература|библиография|список использованных источников|список використаних джерел|література|"
    "използвана литература|参考文献|參考文獻|المراجع|المصادر|حوالہ جات|מקורות|ביבליוגרפיה".split("|")
)
OTHER_PART = re.compile(
    r"(?:(?:appendix|appendices|annex|supplement\w*|anhang|anexo|annexe|appendice|приложени[ея]|додат\w+|附录|附錄)\b"
    r"|(?:chapter|kapitel|chapitre|cap[ií]tulo|capitolo|hoofdstuk|kapittel|глава|розділ)\s+\w|第.{1,4}章)",
    re.IGNORECASE,
)
NUMBERING = re.compile(r"^\W*(?:(?:[\dIVXivx]+|[A-Z])[.)]?\s+)?|[\s:.*_#]+$")
LONGEST_TITLE = 80  # characters
CAPITAL = "A-ZÀ-ÖØ-ÞΑ-ΩА-ЯЁІЇЄҐ"  # Latin, Greek, Cyrillic
YEAR = r"(?:1[5-9]|20)\d\d[a-z]?"
BEGINS = rf"""["“”'‘«„{CAPITAL}]"""  # a title, quoted or not
ENTRY_MARK = re.compile(
    rf"""
    ^[ \t]{{0,9}}[\[［]\d{{1,4}}[\]］]\s{{0,3}}(?:$|{BEGINS}|[^\W\d_a-zß-ÿа-яіїєґ])  # [12] Smith
    | (?i:\bdoi\b|https?://|\bwww\.|\bisbn\b|\bvol\.\s?\d)
    | [^\W\d_],\s{{1,3}}[{CAPITAL}]\.                               # Smith, J.
    | \b[{CAPITAL}]\w{{1,30}}\s{{1,3}}[{CAPITAL}]\.\s?[{CAPITAL}]\.  # Иванов И. И.
    | (?:^|[,;&]\s)\W{{0,3}}(?:[{CAPITAL}]\.[ -]?){{1,4}}[{CAPITAL}]\w  # J. R. Smith
    | \b\d{{1,4}}\s?\(\d{{1,4}}(?:[-–]\d{{1,4}})?\)                 # 12(3)
    | [(\[]{YEAR}(?:,\s\w{{3,12}}(?:\s\d\d?)?)?[)\]]              # (2019). Title; (2019, May 5) "Title"; (2019), 45; (2019)
      (?:[.:]?\s{{1,3}}{BEGINS}|,\s(?:\d|pp?\.)|\s{{0,3}}$)
    | (?:^|[.,:;)—–]|\b[{CAPITAL}]\w{{0,30}})\s{{0,3}}\b{YEAR}      # Press, 1999. Nature 2019;12 Smith. 1999. Title
      (?:[.:]\s{{1,3}}{BEGINS}|\.\s{{1,3}}[—–\d]|[,;]\s?(?:\d|[CcСс]\.)|\.?\s{{0,3}}$)
    """,
    re.VERBOSE | re.MULTILINE,
)
STRETCH = 200  # characters: about an entry
WINDOW = 5  # stretches that decide in doubt
LEAST_ENTRIES = 0.5  # of a window's stretches, for a list


def is_references_title(text: str) -> bool:
    """Whether a line or heading names a list of references, numbering aside."""
    title = text.strip()
    return len(title) <= LONGEST_TITLE and NUMBERING.sub("", title).casefold() in REFERENCES


def list_end(blocks: Sequence[Block], title: int, is_title: Callable[[int], bool]) -> int:
    """Index of the first block after the list of references under a title; the title's own index where there is none.

    The list ends at a heading of its level or above, at an appendix or chapter, and where the stretches ahead look like
    entries no longer. To begin, most of the next stretches must; to go on one must, after a title of another kind two, and
    where one does not, most of the next.

    Args:
        blocks: A document's blocks.
        title: Index of the title.
        is_title: Whether the block of an index looks like a title of any kind.
    """
    stretches = _stretches(blocks, title, is_title)
    ahead = deque(islice(stretches, WINDOW))
    end = last_entry = title
    while ahead:
        now = ahead[0]
        mostly = sum(stretch.cites for stretch in ahead) >= LEAST_ENTRIES * len(ahead)
        begun = end > title
        if not mostly and not (begun and all(stretch.cites for stretch in islice(ahead, 1 + now.titled))):
            return last_entry
        end, last_entry = now.stop, now.last_entry if now.cites else last_entry
        ahead.popleft()
        ahead.extend(islice(stretches, 1))
    return end


@dataclass(frozen=True)
class _Stretch:
    """Some blocks in a row: whether they look like entries, where they and the last entry end, whether a title begins."""

    cites: bool
    stop: int
    last_entry: int
    titled: bool


def _stretches(blocks: Sequence[Block], title: int, is_title: Callable[[int], bool]) -> Iterator[_Stretch]:
    """The text under a title in stretches, up to where its list must end."""
    first, titled, length = title + 1, False, 0
    for index in range(title + 1, len(blocks)):
        block = blocks[index]
        if _must_end(block, blocks[title]):
            if length:
                yield _stretch(blocks, first, index, titled)
            return
        if titles := block.kind == "heading" or (length > 0 and is_title(index)):
            if length:
                yield _stretch(blocks, first, index, titled)
            first, titled, length = index, True, 0
        elif block.kind == BODY and (written := len(block.text.strip())):
            length += written
        if length >= STRETCH and not titles:
            yield _stretch(blocks, first, index + 1, titled)
            first, titled, length = index + 1, False, 0
    if length:
        yield _stretch(blocks, first, len(blocks), titled)


def _must_end(block: Block, title: Block) -> bool:
    """Whether a block ends a list under a title whatever follows: a heading that is no deeper, a chapter, another list."""
    above = block.level is None or title.level is None or block.level <= title.level
    if block.kind == "heading" and above or is_references_title(block.text):
        return True
    text = block.text.strip()
    return (
        len(text) <= LONGEST_TITLE
        and OTHER_PART.match(NUMBERING.sub("", text)) is not None
        and ENTRY_MARK.search(text) is None
    )


def _stretch(blocks: Sequence[Block], first: int, stop: int, titled: bool) -> _Stretch:
    length, last_entry = 0, first
    marked: set[int] = set()  # the parts of a stretch's length that bear a mark
    for index in range(first, stop):
        block = blocks[index]
        if block.kind != BODY:
            continue
        text = block.text.strip()
        found = {(length + match.start()) // STRETCH for match in ENTRY_MARK.finditer(text)}
        marked |= found
        last_entry = index + 1 if found else last_entry
        length += len(text)
    return _Stretch(2 * len(marked) * STRETCH >= length, stop, last_entry, titled)
