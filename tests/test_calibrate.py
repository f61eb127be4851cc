"""Calibration: a copy of the checkpoint that knows its false-alarm rate, from documents that served nothing else."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import pipeline

import mvh
from mvh import calibrate
from mvh.calibration_mvh import POOLED, decode_calibration
from mvh.references_mvh import MIN_GROUP_DOCUMENTS

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


def test_the_rate_can_hold_for_each_source(detector, tmp_path, caplog):
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
        assert "the sources of its script: essays, posts" in (out / "README.md").read_text()
        result = mvh.load_detector(out)(texts[0])
        assert result["calibration"]["sources"] == ["essays", "posts"]
    assert "fewer than 100 documents" not in caplog.text
    lopsided = write_jsonl(tmp_path / "lopsided.jsonl", [*own[::2], *own[1:100:2]])
    calibrate.main([*given[:3], str(lopsided), "--out", str(tmp_path / "one"), "--each-source"])
    assert "fewer than 100 documents, so no rate holds for each: {'posts (latin)': 25}" in caplog.text
    for rows, message in (
        (own[:210], r"a source of at least 100 documents .* the largest are {'(essays|posts)': 5\d, "),
        ([{"text": row["text"]} for row in own], "the largest are none"),
        ([row | {"source": "a\u00a0b"} for row in own], "must be printable"),
    ):
        bad = write_jsonl(tmp_path / "bad.jsonl", rows)
        with pytest.raises(ValueError, match=message):
            calibrate.main([*given[:3], str(bad), "--out", str(tmp_path / "bad"), "--each-source"])


def test_a_draw_leaves_each_large_source_enough_for_a_rate_of_its_own():
    sizes = {"big": 4800, "small": 200, "tiny": 30}
    texts = [f"{source} text {number}" for source, size in sizes.items() for number in range(size)]
    source_of = {text: text.split()[0] for text in texts}

    def counts(drawn):
        return {source: sum(source_of[text] == source for text in drawn) for source in sizes}

    mixture = calibrate.draw(texts, 1200, 0)
    by_source = calibrate.draw(texts, 1200, 0, source_of)
    assert len(set(mixture)) == len(set(by_source)) == 1200 and counts(mixture)["small"] < MIN_GROUP_DOCUMENTS
    assert counts(by_source)["small"] >= MIN_GROUP_DOCUMENTS and 0 < counts(by_source)["tiny"] < 30
    assert calibrate.draw(texts, 9000, 0, source_of) == calibrate.draw(texts, 9000, 0)
    with pytest.raises(ValueError, match="2 sources have 100 documents or more .* and --most allows 150"):
        calibrate.draw(texts, 150, 0, source_of)


def test_sources_are_halved_each_by_itself():
    texts = [str(i) for i in range(101)]
    source_of = {text: "b" if int(text) % 4 == 0 else "a" for text in texts}
    halves = calibrate.split_in_two(texts, 0, source_of)
    for source, count in (("a", 75), ("b", 26)):
        assert {sum(source_of[t] == source for t in half) for half in halves} <= {count // 2, count - count // 2}
    assert sorted(halves[0] + halves[1]) == sorted(texts)


def test_where_a_text_comes_from():
    for row, folder, source in (
        ({"id": "essays/2020/a.txt", "source": None}, True, "essays"),
        ({"id": "a.txt", "source": None}, True, ""),
        ({"id": "1", "source": "l2r:Business"}, False, "l2r"),
        ({"id": "1", "source": "https://example.org/a?b"}, False, "example.org"),
        ({"id": "1", "source": None}, False, ""),
    ):
        assert calibrate.source_of_row(row, folder) == source


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
