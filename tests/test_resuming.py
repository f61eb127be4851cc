"""Trainings that were killed: they go on to the same weights, are held to what began them, and remove only their own."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from mvh import recipe as recipe_room
from mvh import resuming, train
from mvh.resuming import keep_recipe, last_checkpoint, makers, sweep

from .conftest import make_rows, write_jsonl


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
