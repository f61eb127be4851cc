"""Text -> text a detector may trust, with offsets back to the original.

Line breaks, invisible characters, look-alike letters, markdown, quote shapes and the spacing of punctuation come from
the channel a text went through (a word processor, a corpus reader, a chat window, an attacker), not from its author.
In training corpora they give the label away, so they are folded before training and before detection alike.

Every step is a function text -> edits, where an edit `(start, end, replacement)` says what to put in place of
`text[start:end]`; edits are sorted and disjoint. Steps run in the order of `STEPS`, each on the result of the one
before; those of `OPTIONAL_STEPS` run only where they are named. A step leaves a list of breakpoints behind, and
`NormalizedText.to_original` walks these lists backwards: no array has one entry per character, so a text of ten
megabytes costs seconds and a few times its own size.

Normalising twice changes nothing on ordinary text. Some nests need a second pass, since the first one uncovers what the
second one folds: a list number or mark within another at the very start of a text (`1. ` alone above `Word`), an image
within a link, lone quotation marks beside other marks.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape

from .homoglyphs_mvh import LETTER, Edit, homoglyphs
from .removal_mvh import stop_words, symbols

NORMALIZER_VERSION = "2"  # raised when texts of the kind that calibrations hold come out otherwise

Breakpoints = tuple[array, array, array]  # per edit that moves text: end in the new text, start and end in the old


# --- 1 invisible ---

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+|[\ud800-\udfff]"
)
_BLANK = re.compile("[\u115f\u1160\u3164\uffa0]")  # fillers of Hangul: they show as a space
_NON_JOINER_SCRIPTS = re.compile("[\u0600-\u08ff\u0900-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc]")
_JOINER_SCRIPTS = re.compile("[\u0900-\u0dff\u1000-\u109f]")
_EMOJI = re.compile("[\u00a9\u00ae\u2190-\u2bff\u3030\u303d\U0001f000-\U0001faff]")


def _kept_joiner(run: str, before: str, after: str) -> str:
    """The one joiner that a run of invisible characters keeps: ZWNJ in Arabic and Indic, ZWJ in Indic and emoji."""
    for mark in run:
        if mark == "\u200c" and _NON_JOINER_SCRIPTS.match(before) and _NON_JOINER_SCRIPTS.match(after):
            return mark
        if mark == "\u200d" and any(kind.match(before) and kind.match(after) for kind in (_JOINER_SCRIPTS, _EMOJI)):
            return mark
    return ""


def invisible(text: str) -> list[Edit]:
    """Invisible characters -> nothing, or a space where they show as one; lone surrogates -> U+FFFD.

    Controls (NUL too), soft hyphens, zero-width characters, direction marks, byte order marks, variation selectors
    and tag characters come from copying, or from someone who hides a text from detectors. A single joiner stays where
    a script needs it: ZWNJ between Arabic or Indic letters, ZWJ between Indic letters or emoji.
    """
    edits = []
    for match in _INVISIBLE.finditer(text):
        start, end = match.span()
        if "\ud800" <= text[start] <= "\udfff":
            kept = "\ufffd"
        elif _BLANK.search(match.group()):
            kept = " "
        elif start and end < len(text):
            kept = _kept_joiner(match.group(), text[start - 1], text[end])
        else:
            kept = ""
        if kept != match.group():
            edits.append((start, end, kept))
    return edits


# --- 2 escapes ---

_ESCAPE = re.compile(
    r"(?:(?:\\r)?\\n){2,}|(?:\\r)?\\n(?![a-z])|<[bB][rR]\s{0,9}/?>"
    r"|&(?:amp;){0,9}(?P<entity>amp|lt|gt|quot|apos|nbsp|#0?39|#x27);"
)


def escapes(text: str) -> list[Edit]:
    r"""What a reader of JSON or HTML left undone: a written-out `\n`, `<br />` -> a line break, `&gt;` -> `>`.

    A single `\n` before a lower-case letter stays: it may begin a LaTeX command (`\nu`).
    """
    return [
        (match.start(), match.end(), unescape(f"&{match['entity']};") if match["entity"] else "\n")
        for match in _ESCAPE.finditer(text)
    ]


# --- 3 lines ---

_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")


def lines(text: str) -> list[Edit]:
    r"""Every line or page break (CRLF, CR, vertical tab, form feed, NEL, U+2028, U+2029) -> `\n`: systems choose it."""
    return [(match.start(), match.end(), "\n") for match in _LINE_END.finditer(text)]


# --- 4 unicode ---

_COMPATIBLE = re.compile(
    "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\ufb00-\ufb06\u2102\u210a-\u210e\u2110-\u2113\u2115\u2119-\u211d\u2124\u2128"
    "\u212c\u212d\u212f-\u2131\u2133\u2134\u2139\u2145-\u2149\U0001d400-\U0001d7ff]"
)


# Blocks beyond the BMP that hold combining marks, named whole: a few ranges keep the pattern quick.
_WIDE_MARKS = (
    "\U00010a00-\U00011fff\U00016a00-\U00016fff\U0001bc00-\U0001bcff\U0001d165-\U0001d244\U0001da00-\U0001e94a"
)


@lru_cache(maxsize=1)
def _composing() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Two patterns: a run of more than 30 marks; a stretch that NFC may change (a base with marks, or a singleton)."""
    marks, singletons = [], []
    for code in range(0x300, 0xFFFF):
        if _is_mark(chr(code)):
            marks.append(chr(code))
        elif not 0xAC00 <= code <= 0xDFFF and not unicodedata.is_normalized("NFC", chr(code)):
            singletons.append(chr(code))
    mark = re.escape("".join(marks)) + _WIDE_MARKS
    alone = re.escape("".join(singletons)) + "\U0002f800-\U0002fa1d"
    return re.compile(f"[{mark}]{{31,}}"), re.compile(f"[^{mark}]?[{mark}]+|[{alone}]")


