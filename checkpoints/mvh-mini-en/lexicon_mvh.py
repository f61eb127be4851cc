"""A dictionary of word stems small enough to travel in a config: a Bloom filter of what a training corpus spells often.

Dictionaries of all these languages weigh tens of megabytes, and most have licences of their own. So the dictionary is made
from the training texts themselves: the stems that at least `MIN_TEXTS` of them use, the commonest `MAX_STEMS` at most.
A stem is what a light suffix stripper leaves (`stem`), so that an inflection unseen in training counts as known; it is a
rule of thumb for lemmatisation and knows no irregular forms. A Bloom filter (Bloom 1970) of 14.4 bits per stem and ten
hash functions never misses a stem it holds, and takes one unknown word in a thousand for known; full, it is 225 kB of
base85 text.

What such a dictionary can say is limited: a word it lacks may be rare, foreign or from another field instead of wrong.
`misspelled` therefore asks for more: that one slip of the fingers away there is a word that the dictionary has. It tries
two letters exchanged, one letter too many, and a double letter written once; wrong letters go unseen, since trying every
letter of every alphabet would find a neighbour for anything.
"""

from __future__ import annotations

import math
import re
from base64 import b85decode, b85encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from .wordlists_mvh import WORD, language_of, script_of

MIN_TEXTS = 3
MIN_LANGUAGE_TEXTS = 200  # a dictionary made of fewer texts takes half of a language for errors
UNSPELLED = ("zh",)  # written without an alphabet
MAX_STEMS = 100_000
BITS_PER_STEM = 14.4
HASHES = 10
MIN_LETTERS, MAX_LETTERS = 3, 24  # of a word that is looked up
MIN_SLIP = 5  # letters of a word that may be called misspelled

_SUFFIXES: dict[str, str] = {  # longest first; at least three letters stay
    "en": "ingly|edly|iness|ments|ment|ings|ing|ness|iest|ies|ied|ier|est|ers|ed|er|es|ly|'s|s|e|y",
    "de": "ungen|ung|lichen|liche|lich|enden|ende|ern|est|ten|tes|ter|tem|te|en|er|em|es|et|e|n|s|t",
    "es": "amientos|amiento|aciones|ación|mente|ando|iendo|aron|ieron|adas|ados|idas|idos|ada|ado|ida|ido|aba|ían|ía|"
    "as|os|es|an|en|ar|er|ir|a|o|e|s",
    "fr": "issement|ations|ation|ements|ement|aient|antes|ante|ants|ant|ées|és|ée|é|ait|ent|ez|er|ir|es|e|s|x",
    "id": "annya|kannya|inya|kan|nya|lah|kah|an|i",
    "ru": "иями|ями|ами|иях|ость|ости|остью|ыми|ими|ого|его|ому|ему|ая|яя|ое|ее|ые|ие|ый|ий|ой|ей|ую|юю|ых|их|ым|им|ом|"
    "ем|ам|ям|ах|ях|ов|ев|ия|ии|ию|ешь|ишь|ет|ит|ют|ут|ят|ат|ла|ло|ли|ть|ся|сь|а|я|о|е|ы|и|у|ю|ь|й|л",
    "bg": "ията|ията|ите|ата|ята|ото|ето|ове|ият|ът|ят|ите|та|то|те|ия|ие|ни|на|но|ат|ят|ха|ше|а|я|о|е|и|у|ъ",
    "ar": "هما|كما|تها|ها|هم|هن|كم|نا|ون|ين|ات|ان|ية|وا|ة|ه|ي|ك",
    "ur": "یوں|یاں|وں|یں|ئے|نے|تا|تی|تے|نا|ا|ی|ے",
}
_ENDING = {language: re.compile(f"(?<=...)(?:{suffixes})$") for language, suffixes in _SUFFIXES.items()}


@lru_cache(maxsize=20_000)
def stem(word: str, language: str) -> str:
    """A word in lower case without its longest known ending; the word itself in a language without endings.

    An English stem of more than three letters ends in no double one: "running" and "run", "falling" and "fall" share theirs.
    """
    ending = _ENDING.get(language)
    left = ending.sub("", word) if ending else word
    return left[:-1] if language == "en" and len(left) > 3 and left[-1] == left[-2] else left


def spelled_words(text: str) -> Iterator[str]:
    """The words a dictionary can judge: of letters alone, not capitalised (names), of 3 to 24 letters, not CJK."""
    for word in WORD.findall(text):
        if MIN_LETTERS <= len(word) <= MAX_LETTERS and word.isalpha() and word == word.lower():
            yield word


def text_stems(text: str) -> tuple[str | None, set[str]]:
    """The language of a normalised text and the stems in it that count; None and nothing where none is spelled."""
    language = language_of(Counter(WORD.findall(text.lower())), script_of(text))
    if language is None or language in UNSPELLED:
        return None, set()
    return language, {stem(word, language) for word in spelled_words(text)}


