"""The statistics of style: functions of a `Reading` that give one bounded number each, put in groups by `features_mvh`.

Sources: windowed type-token ratio, Covington and McFall 2010; Yule's K, Yule 1944; burstiness, Goh and Barabási 2008;
reading ease, Flesch 1948, for German Amstad 1978, French Kandel and Moles 1958, Spanish Fernández Huerta 1959, Russian
Oborneva 2006; grade, Kincaid et al. 1975.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from .reading_mvh import SENTENCE_END, Reading
from .wordlists_mvh import count_listed, phrases

REPETITION_WINDOW = 100  # words in which repeated sequences are counted

MARK = re.compile(r"[^\w\s]")
REPEATED_MARK = re.compile(r"([!?,;:])[!?,;:]++|\.\.++")
STRETCHED = re.compile(r"([^\W\d_])\1\1")
_CONTRACTION = re.compile(r"(?<=[a-z])['’](?:s|t|re|ve|ll|d|m)\b", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
_COMMA_WORDS = {  # words before which a comma is the rule, or the habit
    "en": "but|which|because|although",
    "de": "aber|dass|weil|sondern|obwohl",
    "es": "pero|sino|aunque",
    "fr": "mais|car",
    "id": "tetapi|sedangkan",
    "vi": "nhưng",
    "ru": "но|что|чтобы|который|которая|которое|которые|потому",
    "bg": "но|че|който|която|което|които|защото",
    "ar": "لكن|ولكن",
    "ur": "لیکن|مگر|کیونکہ",
    "zh": "但|而且|所以|因为",
}
_BEFORE_COMMA_WORD = {  # what stands before such a word inside a sentence
    language: re.compile(rf"(\S)(?:{words})" if language == "zh" else rf"(\S)\s(?:{words})(?!\w)")
    for language, words in _COMMA_WORDS.items()
}
_EASE = {  # reading ease: constant, weight of words per sentence, weight of syllables per word
    "en": (206.835, 1.015, 84.6),
    "de": (180.0, 1.0, 58.5),
    "es": (206.84, 1.02, 60.0),
    "fr": (207.0, 1.015, 73.6),
    "ru": (206.835, 1.3, 60.1),
    "bg": (206.835, 1.3, 60.1),  # no constants of its own: those of Russian
}

NEUTRAL: dict[str, float] = {  # means over 3,000 training texts, rounded; of spelling: over English ones held out
    "function_share": 0.4,
    "transition_share": 0.006,
    "hedge_share": 0.007,
    "first_person_share": 0.02,
    "contraction_share": 0.012,
    "missing_comma_share": 0.45,
    "unknown_word_share": 0.06,
    "misspelled_share": 0.009,
}


def mean(values: np.ndarray) -> float:
    """Mean, 0 of nothing."""
    return float(values.mean()) if len(values) else 0.0


def std(values: np.ndarray) -> float:
    """Standard deviation, 0 of nothing."""
    return float(values.std()) if len(values) else 0.0


def share(characters: str) -> Callable[[Reading], float]:
    """Share of these characters among all."""
    return lambda r: sum(r.characters[character] for character in characters) / max(len(r.text), 1)


def character_share(test: Callable[[str], bool]) -> Callable[[Reading], float]:
    """Share of the characters that pass the test."""
    return lambda r: sum(n for character, n in r.characters.items() if test(character)) / max(len(r.text), 1)


def types(occurrences: int | None) -> Callable[[Reading], float]:
    """Different words per word of a window: all of them, or those that occur exactly so often; mean of the windows."""

    def statistic(r: Reading) -> float:
        if not r.words:
            return 0.0
        kept = [
            len(window) if occurrences is None else sum(n == occurrences for n in window.values())
            for window in r.windows
        ]
        return float(np.mean([n / window.total() for n, window in zip(kept, r.windows, strict=True)]))

    return statistic


def yule_k(r: Reading) -> float:
    """log(1 + K), K = 10^4 (sum of squared frequencies - words) / words^2, which does not depend on length."""
    n = len(r.words)
    return float(np.log1p(1e4 * (sum(f * f for f in r.frequencies.values()) - n) / n**2)) if n else 0.0


def burstiness(r: Reading) -> float:
    """(std - mean) / (std + mean) of the gaps between occurrences of the same content word; 0 with fewer than two gaps."""
    common = phrases(r.language, "function").single if r.language else frozenset()
    last: dict[str, int] = {}
    gaps = []
    for place, word in enumerate(r.words):
        if word in common:
            continue
        if word in last:
            gaps.append(place - last[word])
        last[word] = place
    if len(gaps) < 2:
        return 0.0
    average, spread = np.mean(gaps), np.std(gaps)
    return float((spread - average) / (spread + average))


def repetition(n: int) -> Callable[[Reading], float]:
    """Share of sequences of n words that have occurred before in the same window of `REPETITION_WINDOW` words."""

    def statistic(r: Reading) -> float:
        repeated = total = 0
        for start in range(0, len(r.words), REPETITION_WINDOW):
            window = r.words[start : start + REPETITION_WINDOW]
            sequences = list(zip(*(window[i:] for i in range(n)), strict=False))
            repeated += len(sequences) - len(set(sequences))
            total += len(sequences)
        return repeated / max(total, 1)

    return statistic


def repeated_openings(r: Reading) -> float:
    """Share of sentences that begin with the word with which the sentence before them begins."""
    first = [sentence[0] for sentence in r.sentences]
    return sum(a == b for a, b in zip(first, first[1:], strict=False)) / max(len(first) - 1, 1)


def reading_ease(r: Reading) -> float:
    """Reading ease with the constants of the language (English ones where it has none), in [-100, 150]; 0 without words."""
    if not r.words:
        return 0.0
    base, sentence, syllable = _EASE.get(r.language or "", _EASE["en"])
    return float(np.clip(base - sentence * mean(r.sentence_lengths) - syllable * r.syllables_per_word, -100, 150))


def grade(r: Reading) -> float:
    """Flesch-Kincaid grade, in [-5, 50]; 0 without words."""
    if not r.words:
        return 0.0
    return float(np.clip(0.39 * mean(r.sentence_lengths) + 11.8 * r.syllables_per_word - 15.59, -5, 50))


def listed(kind: str) -> Callable[[Reading], float]:
    """Share of the words that a list of the text's language holds; neutral without a language."""

    def statistic(r: Reading) -> float:
        if r.language is None:
            return NEUTRAL[f"{kind}_share"]
        return min(count_listed(r.language, kind, r.frequencies, r.marked) / max(len(r.words), 1), 1.0)

    return statistic


