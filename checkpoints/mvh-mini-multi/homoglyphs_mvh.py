"""Look-alike letters: which letters of other scripts imitate ASCII ones, and which words they were smuggled into.

An attacker writes "quісk" with Cyrillic letters, a slip of the keyboard puts a Latin "c" into "cебестоимость"; both
make a tokenizer see another word. Each word is folded to one script, decided by the letters that only one script has.
Real words of any script stay as they are: pure Russian, Greek or Armenian text is untouched.
"""

from __future__ import annotations

import re
from functools import lru_cache

Edit = tuple[int, int, str]  # (start, end, replacement)
LETTER = r"[^\W\d_]"

# An ASCII letter and the letters that look like it: single letters of the BMP from Unicode's confusables, as packaged
# in confusable_homoglyphs 3.3.1 (MIT), less compatibility characters and living Latin letters, plus ε η κ к τ.
LOOK_ALIKES = (
    "AΑАᎪᗅꓮ aɑαа BꞴΒВᏴᗷꓐ bƄЬᏏᑲᖯ CⲤСᏟꓚ cᴄⲥсꮯ DᎠᗞᗪꓓ dԁᏧᑯꓒ EΕЕⴹᎬꓰ eꬲеҽε FꞘϜᖴꓝ fꬵꞙẝք GԌᏀᏳꓖ gɡᶃƍց HΗⲎНᎻᕼꓧ hһհᏂ IƖΙⲒІӀⵏꓲ "
    "iɪιіꙇӏꭵᎥı JꞲͿЈᎫᒍꓙ jϳј KΚⲔКᏦꓗ kкκ LⳐᏞᒪꓡ MΜϺⲘМᎷᗰꓟ NΝⲚꓠ nոռη OΟⲞОՕⵔꓳ oᴏᴑꬽοσⲟоօ PΡⲢРᏢᑭꓑ pρⲣр Qⵕ qԛգզ RƦᎡᏒᖇꓣ rꭇꭈᴦⲅгꮁ "
    "SЅՏᏕᏚꓢ sꜱƽѕꮪ TΤⲦТᎢꓔ tτ UՍᑌꓴ uꞟᴜꭎꭒυս VѴⴸᏙᐯꓦ vᴠνѵꮩ WԜᎳᏔꓪ wᴡѡԝաꮃ XꞳΧⲬХⵝꓫ xхᕁᕽ YΥⲨУҮᎩᎽꓬ yᶌʏỿꭚγуү ZΖᏃꓜ zᴢꮓ"
)
_TO_LATIN = {character: group[0] for group in LOOK_ALIKES.split() for character in group[1:]}
_TO_CYRILLIC = dict(zip("aABcCeEHiIkKMoOpPTxXyY", "аАВсСеЕНіІкКМоОрРТхХуУ", strict=True))
_TO_GREEK = dict(zip("aABEeHiIkKMnNoOpPtTuvXyYZ", "αΑΒΕεΗιΙκΚΜηΝοΟρΡτΤυνΧγΥΖ", strict=True))
_FOLD = {
    "latin": _TO_LATIN,
    "cyrillic": _TO_CYRILLIC,
    "greek": _TO_GREEK,
}  # of ASCII letters; below, of all look-alikes
_SCRIPTS = {
    "latin": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u1d00-\u1d25\u1d2c-\u1dbf\u1e00-\u1eff\ua720-\uab65",
    "cyrillic": "\u0400-\u052f\u1c80-\u1c8f\ua640-\ua69d",
    "greek": "\u0370-\u0373\u0376-\u03ff\u1d26-\u1d2a\u1f00-\u1fff",
    "armenian": "\u0531-\u0587",
    "cherokee": "\u13a0-\u13fd\uab70-\uabbf",
    "canadian": "\u1400-\u167f",
    "coptic": "\u2c80-\u2cee",
    "tifinagh": "\u2d30-\u2d67",
    "lisu": "\ua4d0-\ua4f7",
}
_OF_SCRIPT = {name: re.compile(f"[{ranges}]+") for name, ranges in _SCRIPTS.items()}
_TABLES = {
    name: str.maketrans(
        {c: fold.get(_TO_LATIN.get(c, c), c) for c in {**_TO_LATIN, **fold} if not _OF_SCRIPT[name].match(c)}
        if name != "latin"
        else _TO_LATIN
    )
    for name, fold in _FOLD.items()
}
_NEAR_LATIN = "".join(sorted(c for c in _TO_LATIN if _OF_SCRIPT["latin"].match(c)))
_FOREIGN = "".join(sorted(set(_TO_LATIN) - set(_NEAR_LATIN)))
_ANY_LOOK_ALIKE = re.compile(f"[{_FOREIGN}{_NEAR_LATIN}]")
_LATIN = _SCRIPTS["latin"]
# A Latin letter beside a foreign one; a whole word of foreign look-alikes; a Latin letter that looks like ASCII.
_SUSPECT = re.compile(
    f"[{_LATIN}](?=[{_FOREIGN}])|(?<=[{_FOREIGN}])[{_LATIN}]|(?<!{LETTER})[{_FOREIGN}]+(?!{LETTER})|[{_NEAR_LATIN}]"
)
_LETTER = re.compile(LETTER)
_WORD = re.compile(f"{LETTER}+")
_GREEK_SYMBOL = re.compile("[αβγδεζηθικλμνξπρςστφχψω]")


