"""Segment text -> a fixed vector of handcrafted statistics that a detector may join to the pooled encoder state.

Every feature is a ratio, a mean or a logarithm, so that none grows with the length of the text, and none depends on an
alphabet: words are runs of letters or digits, sentences end at the stops of Latin, Chinese, Arabic and Indic scripts.
The names chosen for a checkpoint, with the mean and standard deviation that scale them, travel in its config.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

WORD = re.compile(r"[^\W_]+")
SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？؟۔।]")


class Counts(NamedTuple):
    """What every feature is computed from; counted once per text."""

    text: str
    words: list[str]
    frequencies: Counter[str]
    sentence_lengths: list[int]


def _std(values: Sequence[int]) -> float:
    return float(np.std(values)) if len(values) else 0.0


def _share(counts: Counts, characters: str) -> float:
    return sum(map(counts.text.count, characters)) / max(len(counts.text), 1)


FEATURES: dict[str, Callable[[Counts], float]] = {
    "log_word_count": lambda c: float(np.log1p(len(c.words))),
    "word_length_mean": lambda c: sum(map(len, c.words)) / max(len(c.words), 1),
    "word_length_std": lambda c: _std([len(word) for word in c.words]),
    "root_type_token_ratio": lambda c: len(c.frequencies) / max(len(c.words), 1) ** 0.5,
    "hapax_ratio": lambda c: sum(n == 1 for n in c.frequencies.values()) / max(len(c.words), 1),
    "sentence_length_mean": lambda c: sum(c.sentence_lengths) / max(len(c.sentence_lengths), 1),
    "sentence_length_std": lambda c: _std(c.sentence_lengths),
    "comma_share": lambda c: _share(c, ",،，、"),
    "question_share": lambda c: _share(c, "?？؟"),
    "exclamation_share": lambda c: _share(c, "!！"),
    "dash_share": lambda c: _share(c, "-–—"),
    "colon_share": lambda c: _share(c, ":;：；"),
    "digit_share": lambda c: sum(map(str.isdigit, c.text)) / max(len(c.text), 1),
    "uppercase_share": lambda c: sum(map(str.isupper, c.text)) / max(len(c.text), 1),
}


def compute_features(text: str, names: Sequence[str]) -> np.ndarray:
    """Features of a normalised text, unscaled.

    Args:
        text: A segment's text.
        names: Keys of FEATURES, in the order of the config.

    Returns:
        Finite float32 vector, shape (len(names),); zeros for a text without words.

    Raises:
        ValueError: If a name is unknown.
    """
    if unknown := [name for name in names if name not in FEATURES]:
        raise ValueError(f"Unknown features {unknown}; known are {list(FEATURES)}.")
    words = WORD.findall(text.lower())
    lengths = [n for n in (len(WORD.findall(sentence)) for sentence in SENTENCE_END.split(text)) if n]
    counts = Counts(text, words, Counter(words), lengths)
    return np.array([FEATURES[name](counts) for name in names], dtype=np.float32)
