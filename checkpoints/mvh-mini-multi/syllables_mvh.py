"""Syllables of a word in the scripts of the data, by rules on letters.

Latin: groups of vowels, with their accents; in English a silent final "e" is left out. Cyrillic: every vowel is a
syllable ("моя" has two); ъ is a vowel in Bulgarian alone. Chinese and Japanese: a character is a word and a syllable.
Vietnamese writes syllables apart, so each word has one. Arabic script leaves short vowels unwritten, and other scripts
are not known here: half the letters, rounded up.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

MAX_LETTERS = 40  # a longer word counts as this long, here and in the statistics

_LATIN = [chr(code) for code in (*range(0x41, 0x250), *range(0x1E00, 0x1F00)) if chr(code).isalpha()]
_VOWELS = "".join(letter for letter in _LATIN if unicodedata.normalize("NFD", letter)[0] in "aeiouy") + "æœøıə"
_LATIN_WORD = re.compile("[A-Za-z\u00aa-\u024f\u1e00-\u1eff]")
_LATIN_GROUP = re.compile(f"[{_VOWELS}]+")
_CYRILLIC_WORD = re.compile("[\u0400-\u052f]")
_CYRILLIC_VOWEL = re.compile("[аеёиоуыэюяієї]")
_SILENT = re.compile("[^aeiouy]e$")


@lru_cache(maxsize=20_000)
def syllables(word: str, language: str | None) -> int:
    """Syllables of a word in lower case, at least one; only its first `MAX_LETTERS` letters are looked at."""
    word = word[:MAX_LETTERS]
    if _LATIN_WORD.match(word):
        count = len(_LATIN_GROUP.findall(word))
        if language == "en" and count > 1 and _SILENT.search(word) and not word.endswith("le"):
            count -= 1
    elif _CYRILLIC_WORD.match(word):
        count = len(_CYRILLIC_VOWEL.findall(word)) + (word.count("ъ") if language == "bg" else 0)
    elif word.isdigit():
        count = 1
    else:
        count = (len(word) + 1) // 2
    return max(count, 1)