def _is_mark(character: str) -> bool:
    """Combining marks, and the vowels and finals of decomposed Hangul."""
    return unicodedata.category(character).startswith("M") or "\u1161" <= character <= "\u11c2"


def _stream_safe(stretch: str) -> str:
    """The stretch without what follows the thirtieth mark of a run."""
    if len(stretch) <= 31:
        return stretch
    kept, run = [], 0
    for character in stretch:
        run = run + 1 if _is_mark(character) else 0
        if run <= 30:
            kept.append(character)
    return "".join(kept)


def unicode(text: str) -> list[Edit]:
    """NFC, and plain letters for mathematical, full-width and ligature ones.

    Runs of combining marks are cut after 30, the Stream-Safe limit of UAX #15, which also keeps NFC linear.
    Compatibility folding stops at mathematical alphanumerics, full-width ASCII letters and digits, and Latin
    ligatures: Chinese full-width punctuation, superscripts and fractions stay.
    """
    if text.isascii():
        return []
    edits = [(match.start(), match.end(), _plain(match.group())) for match in _COMPATIBLE.finditer(text)]
    long_run, stretch = _composing()
    if long_run.search(text) is None and unicodedata.is_normalized("NFC", text):
        return edits
    for match in stretch.finditer(text):
        whole = match.group()
        composed = unicodedata.normalize("NFC", _plain(whole[0]) + _stream_safe(whole)[1:])
        if composed != whole:
            edits.append((match.start(), match.end(), composed))
    return _disjoint(sorted(edits, key=lambda edit: (edit[0], -edit[1])))


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    return unicodedata.normalize("NFKC", character) if _COMPATIBLE.match(character) else character


def _disjoint(edits: list[Edit]) -> list[Edit]:
    """Drops an edit that begins inside the one before it."""
    kept: list[Edit] = []
    for edit in edits:
        if not kept or edit[0] >= kept[-1][1]:
            kept.append(edit)
    return kept


# --- 6 markdown ---

_URL = r"\((?:[^()\s]|\([^()\s]{0,100}\)){1,400}(?: \"[^\"\n]{0,100}\")?\)"
_MARKDOWN = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})(?:[ \t]*[^\s`~]*[ \t]*$)?"
    r"|^[ \t]*(?P<rule>[-*_=][-*_= \t]+)$"
    r"|^[ \t]*(?P<row>\|[^\n]*)$"
    r"|^[ \t]*(?:(?:[-*+•‣◦▪●]|\#{1,6}|>+)(?:[ \t]+|$)|\d{1,3}[.)][ \t]+)+"
    r"|(?<!`)`(?P<code>[^`\n]{1,200})`(?!`)"
    rf"|!?\[(?=[^\[\]\n]{{0,300}}\]{_URL})|\]{_URL}"
    r"|(?<![\w*])\*{1,3}(?=[^\s*])|(?<=[^\s*])\*{1,3}(?![\w*])"
    r"|(?<!\w)_{1,3}(?=[^\s_])|(?<=[^\s_])_{1,3}(?!\w)"
    r"|(?<![\w~])~~(?=[^\s~])|(?<=[^\s~])~~(?![\w~])",
    re.MULTILINE,
)


