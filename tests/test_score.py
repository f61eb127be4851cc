"""Baselines learn what they should and nothing else; the scoring command turns a checkpoint and files into figures."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mvh import score
from mvh.baselines import reference as baselines
from mvh.calibration_mvh import Document, encode_calibration
from mvh.dataset_builder.sampling import assign_roles
from mvh.metrics import auroc
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.normalization_mvh import normalize
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.seen import write_seen
from mvh.tests.conftest import beta_binomial_limit, make_rows, write_jsonl

HUMAN_FORMATTING = [  # what clings to human texts in published files
    lambda text: text.replace(" of ", " of\n"),
    lambda text: text.replace(". ", " . "),
    lambda text: text.replace(" the ", "  the "),
    lambda text: text.replace(" a ", "\u00a0a "),
]
MACHINE_FORMATTING = [
    lambda text: " " + text,
    lambda text: "**{}** {}".format(*text.split(" ", 1)),
    lambda text: f"# {text}",
]


def texts_and_labels(rows: list[dict]) -> tuple[list[str], list[int]]:
    return [row["text"] for row in rows], [row["label"] for row in rows]


# --- baselines


def test_char_ngram_learns_vocabulary_and_formatting_cannot():
    train, test = texts_and_labels(make_rows(200)), texts_and_labels(make_rows(100, seed=1))
    assert auroc(test[1], baselines.fit_char_ngram(*train)(test[0])) > 0.99
    assert auroc(test[1], baselines.fit_formatting(*train)(test[0])) == pytest.approx(0.5, abs=0.05)


def test_length_learns_length():
    texts = [f"{'word ' * (40 if label else 20)}{'x' * n}" for n in range(20) for label in (0, 1)]
    assert auroc([0, 1] * 20, baselines.fit_length(texts, [0, 1] * 20)(texts)) == 1.0


def test_formatting_is_learnt_from_raw_text_and_gone_after_normalisation():
    rng = random.Random(0)
    dressed, labels = [], []
    for row in make_rows(200, words=(40, 60)):
        label = rng.randrange(2)  # formatting follows the new label, the words do not
        dressed.append(rng.choice(MACHINE_FORMATTING if label else HUMAN_FORMATTING)(row["text"]))
        labels.append(label)
    assert auroc(labels, baselines.fit_formatting(dressed, labels)(dressed)) > 0.9
    normalised = [normalize(text).text for text in dressed]
    assert auroc(labels, baselines.fit_formatting(normalised, labels)(normalised)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("one\ntwo", "hard_wraps"),
        ("one\n\ntwo", "paragraph_breaks"),
        (" one", "leading_or_double_spaces"),
        ("one\ttwo", "unusual_whitespace"),
        ("one **two", "markdown_marks"),
        ("one , two", "tokenised_punctuation"),
        ("“one two", "curly_quotes"),
    ],
)
def test_each_formatting_count_counts_one_thing(text, name):
    counts = dict(zip(baselines.FORMATTING, baselines.formatting_counts([text])[0], strict=True))
    assert [key for key, count in counts.items() if count > 0] == [name]
    assert counts[name] == pytest.approx(np.log1p(1000 / len(text)))


def test_training_rows_have_role_train_and_share_nothing_with_a_test_file(tmp_path):
    rows = make_rows(200)
    train = baselines.read_rows(write_jsonl(tmp_path / "train.jsonl", rows))
    same_pair, same_text = rows[0] | {"text": "Another text."}, rows[2] | {"pair": "elsewhere"}
    test = baselines.read_rows(write_jsonl(tmp_path / "test.jsonl", [same_pair, same_text]))
    roles = assign_roles((row["pair"] for row in rows), seed=3)
    leaking = {rows[0]["pair"], rows[2]["pair"]}
    expected = [str(row["id"]) for row in rows if roles[row["pair"]] == "train" and row["pair"] not in leaking]
    assert [row["id"] for row in baselines.training_rows(train, test, seed=3)] == expected


def test_baselines_command_writes_json_and_table(tmp_path):
    train = write_jsonl(tmp_path / "train.jsonl", make_rows(160))
    test = write_jsonl(tmp_path / "dev.jsonl", make_rows(40, seed=1))
    out = tmp_path / "results" / "figures.json"
    results = baselines.main(["--train", str(train), "--test", str(test), "--out", str(out)])
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["results"] == results and {"commit", "versions"} <= written.keys()
    assert written["sha256"] == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (train, test)}
    assert set(results) == {f"{name} ({text})" for name in baselines.BASELINES for text in ("raw", "normalised")}
    figures = results["char_ngram (normalised)"]["tests"]["dev.jsonl"]
    assert figures["overall"]["auroc"] > 0.95
    assert set(figures["by_source"]) == {"reddit", "wikihow"}
    assert f"| char_ngram (normalised) | {figures['overall']['auroc']:.3f} |" in out.with_suffix(".md").read_text(
        "utf-8"
    )


# --- score


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, backbone_folder, tokenizer) -> Path:
    """An untrained detector with an invented calibration of 39 documents."""
    torch.manual_seed(0)
    model = MvhForSequenceClassification.from_backbone(str(backbone_folder), core_tokens=32, context_tokens=8)
    margins = np.linspace(-0.5, 0.5, 39)
    documents = [Document(margins[i : i + 1], np.array([10 + 300 * (i % 2)]), "latin") for i in range(39)]
    model.config.calibration = encode_calibration(documents, documents, {})
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    MvhDetectPipeline(model=model, tokenizer=tokenizer).save_pretrained(str(folder))
    return folder


def test_score_writes_predictions_and_figures_that_agree(tmp_path, checkpoint):
    rows = make_rows(24)
    rows[5]["text"] = "\u200b\u200b"  # valid for the reader, nothing is left for the detector
    data = write_jsonl(tmp_path / "dev.jsonl", rows)
    data.write_text(data.read_text() + '{"id": 99, "label": 0}\n')
    second = write_jsonl(tmp_path / "ood.jsonl", make_rows(6, seed=1))
    out = tmp_path / "scored"
    call = ["--alpha", "0.1", "--correction", "by", "--batch-size", "4"]
    report = score.main([str(checkpoint), "--data", str(data), "--data", str(second), "--out", str(out), *call])

    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    first = [line for line in lines if line["file"] == "dev.jsonl"]
    assert [line["id"] for line in first] == [str(row["id"]) for row in rows]
    assert len(lines) == 30
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8")) == report

    figures = report["files"]["dev.jsonl"]
    assert figures["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert [error["id"] for error in figures["errors"]] == ["5"]
    assert first[5]["decision"] == "uncertain" and first[5]["margin"] is None
    assert [(bad["line"], bad["field"]) for bad in figures["bad_rows"]] == [(25, "text")], "a row that nobody scored"
    assert ", 1 errors, 1 bad rows left out" in (out / "metrics.md").read_text(encoding="utf-8")
    assert figures["dtypes"] == ["float32"] == sorted({line["dtype"] for line in lines if line["error"] is None})
    assert figures["alpha"] == 0.1
    assert figures["fpr_limit_99"] == beta_binomial_limit(39, 12, 0.1)
    read = [line for line in first if line["error"] is None]
    assert all((line["decision"] == "machine") == (line["p_value"] <= 0.1) for line in read)
    assert all(line["segments"] >= 1 for line in read)
    lowest = min(line["margin"] for line in read)
    margins = [lowest if line["margin"] is None else line["margin"] for line in first]
    assert figures["overall"]["auroc"] == auroc([row["label"] for row in rows], margins)
    flagged = [line["decision"] == "machine" for line in first if line["label"] == 0]
    assert figures["overall"]["fpr"] == pytest.approx(np.mean(flagged))
    assert figures["overall"]["coverage"] == 23 / 24
    table = (out / "metrics.md").read_text(encoding="utf-8")
    assert "## ood.jsonl" in table and "| reddit | 6 | 6 |" in table


def test_texts_that_the_detector_has_used_are_counted(tmp_path, checkpoint, caplog):
    folder = tmp_path / "tiny"
    shutil.copytree(checkpoint, folder)
    rows = make_rows(10)
    write_seen(folder, [row["text"].upper() for row in rows[:3]], "training")
    report = score.main(
        [str(folder), "--data", str(write_jsonl(tmp_path / "dev.jsonl", rows)), "--out", str(tmp_path / "out")]
    )
    assert report["files"]["dev.jsonl"]["used_before"] == {"training": 3}, "it says nothing of its calibration"
    assert report["detector"]["weights"] == open_folder(folder)[0].fingerprint()
    note = "The detector has used these texts before: 3 in its training. Figures on them flatter."
    assert note in (tmp_path / "out" / "metrics.md").read_text() and note in caplog.text


def test_score_limit_takes_the_first_rows(tmp_path, checkpoint):
    data = write_jsonl(tmp_path / "dev.jsonl", make_rows(10))
    report = score.main([str(checkpoint), "--data", str(data), "--out", str(tmp_path / "out"), "--limit", "4"])
    assert report["files"]["dev.jsonl"]["documents"] == 4


def test_score_refuses_what_it_cannot_tell_apart_or_find(tmp_path, checkpoint):
    data = write_jsonl(tmp_path / "dev.jsonl", make_rows(2))
    with pytest.raises(ValueError, match="told apart by name"):
        score.main([str(checkpoint), "--data", str(data), "--data", str(data), "--out", str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="absent.jsonl"):
        score.main([str(checkpoint), "--data", str(tmp_path / "absent.jsonl"), "--out", str(tmp_path)])
    blank = write_jsonl(tmp_path / "blank.jsonl", [make_rows(1)[0] | {"text": "\u200b"}])
    with pytest.raises(ValueError, match="None of 1 texts could be scored"):
        score.main([str(checkpoint), "--data", str(blank), "--out", str(tmp_path / "out")])
