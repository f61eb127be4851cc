"""Training by recipe: the freeze schedule, the learning rate, resuming, two processes, what a finished run leaves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from transformers import pipeline

from mvh import recipe as recipe_room
from mvh import resuming, train, trainer
from mvh.calibrate import calibrate
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.normalization_mvh import STEPS
from mvh.opening import open_pipeline
from mvh.resuming import keep_recipe, last_checkpoint, makers, sweep

from .conftest import make_rows, write_jsonl

ROOT = Path(train.__file__).parent


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, backbone_folder):
    """The article's recipe at toy size: its five epochs, its schedule, a backbone of width 32."""
    folder = tmp_path_factory.mktemp("recipe")
    fields = yaml.safe_load((ROOT / "recipes" / "article_en_plain.yaml").read_text())
    fields |= {
        "backbone": str(backbone_folder),
        "head_widths": [16, 8],
        "core_tokens": 32,
        "context_tokens": 8,
        "train_file": str(write_jsonl(folder / "train.jsonl", make_rows(60))),
        "learning_rate": 0.002,
        "save_total_limit": None,
        "logging_strategy": "epoch",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    train.main([str(recipe), "--output_dir", str(out)])
    return out


def checkpoints(out: Path) -> list[dict]:
    folders = sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return [load_file(folder / "model.safetensors") for folder in folders]


def same(a: dict, b: dict, part: str) -> bool:
    names = [name for name in a if name.startswith(part)]
    assert names
    return all(a[name].equal(b[name]) for name in names)


def test_encoder_moves_in_epochs_two_to_four_only(finished, backbone_folder):
    epochs = checkpoints(finished)
    assert len(epochs) == 5
    start = {f"encoder.{name}": value for name, value in load_file(backbone_folder / "model.safetensors").items()}
    assert all(epochs[0][name].equal(start[name]) for name in epochs[0] if name.startswith("encoder."))
    moved = [not same(a, b, "encoder.") for a, b in zip(epochs, epochs[1:], strict=False)]
    assert moved == [True, True, True, False]
    assert not any(same(a, b, "head.") for a, b in zip(epochs, epochs[1:], strict=False))


def test_learning_rate_halves_after_epochs_two_and_four(finished):
    history = json.loads((finished / "training.json").read_text())["history"]
    rates = [
        entry["learning_rate"] / 0.002 for entry in history if "learning_rate" in entry
    ]  # of each epoch's last step
    assert rates == pytest.approx([1, 1, 0.5, 0.5, 0.25])


def test_both_levels_are_evaluated_each_epoch_and_it_learns(finished):
    history = json.loads((finished / "training.json").read_text())["history"]
    evaluations = [entry for entry in history if "eval_document_auroc" in entry]
    assert len(evaluations) >= 5
    for level in ("segment", "document"):
        for metric in ("accuracy", "f1", "precision", "recall", "auroc"):
            assert f"eval_{level}_{metric}" in evaluations[-1]
    assert evaluations[-1]["eval_segment_auroc"] > 0.9


def test_the_log_of_a_training_holds_what_its_texts_were(finished):
    log = json.loads((finished / "training.json").read_text())
    assert log["dataset"] == json.loads((finished / "data" / "manifest.json").read_text())
    assert log["dataset"]["seeds"]["roles"] == log["data"]["data_seed_roles"]


def test_a_finished_run_leaves_a_complete_checkpoint(finished):
    folder = finished / "model"
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "requirements.txt", "pipeline_mvh.py",
        "modeling_mvh.py", "configuration_mvh.py", "normalization_mvh.py", "segmentation_mvh.py", "voting_mvh.py",
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForSequenceClassification"}
    assert set(config["custom_pipelines"]) == {"mvh-detect", "text-classification"}
    for path in folder.glob("*.json"):
        assert str(finished) not in path.read_text() and "/tmp/" not in path.read_text(), f"a local path in {path.name}"
    assert "{{" not in (folder / "README.md").read_text()


@pytest.mark.parametrize("keep", [2, 3])
def test_resumed_training_is_bit_identical(finished, recipe, tmp_path, keep):
    """A run killed after epoch `keep` and started again ends with the very same weights (dropout is on)."""
    shutil.copytree(finished / "data", tmp_path / "data")
    kept = sorted(finished.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))[:keep]
    for folder in kept:
        shutil.copytree(folder, tmp_path / folder.name)
    train.main([str(recipe), "--output_dir", str(tmp_path)])
    whole, resumed = (load_file(out / "model" / "model.safetensors") for out in (finished, tmp_path))
    assert all(whole[name].equal(resumed[name]) for name in whole)


