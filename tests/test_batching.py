"""Batches: filled by tokens, little padding, windows that bound memory; and none of it changes a score."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import pipeline

from mvh import batching_mvh, identity_mvh, precision_mvh
from mvh.batching_mvh import BATCH_TOKENS, PADDING_SHARE, PADDING_TOKENS, batches, score_documents
from mvh.collating_mvh import collate
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline

from .conftest import make_text
from .test_travel import run


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
    assert len(list(batches(waiting([308] * 130)))) == 22
    assert len(list(batches(waiting([308] * 130), tokens=4_096))) == 10
    assert len(list(batches(waiting([20] * 400)))) == 4, "short texts share large batches"


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
        yield item | {"member": 0, "start": start, "input_ids": np.full((1, length), length)}


def toy_score(items):
    assert len(items) <= batching_mvh.WINDOW_SEGMENTS
    return {"margins": np.array([float(item["input_ids"][0, 0]) for item in items]), "dtype": "float32"}


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
    package = detect.detect.__globals__["score_documents"].__globals__  # the checkpoint's own copy of batching_mvh

    def margins(batch_tokens=detect.batch_tokens, **sizes):
        with monkeypatch.context() as patch:
            patch.setattr(detect, "batch_tokens", batch_tokens)
            for name, value in sizes.items():
                patch.setitem(package, name, value)
            return [document.margins for document, _ in detect.margins(texts)]

    alone = margins(batch_tokens=1)
    for sizes in ({}, {"batch_tokens": 100}, {"PADDING_SHARE": 1.0, "batch_tokens": 10**6}, {"WINDOW_SEGMENTS": 3}):
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


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (None, False),
        ({}, False),
        ({"same_label": 0.99}, False),
        ({"same_label": 0.995}, True),
        ({"same_label": 1}, True),
    ]
    + [({"same_label": "1"}, False), ({"same_label": float("nan")}, False), ({"same_label": 7}, False), ("1.0", False)],
)
def test_auto_precision_needs_a_record_and_a_machine_that_has_bfloat16(monkeypatch, record, kept):
    assert identity_mvh.keeps_verdicts({"parity": record}) == kept and not identity_mvh.keeps_verdicts(None)
    monkeypatch.setattr(precision_mvh, "has_bfloat16", lambda device: device == "cpu")
    assert precision_mvh.chosen_precision("auto", "cpu", kept) == ("bfloat16" if kept else "float32")
    assert precision_mvh.chosen_precision("auto", "mps", kept) == "float32"
    assert precision_mvh.chosen_precision("float32", "cpu", kept) == "float32"


def with_record(detector, folder, **record):
    """A copy of a checkpoint whose calibration carries a record of bfloat16."""
    shutil.copytree(detector, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["calibration"]["parity"] = {"same_label": 1.0, "documents": 500, **record}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return pipeline("mvh-detect", model=str(folder), trust_remote_code=True)


def test_bfloat16_is_the_default_where_a_record_says_that_verdicts_stay(detect, detector, tmp_path):
    text = make_text(1, 60, seed=1)
    native = "bfloat16" if precision_mvh.has_bfloat16("cpu") else "float32"
    proven, doubtful = with_record(detector, tmp_path / "a"), with_record(detector, tmp_path / "b", same_label=0.9)
    assert detect(text)["model"]["dtype"] == doubtful(text)["model"]["dtype"] == "float32"
    result = proven(text)
    assert result["model"]["dtype"] == native and result["warnings"] == detect(text)["warnings"]
    assert result["model"]["calibration"] == detect(text)["model"]["calibration"], "a record leaves the id as it is"
    assert proven(text, precision="float32") == detect(text)
    asked = doubtful(text, precision="bfloat16")["warnings"]
    assert any("made with dtype 'float32' and the detector has 'bfloat16'" in warning for warning in asked)
    with torch.no_grad():
        proven.model.head.out.bias.add_(1.0)
    other_weights = type(proven)(model=proven.model, tokenizer=proven.tokenizer)
    assert other_weights(text)["model"]["dtype"] == "float32"


def test_bfloat16_gives_a_document_the_same_verdict_in_any_company(detect):
    texts = [make_text(label, words, seed=words) for label in (0, 1) for words in (5, 12, 40, 90, 400)]
    together = list(detect.margins(texts, precision="bfloat16"))
    for text, (document, _) in zip(texts, together, strict=True):
        ((alone, _),) = detect.margins([text], batch_size=1, precision="bfloat16")
        assert np.abs(alone.margins - document.margins).max() < 0.02


def test_somebody_elses_truncation_does_not_reach_us(detector):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(detector)
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    ours = MvhDetectPipeline(model=open_folder(detector)[0], tokenizer=tokenizer, device="cpu")
    text = make_text(0, 400, seed=3)
    expected = ours(text)
    tokenizer.backend_tokenizer.enable_truncation(8)
    assert ours(text) == expected and expected["segments"][-1]["end"] == len(text)
    assert sum(segment.core_tokens for segment in ours.segments(text)) > 400


def test_impossible_wishes_are_refused_once(detect, detector):
    model, tokenizer = open_folder(detector)
    model.config.calibration = None
    bare = MvhDetectPipeline(model=model, tokenizer=tokenizer, device="cpu")
    texts = [make_text(0, 40, seed=1)] * 3
    assert bare(texts)[0]["vote"] == "majority"
    for wish, said in (
        (("vote", "calibrated"), "needs a document calibration"),
        (("p_values", "conformal"), "needs a"),
    ):
        with pytest.raises(ValueError, match=said):
            bare(iter([None]), **dict([wish]))  # before anything is read
    with pytest.raises(ValueError, match="needs a document calibration and conformal"):
        detect(texts, correction="calibrated", p_values="softmax")


def test_deciding_calls_no_slow_library(detect):
    """A guard for the first verdict: neither loading nor judging imports statsmodels, pandas or scikit-learn."""
    code = f"""
import sys
from transformers import pipeline
detect = pipeline("mvh-detect", model={str(detect.model.name_or_path)!r}, trust_remote_code=True)
for correction in ("bh", "by", "holm"):
    detect("It was raining again and the bus was late, so we walked.", correction=correction)
print([name for name in ("statsmodels", "pandas", "sklearn", "scipy.stats") if name in sys.modules])
"""
    assert run(code, Path(detect.model.name_or_path).parent).split("\n")[-2:][0].strip() == "[]"


def test_work_grows_with_the_text_and_no_faster(detect):
    """A guard that counts operations: calls of the tokenizer and of the model, and tokens with padding, per segment."""

    def counts(words):
        text, tokenizer = make_text(0, words, seed=words), detect.members[0].tokenizer
        kind, asked, shapes = type(tokenizer), [], []
        original = kind.__call__

        def counted(self, *args, **kwargs):
            asked.append(1)
            return original(self, *args, **kwargs)

        hook = detect.model.register_forward_pre_hook(
            lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        )
        kind.__call__ = counted
        try:
            segments = len(detect(text, edges="grid")["segments"])
        finally:
            kind.__call__ = original
            hook.remove()
        return segments, len(asked), len(shapes), sum(rows * columns for rows, columns in shapes)

    one, ten = counts(3_000), counts(30_000)
    assert ten[0] >= 9 * one[0] and min(one) > 0
    for few, many in zip(one[1:], ten[1:], strict=True):
        assert many <= 11 * few + 10
