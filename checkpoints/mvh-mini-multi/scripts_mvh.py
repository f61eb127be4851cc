"""The script a text is written in: a calibration speaks only for scripts it has seen."""

from __future__ import annotations

import unicodedata
from collections import Counter

SAMPLE = 4_000  # characters looked at, evenly spaced: the time does not grow with the document


def dominant_script(text: str) -> str:
    """The script of most letters, as Unicode's character names begin: "latin", "cyrillic", "cjk", "arabic" ...

    Args:
        text: A text of any length; about SAMPLE characters of it, evenly spaced, are looked at.

    Returns:
        The script's name in lower case, or "none" for a text without letters.
    """
    sample = text[:: max(1, len(text) // SAMPLE)]
    counts: Counter[str] = Counter()
    for character, times in Counter(sample).items():
        if character.isalpha():
            counts[_script(character)] += times
    return max(sorted(counts), key=lambda name: counts[name], default="none")


def _script(letter: str) -> str:
    return unicodedata.name(letter, "unnamed").split()[0].lower()
