"""Attacks on the layout of a text, and cuts: the words stay, where lines end and how much there is does not.

`insert_paragraphs` is RAID's (Dugan et al. 2024, arXiv 2405.07940), written anew; the others are ours. Every function
maps (text, rng, strength) to a text; what the strength means is said by each.
"""

from __future__ import annotations

import re
import textwrap
from random import Random

from mvh.attacks.characters import chosen
from mvh.dataset_builder.sentences import split_sentences
from mvh.wordlists_mvh import WORD

PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
EMPHASIS = ("**", "*", "_", "`")
BLOCKS = ("- ", "* ", "> ", "1. ", "### ")
PLAIN_WORD = re.compile(r"(?<!\S)[A-Za-z]{3,}(?=[\s.,;!?]|$)")
CLOSING = re.compile(r"[^\w\s]*")


def insert_paragraphs(text: str, rng: Random, strength: float) -> str:
    """A blank line before sentences; strength: share of the bounds between sentences."""
    starts = [start for start, _ in split_sentences(text)][1:]
    parts, done = [], 0
    for index in chosen(range(len(starts)), rng, strength):
        parts += [text[done : starts[index]], "\n\n"]
        done = starts[index]
    return "".join([*parts, text[done:]])


def markdown(text: str, rng: Random, strength: float) -> str:
    """Markdown as chat windows write it; strength: share of the words in emphasis or code marks.

    Every paragraph becomes a list item, a quotation or a heading; rules stand between some.
    """
    words = list(PLAIN_WORD.finditer(text))
    parts, done = [], 0
    for index in chosen(range(len(words)), rng, strength):
        mark = rng.choice(EMPHASIS)
        parts += [text[done : words[index].start()], mark, words[index].group(), mark]
        done = words[index].end()
    paragraphs = PARAGRAPH.split("".join([*parts, text[done:]]))
    blocks = [rng.choice(BLOCKS) + paragraph.lstrip() for paragraph in paragraphs]
    return "".join(block + rng.choice(("\n\n", "\n\n---\n\n")) for block in blocks[:-1]) + blocks[-1]


def rewrap(text: str, rng: Random, strength: float) -> str:
    """Every paragraph wrapped anew; strength: columns. No word is cut, nor at a hyphen."""
    wrapped = (
        textwrap.fill(paragraph, int(strength), break_long_words=False, break_on_hyphens=False)
        for paragraph in PARAGRAPH.split(text)
    )
    return "\n\n".join(wrapped)


def truncate(text: str, rng: Random, strength: float) -> str:
    """The first words; strength: how many. Closing marks behind the last one stay, shorter texts stay whole."""
    for count, match in enumerate(WORD.finditer(text), start=1):
        if count >= strength:
            closing = CLOSING.match(text, match.end())
            assert closing is not None  # it may be empty
            return text[: closing.end()]
    return text