@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
def test_resume_in_the_middle_of_an_epoch(finished, recipe, tmp_path, sampling):
    """A run killed inside epoch 2, while a checkpoint was being written, ends with the very same weights."""
    shutil.copytree(finished / "data", tmp_path / "data")
    options = [str(recipe), "--output_dir", str(tmp_path), "--save_strategy", "steps", "--save_steps", "7"]
    options += ["--train_sampling_strategy", sampling, "--num_train_epochs", "3"]
    train.main(options)
    first = load_file(tmp_path / "model" / "model.safetensors")
    steps = sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*"))
    whole, torn = steps[len(steps) // 2], steps[len(steps) // 2 + 1]
    for path in tmp_path.glob("checkpoint-*"):
        if path.name not in (f"checkpoint-{whole}", f"checkpoint-{torn}"):
            shutil.rmtree(path)
    (tmp_path / f"checkpoint-{torn}" / "trainer_state.json").unlink()  # written last
    shutil.rmtree(tmp_path / "model")
    train.main(options)
    second = load_file(tmp_path / "model" / "model.safetensors")
    assert all(first[name].equal(second[name]) for name in first)


def test_going_on_with_another_recipe_is_refused(finished, recipe):
    with pytest.raises(ValueError, match="begun with learning_rate 0.002, and now it is 0.5"):
        train.main([str(recipe), "--output_dir", str(finished), "--learning_rate", "0.5"])


def test_a_field_that_was_not_there_when_a_run_was_begun_counts_as_its_default(finished, recipe, tmp_path):
    begun = json.loads((finished / "recipe.json").read_text(encoding="utf-8"))
    for gone in ("character_bag_orders", "learning_rate", "accelerator_config", "debug"):
        del begun[gone]
    (tmp_path / "recipe.json").write_text(json.dumps(begun), encoding="utf-8")
    given = ["--output_dir", str(tmp_path)]
    keep_recipe(
        *recipe_room.parse_recipe([str(recipe), *given, "--learning_rate", "5e-5"]), resumed=True
    )  # transformers' default
    with pytest.raises(ValueError, match="begun with learning_rate 5e-05, and now it is 0.002"):
        keep_recipe(*recipe_room.parse_recipe([str(recipe), *given]), resumed=True)
    with pytest.raises(ValueError, match=r"begun with character_bag_orders \[\], and now it is \[2\]"):
        more = ["--learning_rate", "5e-5", "--character_bag_orders", "2"]
        keep_recipe(*recipe_room.parse_recipe([str(recipe), *given, *more]), resumed=True)


def test_a_training_does_not_go_on_with_a_dataset_that_was_built_again(recipe, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "manifest.json").write_text('{"seeds": 0}')
    parsed = recipe_room.parse_recipe([str(recipe), "--dataset", str(data), "--output_dir", str(tmp_path)])
    keep_recipe(*parsed, resumed=False)
    keep_recipe(*parsed, resumed=True)
    (data / "manifest.json").write_text('{"seeds": 1}')
    with pytest.raises(ValueError, match="begun with sha256 of the dataset's manifest"):
        keep_recipe(*parsed, resumed=True)


def test_a_training_does_not_go_on_with_other_texts_or_another_number_of_processes(recipe, tmp_path):
    file = write_jsonl(tmp_path / "train.jsonl", make_rows(4))
    parsed = recipe_room.parse_recipe([str(recipe), "--train_file", str(file), "--output_dir", str(tmp_path)])
    keep_recipe(*parsed, resumed=False)
    keep_recipe(*parsed, resumed=True)
    begun = (tmp_path / "recipe.json").read_text()
    (tmp_path / "recipe.json").write_text(begun.replace('"processes and devices": 1', '"processes and devices": 2'))
    with pytest.raises(ValueError, match="begun with processes and devices 2, and now it is 1"):
        keep_recipe(*parsed, resumed=True)
    (tmp_path / "recipe.json").write_text(begun)
    write_jsonl(file, make_rows(5))
    with pytest.raises(ValueError, match="begun with sha256 of the files"):
        keep_recipe(*parsed, resumed=True)


def test_a_training_does_not_go_on_with_other_weights_of_the_same_name(recipe, tmp_path, backbone_folder):
    backbone = shutil.copytree(backbone_folder, tmp_path / "backbone")
    parsed = recipe_room.parse_recipe([str(recipe), "--backbone", str(backbone), "--output_dir", str(tmp_path)])
    keep_recipe(*parsed, resumed=False)
    keep_recipe(*parsed, resumed=True)
    weights = backbone / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="begun with sha256 of the backbone's files"):
        keep_recipe(*parsed, resumed=True)
    begun = json.loads((tmp_path / "recipe.json").read_text())
    del begun["sha256 of the backbone's files"]
    (tmp_path / "recipe.json").write_text(json.dumps(begun))
    keep_recipe(*parsed, resumed=True)  # of older code, which did not write it


