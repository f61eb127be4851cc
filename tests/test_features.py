"""Handcrafted statistics: by hand on tiny texts, bounded on every text, told apart by language, quick, and switchable."""

import time

import numpy as np
import pytest

from mvh.configuration_mvh import MvhConfig
from mvh.features_mvh import (
    FEATURES,
    GROUPS,
    REGISTERS,
    check_feature_data,
    compute_features,
    expand_features,
    reads_document_type,
)
from mvh.fit_features import fit_feature_data, fit_register, held_out, register_of, segment_features
from mvh.lexicon_mvh import is_known, misspelled, spelled_words
from mvh.style_mvh import NEUTRAL
from mvh.syllables_mvh import syllables

from .conftest import SENTENCES, make_text

PLAIN = [name for name in FEATURES if name not in ("unknown_word_share", "misspelled_share", *GROUPS["register"])]
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
ODD = [
    "",
    "x",
    "...",
    "1 2 3",
    "🦊🦊🦊",
    "\u0301\u0301",
    "\ud800",
    "今天天气很好我们去公园散步",
    "Ελληνικά είναι.",
    "ภาษาไทย",
    "हिन्दी है।",
]


@pytest.fixture(scope="module")
def data():
    """A dictionary and a register classifier from nonsense and English texts, in two document types."""
    texts = [make_text(index % 2, 60, seed=index) + " " + TEXTS["en"] for index in range(240)]
    sources = ["arxiv" if index % 2 else "yelp" for index in range(240)]
    return fit_feature_data(["all", "document_type"], texts, sources)


