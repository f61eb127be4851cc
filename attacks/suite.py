"""The table of attacks: RAID's eleven under their published names and strengths, and four of ours.

Strengths are those RAID's published texts were made with (repository liamdugan/raid, `generation/adversarial/attack.py`).
`whitespace_half` and `upper_lower_half` are the same attacks at 50 %, the default of RAID's classes, which its texts do
not use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from mvh.attacks import characters, layout, words

KINDS = ("character", "word", "layout", "length", "model")


@dataclass(frozen=True)
class Attack:
    """One attack at its default strength.

    Attributes:
        function: (text, rng, strength) -> text; pure.
        strength: A share for most; columns or words for layout and length.
        kind: One of `KINDS`. "model" needs a model from the Hub and is run only where it is asked for.
        raid: Whether it is one of RAID's.
    """

    function: Callable[[str, Random, float], str]
    strength: float
    kind: str
    raid: bool = True

    def __call__(self, text: str, seed: int = 0, strength: float | None = None) -> str:
        """The attacked text. What is drawn depends on the seed and the text alone."""
        digest = hashlib.blake2b(f"{seed}|{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        rng = Random(int.from_bytes(digest, "big"))
        return self.function(text, rng, self.strength if strength is None else strength)


def paraphrase(text: str, rng: Random, strength: float) -> str:
    """Sentences in other words; strength: share of the sentences.

    RAID paraphrases with DIPPER, a T5 of 11 billion weights; this is the sentence paraphraser of
    `dataset_builder.rewriters`, which must be loaded from the Hub or a cache. A sentence it fails on stays.
    """
    from mvh.dataset_builder.sentences import cut_long, replace_spans, split_sentences

    backend = _paraphraser()
    sentences = split_sentences(text)
    taken = [sentences[index] for index in characters.chosen(range(len(sentences)), rng, strength)]
    spans = [piece for span in taken for piece in cut_long(text, span, backend.fits)]
    answers: list[str | Exception] = []
    for start in range(0, len(spans), backend.batch):
        answers += backend.rewrite([text[slice(*span)] for span in spans[start : start + backend.batch]])
    told = zip(spans, answers, strict=True)
    return replace_spans(text, [(span, answer) for span, answer in told if isinstance(answer, str)])


@cache
def _paraphraser() -> Any:
    from mvh.dataset_builder.rewriters import PARAPHRASERS

    return PARAPHRASERS["t5"](None)


ATTACKS: dict[str, Attack] = {
    "homoglyph": Attack(characters.homoglyph, 1.0, "character"),
    "zero_width_space": Attack(characters.zero_width_space, 1.0, "character"),
    "whitespace": Attack(characters.whitespace, 0.2, "character"),
    "whitespace_half": Attack(characters.whitespace, 0.5, "character", raid=False),
    "upper_lower": Attack(characters.upper_lower, 0.05, "character"),
    "upper_lower_half": Attack(characters.upper_lower, 0.5, "character", raid=False),
    "insert_paragraphs": Attack(layout.insert_paragraphs, 0.5, "layout"),
    "markdown": Attack(layout.markdown, 0.05, "layout", raid=False),
    "rewrap": Attack(layout.rewrap, 72, "layout", raid=False),
    "article_deletion": Attack(words.article_deletion, 0.5, "word"),
    "number": Attack(words.number, 0.5, "word"),
    "alternative_spelling": Attack(words.alternative_spelling, 1.0, "word"),
    "perplexity_misspelling": Attack(words.perplexity_misspelling, 0.2, "word"),
    "synonym": Attack(words.synonym, 0.5, "word"),
    "truncate_200": Attack(layout.truncate, 200, "length", raid=False),
    "truncate_100": Attack(layout.truncate, 100, "length", raid=False),
    "truncate_50": Attack(layout.truncate, 50, "length", raid=False),
    "paraphrase": Attack(paraphrase, 1.0, "model"),
}
