"""Attacks: pure, seeded, as strong as they say; what normalisation undoes comes back, what it cannot changes words."""

from __future__ import annotations

import json
import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvh.attacks import suite
from mvh.attacks.characters import HOMOGLYPHS
from mvh.attacks.perturbation import CROP_WORDS, crop, perturb
from mvh.attacks.suite import ATTACKS, KINDS
from mvh.attacks.words import word_table
from mvh.dataset_builder.perturb import Perturbation, PerturbPlan, carry_out_all, change_row, perturb_plans
from mvh.dataset_builder.rewriters import Backend, RewriteError
from mvh.dataset_builder.semeval import read_semeval
from mvh.normalization_mvh import normalize

TEXT = (
    "On the morning of the flood nobody came to work. The bridge was gone, so we waited on a hill and counted 25 boats.\n\n"
    "In 1963 the labor office organized an inquiry. The color of the water was gray, and the neighbors helped quietly "
    "with 3.5 tons of food. Nobody answered the certainly urgent questions about the center."
)
HERE = [name for name, attack in ATTACKS.items() if attack.kind != "model"]
UNDONE = ("homoglyph", "zero_width_space", "whitespace", "whitespace_half", "insert_paragraphs", "markdown", "rewrap")
RAID = {
    "article_deletion": 0.5, "homoglyph": 1.0, "number": 0.5, "paraphrase": 1.0, "synonym": 0.5, "perplexity_misspelling": 0.2,
    "whitespace": 0.2, "upper_lower": 0.05, "zero_width_space": 1.0, "insert_paragraphs": 0.5, "alternative_spelling": 1.0,
}  # fmt: skip


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_raid_is_whole_at_its_strengths() -> None:
    assert {name: attack.strength for name, attack in ATTACKS.items() if attack.raid} == RAID
    assert all(attack.kind in KINDS for attack in ATTACKS.values())


@pytest.mark.parametrize("name", HERE)
@given(text=st.text(st.sampled_from(list("abE ß中я1. ,\n\r\t'’-*|İ\u200b\u0301")) | st.characters(), max_size=60))
@settings(max_examples=40, deadline=None)
def test_every_text_can_be_attacked_and_the_seed_decides(name: str, text: str) -> None:
    attacked = ATTACKS[name](text, seed=1)
    assert isinstance(attacked, str) and attacked == ATTACKS[name](text, seed=1)


