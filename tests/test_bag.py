"""The bag of n-grams: counted exactly, blind to padding and batch, fitted to what tells the classes apart, kept by a save."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mvh.bag_mvh import NgramBag, check_bag, count_runs, hashed_ngrams
from mvh.fit_bag import add_bags, bag_margins, fit_bag, pad, share_out
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.segmentation_mvh import CHARACTERS_PER_TOKEN, code_points

TOKENS = st.lists(st.integers(0, 30), min_size=1, max_size=40)


def segments(rng: np.random.Generator, count: int = 400) -> datasets.Dataset:
    """Segments whose class is told by the pairs (7, 8) or (8, 7) of tokens and "aB" or "Ba" of characters, by nothing else."""
    rows = []
    for number in range(count):
        label = number % 2
        ids = rng.integers(10, 40, size=int(rng.integers(5, 30))).tolist()
        ids[2:2] = [7, 8] if label else [8, 7]
        text = "".join(rng.choice(list("cde fgh"), size=int(rng.integers(5, 60)))) + ("aB" if label else "Ba")
        document = {"document_id": number // 2 * 2 + label, "label": label}
        rows.append(document | {"input_ids": ids, "core_tokens": len(ids), "text": text})
    return datasets.Dataset.from_list(rows)


@given(ids=TOKENS)
def test_counts_are_those_of_a_counter(ids: list[int]) -> None:
    def bucket(*gram: int) -> int:
        return int(hashed_ngrams(*pad([list(gram)]), [len(gram)], 1 << 10).item())

    expected = Counter(map(bucket, ids)) + Counter(map(bucket, ids, ids[1:]))
    found, counts = count_runs(hashed_ngrams(*pad([ids]), [1, 2], 1 << 10))
    assert dict(zip(found[counts > 0].tolist(), counts[counts > 0].tolist(), strict=True)) == expected


@given(rows=st.lists(TOKENS, min_size=1, max_size=5))
def test_a_margin_knows_nothing_of_padding_and_of_its_neighbours(rows: list[list[int]]) -> None:
    torch.manual_seed(0)
    bag = NgramBag([1, 2, 3], 64)
    bag.idf.data.uniform_(0, 2)
    bag.weight.data.normal_()
    together = bag(*pad(rows))
    alone = torch.cat([bag(*pad([row])) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_order_of_tokens_counts() -> None:
    first, second = (hashed_ngrams(*pad([ids]), [2], 1 << 20) for ids in ([7, 8], [8, 7]))
    assert first.item() != second.item()


@given(text=st.text(max_size=60))
def test_code_points_are_the_text(text: str) -> None:
    assert "".join(map(chr, code_points(text, 60).tolist())) == text.replace("\0", "\ufffd"), "0 is for padding alone"
    assert code_points("\ud800a", 3).tolist() == [0xD800, 97], "half a character is no reason to fail"
    assert len(code_points("x" * 10_000, 3)) == 3 * CHARACTERS_PER_TOKEN, "a word without end is one token and no more"


@pytest.mark.parametrize("name", ["bag", "character_bag"])
def test_it_learns_what_no_single_token_or_character_tells(name: str) -> None:
    rng = np.random.default_rng(0)
    bag = fit_bag(segments(rng), name, [1, 2], 1 << 16)
    held_out = segments(rng)
    assert ((bag_margins(bag, name, held_out) > 0) == np.array(held_out["label"])).mean() > 0.95
    blind = fit_bag(segments(rng), name, [1], 1 << 16)
    assert ((bag_margins(blind, name, held_out) > 0) == np.array(held_out["label"])).mean() < 0.8


def test_a_document_counts_once_whatever_its_number_of_segments() -> None:
    """Nine short documents say that token 5 is human; one long one, of a hundred segments, says that it is machine."""
    rows = [{"document_id": number, "input_ids": [5, 6], "label": 0} for number in range(9)]
    rows += [{"document_id": 9, "input_ids": [5, 6], "label": 1}] * 100
    rows += [{"document_id": 10 + number, "input_ids": [8, 9], "label": 1} for number in range(9)]
    bag = fit_bag(datasets.Dataset.from_list(rows), "bag", [1], 1 << 10)
    human, machine = bag(*pad([[5, 6], [8, 9]])).tolist()
    assert human < 0 < machine


def test_the_shares_follow_who_is_right() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    right, noise = labels + rng.normal(0, 0.3, 200), rng.normal(0, 5, 200)
    for encoder, *counted in ((right, noise), (noise, right), (noise, noise, right), (noise, right, noise)):
        bags = [NgramBag([1], 4) for _ in counted]
        for bag in bags:
            bag.weight.data[:] = 1.0
        share_out(bags, encoder, counted, labels)
        joined = bags[0].encoder_share.item() * encoder
        for bag, margins in zip(bags, counted, strict=True):
            joined = joined + bag.weight[0].item() * margins + bag.bias.item()
        assert ((joined > 0) == labels).mean() > 0.9
        assert all(bag.encoder_share.item() == 1 for bag in bags[1:]), "what is joined already counts fully"
    with pytest.raises(ValueError, match="one"):
        share_out([NgramBag([1], 4)], right, [noise], np.zeros(200, dtype=np.int64))


def test_no_share_is_negative_and_who_is_not_heard_moves_nothing() -> None:
    """A bag that repeats the encoder's noise would be heard with a negative share; the others are fitted without it."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    shared = rng.normal(0, 1, 400)
    encoder, repeats = labels + shared, shared + 3 + rng.normal(0, 0.1, 400)
    bags = [NgramBag([1], 4), NgramBag([1], 4)]
    for bag in bags:
        bag.weight.data[:] = 1.0
    alone = [NgramBag([1], 4)]
    share_out(bags, encoder, [repeats, np.zeros(400)], labels)
    share_out(alone, encoder, [np.zeros(400)], labels)
    assert bags[0].weight[0] == 0 and bags[0].bias == 0
    assert bags[0].encoder_share.item() == pytest.approx(alone[0].encoder_share.item(), rel=1e-3)
    assert bags[1].bias.item() == pytest.approx(alone[0].bias.item(), abs=1e-3)