@lru_cache(maxsize=65536)
def _script(character: str) -> str:
    return next((name for name, pattern in _OF_SCRIPT.items() if pattern.match(character)), "")


def _imitated(text: str) -> tuple[str, frozenset[str]]:
    """The document's script, and the foreign scripts that show (almost) nothing but look-alikes in a Latin document."""
    sizes, fakes = {"latin": sum(map(len, re.findall("[bdfghlmnqrstuvwz]+", text)))}, set()
    for name, pattern in _OF_SCRIPT.items():
        if name == "latin":
            continue
        runs = "".join(pattern.findall(text))
        if runs:
            certain = sum(map(len, re.findall(f"[^{_FOREIGN}]+", runs)))
            sizes[name] = certain
            if 10 * certain <= len(runs):
                fakes.add(name)
    script = max(sizes, key=lambda name: sizes[name])
    return script, frozenset(fakes if script == "latin" else ())


def _target(word: str, scripts: list[str], document: str) -> str:
    """The script of a mixed word: the one with most letters that no other script of the word can imitate."""
    present = set(scripts)
    certain = dict.fromkeys(sorted(present & _FOLD.keys()), 0)
    for character, script in zip(word, scripts, strict=True):
        if script == "latin":
            certain["latin"] += not any(character in _FOLD[other] for other in present - {"latin"} if other in _FOLD)
        elif script in certain:
            certain[script] += character not in _TO_LATIN
    best = max(certain.values(), default=0)
    leaders = [name for name, count in certain.items() if count == best]
    return leaders[0] if len(leaders) == 1 else document


def _unmixed(word: str, document: str, fakes: frozenset[str]) -> str:
    """A word in one script, or the word itself where it is no imitation."""
    scripts = [_script(character) for character in word]
    present = set(scripts)
    if not re.search("[a-z]", word) and _GREEK_SYMBOL.search(word):
        return word  # a formula: "ρ", "TNFα", "NFκB"
    if present <= fakes:
        target = "latin"
    elif document != "latin" and "latin" in present and not re.search("[A-Za-z]", word):
        target = ""  # accented Latin letters alone: some write Chuvash so
    elif "latin" in present and len(present) > 1:
        target = _target(word, scripts, document)
    else:
        target = "latin" if present == {"latin"} else ""
    if target not in _TABLES:
        return word
    folded = word.translate(_TABLES[target])
    return folded if _OF_SCRIPT[target].fullmatch(folded) else word


def homoglyphs(text: str) -> list[Edit]:
    """Look-alike letters of another script -> the script of their word; real words of any script stay.

    A word that mixes Latin with look-alikes goes to the script of its letters that only one script has: English with
    Cyrillic letters inside (an attack) to Latin, a Russian word with a Latin letter inside (a slip of the keyboard)
    to Cyrillic; a word without such letters goes to the document's script. A word of look-alikes alone goes to Latin
    only in a Latin document in which at most a tenth of that script's letters could be nothing else: quoted Russian
    stays. Words without a lower-case Latin letter keep their lower-case Greek ones, which are symbols.
    """
    if text.isascii() or _ANY_LOOK_ALIKE.search(text) is None:
        return []
    match = _SUSPECT.search(text)
    if match is None:
        return []
    document, fakes = _imitated(text)
    turkic = re.search("[şğŞĞəƏİ]", text) is not None
    edits: list[Edit] = []
    end = 0
    while match is not None:
        start = match.start()
        while start > end and _LETTER.match(text, start - 1):
            start -= 1
        word_match = _WORD.match(text, start)
        assert word_match is not None  # a suspect is a letter
        word, end = word_match.group(), word_match.end()
        if not (turkic and "ı" in word):
            folded = _unmixed(word, document, fakes)
            edits += [
                (start + i, start + i + 1, new)
                for i, (old, new) in enumerate(zip(word, folded, strict=True))
                if old != new
            ]
        match = _SUSPECT.search(text, end)
    return edits