def _places(stem_: str, bits: int) -> Iterator[int]:
    """Bit positions of a stem, by double hashing (Kirsch and Mitzenmacher 2006)."""
    digest = blake2b(stem_.encode("utf-8", "replace"), digest_size=16).digest()
    first, second = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1
    return ((first + index * second) % bits for index in range(HASHES))


def build_lexicon(
    texts: Iterable[str],
    min_texts: int = MIN_TEXTS,
    max_stems: int = MAX_STEMS,
    min_language_texts: int = MIN_LANGUAGE_TEXTS,
) -> dict[str, Any]:
    """The dictionary of a corpus: one for all its languages that have texts enough.

    Args:
        texts: Normalised texts; each counts a stem once.
        min_texts: Texts that must use a stem.
        max_stems: The commonest so many are kept.
        min_language_texts: Texts that a language must have; the words of others are not judged.

    Returns:
        A JSON-able dict: `languages`, `stems`, `min_texts`, `bits` and `data`, the bit array in base85.

    Raises:
        ValueError: If no language has texts enough, or no stem is common enough.
    """
    by_language: dict[str, Counter[str]] = defaultdict(Counter)
    found: Counter[str] = Counter()
    for text in texts:
        language, stems = text_stems(text)
        if language is not None:
            found[language] += 1
            by_language[language].update(stems)
    languages = sorted(name for name, n in found.items() if n >= min_language_texts)
    if not languages:
        raise ValueError(
            f"A dictionary needs {min_language_texts} training texts in one language, and the texts given are {dict(found)}."
        )
    counts = sum((by_language[name] for name in languages), Counter())
    kept = sorted((name for name, n in counts.items() if n >= min_texts), key=lambda name: (-counts[name], name))[
        :max_stems
    ]
    if not kept:
        raise ValueError(f"No stem occurs in {min_texts} of the texts given: too few texts for a dictionary.")
    bits = math.ceil(len(kept) * BITS_PER_STEM / 8) * 8
    array = bytearray(bits // 8)
    for name in kept:
        for place in _places(name, bits):
            array[place >> 3] |= 1 << (place & 7)
    about = {"languages": languages, "stems": len(kept), "min_texts": min_texts, "bits": bits}
    return {**about, "data": b85encode(bytes(array)).decode("ascii")}


@lru_cache(maxsize=4)
def _decode(data: str, bits: int) -> bytes:
    array = b85decode(data)
    if len(array) * 8 != bits:
        raise ValueError(f"The lexicon says it has {bits} bits and holds {len(array) * 8}.")
    return array


def check_lexicon(lexicon: Any) -> None:
    """Raise a ValueError where a dictionary is not of the shape that `build_lexicon` gives."""
    parts = lexicon if isinstance(lexicon, Mapping) else {}
    languages, bits, data = (parts.get(name) for name in ("languages", "bits", "data"))
    if not isinstance(languages, list) or not all(isinstance(name, str) for name in languages):
        raise ValueError(f"A lexicon names its languages in a list of strings, got {str(languages)[:80]!r}.")
    if not isinstance(data, str) or isinstance(bits, bool) or not isinstance(bits, int) or bits < 8:
        raise ValueError(
            f"A lexicon has data in a string and 8 bits or more, got {type(data).__name__} and {str(bits)[:80]!r}."
        )
    _decode(data, bits)


def is_known(word: str, language: str, lexicon: Mapping[str, Any]) -> bool:
    """Whether the dictionary has the stem of a word (one unknown word in a thousand passes).

    `lexicon["forgotten"]`, a set that only training makes, holds stems that count as unknown; see `fit_features.held_out`.
    """
    found = stem(word, language)
    return found not in lexicon.get("forgotten", ()) and _contains(found, lexicon["data"], lexicon["bits"])


@lru_cache(maxsize=50_000)
def _contains(stem_: str, data: str, bits: int) -> bool:
    array = _decode(data, bits)
    return all(array[place >> 3] >> (place & 7) & 1 for place in _places(stem_, bits))


def misspelled(word: str, language: str, lexicon: Mapping[str, Any]) -> bool:
    """Whether an unknown word of at least five letters is one slip away from a known one."""
    if len(word) < MIN_SLIP:
        return False
    stems = {stem(other, language) for other in _slips(word)}.difference(lexicon.get("forgotten", ()))
    return any(_contains.__wrapped__(other, lexicon["data"], lexicon["bits"]) for other in stems)  # too many to cache


def _slips(word: str) -> set[str]:
    """What may have been meant: neighbours exchanged, a letter too many, a double letter written once."""
    cuts = range(1, len(word))  # the first letter is seldom wrong
    swapped = {word[: i - 1] + word[i] + word[i - 1] + word[i + 1 :] for i in cuts}
    shortened = {word[:i] + word[i + 1 :] for i in cuts}
    doubled = {word[: i + 1] + word[i:] for i in cuts}
    return (swapped | shortened | doubled) - {word}