def test_wishes_for_bags_that_are_none_are_refused() -> None:
    rows = segments(np.random.default_rng(0), 8)
    for wanted in ({}, {"letters": {"orders": [1], "buckets": 4}}):
        with pytest.raises(ValueError, match="Bags have the names"):
            add_bags(None, rows, rows, np.zeros((8, 2), dtype=np.float32), wanted)


@pytest.mark.parametrize("names", [("bag",), ("character_bag",), ("character_bag", "bag")])
def test_joined_saved_and_loaded_it_says_the_same(
    tmp_path: Path, backbone_folder: Path, names: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = MvhForSequenceClassification.from_backbone(str(backbone_folder), core_tokens=40, context_tokens=8).eval()
    train, choose = segments(rng), segments(rng)
    ids, mask = pad(choose["input_ids"])
    characters, _ = pad([code_points(text, 60).tolist() for text in choose["text"]])
    shown = {"characters": characters} if "character_bag" in names else {}
    wanted = {name: {"orders": [1, 2], "buckets": 1 << 12} for name in names}
    with torch.no_grad():
        before = model(ids, mask).logits
        joined = add_bags(model, train, choose, before.numpy(), wanted)
        after = model(ids, mask, **shown).logits
    assert np.allclose(after[:, 1] - after[:, 0], joined[:, 1] - joined[:, 0], atol=1e-4)
    assert not torch.allclose(before, after)
    model.save_pretrained(tmp_path)
    again = MvhForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(ids, mask, **shown).logits, after)
        with pytest.raises(ValueError, match="characters, and"):
            again(ids, mask, characters=None if shown else characters)


@pytest.mark.parametrize(
    "bag", [{"orders": [1]}, {"orders": [], "buckets": 4}, {"orders": [1, 1], "buckets": 4}, {"orders": [9], "buckets": 4},
            {"orders": [1], "buckets": 12}, {"orders": [1], "buckets": 1 << 40}, {"orders": [True], "buckets": 4}]
)  # fmt: skip
def test_a_bag_that_cannot_be_is_refused(bag: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="bag"):
        check_bag("bag", bag)
