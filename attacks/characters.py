"""Attacks on the characters of a text: a reader sees (almost) nothing, a tokenizer sees another text.

Written anew after RAID (Dugan et al. 2024, arXiv 2405.07940) under its names. A strength is the share of what can be
changed that is changed. Every function maps (text, rng, strength) to a text.
"""

from __future__ import annotations

from random import Random

from mvh.wordlists_mvh import WORD

ZERO_WIDTH_SPACE = "\u200b"
# an ASCII letter and the Cyrillic and Greek letters that RAID puts in its place
HOMOGLYPHS = {
    group[0]: group[1:]
    for group in "aа AАΑ BВΒ eе EЕΕ cс pр KКΚ OОΟ PРΡ MМΜ HНΗ TТΤ XХΧ CС yу oо xх IІΙ iі NΝ ZΖ".split()
}


def homoglyph(text: str, rng: Random, strength: float) -> str:
    """Latin letters -> letters of other scripts that look like them."""
    letters = list(text)
    places = [place for place, letter in enumerate(letters) if letter in HOMOGLYPHS]
    for place in chosen(places, rng, strength):
        letters[place] = rng.choice(HOMOGLYPHS[letters[place]])
    return "".join(letters)


def zero_width_space(text: str, rng: Random, strength: float) -> str:
    """A zero-width space behind characters."""
    behind = set(chosen(range(len(text)), rng, strength))
    return "".join(letter + ZERO_WIDTH_SPACE * (place in behind) for place, letter in enumerate(text))


def whitespace(text: str, rng: Random, strength: float) -> str:
    """One more space behind words; words are drawn with replacement, so that some get several."""
    words = text.split(" ")
    for place in rng.choices(range(len(words)), k=int(len(words) * strength)):
        words[place] += " "
    return " ".join(words)


def upper_lower(text: str, rng: Random, strength: float) -> str:
    """The other case for the first letter of words."""
    letters = list(text)
    starts = [match.start() for match in WORD.finditer(text) if letters[match.start()].isalpha()]
    for place in chosen(starts, rng, strength):
        flipped = letters[place].swapcase()
        letters[place] = flipped if len(flipped) == 1 else letters[place]  # the upper case of "ß" is two letters
    return "".join(letters)


def chosen(places: range | list[int], rng: Random, share: float) -> list[int]:
    """`share` of the places (rounded down), each at most once, in order."""
    return sorted(rng.sample(places, int(len(places) * share + 1e-9)))
