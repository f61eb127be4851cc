"""The two word tables of the attacks, made anew: synonyms.json from WordNet, spellings.json from SCOWL.

    python -m mvh.attacks.make_words --wordnet /usr/share/wordnet --scowl /usr/share/dict/scowl --out attacks

The folders are those of the Debian packages wordnet-base (WordNet 3.0) and scowl; neither is needed to run an attack.

A synonym is taken where WordNet's sense-tagged texts leave no great doubt: the word is used in one sense in at least
`USUAL` of its tagged occurrences, another single word of that synset is used in it in at least `SHARED` of its own. The
commonest such word stands for it. Regular plurals and verb forms follow their base form where SCOWL knows both.

A spelling is taken where a rule of `BRITISH` turns a word that SCOWL calls American into one that it calls British.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mvh.wordlists_mvh import LISTS

USUAL, SHARED, TAGGED = 0.4, 0.1, 1  # shares of tagged occurrences; least number of them
COMMON, KNOWN = 50, 60  # SCOWL sizes: words to use as synonyms; forms and spellings that exist
PARTS = {"noun": (1,), "verb": (2,), "adj": (3, 5), "adv": (4,)}  # file -> synset types in a sense key
VOWELS = "aeiou"
FORMS: dict[str, tuple[Callable[[str], str], ...]] = {
    "noun": (lambda word: word, lambda word: _s_form(word)),
    "verb": (lambda word: word, lambda word: _s_form(word), lambda word: _ed_form(word), lambda word: _ing_form(word)),
    "adj": (lambda word: word,),
    "adv": (lambda word: word,),
}
BRITISH: tuple[tuple[str, str], ...] = (
    (r"or(?=$|[a-z])", "our"),
    (r"er(?=$|s$|ed$)", "re"),
    (r"ering$", "ring"),
    (r"iz(?=[aei])", "is"),
    (r"yz(?=[aei])", "ys"),
    (r"og(?=$|s$|ed$|ing$)", "ogue"),
    (r"l(?=ed$|ing$|ers?$|or$|ist$|ous$|y$)", "ll"),
    (r"ll(?=$|s$|ment|ful)", "l"),
    (r"ens(?=e$|es$|eless$)", "enc"),
    (r"e", "ae"),
    (r"e", "oe"),
    (r"am(?=$|s$)", "amme"),
    (r"ay", "ey"),
    (r"ow(?=$|s$|ed$|ing$|m)", "ough"),
    (r"old", "ould"),
    (r"olt", "oult"),
    (r"k", "c"),
    (r"z", "s"),
    (r"i(?=re)", "y"),
    (r"u(?=rb)", "ke"),
    (r"p(?=ed$|ing$|ers?$)", "pp"),
    (r"gm(?=ent)", "gem"),
    (r"air(?=plane|foil)", "aero"),
    (r"a(?=jama)", "y"),
    (r"um(?=$|s$)", "ium"),
    (r"elry$", "ellery"),
    (r"check", "cheque"),
    (r"^must", "moust"),
)  # (pattern, replacement), tried at one place of a word at a time


def tagged_senses(folder: Path) -> dict[str, dict[tuple[str, int], int]]:
    """Word -> (part of speech, sense number) -> tagged occurrences, of single words in small letters."""
    parts = {kind: name for name, kinds in PARTS.items() for kind in kinds}
    counts: dict[str, dict[tuple[str, int], int]] = defaultdict(dict)
    for line in (folder / "cntlist.rev").read_text(encoding="ascii").splitlines():
        key, sense, count = line.split(" ")
        word, _, rest = key.partition("%")
        if re.fullmatch("[a-z]{3,}", word):
            place = (parts[int(rest[0])], int(sense))
            counts[word][place] = counts[word].get(place, 0) + int(count)
    return counts


def synsets(folder: Path, part: str) -> Iterator[tuple[str, int, list[str]]]:
    """(word, sense number, the words of that synset) of one part of speech."""
    members = {}
    for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            fields = line.split(" ")
            members[fields[0]] = [re.sub(r"\(.*", "", word) for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
    for line in (folder / f"index.{part}").read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            for sense, offset in enumerate(fields[-int(fields[2]) :], start=1):
                yield fields[0], sense, members[offset]


def irregular(folder: Path, part: str) -> set[str]:
    """Base forms with an irregular form."""
    lines = (folder / f"{part}.exc").read_text(encoding="latin-1").splitlines()
    return {base for line in lines for base in line.split()[1:]}


def scowl_words(folder: Path, kinds: Sequence[str], size: int) -> set[str]:
    """The words of the kinds ("english", "american", …) up to a size, in small letters."""
    files = [path for kind in kinds for path in folder.glob(f"{kind}-words.*") if int(path.suffix[1:]) <= size]
    words = {word for path in files for word in path.read_text(encoding="latin-1").split()}
    return {word for word in words if re.fullmatch("[a-z]+", word)}


def make_synonyms(wordnet: Path, scowl: Path) -> dict[str, str]:
    """Word -> its synonym, inflected alike."""
    counts = tagged_senses(wordnet)
    common = scowl_words(scowl, ("english", "american"), COMMON)
    known = scowl_words(scowl, ("english", "american"), KNOWN)
    function = set(LISTS["en"]["function"].split())
    table: dict[str, str] = {}
    for part in PARTS:
        odd = irregular(wordnet, part) if part in ("noun", "verb") else set()
        senses = list(synsets(wordnet, part))
        number_of = {(word, tuple(members)): sense for word, sense, members in senses}
        for word, sense, members in senses:
            used = counts.get(word, {})
            if sum(used.values()) < TAGGED or used.get((part, sense), 0) < USUAL * sum(used.values()):
                continue
            choices = [
                (here, other)
                for other in members
                if other != word
                and other in common
                # how often the other word is tagged with this very synset
                and (here := counts.get(other, {}).get((part, number_of.get((other, tuple(members)), 0)), 0))
                and here >= SHARED * sum(counts[other].values())
            ]
            if not choices or word in function:
                continue
            best = max(choices)[1]
            for form in FORMS[part]:
                old, new = form(word), form(best)
                if old != word and (word in odd or best in odd):
                    continue
                if old in known and new in known and old != new and old not in table:
                    table[old] = new
    return dict(sorted(table.items()))


def make_spellings(scowl: Path) -> dict[str, str]:
    """American spelling -> British spelling."""
    american = scowl_words(scowl, ("american",), KNOWN)
    british = scowl_words(scowl, ("british",), KNOWN) - american
    table = {}
    for word in sorted(american - scowl_words(scowl, ("british", "english"), KNOWN)):
        for pattern, replacement in BRITISH:
            turned = [word[: match.start()] + replacement + word[match.end() :] for match in re.finditer(pattern, word)]
            if found := [spelled for spelled in turned if spelled in british]:
                table[word] = found[0]
                break
    return table


def _s_form(word: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word + "es"
    return word[:-1] + "ies" if re.search(rf"[^{VOWELS}]y$", word) else word + "s"


def _ed_form(word: str) -> str:
    if word.endswith("e"):
        return word + "d"
    return word[:-1] + "ied" if re.search(rf"[^{VOWELS}]y$", word) else word + "ed"


def _ing_form(word: str) -> str:
    return word[:-1] + "ing" if re.search(rf"[^{VOWELS}]e$|ue$", word) else word + "ing"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m mvh.attacks.make_words", description=__doc__.split("\n")[0])
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with cntlist.rev, data.noun, index.noun, …")
    parser.add_argument("--scowl", type=Path, required=True, help="folder with american-words.10, …")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two JSON files")
    options = parser.parse_args(arguments)
    tables = {
        "synonyms.json": make_synonyms(options.wordnet, options.scowl),
        "spellings.json": make_spellings(options.scowl),
    }
    for name, table in tables.items():
        (options.out / name).write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
