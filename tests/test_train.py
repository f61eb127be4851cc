"""Training by recipe: the freeze schedule, the learning rate, resuming, two processes, what a finished run leaves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from mvh import recipe as recipe_room
from mvh import train

from .conftest import make_rows, write_jsonl

ROOT = Path(train.__file__).parent


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, backbone_folder):
    """The article's recipe at toy size: its five epochs, its schedule, a backbone of width 32."""
    folder = tmp_path_factory.mktemp("recipe")
    fields = yaml.safe_load((ROOT / "recipes" / "article_en.yaml").read_text())
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
    rates = [entry["learning_rate"] / 0.002 for entry in history if "learning_rate" in entry]
    # logged at the end of each epoch, after the scheduler's step: the rate the next step takes
    assert rates == pytest.approx([1, 0.5, 0.5, 0.25, 0.25])


def test_both_levels_are_evaluated_each_epoch_and_it_learns(finished):
    history = json.loads((finished / "training.json").read_text())["history"]
    evaluations = [entry for entry in history if "eval_document_auroc" in entry]
    assert len(evaluations) >= 5
    for level in ("segment", "document"):
        for metric in ("accuracy", "f1", "precision", "recall", "auroc"):
            assert f"eval_{level}_{metric}" in evaluations[-1]
    assert evaluations[-1]["eval_segment_auroc"] > 0.9


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


def test_resume_in_the_middle_of_an_epoch(finished, recipe, tmp_path):
    """A run killed between two saves inside epoch 2 repeats from the save and ends with the very same weights."""
    shutil.copytree(finished / "data", tmp_path / "data")
    options = [str(recipe), "--output_dir", str(tmp_path), "--save_strategy", "steps", "--save_steps", "7"]
    train.main(options)
    for folder in tmp_path.glob("checkpoint-*"):
        if folder.name != "checkpoint-14":
            shutil.rmtree(folder)
    first = load_file(tmp_path / "model" / "model.safetensors")
    shutil.rmtree(tmp_path / "model")
    train.main(options)
    second = load_file(tmp_path / "model" / "model.safetensors")
    assert all(first[name].equal(second[name]) for name in first)


def test_two_processes(finished, recipe, tmp_path):
    """torchrun with two processes really trains with two, on the same schedule, and leaves one good checkpoint."""
    shutil.copytree(finished / "data", tmp_path / "data")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(ROOT / "train.py"),
    ]
    options = [str(recipe), "--output_dir", str(tmp_path), "--per_device_train_batch_size", "8"]
    done = subprocess.run(command + options, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    log = json.loads((tmp_path / "training.json").read_text())
    assert log["world_size"] == 2
    epochs = checkpoints(tmp_path)
    assert [not same(a, b, "encoder.") for a, b in zip(epochs, epochs[1:], strict=False)] == [True, True, True, False]
    alone = json.loads((finished / "training.json").read_text())["history"]
    losses = [[e["loss"] for e in history if "loss" in e] for history in (alone, log["history"])]
    assert len(losses[0]) == len(losses[1]) and losses[1][-1] < losses[1][0]


def test_lora_obeys_the_freeze_schedule_and_is_merged(finished, recipe, tmp_path, backbone_folder):
    shutil.copytree(finished / "data", tmp_path / "data")
    train.main(
        [str(recipe), "--output_dir", str(tmp_path), "--lora_r", "4", "--num_train_epochs", "2", "--frozen_epochs", "1"]
    )
    final = load_file(tmp_path / "model" / "model.safetensors")
    start = load_file(backbone_folder / "model.safetensors")
    changed = {
        name
        for name, value in start.items()
        if f"encoder.{name}" in final and not final[f"encoder.{name}"].equal(value)
    }
    assert changed and all(".query." in name or ".value." in name for name in changed)
    assert not any("lora" in name for name in final)


def test_features_travel_with_their_scale(finished, recipe, tmp_path):
    shutil.copytree(finished / "data", tmp_path / "data")
    options = ["--num_train_epochs", "1", "--frozen_epochs", "1", "--feature_names", "comma_share", "log_word_count"]
    train.main([str(recipe), "--output_dir", str(tmp_path), *options])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["feature_names"] == ["comma_share", "log_word_count"]
    assert len(config["feature_mean"]) == 2 and config["feature_mean"][1] > 1 and min(config["feature_std"]) > 0


def test_article_recipe_is_the_article():
    fields = yaml.safe_load((ROOT / "recipes" / "article_en.yaml").read_text())
    assert fields["backbone"] == "microsoft/mdeberta-v3-base"
    assert (fields["core_tokens"], fields["context_tokens"], fields["label_smoothing_factor"]) == (256, 50, 0.1)
    assert (fields["num_train_epochs"], fields["frozen_epochs"], fields["lr_milestones"]) == (5, [1, 5], [2, 4])
    assert (fields["learning_rate"], fields["lr_gamma"], fields["per_device_train_batch_size"]) == (2e-5, 0.5, 16)


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
