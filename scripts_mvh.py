"""The scripts a text is written in: a calibration speaks only for scripts it has seen."""

from __future__ import annotations

import unicodedata
from collections import Counter

SAMPLE = 4_000  # characters looked at, evenly spaced: the time does not grow with the document
MIN_BESIDE = 0.2  # of the letters, for a second script to count: a quotation or some names are less
MIN_KANA = (
    0.05  # of kana and Chinese characters together: a text with so many is Japanese, however many of those it has
)


def scripts_of(text: str) -> list[str]:
    """The script of most letters, and after it others of at least MIN_BESIDE of them.

    Named as Unicode's character names begin: "latin", "cyrillic", "cjk", "arabic" ...; all of Japanese is "hiragana".

    Args:
        text: A text of any length; about SAMPLE characters of it, evenly spaced, are looked at.

    Returns:
        Names in lower case, those of most letters first; ["none"] for a text without letters.
    """
    sample = text[:: max(1, len(text) // SAMPLE)]
    counts: Counter[str] = Counter()
    for character, times in Counter(sample).items():
        if character.isalpha():
            counts[_script(character)] += times
    if counts["hiragana"] > MIN_KANA * (counts["hiragana"] + counts["cjk"]):
        counts["hiragana"] += counts.pop("cjk", 0)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    least = MIN_BESIDE * counts.total()
    return [name for name in ranked if name == ranked[0] or counts[name] >= least] if counts.total() else ["none"]


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "unnamed").split()[0].lower()
    return "hiragana" if name.startswith("katakana") else name  # "katakana-hiragana" is a sign that both have