def test_what_chooses_the_best_checkpoint_does_not_change_on_the_way(recipe, tmp_path):
    def keep(*options, resumed):
        given = [str(recipe), "--output_dir", str(tmp_path), "--save_strategy", "steps", "--eval_strategy", "steps"]
        keep_recipe(*recipe_room.parse_recipe([*given, *options]), resumed=resumed)

    keep("--eval_steps", "5", "--save_steps", "5", resumed=False)
    keep("--eval_steps", "10", "--save_steps", "10", resumed=True)  # the last weights are exported in any case
    best = ["--load_best_model_at_end", "True", "--metric_for_best_model", "eval_loss"]
    keep(*best, "--eval_steps", "5", "--save_steps", "5", resumed=False)
    with pytest.raises(ValueError, match="begun with eval_steps 5.*, and now it is 10"):
        keep(*best, "--eval_steps", "10", "--save_steps", "10", resumed=True)
    begun = json.loads((tmp_path / "recipe.json").read_text())
    old = {key: value for key, value in begun.items() if not key.startswith(("eval", "save"))}
    (tmp_path / "recipe.json").write_text(json.dumps(old))
    keep(*best, "--eval_steps", "10", "--save_steps", "10", resumed=True)


def of_commit(commit):
    versions = {"mvh": "1", "torch": "2"}
    return {"commit": commit, "uncommitted_changes": False, "versions": versions, "python": "3.11", "threads": 1}