def markdown(text: str) -> list[Edit]:
    """Markdown -> the words it marks up: chat windows and sites decide whether it is shown.

    Heading marks, bullets, list numbers and quote marks at line starts, horizontal rules, fences with the name of a
    language (of a line that goes on after a fence the words stay), table bars, code ticks, link targets. Emphasis marks go
    by CommonMark's flanking rules without pairing: a run that touches a word on one side only; so `2*3*4`, `5 * 3` and
    `snake_case` stay.
    """
    edits: list[Edit] = []
    for match in _MARKDOWN.finditer(text):
        start, end = match.span()
        if match["row"] is not None:
            if set(match["row"]) <= set("|-: \t"):
                edits.append((start, end, ""))
            else:
                edits += [(bar.start(), bar.end(), " ") for bar in re.compile(r"\|").finditer(text, start, end)]
        elif match["fence"] is not None:
            edits.append((start, end, ""))
            edits += _closing_fence(text, end)
        elif match["code"] is not None:
            edits += [(start, start + 1, ""), (end - 1, end, "")]
        elif match["rule"] is None or len(match["rule"].replace(" ", "").replace("\t", "")) > 2:
            edits.append((start, end, ""))
    return _disjoint(sorted(edits))


def _closing_fence(text: str, start: int) -> list[Edit]:
    """The marks that end a line which began with a fence, if any stand there: three of a kind, or more."""
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end]
    kept = line.rstrip(" \t")
    marks = len(kept) - len(kept.rstrip(kept[-1:])) if kept[-1:] in ("`", "~") else 0
    return [(start + len(kept) - marks, start + len(line), "")] if marks >= 3 else []


# --- 7 quotes ---

_QUOTE = re.compile("`` ?| ?''(?!\\w)|['‘’‚‛′`´]{2}|[“”„‟″‘’‚‛′`´…]")


def quotes(text: str) -> list[Edit]:
    """Curly and low quotes, primes, back ticks, Penn Treebank quotes -> ASCII; the ellipsis sign -> three dots.

    Word processors exchange these by themselves, so they say nothing about the author. Guillemets and dashes stay.
    """
    edits = []
    for match in _QUOTE.finditer(text):
        sign = match.group()
        replacement = "..." if sign == "…" else '"' if len(sign) > 1 or sign in "“”„‟″" else "'"
        edits.append((match.start(), match.end(), replacement))
    return edits


# --- 8 wrapping ---

_BLANKS = re.compile(
    rf"(?P<hyphen>(?<={LETTER})-[^\S\n]*\n[\s\u2800]*(?={LETTER}))"
    r"|[^\S ][\s\u2800]*|\u2800[\s\u2800]*| [\s\u2800]+"
)
_CJK = re.compile("[\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff9f\U00020000-\U0003ffff]")


def wrapping(text: str) -> list[Edit]:
    r"""Every run of white space -> one space; none at either end; words hyphenated at a line end are joined.

    Hard-wrapped and unwrapped text become the same, and so do paragraphs and lines: where lines end depends on who
    stored the text. `exam-\nple` loses hyphen and break before a lower-case letter; a line break between two CJK
    characters vanishes.
    """
    edits: list[Edit] = []
    for match in _BLANKS.finditer(text):
        start, end = match.span()
        if match["hyphen"] is not None:
            edits.append((start, end, "") if text[end].islower() else (start + 1, end, ""))
        elif start == 0 or end == len(text):
            edits.append((start, end, ""))
        elif "\n" in match.group() and _CJK.match(text, start - 1) and _CJK.match(text, end):
            edits.append((start, end, ""))
        else:
            edits.append((start, end, " "))
    if text.startswith(" ") and not (edits and edits[0][0] == 0):
        edits.insert(0, (0, 1, ""))
    if len(text) > 1 and text.endswith(" ") and not (edits and edits[-1][1] == len(text)):
        edits.append((len(text) - 1, len(text), ""))
    return edits


# --- 9 punctuation ---

_SPACED_LETTER = "[A-Za-z\u00c0-\u052f]"  # of scripts that put a space after a comma: Latin, Greek, Cyrillic
_SPACED = re.compile(
    r"(?P<stars>(?<=[.!?:\"'])(?: \*+)+(?= |\Z))"
    rf"| (?=[.!?%)\]}}](?!\w)|,(?!\d)|[:;](?:[\s\"']|\Z)|[.!?][A-Z][a-z]|(?i:n't|'(?:s|re|ve|ll|d|m))\b)"
    r"|(?<=[(\[{]) "
    r"|(?P<lone>(?<![^ ])\"(?![^ ]))"
    rf"|(?P<gap>(?:(?<={_SPACED_LETTER})|(?<= )),(?={_SPACED_LETTER})|(?<=[a-z][a-z)][.!?;:])(?=[A-Z][a-z]|I ))"
    r"|(?P<end>(?<= )[.!?](?=[A-Z][a-z]))"
)


