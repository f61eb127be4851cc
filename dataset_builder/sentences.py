"""A text -> sentences, and the pieces a back-end can take, as spans: what lies between them is white space or nothing.

The rules hold for the scripts of the published data: Latin, Cyrillic and Arabic end marks need white space behind them,
Chinese ones do not; an abbreviation, an initial or the number of a list item ends no sentence, nor does a mark before a
small letter. A line break ends one unless the next line goes on with a small letter, as in hard-wrapped text. In a text
without capitals small letters say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

Span = tuple[int, int]  # characters [start, end) of a text

CLOSING = "\"'”’»)\\]」』”’）"
BOUND = re.compile(
    rf"[.!?…]+[{CLOSING}]*(?=\s)|[؟۔।]+[{CLOSING}]*(?=\s|$)|[。！？｡]+[{CLOSING}]*|[ \t\r\f\v]*\n\s*",
)
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr vs etc e.g i.e cf al approx fig figs eq eqs no nos vol pp ed eds dept inc ltd co corp "
    "jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m u.s u.k u.n ph.d "
    "т.е т.д т.п т.к т.н др пр см рис табл стр гл г гг в вв ул им проф акад тыс млн млрд руб коп напр "
    "z.b d.h u.a bzw ca nr usw".split()
)
CLAUSE = re.compile(r"[,;:—–](?=\s)|[，、；：،؛]")
SPACE = re.compile(r"\s+")


def split_sentences(text: str) -> list[Span]:
    """Spans of the sentences, in order, without white space at their ends; the rest of the text is white space."""
    capitals = any(map(str.isupper, text))
    ends = [match.end() for match in BOUND.finditer(text) if _is_bound(text, match, capitals)]
    return trimmed(text, zip([0, *ends], [*ends, len(text)], strict=True))


def trimmed(text: str, spans: Iterable[Span]) -> list[Span]:
    """The spans without white space at their ends; spans of white space alone are left out."""
    kept = []
    for start, end in spans:
        inside = text[start:end].strip()
        if inside:
            start += len(text[start:end]) - len(text[start:end].lstrip())
            kept.append((start, start + len(inside)))
    return kept


def cut_long(text: str, span: Span, fits: Callable[[str], bool]) -> list[Span]:
    """Cut a span that does not fit into ones that do, and lose nothing.

    Halved, again and again: after the clause mark nearest the middle, if one lies in the middle half, else at the
    nearest white space, else in the middle of a word that does not fit by itself.

    Args:
        text: The text the span belongs to.
        span: What to cut.
        fits: Whether a back-end can take such a piece. A single character is not cut further.
    """
    start, end = span
    if end - start < 2 or fits(text[start:end]):
        return [span]
    inside, middle = text[start:end], (end - start) / 2
    clauses = [match.end() for match in CLAUSE.finditer(inside) if abs(match.end() - middle) <= middle / 2]
    spaces = [match.start() for match in SPACE.finditer(inside)]
    at = start + min(clauses or spaces or [int(middle)], key=lambda cut: abs(cut - middle))
    return [piece for half in trimmed(text, [(start, at), (at, end)]) for piece in cut_long(text, half, fits)]


def pack(text: str, spans: Sequence[Span], fits: Callable[[str], bool]) -> list[Span]:
    """Join neighbouring spans of one line for as long as they fit together: fewer requests to a distant back-end."""
    packed: list[Span] = []
    for start, end in spans:
        if packed and "\n" not in text[packed[-1][0] : end] and fits(text[packed[-1][0] : end]):
            packed[-1] = (packed[-1][0], end)
        else:
            packed.append((start, end))
    return packed


def replace_spans(text: str, replacements: Sequence[tuple[Span, str]]) -> str:
    """The text with each span, sorted and disjoint, replaced; every character between them stays as it is."""
    parts, done = [], 0
    for (start, end), new in replacements:
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]])


def _is_bound(text: str, match: re.Match[str], capitals: bool) -> bool:
    """Whether what looks like the end of a sentence is one, in a text with `capitals` or without."""
    following = text[match.end() : match.end() + 20].lstrip()[:1]
    goes_on = capitals and following.islower()
    if "\n" in match[0]:
        return match[0].count("\n") > 1 or not goes_on
    if match[0][0] != ".":
        return not goes_on or match[0][0] in "。！？｡؟۔।"
    if goes_on:
        return False
    if match[0] != ".":
        return True
    word = re.search(r"[\w.]*$", text[max(0, match.start() - 20) : match.start()])
    before = word[0] if word else ""
    if before.isdecimal():  # "1. First" at the head of a line
        return text[: match.start() - len(before)].rpartition("\n")[2].strip() != ""
    return before.lower() not in ABBREVIATIONS and not re.search(r"(^|\.)[^\W\d_]$", before)