@pytest.mark.parametrize(
    "name", [name for name in HERE if name not in ("markdown", "rewrap") and "truncate" not in name]
)
def test_strength_nothing_changes_nothing_and_seeds_differ(name: str) -> None:
    assert ATTACKS[name](TEXT, strength=0.0) == TEXT
    assert ATTACKS[name](TEXT, strength=1.0) != TEXT
    if name not in ("homoglyph", "zero_width_space", "alternative_spelling", "synonym"):  # these take all they find
        assert len({ATTACKS[name](TEXT * 3, seed=seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("name", UNDONE)
def test_normalisation_undoes_what_only_shows_on_the_screen(name: str) -> None:
    attacked = ATTACKS[name](TEXT)
    assert attacked != TEXT and normalize(attacked).text == normalize(TEXT).text


def test_homoglyphs_leave_no_letter_that_has_a_look_alike() -> None:
    attacked = ATTACKS["homoglyph"](TEXT)
    assert not set(attacked) & set(HOMOGLYPHS) and len(attacked) == len(TEXT)


def test_spaces_letters_and_articles_are_as_many_as_the_strength_says() -> None:
    assert ATTACKS["zero_width_space"](TEXT).count("\u200b") == len(TEXT)
    assert len(ATTACKS["whitespace"](TEXT)) - len(TEXT) == int(len(TEXT.split(" ")) * 0.2)
    flipped = ATTACKS["upper_lower_half"](TEXT)
    assert flipped.lower() == TEXT.lower()
    assert sum(a != b for a, b in zip(flipped, TEXT, strict=True)) == int(
        sum(w[0].isalpha() for w in words_of(TEXT)) * 0.5
    )
    articles = Counter(words_of(TEXT))
    left = Counter(words_of(ATTACKS["article_deletion"](TEXT, strength=1.0)))
    assert {word for word in articles if left[word] < articles[word]} == {"the", "a", "an"}
    assert left["The"] == articles["The"]  # RAID deletes them between two spaces only


def test_numbers_keep_their_shape_and_words_their_case() -> None:
    attacked = ATTACKS["number"](TEXT, strength=1.0)
    assert re.sub(r"\d", "0", attacked) == re.sub(r"\d", "0", TEXT)
    british = ATTACKS["alternative_spelling"]("Color, COLOR and organized labor; the collar and or stay.")
    assert british == "Colour, COLOUR and organised labour; the collar and or stay."


def test_synonyms_and_misspellings_change_a_share_of_the_words() -> None:
    for name, most in (("synonym", 0.5), ("perplexity_misspelling", 0.2)):
        before, after = words_of(TEXT), words_of(ATTACKS[name](TEXT))
        changed = sum(a != b for a, b in zip(before, after, strict=True))
        assert 0 < changed <= most * len(before)
    assert ATTACKS["synonym"]("She bought an automobile.", strength=1.0) == "She bought an automobile."  # "an car"


@pytest.mark.parametrize("name", ["synonyms", "spellings"])
def test_word_tables_are_clean(name: str) -> None:
    table = word_table(name)
    assert len(table) > 1000
    assert all(
        re.fullmatch("[a-z]+", word) and re.fullmatch("[a-z]+", new) and word != new for word, new in table.items()
    )


@pytest.mark.parametrize("words", [50, 100, 200])
def test_truncation_keeps_the_first_words(words: int) -> None:
    text = " ".join(f"word{number}," for number in range(150))
    cut = ATTACKS[f"truncate_{words}"](text)
    assert text.startswith(cut) and len(words_of(cut)) == min(words, 150) and cut.endswith(",")
    assert len(ATTACKS[f"truncate_{words}"]("我们去公园散步。" * 60)) <= words * 8 / 7 + 1


def test_rewrapping_keeps_paragraphs_and_words() -> None:
    wrapped = ATTACKS["rewrap"](TEXT)
    assert max(map(len, wrapped.splitlines())) <= 72 and wrapped.split() == TEXT.split() and wrapped.count("\n\n") == 1


def test_paraphrase_asks_the_back_end_and_keeps_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def rewrite(pieces: list[str]) -> list[str | RewriteError]:
        return [RewriteError("no") if "flood" in piece else piece.upper() for piece in pieces]

    backend = Backend("t5", "toy", {}, rewrite, fits=lambda piece: len(piece) < 200, batch=2)
    monkeypatch.setattr(suite, "_paraphraser", lambda: backend)
    attacked = ATTACKS["paraphrase"](TEXT)
    first = "On the morning of the flood nobody came to work."
    assert attacked.startswith(first) and attacked[len(first) :] == TEXT[len(first) :].upper()


def test_perturbation_is_seeded_and_knows_no_label() -> None:
    texts = [f"{number}. {TEXT} " * 8 for number in range(60)]
    out = [perturb(text, 3) for text in texts]
    assert out == [perturb(text, 3) for text in texts] and out != [perturb(text, 4) for text in texts]
    assert all(text.strip() for text in out)
    shorter = [len(words_of(new)) < 0.9 * len(words_of(old)) for new, old in zip(out, texts, strict=True)]
    assert 0.25 < sum(shorter) / len(shorter) < 0.75  # half of them are cut


def test_crops_are_pieces_within_their_bounds() -> None:
    text = " ".join(f"Sentence number {number} is here." for number in range(300))
    for seed in range(30):
        piece = crop(text, Random(seed))
        assert piece in text and piece.startswith("Sentence")
        assert CROP_WORDS[0] <= len(words_of(piece)) <= CROP_WORDS[1]
    assert crop("Short.", Random(0)) == "Short."


def test_a_plan_takes_the_same_share_of_both_labels_of_the_training_role() -> None:
    rows = [
        {"id": f"{label}-{number}", "label": label, "role": role, "text": TEXT * 4, "model": "m"}
        for label, count in ((0, 40), (1, 90))
        for number in range(count)
        for role in ("train",)
    ] + [{"id": "other", "label": 0, "role": "choose", "text": TEXT, "model": "m"}]
    half, tenth = Perturbation(PerturbPlan(0.5), rows, 0), Perturbation(PerturbPlan(0.1), rows, 0)
    assert Counter(name[0] for name in half.chosen) == {"0": 20, "1": 45} and tenth.chosen < half.chosen
    changed = [half.apply(row) for row in rows]
    assert changed[-1] == rows[-1]
    assert all(
        (new["text"] == old["text"]) or new["model"] == "m+perturbation" for new, old in zip(changed, rows, strict=True)
    )
    record = json.loads(json.dumps(half.record()))
    assert record["plan"] == half.plan.described() and sum(record["texts"].values()) == 65
    assert perturb_plans(0.0) == [] and perturb_plans(0.5) == [half.plan]
    made = carry_out_all(perturb_plans(0.5), rows, iter, seed=0)
    assert [change_row(row, made) for row in rows] == changed
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        perturb_plans(1.5)
    with pytest.raises(ValueError, match="training role"):
        Perturbation(PerturbPlan(0.5), rows[-1:], 0)


def test_normalisation_undoes_character_attacks_on_the_data(shared_data) -> None:
    rows = [
        row for _, row in zip(range(150), read_semeval(shared_data / "m4_like" / "ood_choose_en.jsonl"), strict=False)
    ]
    for name in ("homoglyph", "zero_width_space", "whitespace_half", "insert_paragraphs"):
        same = [normalize(ATTACKS[name](row["text"])).text == normalize(row["text"]).text for row in rows]
        assert sum(same) / len(same) >= 0.95, name
