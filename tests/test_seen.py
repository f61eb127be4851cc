"""A checkpoint knows which texts it has used, however they are dressed; the texts cannot be lost in another order."""

import json
import zipfile

import numpy as np
import pytest

from mvh import seen
from mvh.dataset_builder.build import build_dataset

from .conftest import make_rows, make_text, write_jsonl


def test_a_text_is_recognised_in_other_clothes_and_a_foreign_one_is_not(tmp_path):
    texts = [make_text(0, 30, seed=i) for i in range(50)]
    seen.write_seen(tmp_path, iter(texts))
    hashes = seen.read_seen(tmp_path)
    assert hashes.dtype == np.uint64 and (np.diff(hashes) > 0).all()
    dressed = f"  {texts[3].upper().replace(' ', '  ')} !"
    assert seen.seen_before([make_text(0, 30, seed=99), dressed, texts[7]], hashes) == [1, 2]
    assert seen.seen_before([], hashes) == []


def test_the_file_is_the_same_for_the_same_texts_in_any_order_and_needs_no_pickle(tmp_path):
    texts = [f"text number {i}" for i in range(20)]
    first = seen.write_seen(tmp_path, texts).read_bytes()
    assert seen.write_seen(tmp_path, [*texts[::-1], texts[4]]).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["training_texts.npz"]
    with np.load(tmp_path / "training_texts.npz", allow_pickle=False) as arrays:
        assert arrays.files == ["hashes"] and len(arrays["hashes"]) == 20


def test_training_and_calibration_are_told_apart(tmp_path):
    seen.write_seen(tmp_path, ["trained on this"])
    assert seen.read_seen(tmp_path, "calibration") is None
    said = seen.refuse_seen(tmp_path, ["something new"], "The human texts")
    assert said == [
        "The checkpoint carries no calibration_texts.npz: whether the human texts served its calibration could not be checked."
    ]
    seen.write_seen(tmp_path, ["calibrated on that"], use="calibration")
    assert seen.refuse_seen(tmp_path, ["something new"], "The human texts") == []
    with pytest.raises(ValueError, match="The human texts: 1 of 2 served the calibration .* number 2 .'Calibrated on"):
        seen.refuse_seen(tmp_path, ["new", "Calibrated on that."], "The human texts")
    with pytest.raises(ValueError, match="served the training"):
        seen.refuse_seen(tmp_path, ["trained on this"], "The calibration texts", uses=("training",))
    with pytest.raises(ValueError, match="use must be one of training, calibration, got 'tests'"):
        seen.write_seen(tmp_path, ["x"], use="tests")


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"no zip"),
        lambda file: file.write_bytes(b""),
        lambda file: np.savez(file, other=np.zeros(3)),
        lambda file: np.savez(file, hashes=np.array([3, 1], dtype=np.uint64)),
        lambda file: np.savez(file, hashes=np.array([1.0, 2.0])),
        lambda file: np.savez(file, hashes=np.array([{}], dtype=object)),
        lambda file: zipfile.ZipFile(file, "w").close(),
    ],
)
def test_a_damaged_file_is_said(tmp_path, damage):
    damage(tmp_path / "training_texts.npz")
    with pytest.raises(ValueError, match="training_texts.npz"):
        seen.read_seen(tmp_path)


def test_an_ensemble_with_a_member_that_does_not_say_is_not_taken_for_one_that_says_all(tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder, known in ((whole, True), (part, False)):
        folder.mkdir()
        seen.write_hashes(folder, seen.text_hashes(["one text", "another"]), all_known=known)
    assert seen.refuse_seen(whole, ["a third"], "The texts", ("training",)) == []
    (said,) = seen.refuse_seen(part, ["a third"], "The texts", ("training",))
    assert "member of the ensemble does not say" in said and "could not be checked" in said
    with pytest.raises(ValueError, match="1 of 1 served the training"):
        seen.refuse_seen(part, ["one text"], "The texts", ("training",))


def test_command_line_takes_what_was_trained_on_and_chosen_by(tmp_path, tokenizer):
    rows = make_rows(120)
    train = write_jsonl(tmp_path / "train.jsonl", rows)
    folder = build_dataset(train, tokenizer, tmp_path / "data", progress=False)
    checkpoint = tmp_path / "model"
    checkpoint.mkdir()
    with pytest.raises(ValueError, match="no checkpoint folder"):
        seen.main([str(checkpoint), "--dataset", str(folder)])
    (checkpoint / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="no dataset folder"):
        seen.main([str(checkpoint), "--dataset", str(tmp_path)])
    seen.main([str(checkpoint), "--dataset", str(folder)])

    counts = json.loads((folder / "manifest.json").read_text())["counts"]["documents"]
    learnt = sum(sum(counts[role][label].values()) for role in ("train", "choose") for label in ("human", "machine"))
    found = seen.seen_before([row["text"] for row in rows], seen.read_seen(checkpoint))
    assert len(found) == learnt < len(rows)
