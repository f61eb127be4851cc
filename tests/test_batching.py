"""Batches: filled by tokens, little padding, windows that bound memory; and none of it changes a score."""

import numpy as np
import pytest
import torch
from transformers import pipeline

from mvh import batching_mvh, precision_mvh
from mvh.batching_mvh import BATCH_TOKENS, PADDING_SHARE, PADDING_TOKENS, batches, collate, score_documents

from .conftest import make_text


def waiting(lengths, members=None):
    members = members or [0] * len(lengths)
    return [
        {"input_ids": torch.ones(1, n, dtype=torch.long), "member": m} for n, m in zip(lengths, members, strict=True)
    ]


@pytest.fixture(scope="module")
def lengths():
    return np.random.default_rng(0).integers(3, 308, size=400).tolist()


def test_batches_are_full_and_hold_little_padding(lengths):
    segments = waiting(lengths)
    chosen = list(batches(segments))
    assert sorted(index for batch in chosen for index in batch) == list(range(len(segments)))
    padded = 0
    for batch in chosen:
        rows = [lengths[index] for index in batch]
        size = len(rows) * max(rows)
        assert size <= BATCH_TOKENS and size - sum(rows) <= max(PADDING_TOKENS, PADDING_SHARE * size)
        padded += size
    assert padded <= sum(lengths) * (1 + 2 * PADDING_SHARE)
    # the operation count: no more calls of the model than the tokens and the padding allowed ask for
    assert len(chosen) <= 2 * padded / BATCH_TOKENS + np.log(100) / PADDING_SHARE
    assert len(list(batches(waiting([308] * 130)))) == 10
    assert len(list(batches(waiting([20] * 400)))) == 2, "short texts share large batches"


def test_limits_of_a_batch():
    assert [len(batch) for batch in batches(waiting([50] * 10), batch_size=4)] == [4, 4, 2]
    assert [len(batch) for batch in batches(waiting([BATCH_TOKENS * 2, 5]))] == [1, 1], "a long one goes alone"
    mixed = waiting([30, 31, 30, 31], members=[1, 0, 1, 0])
    assert list(batches(mixed)) == [[1, 3], [0, 2]], "members never share a batch"
    assert list(batches([])) == []


def toy_items(text):
    """A text "3 5" has two segments of 3 and 5 tokens; "3 x" has one and an error."""
    for start, word in enumerate(text.split()):
        item = dict.fromkeys(batching_mvh.HANDED_ON)
        length = int(word)
        yield item | {"member": 0, "start": start, "input_ids": torch.full((1, length), length)}


def toy_score(items):
    assert len(items) <= batching_mvh.WINDOW_SEGMENTS
    return {"margins": torch.tensor([float(item["input_ids"][0, 0]) for item in items]), "dtype": "float32"}


@pytest.mark.parametrize("window", [1, 2, 3, 512])
def test_windows_cut_documents_and_keep_their_order(window, monkeypatch):
    monkeypatch.setattr(batching_mvh, "WINDOW_SEGMENTS", window)
    texts = ["3 5 2 9 4", "7", "3 x 4", "1 2 3 4 5 6 7 8", "x", "2"]
    results = list(score_documents(iter(texts), toy_items, toy_score, None, record_errors=True))
    for text, result in zip(texts, results, strict=True):
        if "x" in text:
            assert isinstance(result, ValueError)
        else:
            assert [segment["margins"] for segment in result] == [float(word) for word in text.split()]
            assert [segment["start"] for segment in result] == list(range(len(result)))


def test_a_window_bounds_what_waits(monkeypatch):
    """Of one endless document no more than a window of segments is read before they are scored."""
    monkeypatch.setattr(batching_mvh, "WINDOW_SEGMENTS", 8)
    counts = {"read": 0, "scored": 0, "most": 0}

    def prepare(text):
        for item in toy_items(text):
            counts["read"] += 1
            counts["most"] = max(counts["most"], counts["read"] - counts["scored"])
            yield item

    def score(items):
        counts["scored"] += len(items)
        return toy_score(items)

    (document,) = score_documents(iter(["3 " * 1000]), prepare, score, None, record_errors=True)
    assert len(document) == 1000 and counts["most"] <= 8
    stream = score_documents((f"{3 + i % 5}" for i in range(10**9)), prepare, score, None, record_errors=True)
    counts.update(read=0, scored=0)
    next(stream)
    assert counts["read"] == 8


@pytest.fixture(scope="module")
def detect(detector):
    return pipeline("mvh-detect", model=str(detector), trust_remote_code=True)


def test_no_way_of_batching_changes_a_margin(detect, monkeypatch):
    texts = [make_text(label, words, seed=words) for label in (0, 1) for words in (5, 12, 40, 90, 400)]
    package = detect.preprocess.__globals__["collate"].__globals__  # the checkpoint's own copy of batching_mvh

    def margins(**sizes):
        with monkeypatch.context() as patch:
            for name, value in sizes.items():
                patch.setitem(package, name, value)
            return [document.margins for document, _ in detect.margins(texts)]

    alone = margins(BATCH_TOKENS=1)
    for sizes in ({}, {"BATCH_TOKENS": 100}, {"PADDING_SHARE": 1.0, "BATCH_TOKENS": 10**6}, {"WINDOW_SEGMENTS": 3}):
        for one, other in zip(alone, margins(**sizes), strict=True):
            assert np.abs(one - other).max() < 1e-4


def test_the_model_is_called_once_for_each_batch(detect):
    """A guard against lost speed that counts calls and tokens, not seconds."""
    texts = [make_text(index % 2, 5 + 7 * (index % 16), seed=index) for index in range(64)]
    segments = [item for text in texts for item in detect.preprocess(text)]
    useful = sum(item["input_ids"].shape[1] for item in segments)
    shapes = []
    hook = detect.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    detect(texts, edges="grid")
    hook.remove()
    assert len(shapes) == len(list(batches(segments))) < len(segments) / 4
    assert sum(rows * columns for rows, columns in shapes) <= useful * (1 + 2 * PADDING_SHARE)
    assert collate(segments[:2], 0)["input_ids"].shape[0] == 2


def test_auto_precision_is_what_the_machine_has(detect, monkeypatch):
    text = make_text(1, 60, seed=1)
    expected = "bfloat16" if precision_mvh.has_bfloat16("cpu") else "float32"
    assert detect(text, precision="auto")["model"]["dtype"] == expected
    assert detect(text)["model"]["dtype"] == "float32"
    monkeypatch.setattr(precision_mvh, "has_bfloat16", lambda device: device == "cpu")
    assert precision_mvh.chosen_precision("auto", "cpu") == "bfloat16"
    assert precision_mvh.chosen_precision("auto", "mps") == "float32"
    assert precision_mvh.chosen_precision("float32", "cpu") == "float32"


def test_loading_still_asks_for_statsmodels_and_does_not_import_it():
    from pathlib import Path

    from transformers.dynamic_module_utils import get_imports

    import mvh.pipeline_mvh as entry

    assert "statsmodels" in get_imports(Path(entry.__file__)) and not hasattr(entry, "statsmodels")
