"""The optional normalisation steps: off by default, they take out what they say, in linear time, with true offsets."""

import time

import pytest

from mvh.configuration_mvh import MvhConfig
from mvh.normalization_mvh import NORMALIZER_VERSION, OPTIONAL_STEPS, STEPS, normalize


def test_optional_steps_are_off():
    text = "The dog 🦊 ran to the house."
    assert NORMALIZER_VERSION == "2" and not set(OPTIONAL_STEPS) & set(STEPS)
    assert normalize(text).text == text
    MvhConfig(normalization=[*STEPS, "stop_words"])


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        ("stop_words", "The dog ran to the house in the rain.", "dog ran house rain."),
        ("stop_words", "Собака и кошка были на улице.", "Собака кошка улице."),
        ("stop_words", "Kutya fut haza", "Kutya fut haza"),
        ("stop_words", "我们在街上看到了它。", "我们在街上看到了它。"),
        ("stop_words", "It is what it is", ""),
        ("stop_words", "The house in which he is", "house"),
        ("symbols", "The fox 🦊 ran ☃.", "The fox ran ."),
        ("symbols", "👩‍👩‍👧 a 👍🏽 b", "a b"),
        ("symbols", "a\ufffdb \ue000 c ½ € + ²", "ab c ½ € + ²"),
        ("symbols", "plain, Ünïcödé “text” — здесь 中文。", "plain, Ünïcödé “text” — здесь 中文。"),
    ],
)
def test_optional_steps_take_out_what_they_say(step, text, expected):
    done = normalize(text, [step])
    assert done.text.strip() == expected
    places = [done.to_original(place) for place in range(len(done.text) + 1)]
    assert places == sorted(places) and places[0] == 0
    assert places[-1] == (len(text) if done.text else 0)
    kept = [(place, done.to_original(place)) for place in range(1, len(done.text))]
    assert all(done.text[new] == text[old] for new, old in kept)


@pytest.mark.parametrize("step", OPTIONAL_STEPS)
@pytest.mark.parametrize("text", ["the ", "🦊 ", "🦊", "the🦊", "a"])
def test_optional_steps_take_linear_time(step, text):
    begun = time.process_time()
    normalize(text * 20_000, [step])
    assert time.process_time() - begun < 2
