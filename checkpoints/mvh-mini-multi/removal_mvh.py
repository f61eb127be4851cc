"""Optional normalisation steps, off unless a config names them: what the article proposes to take out of a text.

`stop_words` takes out the function words of the text's language (`wordlists_mvh`), with the space behind each. A language
without lists keeps its words, and so does Chinese, where a listed character may be part of any word.

`symbols` takes out what no tokenizer of ordinary text knows by itself: emoji, pictures, box drawing, private and
unassigned characters, the replacement character. Letters, marks, digits, punctuation, currency and mathematical signs
stay. Which characters a model really lacks depends on its tokenizer; a step of text alone cannot ask it.

Name them before "punctuation", which mends what they leave standing alone, and "wrapping" once more behind them.

Both throw signal away, and handcrafted features are computed from what is left: the statistics of function words and of
punctuation then say little. They stand in `normalization_mvh.OPTIONAL_STEPS`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from .homoglyphs_mvh import Edit
from .wordlists_mvh import WORD, language_of, phrases, script_of

_UNSPACED = ("zh",)
_OTHER = re.compile(r"[^\w\s!-/:-@\[-`{-~]+")
_JOINED = re.compile("[\u200d\ufe0f\U0001f3fb-\U0001f3ff]")  # parts of emoji: joiner, presentation, skin tones
_UNKNOWN = ("So", "Co", "Cn", "Cs")


def stop_words(text: str) -> list[Edit]:
    """Function words of the text's language -> nothing, with the space behind them (or before the last word)."""
    words = list(WORD.finditer(text))
    language = language_of(Counter(match.group().lower() for match in words), script_of(text))
    if language is None or language in _UNSPACED:
        return []
    listed = phrases(language, "function").single
    edits: list[Edit] = []
    for match in words:
        if match.group().lower() not in listed:
            continue
        start, end = match.span()
        if text[end : end + 1] == " ":
            end += 1
        elif start and text[start - 1] == " " and not (edits and edits[-1][1] == start):
            start -= 1
        edits.append((start, end, ""))
    return edits


def symbols(text: str) -> list[Edit]:
    """Emoji, pictures, private, unassigned and replacement characters -> nothing, with the space behind a run of them."""
    edits: list[Edit] = []
    for match in _OTHER.finditer(text):
        for place in range(*match.span()):
            follows = bool(edits) and edits[-1][1] == place
            if unicodedata.category(text[place]) in _UNKNOWN or (follows and _JOINED.match(text, place)):
                edits[-1:] = [(edits[-1][0], place + 1, "")] if follows else [*edits[-1:], (place, place + 1, "")]
    return [_with_space(text, edit) for edit in edits]


def _with_space(text: str, edit: Edit) -> Edit:
    """The edit and the space behind it, where that space would stand beside another or begin the text."""
    start, end, replacement = edit
    lone = start == 0 or text[start - 1] == " "
    return (start, end + 1, replacement) if lone and text[end : end + 1] == " " else edit
