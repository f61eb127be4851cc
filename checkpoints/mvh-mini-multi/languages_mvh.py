"""The language a text is written in, by its function words: a calibration speaks only for languages it has seen.

Known are the languages of `wordlists_mvh`, and more that are here so that none of them is taken for a listed one: lists of
their commonest function words, written for this project. The language whose words are the largest share of a text's
words is the text's, once invisible characters and look-alike letters are folded; another that enough of its stretches are in
is told beside it. A script of one language needs no list:
`scripts_mvh` tells it apart, on the same folded text: Latin letters in Cyrillic dress are Latin to the detector, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from .normalization_mvh import normalize
from .scripts_mvh import MIN_BESIDE, scripts_of
from .wordlists_mvh import LISTS, SCRIPTS, WORD, script_of

NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish or Norwegian", "de": "German", "en": "English",
    "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "hu": "Hungarian", "id": "Indonesian",
    "it": "Italian", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sr": "Serbian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
OTHERS: dict[str, dict[str, str]] = {  # script -> language -> words
    "latin": {
        "cs": "a je se na v že to s z do o i jako by ale jsem jsou být k za po ve pro si které který která jeho bylo "
        "byl byla tak nebo při od už jen ze také což až své není více může mezi podle před své této tento",
        "da": "og i at er en et den det til af på som med for ikke der var de han har jeg fra ved om hun men sig så "
        "skal kan vi ble blev også eller være ham hans efter etter over når hvor havde hadde man noe noget bare "
        "mot denne dette",
        "fi": "ja on ei se että hän oli mutta ovat joka kun myös niin kuin tai olla mitä ole hänen sen sitä tämä jos "
        "minä vain jo hyvin sekä vielä mukaan jotka josta siitä tämän kanssa ennen jälkeen sitten",
        "hu": "a az és hogy nem is egy ez azt meg de csak mint volt van már még ha vagy el ki aki ami után amely mert "
        "minden majd lehet lesz nagyon így azért ezt között kell sem pedig be fel ott itt",
        "it": "di e che il la un una per non è in con sono si da come le i del della dei delle al alla nel nella ma più "
        "lo gli se anche ha ho questo questa era essere dal dalla sul sulla loro suo sua tra fra molto quando "
        "perché cui degli agli",
        "nl": "de het een en van in is dat op te zijn met voor niet aan er om ook als maar door bij uit naar worden "
        "wordt werd hij ze zij was nog wel dan deze dit over tot je ik heeft hebben had kan zou meer geen hun",
        "pl": "i w na z się do nie to że jest o jak za po od przez dla są był była było czy ale co tak oraz który która "
        "które przy już tylko ich jego jej może być ten ta ze pod nad między także lub ponieważ",
        "pt": "de a o que e do da em um uma para com não os as no na por mais dos como mas foi ao ele das tem à seu sua "
        "ou ser são está já também só pelo pela até isso ela entre era depois sem mesmo aos seus nos nas você "
        "muito há",
        "ro": "și de în la cu a o un pe că nu este din care pentru se mai ca au fost sunt sau dar al ale ei lui este "
        "prin după dintre această acest aceste între fi cele cel cea unei unui foarte când lor",
        "sr": "i je u na se da su za od sa koji koja koje ne kao ali bi iz o što ili do po će ima bio bila biti samo "
        "kada nije sve ovaj ova ovo njegov može već",
        "sv": "och i att det är en ett som på av för med den till inte har om de var jag han från vi så men ut kan man "
        "hon sig när också eller efter vid hade blev där än mycket bara mot denna detta ska skulle",
        "tr": "ve bir bu da de için ile çok daha olarak gibi ne en olan kadar ama sonra her o ise ya ki mi var yok "
        "değil şey oldu olduğu olduğunu göre tarafından ben sen biz siz onlar ancak veya içinde",
    },
    "cyrillic": {
        "sr": "и је у на се да су за од са који која које не као али би из о што или до по ће има био била бити само "
        "када није све овај ова ово његов може већ",
        "uk": "і в на що не з та у до як це за є він від про але для було був була вони який яка які також або його її "
        "ми ви може через після при тому якщо ще вже між того цього",
    },
    "arabic": {
        "fa": "و در به از که این را با است برای آن یک خود تا بر هم نیز یا می های شد بود شده او اما باید اگر دیگر پس هر "
        "چه ما شما آنها کند کرد دارد وی بین روی",
    },
}  # fmt: skip
LEAST_WORDS = 30  # fewer say nothing about the language
MIN_SHARE = 0.15  # of function words among the words
LEAST_DIFFERENT = 5  # function words: the y of a formula is no Spanish
FOLDED = ("invisible", "unicode", "homoglyphs")  # steps that mend words which a disguise has cut or respelt
WINDOW = 60  # words, of whose language a text's other languages are made up
BLOCKS, BLOCK = 5, 4_000  # what is looked at of a long text: so many blocks of so many characters, evenly spaced

WORDS = {
    script: {name: frozenset(LISTS[name]["function"].split()) for name in listed}
    | {name: frozenset(words.split()) for name, words in OTHERS.get(script, {}).items()}
    for script, (_, listed) in SCRIPTS.items()
}
SPEAKERS = {  # script -> function word -> its languages
    script: {word: [name for name in spoken if word in spoken[name]] for word in frozenset().union(*spoken.values())}
    for script, spoken in WORDS.items()
}


def scripts_and_languages(text: str, steps: Sequence[str] = FOLDED) -> tuple[list[str], str, list[str]]:
    """What `scripts_mvh.scripts_of` says of a text, its language, and other languages of at least MIN_BESIDE of its words.

    Languages are keys of NAMES, told once disguises are folded. The text's own is "" where too few words are function words
    of one to tell. For the others its words are taken WINDOW by WINDOW, each of which counts for one language: of a text of one
    window there is none, and languages that take turns within a window are told as one.

    Args:
        text: A text of any length; of a long one BLOCKS blocks are looked at, so the time does not grow with the document.
        steps: Steps of normalisation that the detector reads texts through; of them those in FOLDED are taken.
    """
    if len(text) > BLOCKS * BLOCK:
        step = (len(text) - BLOCK) // (BLOCKS - 1)
        text = " ".join(text[start : start + BLOCK] for start in range(0, BLOCKS * step, step))
    text = normalize(text, tuple(step for step in FOLDED if step in steps)).text
    words = WORD.findall(text.lower())
    language, parts = _language(words, script_of(text)), Counter[str]()
    starts = [*range(0, max(1, len(words) - LEAST_WORDS + 1), WINDOW), len(words)]  # the last window takes what is left
    for start, end in pairwise(starts):
        window = words[start:end]
        parts[_language(window, script_of(" ".join(window)))] += len(window)
    others = [name for name in sorted(parts) if name not in ("", language) and parts[name] >= MIN_BESIDE * len(words)]
    return scripts_of(text), language, others


def script_and_language(text: str, steps: Sequence[str] = FOLDED) -> tuple[str, str]:
    """The script of most letters of a text, and its language; see `scripts_and_languages`."""
    (script, *_), language, _ = scripts_and_languages(text, steps)
    return script, language


def dominant_language(text: str) -> str:
    """The language of a text, see `scripts_and_languages`."""
    return scripts_and_languages(text)[1]


def _language(words: Sequence[str], script: str | None) -> str:
    """The language of words in lower case, one of those of a script."""
    if len(words) < LEAST_WORDS or script is None:
        return ""
    times, different = Counter[str](), Counter[str]()
    for word, count in Counter(words).items():
        for name in SPEAKERS[script].get(word, ()):
            times[name] += count
            different[name] += 1
    best = max(WORDS[script], key=lambda name: times[name])
    return best if times[best] >= MIN_SHARE * len(words) and different[best] >= LEAST_DIFFERENT else ""
