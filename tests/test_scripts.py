"""The script of a text: its letters decide, wherever they stand."""

import time

import pytest

from mvh.scripts_mvh import SAMPLE, dominant_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Plain English.", "latin"),
        ("Ἀρχὴ ἥμισυ παντός", "greek"),
        ("Тихий вечер опустился на город.", "cyrillic"),
        ("今天天气很好，我们去公园散步。", "cjk"),
        ("ذهب الولد إلى المدرسة", "arabic"),
        ("Größe, naïveté, žluťoučký, İstanbul", "latin"),
        ("Слово word слово, ещё слово", "cyrillic"),
        ("12 + 30 = 42 !?", "none"),
        ("🦊👩‍👩‍👧", "none"),
        ("", "none"),
    ],
)
def test_the_script_of_most_letters(text, script):
    assert dominant_script(text) == script


def test_a_few_foreign_words_and_digits_do_not_change_it():
    assert dominant_script("As Толстой wrote in 1873: " + "all happy families are alike. " * 3) == "latin"


def test_equal_counts_are_decided_by_name_not_by_order():
    assert dominant_script("abв г") == dominant_script("вг ab") == "cyrillic"


def test_the_whole_of_a_long_text_is_looked_at_in_little_time():
    foreign_start = "д" * SAMPLE + "a word and another " * 20_000
    assert dominant_script(foreign_start) == "latin"
    begin = time.perf_counter()
    assert dominant_script("слово и " * 2_000_000) == "cyrillic"
    assert time.perf_counter() - begin < 1
