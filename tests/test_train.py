"""Training by recipe: the freeze schedule, the learning rate, two processes, what a finished run leaves."""

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
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from transformers import pipeline

from mvh import train, trainer
from mvh.calibrate import calibrate
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.normalization_mvh import STEPS
from mvh.opening import open_pipeline

from .conftest import make_rows, write_jsonl

ROOT = Path(train.__file__).parent


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
