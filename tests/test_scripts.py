"""The script of a text: its letters decide, wherever they stand."""

import time

import pytest

from mvh.scripts_mvh import SAMPLE, scripts_of


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
    assert scripts_of(text)[0] == script


def test_a_few_foreign_words_and_digits_do_not_change_it():
    assert scripts_of("As Толстой wrote in 1873: " + "all happy families are alike. " * 3)[0] == "latin"


def test_a_second_script_is_named_where_it_has_a_fifth_of_the_letters():
    english, russian = "all happy families are alike ", "все счастливые семьи похожи друг на друга "
    assert scripts_of(english * 3 + russian) == ["latin", "cyrillic"]
    assert scripts_of(english * 9 + russian) == ["latin"]
    assert scripts_of("今天天气很好，我们去公园散步。" + english) == ["latin", "cjk"]


@pytest.mark.parametrize(
    "text",
    ["川の水は冷たい。", "大日本帝國ハ萬世一系ノ天皇之ヲ統治ス", "東京都知事選挙立候補者説明会に多数参加", "コーヒー"],
)
def test_japanese_is_no_chinese_however_many_kanji_it_has(text):
    assert scripts_of(text) == ["hiragana"]


def test_equal_counts_are_decided_by_name_not_by_order():
    assert scripts_of("abв г")[0] == scripts_of("вг ab")[0] == "cyrillic"


def test_the_whole_of_a_long_text_is_looked_at_in_little_time():
    foreign_start = "д" * SAMPLE + "a word and another " * 20_000
    assert scripts_of(foreign_start)[0] == "latin"
    begin = time.perf_counter()
    assert scripts_of("слово и " * 2_000_000)[0] == "cyrillic"
    assert time.perf_counter() - begin < 1
