"""A text as its statistics read it: sentences, words, language, windows, syllables, dictionary look-ups, each counted once.

Words and languages are those of `wordlists_mvh`. Sentences end at the stops of Latin, Chinese, Arabic and Indic scripts;
a decimal point ends none, nor does the point of an initial ("A. Smith"); other abbreviations do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from .lexicon_mvh import is_known, misspelled, spelled_words
from .syllables_mvh import MAX_LETTERS, syllables
from .wordlists_mvh import WORD, language_of, marked, script_of

SENTENCE_END = re.compile(
    r"(?<![.!?…])(?:(?<!\s[^\W\d_])\.|[!?…])[.!?…]*+[\"')\]»]*+(?=\s|$)|[。！？؟۔।]++"  # no end after an initial
)
WINDOW = 50  # words in which different words are counted
MAX_SENTENCE = 200  # words; longer sentences count as this long
MAX_JUDGED = 2_000  # different words looked up in the dictionary


class Reading:
    """A text, and what its statistics are computed from; each part is counted once, when a statistic asks for it."""

    def __init__(self, text: str, data: Mapping[str, Any] | None = None, document_type: str | None = None) -> None:
        self.text = text
        self.data = data or {}
        self.document_type = document_type
        self.registers: dict[str, float] | None = None  # filled by features_mvh

    @cached_property
    def sentences(self) -> list[list[str]]:
        """Words in lower case, by sentence; sentences without words are left out."""
        parts = (WORD.findall(part) for part in SENTENCE_END.split(self.text.lower()))
        return [words for words in parts if words]

    @cached_property
    def words(self) -> list[str]:
        """All words in lower case."""
        return [word for sentence in self.sentences for word in sentence]

    @cached_property
    def frequencies(self) -> Counter[str]:
        """How often each word occurs."""
        return Counter(self.words)

    @cached_property
    def characters(self) -> Counter[str]:
        """How often each character occurs."""
        return Counter(self.text)

    @cached_property
    def language(self) -> str | None:
        """The language, where the word lists can tell."""
        return language_of(self.frequencies, script_of(self.text))

    @cached_property
    def word_lengths(self) -> np.ndarray:
        """Letters of each word, at most `MAX_LETTERS`, shape (words,)."""
        return np.array([min(len(word), MAX_LETTERS) for word in self.words])

    @cached_property
    def sentence_lengths(self) -> np.ndarray:
        """Words of each sentence, at most `MAX_SENTENCE`, shape (sentences,)."""
        return np.array([min(len(words), MAX_SENTENCE) for words in self.sentences])

    @cached_property
    def windows(self) -> list[Counter[str]]:
        """Frequencies in consecutive windows of `WINDOW` words; a shorter rest counts only where it is all there is."""
        whole = range(0, max(len(self.words) - WINDOW, 0) + 1, WINDOW)
        return [Counter(self.words[start : start + WINDOW]) for start in whole]

    @cached_property
    def syllables_per_word(self) -> float:
        """Mean number of syllables of the words, 0 without words."""
        if not self.words:
            return 0.0
        if self.language == "vi":  # written by syllables
            return 1.0
        return sum(n * syllables(word, self.language) for word, n in self.frequencies.items()) / len(self.words)

    @cached_property
    def marked(self) -> str:
        """The words as phrases are looked for."""
        return marked(self.words)

    @cached_property
    def judged(self) -> tuple[int, int, int]:
        """Words looked up in the dictionary, those unknown, and those misspelled; none in a language it lacks."""
        language, lexicon = self.language, self.data["lexicon"]
        if language is None or language not in lexicon["languages"]:
            return 0, 0, 0
        counts = Counter(spelled_words(self.text)).most_common(MAX_JUDGED)
        unknown = [(word, n) for word, n in counts if not is_known(word, language, lexicon)]
        wrong = sum(n for word, n in unknown if misspelled(word, language, lexicon))
        return sum(n for _, n in counts), sum(n for _, n in unknown), wrong
