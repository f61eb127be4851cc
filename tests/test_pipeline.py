"""The pipeline: one result shape, spans that tile, batches that change nothing, bad items that lose no good ones."""

import json
import math
import re
import shutil

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, pipeline

import mvh
from mvh.detecting_mvh import VERSION
from mvh.passages_mvh import merge_passages
from mvh.pipeline_mvh import MvhDetectPipeline

from .conftest import SENTENCES, make_text

KEYS = {
    "label", "score", "margin", "p_value", "positive_share", "segments", "passages", "alpha", "correction", "vote",
    "p_values", "confidence", "document_type", "calibration", "doubts", "warnings", "members", "model",
}  # fmt: skip
TEXTS = [make_text(label, words, seed=90 + words) for label in (0, 1) for words in (12, 40, 90, 150)]
MIXED = make_text(0, 70, seed=1) + " " + make_text(1, 70, seed=2)


@pytest.fixture(scope="module")
def detect(detector):
    return pipeline("mvh-detect", model=str(detector), trust_remote_code=True)


def test_result_has_the_one_shape(detect):
    result = detect(MIXED)
    assert set(result) == KEYS
    assert json.loads(json.dumps(result)) == result, "plain JSON types only"
    assert result["score"] == pytest.approx(1 / (1 + math.exp(-result["margin"])))
    assert (result["vote"], result["p_values"], result["correction"], result["alpha"]) == (
        "calibrated",
        "conformal",
        "bh",
        0.05,
    )
    about = result["model"]
    assert about["name"] == "toy" and about["version"] == VERSION and about["dtype"] == "float32"
    assert about["calibration"] == detect.model.config.calibration["id"] and about["revision"] is None
    for segment in result["segments"]:
        assert set(segment) == {"start", "end", "label", "score", "margin", "p_value", "adjusted_p_value"}
        assert 0 < segment["p_value"] <= segment["adjusted_p_value"] <= 1


def test_it_tells_the_toy_classes_apart(detect):
    results = detect([make_text(label, 60, seed=500 + i) for i in range(20) for label in (0, 1)])
    labels = [result["label"] for result in results]
    assert labels[1::2].count("machine") >= 18 and labels[::2].count("machine") <= 4


def test_a_mixed_document_shows_its_passage(detect):
    result = detect(MIXED)
    boundary = len(make_text(0, 70, seed=1))
    assert result["passages"], result
    middle = [(p["start"] + p["end"]) / 2 for p in result["passages"]]
    assert all(m > boundary * 0.8 for m in middle)
    flagged = sum(p["end"] - p["start"] for p in detect(MIXED, edges="grid")["passages"])
    assert result["positive_share"] == pytest.approx(flagged / len(MIXED))


@pytest.mark.parametrize("sentence", [*SENTENCES, "\ud800 lone \x00 NUL \u200b zero"])
def test_spans_tile_the_original(detect, sentence):
    text = "\n\t " + " ".join([sentence] * 30) + " \n"
    segments = detect(text)["segments"]
    assert segments[0]["start"] == 0 and segments[-1]["end"] == len(text)
    assert all(a["end"] == b["start"] for a, b in zip(segments, segments[1:], strict=False))


def test_every_kind_of_input_gives_the_same_answers(detect):
    expected = [detect(text) for text in TEXTS]

    def agrees(results):
        results = list(results)
        assert len(results) == len(expected)
        for got, want in zip(results, expected, strict=True):
            assert got["label"] == want["label"] and [s["label"] for s in got["segments"]] == [
                s["label"] for s in want["segments"]
            ]
            assert np.allclose(
                [s["margin"] for s in got["segments"]], [s["margin"] for s in want["segments"]], atol=1e-4
            )

    assert isinstance(detect(TEXTS), list)
    agrees(detect(TEXTS))
    agrees(detect(tuple(TEXTS)))
    agrees(detect(text for text in TEXTS))
    agrees(detect(datasets.Dataset.from_dict({"text": TEXTS})["text"]))
    agrees(detect(TEXTS, batch_size=1))
    agrees(detect(TEXTS, batch_size=64))
    agrees(reversed(detect(TEXTS[::-1])))


def test_a_generator_is_read_lazily(detect):
    read = []

    def texts():
        for index in range(5000):
            read.append(index)
            yield TEXTS[index % len(TEXTS)]

    results = detect(texts())
    next(results)
    assert 0 < len(read) < 1000


