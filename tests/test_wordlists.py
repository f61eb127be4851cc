"""Word lists, sentences and the dictionary: every language found, every entry reachable, slips told from rare words."""

from collections import Counter

import numpy as np
import pytest

from mvh.features_mvh import GROUPS, compute_features
from mvh.lexicon_mvh import build_lexicon, is_known, misspelled, stem
from mvh.reading_mvh import Reading
from mvh.style_mvh import NEUTRAL
from mvh.wordlists_mvh import KINDS, LISTS, SCRIPTS, WORD, count_listed, language_of, marked, phrases, script_of

TEXTS = {  # one sentence or two per language
    "en": "The dog ran home because it was wet, and we saw it in the street.",
    "de": "Der Hund lief nach Hause, weil er nass war, und wir sahen ihn auf der Straße.",
    "es": "El perro corrió a la casa porque estaba mojado, y lo vimos en la calle.",
    "fr": "Le chien est rentré à la maison parce qu'il était mouillé, et nous l'avons vu dans la rue.",
    "id": "Anjing itu lari ke rumah karena dia basah, dan kami telah melihat dia di jalan.",
    "vi": "Con chó đã chạy về nhà vì nó bị ướt, và chúng tôi đã thấy nó ở trên đường.",
    "ru": "Собака побежала домой, потому что она была мокрая, и мы её видели на улице.",
    "bg": "Кучето изтича към къщата, защото беше мокро, и ние го видяхме на улицата.",
    "ar": "ركض الكلب إلى البيت لأن المطر كان في كل مكان من المدينة.",
    "ur": "کتا گھر کی طرف بھاگا کیونکہ وہ گیلا تھا اور ہم نے اس کو دیکھا۔",
    "zh": "因为狗湿了，所以它跑回家了，我们在街上看到了它。",
}


def value(text, name, **given):
    return compute_features(text, [name], **given)[0]


@pytest.mark.parametrize(("language", "text"), TEXTS.items())
def test_languages_are_told_by_script_and_function_words(language, text):
    reading = Reading(text)
    assert reading.language == language
    assert compute_features(text, ["function_share"])[0] > 0.1


@pytest.mark.parametrize("text", ["Kutya fut haza nedvesen", "Η γλώσσα είναι εδώ", "12 345", "हिन्दी भाषा यहाँ है"])
def test_other_languages_get_neutral_values(text):
    assert Reading(text).language is None
    names = [*GROUPS["wording"], "missing_comma_share", "unknown_word_share", "misspelled_share"]
    data = {"lexicon": build_lexicon([TEXTS["en"]], min_texts=1, min_language_texts=1)}
    assert compute_features(text, names, data) == pytest.approx([NEUTRAL[name] for name in names])


@pytest.mark.parametrize("language", LISTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_of_every_list_is_found_in_a_text_of_its_own(language, kind):
    listed = phrases(language, kind)
    for entry in [*listed.single, *(phrase.split() for phrase in listed.several)]:
        words = [entry] if isinstance(entry, str) else entry
        assert WORD.findall(" ".join(words).lower()) == words, "not in lower case, or no words"
        found = count_listed(language, kind, Counter(words), marked(words))
        assert found >= len(words)


def test_phrases_match_as_phrases_and_beside_each_other():
    words = "in fact in fact it is in fine fact".split()
    assert count_listed("en", "transition", Counter(words), marked(words)) == 4


def test_every_language_has_a_script_and_every_list():
    assert sorted(name for _, names in SCRIPTS.values() for name in names) == sorted(LISTS)
    assert all(set(lists) == set(KINDS) for lists in LISTS.values())
    with pytest.raises(ValueError, match="no list 'slang' of 'en'"):
        phrases("en", "slang")
    assert script_of("123 !") is None and language_of(Counter(), "latin") is None


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("Он пришёл. Она ушла!", [2, 2]),
        ("他来了。她走了！", [3, 3]),
        ("ذهب الولد. جاء الرجل؟", [2, 2]),
        ("He came at 3.5 pm. She left!", [6, 2]),
        ("It was A. Smith. He said so...", [4, 3]),
        ('"Why?" he said.', [1, 2]),
    ],
)
def test_sentences_end_at_the_stops_of_every_script(text, lengths):
    assert Reading(text).sentence_lengths.tolist() == lengths


# --- dictionary ---


def test_a_dictionary_knows_words_inflections_and_slips():
    texts = ["the weather in the street is wonderful and we are walking to the bookshop in it"] * 3
    lexicon = build_lexicon(texts, min_language_texts=1)
    assert lexicon["languages"] == ["en"]
    assert (
        is_known("wonderful", "en", lexicon) and is_known("walks", "en", lexicon) and is_known("walked", "en", lexicon)
    )
    assert not is_known("telescope", "en", lexicon)
    assert all(misspelled(word, "en", lexicon) for word in ("wonderufl", "wonnderful", "weathher", "bokshop"))
    assert not misspelled("telescope", "en", lexicon)
    wrong = "the weather in the sttreet is wonderful and we are walking to the telescope"
    unknown, slips = compute_features(wrong, ["unknown_word_share", "misspelled_share"], {"lexicon": lexicon})
    looked_up = len([word for word in wrong.split() if len(word) > 2])
    assert (unknown, slips) == (pytest.approx(2 / looked_up), pytest.approx(1 / looked_up))
    assert value("The Xqzt is in the street of the weather", "unknown_word_share", data={"lexicon": lexicon}) == 0


def test_a_full_dictionary_travels_in_300_kilobytes_and_seldom_errs():
    rng = np.random.default_rng(0)
    letters = np.array(list("bcdfghjklmnpqrtvwxz"))
    made = ["".join(word) for word in letters[rng.integers(len(letters), size=(10_000, 9))]]
    texts = ["the of and in to a is it " * 60 + " ".join(made[start : start + 100]) for start in range(0, 10_000, 100)]
    lexicon = build_lexicon(texts, min_texts=1, min_language_texts=1)
    assert len(lexicon["data"]) * 100_000 / lexicon["stems"] < 300_000
    assert all(is_known(word, "en", lexicon) for word in made[:2000])
    others = ["".join(word) for word in letters[rng.integers(len(letters), size=(10_000, 10))]]
    assert np.mean([is_known(word, "en", lexicon) for word in others]) < 0.004


@pytest.mark.parametrize(
    ("language", "forms"),
    [
        ("en", ["walk", "walks", "walked", "walking"]), ("en", ["stop", "stops", "stopped", "stopping"]),
        ("en", ["travel", "travelled", "traveling"]), ("en", ["fall", "falls", "falling"]), ("en", ["big", "bigger"]),
        ("de", ["Frage".lower(), "fragen", "fragten"]),
        ("ru", ["заседание", "заседания", "заседаниями"]), ("bg", ["книга", "книгата", "книги"]),
        ("es", ["casa", "casas"]), ("fr", ["maison", "maisons"]), ("zh", ["好"]),
    ],
)  # fmt: skip
def test_inflections_share_a_stem(language, forms):
    assert len({stem(form, language) for form in forms}) == 1


def test_a_dictionary_needs_texts():
    with pytest.raises(ValueError, match="200 training texts in one language"):
        build_lexicon([TEXTS["en"]] * 20)
    with pytest.raises(ValueError, match="No stem occurs in 5 of the texts"):
        build_lexicon([TEXTS["en"]] * 3, min_texts=5, min_language_texts=1)
