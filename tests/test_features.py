"""Handcrafted statistics: finite, of the right length, independent of text length and alphabet."""

import numpy as np
import pytest

from mvh.features_mvh import FEATURES, compute_features

from .conftest import SENTENCES, make_text

NAMES = list(FEATURES)


@pytest.mark.parametrize("text", [*SENTENCES, "", "x", "...", "1 2 3", make_text(0, 300, seed=1)])
def test_every_text_gives_finite_numbers(text):
    values = compute_features(text, NAMES)
    assert values.shape == (len(NAMES),) and values.dtype == np.float32 and np.isfinite(values).all()


def test_order_follows_the_names():
    text = make_text(1, 80, seed=2)
    assert np.array_equal(compute_features(text, NAMES[::-1]), compute_features(text, NAMES)[::-1])


def test_shares_and_means_do_not_grow_with_length():
    text = "The dog, muddy and wet, ran home. Who saw it? "
    once, often = compute_features(text, NAMES), compute_features(text * 20, NAMES)
    stable = [name.endswith(("_share", "_mean")) or name == "word_length_std" for name in NAMES]
    assert np.allclose(once[stable], often[stable], rtol=0.05)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Он пришёл. Она ушла!", 2),
        ("他来了。她走了！", 3),
        ("ذهب الولد. جاء الرجل؟", 2),
        ("He came at 3.5 pm. She left!", 4),
    ],
)
def test_sentences_end_at_the_stops_of_every_script(text, words):
    (mean,) = compute_features(text, ["sentence_length_mean"])
    assert mean <= words + 1, "the sentences were not told apart"


def test_unknown_features_are_named():
    with pytest.raises(ValueError, match=r"\['magic'\]"):
        compute_features("text", ["magic"])