def test_options_per_call(detect):
    loose, strict = detect(MIXED, alpha=0.5, correction="none"), detect(MIXED, alpha=0.001)
    assert len(loose["passages"]) >= len(strict["passages"]) and loose["alpha"] == 0.5
    assert strict["label"] == "uncertain" and strict["warnings"], "50 documents cannot give p <= 0.001"
    for correction in ("bh", "by", "holm", "none"):
        assert detect(MIXED, correction=correction)["correction"] == correction
    assert detect(MIXED, vote="any", correction="none")["label"] == "machine"
    softmax = detect(MIXED, p_values="softmax", vote="majority")
    assert all(s["p_value"] == pytest.approx(1 - s["score"]) for s in softmax["segments"])
    assert softmax["p_value"] is not None, "the document p-value stays conformal"
    with pytest.raises(ValueError, match="'bonferoni'"):
        detect(MIXED, correction="bonferoni")
    with pytest.raises(TypeError, match="Unknown option 'colour'"):
        detect(MIXED, colour="red")
    for bad in ({"alpha": "0.05"}, {"alpha": 0}, {"vote": "mean"}, {"batch_size": 0}, {"batch_size": -1}):
        with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
            detect(iter([None]), **bad)  # before anything is read


def test_bfloat16_agrees(detect):
    exact, fast = detect(TEXTS), detect(TEXTS, precision="bfloat16")
    assert fast[0]["model"]["dtype"] == "bfloat16"
    assert any("made with dtype 'float32' and the detector has 'bfloat16'" in w for w in fast[0]["warnings"])
    assert np.allclose([r["margin"] for r in exact], [r["margin"] for r in fast], rtol=0.05, atol=0.2)
    with pytest.raises(ValueError, match="'float8'"):
        detect("text", precision="float8")


BAD = ["", "   \n", None, b"bytes", 17, "\u200b\u200b", {"text": "x"}, float("nan"), [1, 2]]


def test_columns_and_arrays_are_read_in_order(detect):
    import pandas
    from transformers.pipelines.pt_utils import KeyDataset

    table = datasets.Dataset.from_dict({"text": TEXTS})
    want = [result["margin"] for result in detect(TEXTS)]
    for column in (KeyDataset(table, "text"), np.array(TEXTS), pandas.Series(TEXTS)):
        assert [result["margin"] for result in detect(column)] == pytest.approx(want, abs=1e-4)
    for wrong in (table, pandas.DataFrame({"text": TEXTS}), set(TEXTS), {"text": TEXTS}):
        with pytest.raises(TypeError, match="column|one by one"):
            detect(wrong)


def test_special_tokens_in_a_text_are_text(detect):
    plain, sly = (detect.segments(f"rain dog {word} street kitchen")[0].input_ids for word in ("x", "[SEP] [PAD]"))
    special = {detect.tokenizer.sep_token_id, detect.tokenizer.pad_token_id}
    assert not special & set(sly[1:-1]) and plain[0] == sly[0] and plain[-1] == sly[-1]


def test_a_stream_of_bad_items_flows(detect):
    results = detect(None for _ in range(10**9))
    assert next(results)["label"] is None


def test_an_iterator_that_fails_loses_nothing_it_gave(detect):
    def texts():
        yield from TEXTS[:2]
        raise OSError("the disk is gone")

    results = detect(texts())
    assert [next(results)["label"], next(results)["label"]] != [None, None]
    with pytest.raises(OSError, match="disk is gone"):
        next(results)


@pytest.mark.parametrize("bad", BAD[:8])
def test_a_single_bad_text_raises_a_sentence(detect, bad):
    with pytest.raises((TypeError, ValueError), match=r"[Tt]ext"):
        detect(bad)
    with pytest.raises((TypeError, ValueError), match=r"[Tt]ext"):
        list(detect.preprocess(bad))


def test_bad_items_lose_nothing_beside_them(detect):
    results = detect([TEXTS[0], *BAD, TEXTS[1]])
    assert len(results) == len(BAD) + 2
    assert "error" not in results[0] and "error" not in results[-1]
    for result in results[1:-1]:
        assert set(result) == KEYS | {"error"} and result["label"] is None and result["segments"] == []
        assert set(result["error"]) == {"type", "message"} and re.search(r"[a-z] ", result["error"]["message"])
    assert detect([]) == [] and list(detect(iter([]))) == []


def test_long_documents_are_never_cut(detect):
    text = " ".join(make_text(index % 2, 200, seed=index) for index in range(60))
    result = detect(text)
    assert result["segments"][-1]["end"] == len(text) and len(result["segments"]) > 200
    assert result["label"] in ("human", "machine") and result["calibration"]["parts"] > 5
    assert "longest calibration document" in " ".join(result["warnings"])


def test_hub_snippet_task_never_truncates(detector):
    classify = pipeline("text-classification", model=str(detector), trust_remote_code=True)
    text = " ".join(make_text(index % 2, 200, seed=index) for index in range(10))
    (single,) = classify(text)
    assert single["segments"][-1]["end"] == len(text)
    both = classify([text, TEXTS[0]], truncation=True, max_length=8)
    assert [set(result) for result in both] == [KEYS, KEYS]
    for segment, alone in zip(both[0]["segments"], single["segments"], strict=True):  # other batches, other last digits
        assert [segment[key] for key in ("start", "end")] == [alone[key] for key in ("start", "end")]
        assert segment["margin"] == pytest.approx(alone["margin"], abs=1e-4)