def punctuation(text: str) -> list[Edit]:
    """Tokenised punctuation -> typeset: `word , ( so ) do n't` -> `word, (so) don't`, `end.Next` -> `end. Next`.

    Corpus readers put spaces around marks and lose the line break after them; asterisks alone after a sentence go
    too. `.5`, `.NET`, `;-)` and ` - ` stay.
    """
    edits: list[Edit] = []
    matches = list(_SPACED.finditer(text))
    lone = [match.start() for match in matches if match["lone"]]
    opens = set(lone[::2])
    for match in matches:
        start, end = match.span()
        if match["gap"] is not None or match["end"]:
            edits.append((end, end, " "))
        elif not match["lone"]:
            edits.append((start, end, ""))
        elif len(lone) % 2 == 0 and start in opens and end < len(text):
            edits.append((end, end + 1, ""))
        elif len(lone) % 2 == 0 and start not in opens and start:
            edits.append((start - 1, start, ""))
    return _disjoint(edits)


# --- the engine ---

STEPS: dict[str, Callable[[str], list[Edit]]] = {
    "invisible": invisible,
    "escapes": escapes,
    "lines": lines,
    "unicode": unicode,
    "homoglyphs": homoglyphs,
    "markdown": markdown,
    "quotes": quotes,
    "wrapping": wrapping,
    "punctuation": punctuation,
}
OPTIONAL_STEPS: dict[str, Callable[[str], list[Edit]]] = {"stop_words": stop_words, "symbols": symbols}
ALL_STEPS = STEPS | OPTIONAL_STEPS


@dataclass(frozen=True)
class NormalizedText:
    """A normalised text that knows where its characters came from.

    Attributes:
        text: The normalised text.
        original: The text as it was given; never changed.
    """

    text: str
    original: str
    _maps: tuple[Breakpoints, ...] = field(default=(), repr=False)

    def to_original(self, position: int) -> int:
        """Maps a boundary between characters of `text` to a boundary in `original`.

        Monotone; 0 -> 0 and `len(text)` -> `len(original)` (for an empty `text`, 0); a position inside a replacement
        maps to the replacement's start, one right after a deletion to the deletion's end. Spans that tile `text`
        therefore map to spans that tile `original`.

        Raises:
            ValueError: If `position` lies outside `[0, len(text)]`.
        """
        if not 0 <= position <= len(self.text):
            raise ValueError(f"Position {position} lies outside the normalised text of {len(self.text)} characters.")
        if position in (0, len(self.text)):
            return len(self.original) if position else 0
        for new_ends, old_starts, old_ends in reversed(self._maps):
            position = _before_edits(position, new_ends, old_starts, old_ends)
        return position


def _before_edits(position: int, new_ends: array, old_starts: array, old_ends: array) -> int:
    """One step back: the edits that end at or before `position` shift it; an edit around it catches it at its start."""
    done = bisect_right(new_ends, position)
    moved = position - new_ends[done - 1] + old_ends[done - 1] if done else position
    return min(moved, old_starts[done]) if done < len(old_starts) else moved


def _apply(text: str, edits: list[Edit]) -> tuple[str, Breakpoints]:
    """The edited text, and per edit its end in the new text and its start and end in the old one.

    Edits of one character for one character move nothing and leave no breakpoint.
    """
    pieces: list[str] = []
    new_ends, old_starts, old_ends = array("q"), array("q"), array("q")
    shift = done = 0
    for start, end, replacement in edits:
        pieces += (text[done:start], replacement)
        done = end
        shift += len(replacement) - (end - start)
        if end - start != 1 or len(replacement) != 1:
            new_ends.append(end + shift)
            old_starts.append(start)
            old_ends.append(end)
    pieces.append(text[done:])
    return "".join(pieces), (new_ends, old_starts, old_ends)


def _check(text: str, steps: Sequence[str]) -> Iterator[Callable[[str], list[Edit]]]:
    if not isinstance(text, str):
        raise TypeError(f"Only str can be normalised, and this is {type(text).__name__}.")
    for name in steps:
        if name not in ALL_STEPS:
            raise ValueError(f"The normalisation step {name!r} is unknown; the steps are {', '.join(ALL_STEPS)}.")
    return (ALL_STEPS[name] for name in steps)


def normalize(text: str, steps: Sequence[str] = tuple(STEPS)) -> NormalizedText:
    """Normalises a text; runs in time linear in its length.

    Args:
        text: Any string, lone surrogates included.
        steps: Names from `STEPS` and `OPTIONAL_STEPS`, run in the order given.

    Returns:
        The normalised text (possibly empty) with the map back to `text`.

    Raises:
        TypeError: If `text` is not a string.
        ValueError: If a step is unknown.
    """
    current, maps = text, []
    for step in _check(text, steps):
        edits = step(current)
        if edits:
            current, breakpoints = _apply(current, edits)
            if breakpoints[0]:
                maps.append(breakpoints)
    return NormalizedText(current, text, tuple(maps))
