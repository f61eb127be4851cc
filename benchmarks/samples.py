"""Documents for benchmarks: real sentences in a seeded order, cut to the number of words asked for."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def read_sentences(texts: Path | None = None) -> list[str]:
    """Sentences of a JSONL file's "text" fields; of the examples that come with the sources by default.

    Raises:
        ValueError: If there are none.
    """
    if texts is None:
        whole = [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.txt"))]
    else:
        whole = [json.loads(line)["text"] for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    sentences = [sentence for text in whole for sentence in SENTENCE_END.split(text) if sentence.strip()]
    if not sentences:
        raise ValueError(f"{texts or EXAMPLES} holds {len(whole)} texts and no sentence to build documents of.")
    return sentences


def document(sentences: list[str], words: int, seed: int) -> str:
    """A document of so many words."""
    rng = random.Random(seed)
    chosen: list[str] = []
    while len(chosen) < words:
        chosen += rng.choice(sentences).split()
    return " ".join(chosen[:words])


def mixed(sentences: list[str], count: int, shortest: int, longest: int, seed: int = 0) -> list[str]:
    """Documents whose lengths in words are even on a logarithmic scale, in a random order.

    Args:
        sentences: What they are made of.
        count: How many.
        shortest: Words of the shortest.
        longest: Words of the longest.
        seed: Of order and sentences.
    """
    lengths = np.geomspace(shortest, longest, count).round().astype(int).tolist()
    random.Random(seed).shuffle(lengths)
    return [document(sentences, words, seed + index) for index, words in enumerate(lengths)]


def everyday(sentences: list[str], count: int, shortest: int, longest: int, seed: int = 0) -> list[str]:
    """Many short documents and few long ones, in a random order: as many words between 50 and 100 as between 100 and 200 ...

    Args:
        sentences: What they are made of.
        count: How many.
        shortest: Words of the shortest.
        longest: Words at which lengths end.
        seed: Of order and sentences.
    """
    ranks = (
        np.arange(count) + 0.5
    ) / count  # (count,): quantiles of a density that falls with the square of the length
    lengths = np.round(1 / ((1 - ranks) / shortest + ranks / longest)).astype(int).tolist()
    random.Random(seed).shuffle(lengths)
    return [document(sentences, words, seed + index) for index, words in enumerate(lengths)]