def test_a_pipeline_loaded_and_saved_again_loads_again(detect, tmp_path):
    detect.save_pretrained(tmp_path / "again")
    again = pipeline("mvh-detect", model=str(tmp_path / "again"), trust_remote_code=True)
    again.save_pretrained(tmp_path / "third")
    third = pipeline("text-classification", model=str(tmp_path / "third"), trust_remote_code=True)
    assert third(MIXED)[0] == again(MIXED) == detect(MIXED)


def test_auto_classes_load_our_class(detector):
    assert AutoConfig.from_pretrained(detector, trust_remote_code=True).model_type == "mvh"
    for auto in (AutoModel, AutoModelForSequenceClassification):
        model = auto.from_pretrained(detector, trust_remote_code=True)
        assert type(model).__name__ == "MvhForSequenceClassification" and model.dtype == torch.float32


def test_models_in_memory_and_registered_task(detect):
    inside = MvhDetectPipeline(model=detect.model, tokenizer=detect.tokenizer)
    assert inside(MIXED) == detect(MIXED)
    assert pipeline("mvh-detect", model=detect.model, tokenizer=detect.tokenizer)(MIXED) == detect(MIXED)
    with pytest.raises(ValueError, match="without a tokenizer"):
        MvhDetectPipeline(model=detect.model)


def test_stale_calibration_is_said(detector, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(detector, trust_remote_code=True)
    with torch.no_grad():
        model.head.out.bias.add_(1.0)
    from transformers import AutoTokenizer

    changed = MvhDetectPipeline(model=model, tokenizer=AutoTokenizer.from_pretrained(detector))
    result = changed(MIXED)
    assert any("calibrate again" in doubt for doubt in result["doubts"]) and set(result["doubts"]) <= set(
        result["warnings"]
    )
    assert result["label"] == "uncertain" and not changed.screen([result])["flagged_alone"]
    assert changed(MIXED, vote="majority")["label"] != "uncertain"


@pytest.mark.parametrize(
    "change",
    [{"core_tokens": 16, "context_tokens": 0}, {"normalization": ["lines"]}, {"character_bag": None}, "tokenizer"],
)
def test_texts_read_in_another_way_are_uncertain(detector, tmp_path, change):
    """The weights are the same; the calibration was made with other segments, other steps or another tokenizer."""
    folder = tmp_path / "toy"
    shutil.copytree(detector, folder)
    if change == "tokenizer":
        state = json.loads((folder / "tokenizer.json").read_text())
        state["normalizer"]["lowercase"] = False
        (folder / "tokenizer.json").write_text(json.dumps(state))
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | change))
    result = mvh.load_detector(folder)(MIXED)
    same = change == {"character_bag": None}  # which the toy has not either
    assert any("made with reading" in doubt for doubt in result["doubts"]) != same
    assert (result["label"] == "uncertain") != same


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises((OSError, ValueError), match=re.escape(str(tmp_path))):
        pipeline("mvh-detect", model=str(tmp_path), trust_remote_code=True)


def test_missing_and_extra_weights_are_refused(detector, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    for name, change in (
        ("missing", lambda w: w.pop("head.out.weight")),
        ("extra", lambda w: w.update(surprise=torch.zeros(3))),
        ("nan", lambda w: w["head.out.bias"].fill_(float("nan"))),
    ):
        folder = tmp_path / name
        shutil.copytree(detector, folder)
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=f"{'surprise' if name == 'extra' else 'head.out'}"):
            pipeline("mvh-detect", model=str(folder), trust_remote_code=True)


def test_float16_on_a_cpu_is_refused(detector):
    with pytest.raises(ValueError, match="float16 on a CPU"):
        pipeline("mvh-detect", model=str(detector), trust_remote_code=True, dtype=torch.float16, device="cpu")


def test_merge_passages_joins_neighbours_only():
    def segment(start, label):
        return {
            "start": start,
            "end": start + 10,
            "label": label,
            "score": start / 100,
            "adjusted_p_value": start / 1000,
        }

    merged = merge_passages([segment(0, "m"), segment(10, "m"), segment(20, "h"), segment(30, "m")], "m")
    assert [(p["start"], p["end"]) for p in merged] == [(0, 20), (30, 40)]
    assert merged[0]["score"] == pytest.approx(0.05) and merged[0]["adjusted_p_value"] == 0.01


def test_version_is_the_package_version():
    assert mvh.__version__ == VERSION
