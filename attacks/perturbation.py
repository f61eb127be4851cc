"""A text to learn from -> a slightly disguised piece of it: what normalisation cannot undo is met in training.

Each attack of `PERTURBATIONS` happens to a text with its own chance, at a strength drawn evenly up to its bound; half of
the texts are cut to a piece of 50 to 400 words first. Whether a text is human or machine plays no part, so that a
misspelling or a short text says nothing about its author.
"""

from __future__ import annotations

import hashlib
from math import exp, log
from random import Random

from mvh.attacks.layout import truncate
from mvh.attacks.suite import ATTACKS
from mvh.dataset_builder.sentences import split_sentences
from mvh.wordlists_mvh import WORD

PERTURBATIONS: dict[str, tuple[float, float]] = {  # attack -> its chance, its greatest strength
    "synonym": (0.3, 0.5),
    "alternative_spelling": (0.2, 1.0),
    "perplexity_misspelling": (0.3, 0.2),
    "article_deletion": (0.2, 0.5),
    "number": (0.2, 0.5),
    "upper_lower": (0.2, 0.2),
    "insert_paragraphs": (0.2, 0.5),
}
CROPPED = 0.5  # share of the texts that are cut
CROP_WORDS = (50, 400)  # of a piece; its length is drawn evenly on a logarithmic scale


def perturb(text: str, seed: int) -> str:
    """The text, perhaps cut, perhaps changed; the same for the same text and seed."""
    digest = hashlib.blake2b(f"{seed}|perturb|{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    rng = Random(int.from_bytes(digest, "big"))
    if rng.random() < CROPPED:
        text = crop(text, rng)
    for name, (chance, most) in PERTURBATIONS.items():
        strength = rng.uniform(0, most)
        if rng.random() < chance:
            text = ATTACKS[name].function(text, rng, strength)
    return text


def crop(text: str, rng: Random) -> str:
    """A piece of the text from the start of a sentence; a text with no more words than the piece stays whole."""
    words = round(exp(rng.uniform(*map(log, CROP_WORDS))))
    starts = [match.start() for match in WORD.finditer(text)]
    if len(starts) <= words:
        return text
    latest = starts[-words]  # from here on there are enough words
    sentences = [start for start, _ in split_sentences(text) if start <= latest] or [0]
    return truncate(text[rng.choice(sentences) :], rng, words)
