"""Attacks on the words of a text: what is written changes a little, what it says hardly.

Written anew after RAID (Dugan et al. 2024, arXiv 2405.07940) under its names. A strength is a share: of the articles, of
the numbers, of the words that have another spelling; for `synonym` and `perplexity_misspelling` of all words, as far as
there are candidates. All but `number` and `perplexity_misspelling` know English only.

Two of them differ from RAID's because they use no language model. RAID takes the synonym a BERT finds likeliest, ours are
the unambiguous ones of WordNet (see `make_words`), so fewer words have one. RAID misspells the most predictable words of
a text by a list; ours misspells words drawn evenly, by the rules of common mistakes. See WORDS.md for the licences.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from random import Random

from mvh.attacks.characters import chosen
from mvh.wordlists_mvh import WORD

ARTICLE = re.compile(r"(?<= )(?:an?|the) ")
NUMBER = re.compile(r"\d+\.?\d*")
LATIN_WORD = re.compile(r"(?<![\w'’-])[A-Za-z]{3,}(?![\w'’-])")
SHORTEST_MISSPELLED = 4  # letters

# common mistakes, as (pattern, replacement); the first letter of a word stays
MISTAKES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=\w)ie", "ei"),
        (r"(?<=\w)ei", "ie"),
        (r"(?<=\w)([bcdfglmnprst])\1", r"\1"),  # "accomodate"
        (r"(?<=[aeiou])([lmnprst])(?=[aeiou])", r"\1\1"),  # "untill"
        (r"ance(?=$|s$)", "ence"),
        (r"ence(?=$|s$)", "ance"),
        (r"ant(?=$|ly$)", "ent"),
        (r"ent(?=$|ly$)", "ant"),
        (r"able$", "ible"),
        (r"ible$", "able"),
        (r"tion(?=$|s$|al)", "sion"),
        (r"ely$", "ly"),  # "definitly"
        (r"(?<=\w)gh", "hg"),
        (r"(?<=\w)sc(?=[ei])", "s"),
        (r"(?<=\w{2})e(?=r[aeiou])", ""),  # "diffrent"
        (r"(?<=\w{2})a(?=t[eio])", "e"),  # "seperate"
        (r"(?<=\w{2})i(?=[tn][aeiy])", "e"),
    )
)


def article_deletion(text: str, rng: Random, strength: float) -> str:
    """Drop "a", "an" and "the" within a line."""
    return _replaced(text, list(ARTICLE.finditer(text)), rng, strength, lambda match: "")


def number(text: str, rng: Random, strength: float) -> str:
    """Other digits in numbers, as many as before."""

    def altered(match: re.Match[str]) -> str:
        return "".join(rng.choice("0123456789") if sign.isnumeric() else sign for sign in match.group())

    return _replaced(text, list(NUMBER.finditer(text)), rng, strength, altered)


def alternative_spelling(text: str, rng: Random, strength: float) -> str:
    """British spellings for American ones."""
    table = word_table("spellings")
    found = [match for match in LATIN_WORD.finditer(text) if match.group().lower() in table]
    return _replaced(text, found, rng, strength, partial(_looked_up, table))


def synonym(text: str, rng: Random, strength: float) -> str:
    """Synonyms for words whose meaning is hardly in doubt; none that would need another article before it."""
    table = word_table("synonyms")
    words = sum(1 for _ in WORD.finditer(text))
    found = []
    for match in LATIN_WORD.finditer(text):
        new = table.get(match.group().lower())
        article = re.search(r"\b[Aa]n? $", text[max(0, match.start() - 4) : match.start()])
        if new and not (article and (new[0] in "aeiou") != (match.group()[0].lower() in "aeiou")):
            found.append(match)
    return _replaced(text, found, rng, _of_words(strength, words, len(found)), partial(_looked_up, table))


def perplexity_misspelling(text: str, rng: Random, strength: float) -> str:
    """Common misspellings; RAID's name, but no language model chooses the words."""
    words = list(WORD.finditer(text))
    found = [match for match in words if len(match.group()) >= SHORTEST_MISSPELLED and match.group().isalpha()]
    share = _of_words(strength, len(words), len(found))
    return _replaced(text, found, rng, share, lambda match: misspelled(match.group(), rng))


def misspelled(word: str, rng: Random) -> str:
    """The word with a mistake: one of `MISTAKES` that applies, else a letter lost or two letters exchanged."""
    wrong = []
    for pattern, replacement in MISTAKES:
        for match in pattern.finditer(word):
            wrong.append(word[: match.start()] + match.expand(replacement) + word[match.end() :])
    if not wrong:
        place = rng.randrange(1, len(word) - 1)
        exchanged = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        wrong = [word[:place] + word[place + 1 :], exchanged]
    return rng.choice([new for new in wrong if new != word] or [word])


@lru_cache
def word_table(name: str) -> dict[str, str]:
    """The table `name`.json of this folder: word -> another word, both in small letters."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))


def _of_words(strength: float, words: int, candidates: int) -> float:
    """The share of the candidates that makes `strength` of all words, at most all of them."""
    return min(1.0, int(words * strength) / candidates) if candidates else 0.0


def _looked_up(table: Mapping[str, str], match: re.Match[str]) -> str:
    """The table's word in the case of the one found."""
    word = match.group()
    new = table[word.lower()]
    return new.upper() if word.isupper() else new.capitalize() if word[0].isupper() else new


def _replaced(
    text: str, found: list[re.Match[str]], rng: Random, share: float, new: Callable[[re.Match[str]], str]
) -> str:
    """The text with `share` of the matches found (rounded down), drawn anew for each text, replaced."""
    parts, done = [], 0
    for index in chosen(range(len(found)), rng, share):
        parts += [text[done : found[index].start()], new(found[index])]
        done = found[index].end()
    return "".join([*parts, text[done:]])