def test_a_log_names_the_code_that_began_and_any_that_went_on(recipe, tmp_path, monkeypatch, caplog):
    parsed = recipe_room.parse_recipe([str(recipe), "--output_dir", str(tmp_path)])

    def started(commit, resumed=True):
        monkeypatch.setattr(resuming, "provenance", lambda: of_commit(commit))
        keep_recipe(*parsed, resumed=resumed)
        return makers(str(tmp_path))

    assert started("old", resumed=False) == started("old") == of_commit("old")
    assert not caplog.records
    later = {key: value for key, value in of_commit("new").items() if key != "threads"}
    assert started("new") == of_commit("old") | {"resumed_at": [later]}
    assert "begun by other code than goes on now: commit was old and is new" in caplog.text
    assert started("new") == started("old") == of_commit("old") | {"resumed_at": [later]}
    begun = json.loads((tmp_path / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps({k: v for k, v in begun.items() if not k.endswith("by")}))
    caplog.clear()
    assert started("newest") == of_commit("newest")
    assert "was written by older code and does not say by which" in caplog.text


def test_a_finished_training_started_again_by_other_code_keeps_the_commit_of_its_weights(recipe, tmp_path, monkeypatch):
    options = [str(recipe), "--output_dir", str(tmp_path), "--num_train_epochs", "1"]
    monkeypatch.setattr(resuming, "provenance", lambda: of_commit("old"))
    train.main(options)
    log = json.loads((tmp_path / "training.json").read_text())
    assert (log["commit"], log["versions"], "resumed_at" in log) == ("old", of_commit("old")["versions"], False)
    monkeypatch.setattr(resuming, "provenance", lambda: of_commit("new"))
    train.main(options)
    log = json.loads((tmp_path / "training.json").read_text())
    assert (log["commit"], [one["commit"] for one in log["resumed_at"]]) == ("old", ["new"])


def test_only_torn_checkpoints_of_this_training_are_swept(recipe, tmp_path, caplog):
    for name in (
        "checkpoint-final",
        "checkpoint-best",
        "checkpoint-7-old",
        "checkpoint-3",
        "checkpoint-5",
        "checkpoint-6",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("weights")
    for name in ("checkpoint-best", "checkpoint-3"):
        (tmp_path / name / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-notes.txt").write_text("mine")
    (tmp_path / "checkpoint-9").write_text("no folder")
    before = {path.name for path in tmp_path.iterdir()}
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-3")
    sweep(str(tmp_path), checkpoints=False)
    assert {path.name for path in tmp_path.iterdir()} == before
    with caplog.at_level("INFO"):
        sweep(str(tmp_path), checkpoints=True)
    assert {path.name for path in tmp_path.iterdir()} == before - {"checkpoint-5", "checkpoint-6"}
    assert f"Removing {tmp_path / 'checkpoint-5'}, which a killed run left unfinished." in caplog.text


@pytest.mark.parametrize("begun", [False, True])
def test_no_checkpoint_goes_before_the_training_is_known_to_be_the_same(recipe, tmp_path, monkeypatch, begun):
    """`load_segments` is the first thing after it."""
    parsed = recipe_room.parse_recipe([str(recipe), "--output_dir", str(tmp_path)])
    if begun:
        keep_recipe(*parsed, resumed=False)
    torn, whole = tmp_path / "checkpoint-12", tmp_path / "checkpoint-9"
    for folder in (torn, whole):
        folder.mkdir()
    (whole / "trainer_state.json").write_text("{}")
    if begun:
        with pytest.raises(ValueError, match="begun with seed"):
            train.main([str(recipe), "--output_dir", str(tmp_path), "--seed", "7"])
        assert torn.exists()

    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "load_segments", stop)
    with pytest.raises(KeyboardInterrupt):
        train.main([str(recipe), "--output_dir", str(tmp_path)])
    assert torn.exists() is not begun and whole.exists()


def test_a_strict_training_takes_no_dataset_that_was_built_past_bad_rows(recipe, tmp_path, monkeypatch):
    file = write_jsonl(tmp_path / "train.jsonl", [*make_rows(60), {"text": 5, "label": 0, "id": 999}])

    def load(*options):
        model_args, data_args, args = recipe_room.parse_recipe(
            [str(recipe), "--train_file", str(file), "--output_dir", str(tmp_path), *options]
        )
        return train.load_segments(data_args, model_args, args, train.load_tokenizer(model_args.backbone))

    assert len(load()["train"])
    with pytest.raises(
        ValueError, match="was built past 1 bad rows or rewrites, and the recipe is strict. Name another"
    ):
        load("--strict", "True")
    assert train.passed_over({"rejected": {}, "augmentation": [{"pieces": {"failed": 2}}, {}]}) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--warmup_steps", "0.1"], "exclude warmup_steps"),
        (["--frozen_epochs", "-1"], r"count from 1, or are 0 alone for none, got \[-1\]"),
        (["--frozen_epochs", "0", "1"], r"count from 1, or are 0 alone for none, got \[0, 1\]"),
        (["--lr_milestones", "-1"], "must be epochs after the start"),
        (["--lr_milestones", "nan"], "must be epochs after the start"),
        (["--lr_gamma", "0"], "lr_gamma must be a positive factor, got 0.0"),
        (["--learning_rate", "nan"], "learning_rate must be a number that is not negative, got nan"),
        (["--weight_decay", "inf"], "weight_decay must be a number"),
        (["--masked_learning_rate", "nan"], "masked_epochs and masked_learning_rate must not be negative"),
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps must be at least 1, got 0"),
        (["--lora_r", "-1"], "lora_r must be a rank, or 0 for no LoRA, got -1"),
        (["--lora_dropout", "1"], "lora_dropout must be at least 0 and less than 1, got 1.0"),
        (["--head_dropout", "nan"], "head_dropout must be at least 0 and less than 1, got nan"),
        (["--encoder_dropout", "-0.1"], "encoder_dropout must be at least 0 and less than 1, got -0.1"),
        (["--documents", "0"], "documents must be at least 1"),
        (["--test_documents", "-5"], "test_documents must be at least 1"),
        (["--save_only_model", "True"], "goes on by itself"),
        (["--resume_from_checkpoint", "nowhere"], "goes on by itself"),
    ],
)
def test_options_that_would_do_nothing_or_harm_are_refused(recipe, options, message):
    with pytest.raises(ValueError, match=message):
        recipe_room.parse_recipe([str(recipe), *options])


def test_epochs_that_never_come_are_named(recipe, caplog):
    recipe_room.parse_recipe([str(recipe)])
    recipe_room.parse_recipe([str(recipe), "--frozen_epochs", "0"])  # a command line empties no list
    recipe_room.parse_recipe([str(recipe), "--num_train_epochs", "4.5"])  # half of the fifth
    assert not caplog.records
    recipe_room.parse_recipe([str(recipe), "--num_train_epochs", "4"])
    assert "frozen_epochs are [1, 5] and num_train_epochs is 4.0: [5] never come." in caplog.text
    assert "lr_milestones are [2.0, 4.0] and num_train_epochs is 4.0: [4.0] never come." in caplog.text