def contractions(r: Reading) -> float:
    """English contractions ("don't", "it's") per word; neutral in other languages."""
    if r.language != "en":
        return NEUTRAL["contraction_share"]
    return min(len(_CONTRACTION.findall(r.text)) / len(r.words), 1.0)


def missing_commas(r: Reading) -> float:
    """Share of words before which a comma is the rule or habit that have none, drawn towards neutral as if seen once."""
    neutral = NEUTRAL["missing_comma_share"]
    if r.language is None:
        return neutral
    before = [mark for mark in _BEFORE_COMMA_WORD[r.language].findall(r.text.lower()) if mark not in ".!?…。！？؟۔"]
    return (sum(map(str.isalnum, before)) + neutral) / (len(before) + 1)


def lowercase_openings(r: Reading) -> float:
    """Share of sentences after the first that begin with a small letter."""
    letters = [_LETTER.search(part) for part in SENTENCE_END.split(r.text)[1:]]
    first = [letter.group() for letter in letters if letter]
    return sum(map(str.islower, first)) / max(len(first), 1)


def per_word(pattern: re.Pattern[str]) -> Callable[[Reading], float]:
    """Matches per word, at most 1."""
    return lambda r: min(sum(1 for _ in pattern.finditer(r.text)) / max(len(r.words), 1), 1.0)


def spelling(index: int, name: str) -> Callable[[Reading], float]:
    """Unknown or misspelled words among those looked up; neutral where none can be."""

    def statistic(r: Reading) -> float:
        looked_up = r.judged[0]
        return r.judged[index] / looked_up if looked_up else NEUTRAL[name]

    return statistic