def test_a_training_text_is_spelled_by_the_others():
    """Brute force: what the dictionary is to a document is the dictionary that the other documents make."""
    rare = [chr(97 + n // 26) + chr(97 + n % 26) + "quark" for n in range(60)]
    texts, documents = [], []
    for number in range(110):  # two segments each; a rare word stands in one to six of them
        for part in range(2):
            texts.append(
                f"{TEXTS['en']} " + " ".join(word for n, word in enumerate(rare) if (number + n * part) % 60 < n % 4)
            )
            documents.append(str(number))
    data = fit_feature_data(["spelling"], texts)
    data_for = held_out(data, texts, documents)
    words = sorted({word for text in texts for word in spelled_words(text)})
    differs = 0
    for document in documents[::22]:
        others = fit_feature_data(
            ["spelling"], [text for text, own in zip(texts, documents, strict=True) if own != document]
        )
        for word in words:
            without = data_for(document)["lexicon"]
            assert is_known(word, "en", without) == is_known(word, "en", others["lexicon"]), word
            if is_known(word, "en", data["lexicon"]) and not is_known(word, "en", without):
                doubled = word.replace("q", "qq")
                assert misspelled(doubled, "en", data["lexicon"]) and not misspelled(doubled, "en", without)
                differs += 1
    assert differs, "no word is owed to a document, so nothing was tested"
    assert data_for("none of them")["lexicon"]["forgotten"] == frozenset()
    assert "forgotten" not in data["lexicon"]


def value(text, name, **given):
    return compute_features(text, [name], **given)[0]


# --- every text ---


@pytest.mark.parametrize("text", [*SENTENCES, *TEXTS.values(), *ODD, make_text(0, 300, seed=1)])
def test_every_text_gives_finite_bounded_numbers(text, data):
    values = compute_features(text, ["all"], data)
    assert values.shape == (len(FEATURES),) and values.dtype == np.float32
    assert np.isfinite(values).all() and np.abs(values).max() <= 200
    shares = [name.endswith(("_share", "_repetition")) or name.startswith("register_") for name in FEATURES]
    assert (values[shares] >= 0).all() and (values[shares] <= 1).all()


@pytest.mark.parametrize(
    "text", ["a", "中", "!", " ", ".", '"', "́", "a. ", '!"', ", but", "in fact ", "a'", "Ab", "的 ", "x1 "], ids=repr
)
def test_a_long_text_of_one_thing_takes_linear_time(text, data):
    def seconds(size):
        begun = time.process_time()
        assert np.isfinite(compute_features(text * (size // len(text)), ["all"], data)).all()
        return time.process_time() - begun

    seconds(1_000)
    assert seconds(60_000) < 1, "about 0.1 s is usual"


def test_many_unknown_words_are_looked_up_within_bounds(data):
    words = " ".join(
        f"{a}{b}{c}{d}qx" for a in "bcdf" for b in "klmnpqrst" for c in "aeiou" for d in "bcdfghjklmnpqrstvwxz"
    )
    begun = time.process_time()
    compute_features("the of and in " * 1000 + words * 4, ["spelling"], data)
    assert time.process_time() - begun < 2


def test_shares_and_means_do_not_grow_with_length():
    text = "The dog, muddy and wet, ran home. Who saw it? " * 15
    once, often = compute_features(text, PLAIN), compute_features(text * 20, PLAIN)
    stable = [name not in (*GROUPS["length"], "lowercase_opening_share") for name in PLAIN]
    assert np.allclose(once[stable], often[stable], rtol=0.06, atol=0.01)


def test_word_order_leaves_the_vocabulary_alone():
    words = make_text(0, 45, seed=4).replace(".", "").lower().split()
    forward, backward = " ".join(words), " ".join(words[::-1])
    names = ["type_token_ratio", "hapax_share", "yule_k", "word_length_mean", "function_share", "long_word_share"]
    assert np.array_equal(compute_features(forward, names), compute_features(backward, names))


# --- by hand ---

DOG = "The dog ran. The dog, however, did not see me!"  # 10 words in sentences of 3 and 7


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (DOG, "log_word_count", np.log(11)),
        (DOG, "log_sentence_count", np.log(3)),
        (DOG, "type_token_ratio", 8 / 10),
        (DOG, "hapax_share", 6 / 10),
        (DOG, "dis_legomena_share", 2 / 10),
        (DOG, "yule_k", np.log1p(1e4 * (6 + 2 * 4 - 10) / 100)),
        (DOG, "word_length_mean", (3 + 3 + 3 + 3 + 3 + 7 + 3 + 3 + 3 + 2) / 10),
        (DOG, "long_word_share", 1 / 10),
        (DOG, "bigram_repetition", 1 / 9),
        (DOG, "trigram_repetition", 0),
        ("a b c a b c", "trigram_repetition", 1 / 4),
        (DOG, "repeated_opening_share", 1),
        (DOG, "sentence_length_mean", 5),
        (DOG, "sentence_length_std", 2),
        (DOG, "sentence_length_cv", 2 / 5),
        (DOG, "syllables_per_word", 12 / 10),  # how-ev-er has three, the others one
        (DOG, "reading_ease", 206.835 - 1.015 * 5 - 84.6 * 1.2),
        (DOG, "grade", 0.39 * 5 + 11.8 * 1.2 - 15.59),
        (DOG, "function_share", 5 / 10),  # the the did not me
        (DOG, "transition_share", 1 / 10),
        (DOG, "first_person_share", 1 / 10),
        (DOG, "hedge_share", 0),
        ("I think that it is in the way of us.", "hedge_share", 2 / 10),
        ("Don't do it, it's as I've said.", "contraction_share", 3 / 10),
        (DOG, "punctuation_share", 4 / len(DOG)),
        (DOG, "comma_share", 2 / len(DOG)),
        (DOG, "exclamation_share", 1 / len(DOG)),
        ("Why? 为什么？", "question_share", 2 / 9),
        ("a - b – c", "dash_share", 2 / 9),
        ("a: b; c", "colon_share", 2 / 7),
        ('"a" «b»', "quote_share", 4 / 7),
        ("(a) [b]", "bracket_share", 4 / 7),
        ("What?! No... yes", "repeated_mark_share", 2 / 3),
        ("He is. she is. It is.", "lowercase_opening_share", 1 / 2),
        ("It was late, but it was the day. I was in but out.", "missing_comma_share", (1 + NEUTRAL["missing_comma_share"]) / 3),
        ("A1 b2", "digit_share", 2 / 5),
        ("A1 b2", "uppercase_share", 1 / 5),
        ("soooo good", "stretched_word_share", 1 / 2),
        ("w x y w z w", "burstiness", (0.5 - 2.5) / (0.5 + 2.5)),  # gaps 3 and 2
    ],
)  # fmt: skip
def test_by_hand(text, name, expected):
    assert value(text, name) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("word", "language", "count"),
    [
        ("table", "en", 2), ("home", "en", 1), ("the", "en", 1), ("beautiful", "en", 3), ("rhythm", "en", 1), ("nth", "en", 1),
        ("straße", "de", 2), ("corazón", "es", 3), ("été", "fr", 2), ("моя", "ru", 2), ("заседания", "ru", 5),
        ("объект", "ru", 2), ("българия", "bg", 4), ("好", "zh", 1), ("البيت", "ar", 3), ("2021", "en", 1), ("λόγος", None, 3),
    ],
)  # fmt: skip
def test_syllables_in_every_script(word, language, count):
    assert syllables(word, language) == count


# --- document type ---


def test_registers_are_probabilities_or_the_type_that_was_given(data):
    guessed = compute_features(TEXTS["en"], ["register"], data)
    assert guessed.sum() == pytest.approx(1) and len(guessed) == len(REGISTERS)
    given = compute_features(TEXTS["en"], ["register"], document_type="fiction")
    assert given.tolist() == [float(name == "fiction") for name in REGISTERS]
    with pytest.raises(ValueError, match="document_type must be one of .* got 'poem'"):
        compute_features("x", ["register"], data, document_type="poem")


def test_a_register_classifier_tells_types_apart():
    formal = [
        f"The results of the study (see table 2), in which {i} of them were used, are described." for i in range(30)
    ]
    chat = [f"Hey!! I don't know, it's not my thing... do you? I've had {i} of them!" for i in range(30)]
    data = fit_feature_data(["register"], formal + chat, ["arxiv"] * 30 + ["reddit"] * 30)
    assert set(data) == {"register"}
    assert value("I've had it!! I don't care, it's bad... is it?", "register_informal", data=data) > 0.8
    assert (
        value("The methods (see section 3), of which two were used, are described.", "register_academic", data=data)
        > 0.8
    )


def test_registers_need_sources_of_two_types():
    with pytest.raises(ValueError, match="two document types"):
        fit_register(["a text"] * 50, ["arxiv"] * 50)
    with pytest.raises(ValueError, match="'register' needs the source"):
        fit_feature_data(["register"], ["a text"] * 50)
    assert register_of("hc3:wiki_csai") == "reference" and register_of("unheard of") is None
    assert fit_feature_data(["lexical", "punctuation"], []) is None


def test_a_type_that_is_told_is_one_hot_and_one_that_is_not_is_nothing(data):
    assert data["document_types"] == ["academic", "informal"]
    told = compute_features("x", ["document_type"], data, document_type="academic")
    assert told.tolist() == [float(name == "academic") for name in REGISTERS]
    for kind in (None, "fiction"):  # not given, and unknown to the training
        assert not compute_features("x", ["document_type"], data, document_type=kind).any()
    assert not set(expand_features(["document_type"])) & set(expand_features(["all"]))
    assert reads_document_type(["type_fiction"]) and not reads_document_type(["lexical", "spelling"])
    with pytest.raises(ValueError, match="need feature_data with 'document_types'"):
        compute_features("x", ["document_type"], {"register": data["register"]})
    with pytest.raises(ValueError, match=r"needs 20 training texts of a type, and no source among \['blog', 'news'\]"):
        fit_feature_data(["document_type"], ["a text"] * 50, ["blog"] * 40 + ["news"] * 10)


def test_most_training_rows_are_told_their_type_and_the_rest_are_not(data):
    names = expand_features(["document_type", "comma_share"])
    rows = [{"text": "a, b", "source": "arxiv", "document_id": str(index)} for index in range(400)]
    told = np.array([segment_features(row, names, data) for row in rows])
    assert 0.6 < told[:, 0].mean() < 0.8 and not told[:, 1:6].any() and (told[:, 6] > 0).all()
    row = rows[int(told[:, 0].argmax())] | {"document_type": "informal"}  # what the row says goes before its source
    assert segment_features(row, names, data)[REGISTERS.index("informal")] == 1


# --- names and config ---


def test_groups_and_single_names_expand_in_order_once():
    assert expand_features(["characters", "comma_share", "digit_share"]) == [
        "digit_share",
        "uppercase_share",
        "comma_share",
    ]
    assert expand_features(["all"]) == list(FEATURES) and expand_features([]) == []
    text = make_text(1, 80, seed=2)
    assert np.array_equal(compute_features(text, PLAIN[::-1]), compute_features(text, PLAIN)[::-1])
    assert len(FEATURES) == sum(map(len, GROUPS.values())), "two groups share a name"
    assert not set(FEATURES) & set(GROUPS)


def test_unknown_features_are_named():
    with pytest.raises(ValueError, match="called 'magic'"):
        compute_features("text", ["magic"])
    with pytest.raises(ValueError, match="did you mean comma_share"):
        expand_features(["comma_shares"])


def test_missing_data_is_named(data):
    with pytest.raises(ValueError, match=r"\['misspelled_share'\] need feature_data with 'lexicon', and it has \[\]"):
        compute_features("text", ["misspelled_share"])
    with pytest.raises(ValueError, match="need feature_data with 'register'"):
        compute_features("text", ["all"], {"lexicon": data["lexicon"]})
    bent = {**data["register"], "bias": [0.0]}
    with pytest.raises(ValueError, match="classifier has"):
        check_feature_data(["register"], {"register": bent})


def test_a_config_holds_single_names_and_their_data(data, tmp_path):
    fields = {
        "backbone_config": {"model_type": "bert", "hidden_size": 32},
        "feature_names": ["characters", "spelling", "register"],
    }
    config = MvhConfig(**fields, feature_data=data)
    assert config.feature_names == [*GROUPS["characters"], *GROUPS["spelling"], *GROUPS["register"]]
    assert len(config.feature_mean) == len(config.feature_std) == len(config.feature_names)
    config.save_pretrained(tmp_path)
    again = MvhConfig.from_pretrained(tmp_path)
    text = make_text(1, 80, seed=2)
    first, second = (compute_features(text, c.feature_names, c.feature_data) for c in (config, again))
    assert np.array_equal(first, second)
    with pytest.raises(ValueError, match="need feature_data with 'lexicon'"):
        MvhConfig(**fields)
    with pytest.raises(ValueError, match="called 'magic'"):
        MvhConfig(feature_names=["magic"])