def test_the_word_no_of_yaml_is_a_strategy(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train_file: x\nsave_strategy: no\neval_strategy: no\nlogging_strategy: no\n")
    _, _, args = recipe_room.parse_recipe([str(path), "--output_dir", str(tmp_path)])
    assert {args.save_strategy.value, args.eval_strategy.value, args.logging_strategy.value} == {"no"}


def test_numbers_in_lists_may_be_written_as_text(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    fields = yaml.safe_load(recipe.read_text()) | {"frozen_epochs": ["1", 2], "lr_milestones": ["1e0"]}
    path.write_text(yaml.safe_dump(fields))
    _, _, args = recipe_room.parse_recipe([str(path)])
    assert args.frozen_epochs == [1, 2] and args.lr_milestones == [1.0]


def test_files_beside_a_built_dataset_are_said_not_to_be_read(recipe, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        _, data_args, _ = recipe_room.parse_recipe([str(recipe), "--dataset", str(tmp_path), "--documents", "20"])
    assert "not read: train_file, documents" in caplog.text
    assert data_args.train_file == [] and data_args.documents is None, "the log would name them as used"


def test_a_dataset_of_another_making_is_refused(finished, recipe, tmp_path):
    data = ["--dataset", str(finished / "data"), "--output_dir", str(tmp_path)]
    with pytest.raises(ValueError, match="built with segmentation.*32.*the recipe wants.*64"):
        train.main([str(recipe), *data, "--core_tokens", "64"])
    shutil.copytree(finished / "data", tmp_path / "data")
    with pytest.raises(ValueError, match="built with documents None, the recipe wants 20"):
        train.main([str(recipe), "--output_dir", str(tmp_path), "--documents", "20"])


def test_training_and_detection_take_out_the_same(recipe, tmp_path):
    """Stop words and symbols that a recipe takes out are out of the training segments and of what the pipeline reads."""
    steps = [*STEPS, "stop_words", "symbols", "wrapping"]
    options = ["--output_dir", str(tmp_path), "--num_train_epochs", "1", "--frozen_epochs", "1"]
    train.main([str(recipe), *options, "--normalization", *steps])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["normalization"] == steps
    detect = pipeline("mvh-detect", model=str(tmp_path / "model"), trust_remote_code=True)
    documents = datasets.load_dataset(str(tmp_path / "data"), "documents", split="train")
    cut: dict = {}
    for row in datasets.load_dataset(str(tmp_path / "data"), "segments", split="train"):
        cut.setdefault(row["document_id"], []).append((row["input_ids"], row["start"], row["end"], row["text"]))
    assert not any(" the " in segment[-1] for segments in cut.values() for segment in segments)
    for row in documents:
        found = [(part.input_ids, part.start, part.end, part.text) for part in detect.segments(row["text"])]
        assert found == cut[row["id"]]
    assert detect(documents[0]["text"] + " ☃ the end")["label"] in ("human", "machine")
    data = ["--dataset", str(tmp_path / "data"), "--output_dir", str(tmp_path / "other")]
    with pytest.raises(ValueError, match=r"built with normalization .*'stop_words'.*, the recipe wants \['invisible'"):
        train.main([str(recipe), *data])


def test_a_detector_can_be_told_the_type_of_a_document(recipe, tmp_path):
    options = ["--output_dir", str(tmp_path), "--num_train_epochs", "1", "--frozen_epochs", "1"]
    rows = [row | {"document_type": ["fiction", "news"][row["id"] // 2 % 2]} for row in make_rows(120, words=(5, 20))]
    file = write_jsonl(tmp_path / "train.jsonl", rows)
    train.main([str(recipe), *options, "--train_file", str(file), "--feature_names", "document_type", "comma_share"])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["feature_data"] == {"document_types": ["fiction", "news"]}
    means = dict(zip(config["feature_names"], config["feature_mean"], strict=True))
    assert 0.2 < means["type_fiction"] < 0.5 and means["type_academic"] == 0  # some types are withheld
    detect = pipeline("mvh-detect", model=str(tmp_path / "model"), trust_remote_code=True)
    margins = {
        kind: detect(rows[0]["text"], document_type=kind)["margin"] for kind in (None, "fiction", "news", "academic")
    }
    assert len(set(margins.values())) == 3 and margins["academic"] == margins[None]  # unknown to the training
    with pytest.raises(ValueError, match="document_type must be one of 'academic', .* got 'poem'"):
        detect(rows[0]["text"], document_type="poem")
    texts = [row["text"] for row in make_rows(120, seed=8, words=(5, 20)) if row["label"] == 0]
    untold = calibrate(tmp_path / "model", texts[:30], texts[30:], tmp_path / "untold", "made up")
    verdicts = verdicts_by_type(untold, texts[0])
    assert verdicts[None] in ("human", "machine") and verdicts["news"] == "uncertain", "another score, no rate is known"
    news = calibrate(tmp_path / "model", texts[:30], texts[30:], tmp_path / "news", "made up", document_type="news")
    verdicts = verdicts_by_type(news, texts[0])
    assert verdicts["news"] in ("human", "machine") and verdicts[None] == verdicts["fiction"] == "uncertain"


def verdicts_by_type(folder, text):
    detect = pipeline("mvh-detect", model=str(folder), trust_remote_code=True)
    results = {kind: detect(text, document_type=kind, alpha=0.2) for kind in (None, "fiction", "news")}
    assert {kind: result["document_type"] for kind, result in results.items()} == {kind: kind for kind in results}
    wanted = {kind for kind, result in results.items() if any("it was calibrated on" in w for w in result["warnings"])}
    assert wanted == {kind for kind, result in results.items() if result["label"] == "uncertain"}
    return {kind: result["label"] for kind, result in results.items()}


def test_several_files_and_their_normalization_are_a_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train_file: one.jsonl\nnormalization: [escapes, stop_words]\n")
    model_args, data_args, _ = recipe_room.parse_recipe([str(path), "--output_dir", str(tmp_path)])
    assert (data_args.train_file, model_args.normalization) == (["one.jsonl"], ["escapes", "stop_words"])
    _, data_args, _ = recipe_room.parse_recipe([str(path), "--output_dir", str(tmp_path), "--train_file", "a", "b"])
    assert data_args.train_file == ["a", "b"]
    path.write_text("train_file: [a, b]\nnormalization: [stopwords]\n")
    with pytest.raises(ValueError, match="step 'stopwords' is unknown"):
        recipe_room.parse_recipe([str(path), "--output_dir", str(tmp_path)])


def test_two_files_give_a_half_each(recipe, tmp_path):
    files = [str(write_jsonl(tmp_path / f"{seed}.jsonl", make_rows(60, seed, (5, 20)))) for seed in (3, 4)]
    options = [
        "--output_dir",
        str(tmp_path / "run"),
        "--num_train_epochs",
        "1",
        "--frozen_epochs",
        "1",
        "--documents",
        "40",
    ]
    train.main([str(recipe), *options, "--train_file", *files])
    names = datasets.load_dataset(str(tmp_path / "run" / "data"), "documents", split="train")["id"]
    assert sorted(name[0] for name in names) == ["3"] * 20 + ["4"] * 20
    options[1] = str(tmp_path / "again")
    shutil.copytree(tmp_path / "run" / "data", tmp_path / "again" / "data")
    with pytest.raises(ValueError, match="built with train_file"):
        train.main([str(recipe), *options, "--train_file", files[0]])


def test_length_batches_are_alike_in_length_and_follow_the_epoch():
    lengths = [index * 37 % 300 for index in range(1003)]
    sampler = trainer.LengthBatches(lengths, 8, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(1003)) and list(sampler) == first
    spread = [max(part) - min(part) for part in ([lengths[i] for i in first[k : k + 8]] for k in range(0, 1000, 8))]
    assert sorted(spread)[len(spread) // 2] < 20
    sampler.set_epoch(1)
    assert list(sampler) != first


@pytest.mark.parametrize(("sampling", "tasks"), [("random", ["source", "generator"]), ("group_by_length", [])])
def test_two_processes(finished, recipe, tmp_path, sampling, tasks):
    """torchrun with two processes really trains with two, on the same schedule, and leaves one good checkpoint."""
    shutil.copytree(finished / "data", tmp_path / "data")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    options = [str(recipe), "--output_dir", str(tmp_path), "--per_device_train_batch_size", "8"]
    options += ["--train_sampling_strategy", sampling, "--gradient_accumulation_steps", "2"]
    options += ["--auxiliary_tasks", *tasks] if tasks else []
    command = [sys.executable, *launcher, str(ROOT / "train.py"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    log = json.loads((tmp_path / "training.json").read_text())
    assert log["world_size"] == 2
    epochs = checkpoints(tmp_path)
    assert [not same(a, b, "encoder.") for a, b in zip(epochs, epochs[1:], strict=False)] == [True, True, True, False]
    if tasks:
        assert not any(same(a, b, "auxiliary.") for a, b in zip(epochs, epochs[1:], strict=False))
    rates = [entry["learning_rate"] / 0.002 for entry in log["history"] if "learning_rate" in entry]
    assert rates == pytest.approx([1, 1, 0.5, 0.5, 0.25])
    assert log["metrics"]["eval_segment_auroc"] == pytest.approx(choose_auroc(tmp_path / "model", tmp_path / "data"))


def choose_auroc(model: Path, data: Path) -> float:
    """Segment AUROC of the role "choose", computed from the exported model without the Trainer."""
    detector = MvhForSequenceClassification.from_pretrained(model).eval()
    rows = datasets.load_dataset(str(data), "segments", split="choose")
    with torch.no_grad():
        logits = torch.cat([detector(torch.tensor([ids])).logits for ids in rows["input_ids"]])
    return roc_auc_score(rows["label"], logits[:, 1] - logits[:, 0])


def test_bags_of_n_grams_are_trained_saved_and_judge_along(recipe, tmp_path):
    model = train.main([str(recipe), "--output_dir", str(tmp_path), "--num_train_epochs", "1", "--bag_orders", "1", "2",
                        "--bag_buckets", "4096", "--character_bag_orders", "2", "3"])  # fmt: skip
    log = json.loads((tmp_path / "training.json").read_text())
    detect = open_pipeline(str(model), trust_remote_code=True)
    rows = datasets.load_dataset(str(tmp_path / "data"), "documents", split="choose")
    margins = np.array([result["margin"] for result in detect(list(rows["text"]))])
    assert detect.model.config.bag == {"orders": [1, 2], "buckets": 4096}
    assert detect.model.config.character_bag == {"orders": [2, 3], "buckets": 1 << 18}
    assert all(bag.weight.abs().sum() > 0 for bag in (detect.model.bag, detect.model.character_bag))
    assert roc_auc_score(rows["label"], margins) == pytest.approx(log["metrics"]["with_bag_document_auroc"])
    text = " ".join(rows["text"][:3])
    outputs = list(detect.preprocess(text))
    _, _, again = detect.block_margins(outputs, range(len(outputs)))
    for bag in (detect.model.bag, detect.model.character_bag):
        bag.weight.data.zero_()
        fewer = np.array([result["margin"] for result in detect(list(rows["text"]))])
        _, _, edges = detect.block_margins(outputs, range(len(outputs)))
        assert not np.allclose(margins, fewer) and not np.allclose(again, edges), "scores and edges go without this bag"
        margins, again = fewer, edges


def test_lora_obeys_the_freeze_schedule_and_is_merged(finished, recipe, tmp_path, backbone_folder):
    shutil.copytree(finished / "data", tmp_path / "data")
    options = ["--lora_r", "4", "--num_train_epochs", "2", "--frozen_epochs", "1"]
    train.main([str(recipe), "--output_dir", str(tmp_path), *options])
    saved = sorted(
        tmp_path.glob("checkpoint-*/adapter_model.safetensors"), key=lambda p: int(p.parent.name.split("-")[1])
    )
    b_matrices = [{k: v for k, v in load_file(path).items() if "lora_B" in k} for path in saved]
    assert all(not v.any() for v in b_matrices[0].values()), "LoRA moved in the frozen epoch"
    assert all(v.any() for v in b_matrices[1].values()), "LoRA stood still in the open epoch"
    final = load_file(tmp_path / "model" / "model.safetensors")
    start = {f"encoder.{name}": value for name, value in load_file(backbone_folder / "model.safetensors").items()}
    changed = {name for name, value in start.items() if name in final and not final[name].equal(value)}
    assert changed and all(".query." in name or ".value." in name for name in changed)
    assert not any("lora" in name for name in final)


def test_best_checkpoint_is_exported_when_asked(finished, recipe, tmp_path):
    shutil.copytree(finished / "data", tmp_path / "data")
    options = ["--num_train_epochs", "3", "--load_best_model_at_end", "True", "--metric_for_best_model", "eval_loss"]
    train.main([str(recipe), "--output_dir", str(tmp_path), *options])
    history = json.loads((tmp_path / "training.json").read_text())["history"]
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    best = checkpoints(tmp_path)[losses[:3].index(min(losses[:3]))]
    assert load_file(tmp_path / "model" / "model.safetensors").keys() == best.keys()
    assert all(load_file(tmp_path / "model" / "model.safetensors")[name].equal(best[name]) for name in best)


def test_features_travel_with_their_scale(finished, recipe, tmp_path):
    shutil.copytree(finished / "data", tmp_path / "data")
    options = ["--num_train_epochs", "1", "--frozen_epochs", "1", "--feature_names", "comma_share", "log_word_count"]
    train.main([str(recipe), "--output_dir", str(tmp_path), *options])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["feature_names"] == ["comma_share", "log_word_count"]
    assert len(config["feature_mean"]) == 2 and config["feature_mean"][1] > 1 and min(config["feature_std"]) > 0


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "recipes").glob("article_*.yaml")])
def test_an_article_recipe_is_the_article(name):
    fields = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())
    assert (fields["core_tokens"], fields["context_tokens"], fields["label_smoothing_factor"]) == (256, 50, 0.1)
    assert (fields["num_train_epochs"], fields["frozen_epochs"], fields["lr_milestones"]) == (5, [1, 5], [2, 4])
    assert (fields["learning_rate"], fields["lr_gamma"], fields["per_device_train_batch_size"]) == (2e-5, 0.5, 16)
    assert fields["optim"] == "adamw_torch"
    assert fields.get("translate", 0.0) == (0.5 if name == "article_en" else 0.0)
    if name == "article_t5_full":  # the label is a token: there is no head
        assert fields["head"] == "label_token" and "head_widths" not in fields
        return
    assert fields["head_widths"] == [512, 256], "two hidden layers and the output: three"
    assert fields["pooling"] == ("mean" if name == "article_t5_encoder" else "cls"), "T5 has no [CLS]"
    assert fields["backbone"] == {
        "article_minilm": "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        "article_t5_encoder": "google/mt5-base",
        "article_xlmr": "FacebookAI/xlm-roberta-base",
    }.get(name, "microsoft/mdeberta-v3-base")


@pytest.mark.parametrize("name", [path.name for path in (ROOT / "recipes").glob("*.yaml")])
def test_every_recipe_parses(name, tmp_path):
    model_args, _, args = recipe_room.parse_recipe(
        [str(ROOT / "recipes" / name), "--train_file", "x", "--output_dir", str(tmp_path), "--learning_rate", "1e-3"]
    )
    assert args.learning_rate == 1e-3 and model_args.name


def test_a_misspelt_key_is_named_with_the_nearest(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train_file: x\nlerning_rate: 1.0e-5\n")
    with pytest.raises(ValueError, match="'lerning_rate', which does not exist; did you mean 'learning_rate'"):
        recipe_room.parse_recipe([str(path)])
    path.write_text("- a\n- list\n")
    with pytest.raises(ValueError, match="must be a mapping of fields, not list"):
        recipe_room.parse_recipe([str(path)])
    path.write_text("name: x\n")
    with pytest.raises(ValueError, match="neither was given"):
        recipe_room.parse_recipe([str(path)])


def test_one_word_stands_for_a_list_of_words_and_for_no_list_of_numbers(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"train_file: x\noutput_dir: {tmp_path}\n")
    assert recipe_room.parse_recipe([str(path)])[1].train_file == ["x"]
    path.write_text("train_file: x\nlr_milestones: Z]\n")
    with pytest.raises(ValueError, match="gives lr_milestones the value 'Z]', and it must be list"):
        recipe_room.parse_recipe([str(path)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--store_dtype", "float8"], "'float8'"),
        (["--lr_milestones", "2", "--max_steps", "9"], "exclude max_steps"),
        (["--lr_milestones", "2", "--lr_scheduler_type", "cosine"], "lr_scheduler_type"),
        (["--head_widths", "3", "0"], r"positive widths, got \[3, 0\]"),
        (["--labels", "same", "same"], "two different names"),
    ],
)
def test_impossible_values_are_refused_before_anything_runs(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        recipe_room.parse_recipe(["--train_file", "x", "--output_dir", str(tmp_path), *options])


def test_a_file_too_small_to_choose_on_is_a_sentence(recipe, tmp_path):
    small = write_jsonl(tmp_path / "small.jsonl", make_rows(2))
    with pytest.raises(ValueError, match="no segment in the split"):
        train.main([str(recipe), "--train_file", str(small), "--output_dir", str(tmp_path / "out")])
