"""Calibration: a copy of the checkpoint that knows its false-alarm rate, from documents that served nothing else."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import pipeline

import mvh
from mvh import calibrate
from mvh.calibration_mvh import POOLED, decode_calibration

from .conftest import make_rows, make_text, write_jsonl


def test_weights_stay_and_the_config_tells_everything(detector):
    source = detector.parent / "run" / "model"
    before, after = load_file(source / "model.safetensors"), load_file(detector / "model.safetensors")
    assert all(before[name].equal(after[name]) for name in before)
    packed = json.loads((detector / "config.json").read_text())["calibration"]
    decoded = decode_calibration(packed)
    assert decoded.segment[""].documents == 50 and decoded.document[POOLED].documents == 50
    assert packed["about"]["population"] == "toy human texts"
    assert set(packed["about"]) >= {"normalizer", "weights", "dtype"}
    assert "toy human texts" in (detector / "README.md").read_text()


def test_false_alarms_stay_near_alpha(detector):
    detect = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)
    fresh = [row["text"] for row in make_rows(300, seed=77) if row["label"] == 0]
    p_values = np.array([result["p_value"] for result in detect(fresh)])
    for alpha in (0.1, 0.3):  # 50 calibration documents: wide limits
        assert (p_values <= alpha).mean() <= alpha + 0.15


def test_command_line_with_own_texts(detector, tmp_path):
    rows = [{"text": make_text(0, 20 + i, seed=i)} for i in range(60)]
    own = write_jsonl(tmp_path / "own.jsonl", rows)
    calibrate.main(
        [
            "--model",
            str(detector),
            "--least",
            "60",
            "--human",
            str(own),
            "--out",
            str(tmp_path / "again"),
            "--population",
            "our essays",
        ]
    )
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["calibration"]["about"]["population"] == "our essays"
    assert decode_calibration(config["calibration"]).document[POOLED].documents == 30
    assert not list(tmp_path.glob("*.part"))


def test_the_rate_can_hold_for_each_source(detector, tmp_path):
    """Of a table the sources are its column's, up to a colon; of a folder the folders below it."""
    texts = [make_text(0, 12 + i % 5, seed=i) for i in range(430)]
    own = [{"text": t, "source": f"posts:{i}" if i % 2 else "essays"} for i, t in enumerate(texts)]
    table = write_jsonl(tmp_path / "own.jsonl", own)
    for row, text in zip(own, texts, strict=True):
        file = tmp_path / "folder" / row["source"].partition(":")[0] / f"{len(text)}-{text[:20]}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for place in (table, tmp_path / "folder"):
        out = tmp_path / f"calibrated-{place.stem}"
        given = ["--model", str(detector), "--human", str(place), "--out", str(out), "--each-source"]
        calibrate.main(given)
        calibration = decode_calibration(json.loads((out / "config.json").read_text())["calibration"])
        assert {source.name for source in calibration.sources} == {"posts", "essays"}
        assert "each of\n  the sources essays, posts" in (out / "README.md").read_text()
        result = mvh.load_detector(out)(texts[0])
        assert result["calibration"]["group"].endswith("and each of: essays, posts")
    few = write_jsonl(tmp_path / "few.jsonl", own[:210])
    with pytest.raises(ValueError, match=r"a source of at least 100 documents .* they are of {'(posts|essays)': "):
        calibrate.main(["--model", str(detector), "--human", str(few), "--out", str(tmp_path / "few"), "--each-source"])


def test_where_the_texts_are_too_short_to_tell_their_language_it_is_said(detector, tmp_path, caplog):
    for name, words, said in (("short", 12, True), ("long", 80, False)):
        texts = [
            make_text(0, words, seed=i) + " and that is it for the two of us, as it was" * (words > 12)
            for i in range(60)
        ]
        caplog.clear()
        calibrate.calibrate(detector, texts[:30], texts[30:], tmp_path / name, "posts")
        assert ("the language could be told" in caplog.text) == said


def test_halves_share_no_text_and_ignore_the_order():
    texts = [str(i) for i in range(101)]
    a, b = calibrate.split_in_two(texts, 0)
    assert sorted(a + b) == sorted(texts) and not set(a) & set(b)
    assert calibrate.split_in_two(texts[::-1], 0) == (a, b) != calibrate.split_in_two(texts, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": f"text number {i}"} for i in range(20)], "20 different texts, and a calibration needs 60"),
        ([{"text": "a machine wrote this", "label": 1}], "label is 1"),
        ([{"body": "no text"}], "line 1: needs a JSON object with a 'text'"),
        (
            [{"text": f"text {i}" if i else " "} for i in range(60)],
            "needs a JSON object with a .text. that is not blank",
        ),
        ([{"text": "the same"}] * 60, "1 different texts"),
    ],
)
def test_bad_texts_are_refused_with_a_sentence(detector, tmp_path, rows, message):
    own = write_jsonl(tmp_path / "own.jsonl", rows)
    with pytest.raises(ValueError, match=message):
        calibrate.main(["--model", str(detector), "--least", "60", "--human", str(own), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_document_serves_one_side_only(detector, tmp_path):
    texts = [make_text(0, 30, seed=i) for i in range(40)]
    with pytest.raises(ValueError, match="1 texts serve both"):
        calibrate.calibrate(detector, texts[:20], texts[19:], tmp_path / "out", "x")


def test_where_no_length_can_be_told_no_text_of_those_lengths_is_called_human(detector, tmp_path):
    texts = [make_text(0, 30, seed=i) for i in range(60)]
    missed = [
        make_text(0, 60, seed=1000 + i) for i in range(20)
    ]  # human texts in the place of machine ones: none is found
    blind = calibrate.calibrate(detector, texts[:30], texts[30:], tmp_path / "blind", "x", choosing=missed)
    detect = pipeline("mvh-detect", model=str(blind), trust_remote_code=True)
    result = detect(make_text(0, 30, seed=5000), alpha=0.04)
    assert result["label"] == "uncertain"
    assert any("No length can be named" in warning for warning in result["warnings"])
    assert any("too short to tell" in warning for warning in result["warnings"])
