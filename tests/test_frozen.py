"""Frozen epochs: the encoder reads each segment once in a stretch, and nothing else changes."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import datasets
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertModel, T5Config

from mvh import frozen, train
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.pooling_mvh import POOLINGS
from mvh.sole_use import sole_use

from .conftest import toy_training, trained


@pytest.fixture(scope="module")
def options(tmp_path_factory, backbone_folder):
    return toy_training(tmp_path_factory.mktemp("frozen"), backbone_folder)


@pytest.fixture
def read(monkeypatch):
    """How many segments the encoder has read, with a graph or without."""
    counts = []
    real = BertModel.forward

    def counting(self, input_ids=None, **named):
        counts.append(len(input_ids))
        return real(self, input_ids, **named)

    monkeypatch.setattr(BertModel, "forward", counting)
    return counts


def test_a_stretch_of_frozen_epochs_reads_each_segment_once(options, tmp_path, read):
    learnt, evaluated = (
        datasets.load_dataset(options[-1], "segments", split=part).num_rows for part in ("train", "choose")
    )
    common = ["--save_strategy", "no", "--encoder_dropout", "0", "--head_dropout", "0", "--eval_strategy", "epoch"]
    kept = trained(options, tmp_path / "kept", *common)
    with_keeping = sum(read)
    read.clear()
    plain = trained(options, tmp_path / "plain", *common, "--keep_frozen_features", "False")
    saved = sum(read) - with_keeping
    assert saved == learnt + evaluated, "two epochs cost one pass of each; the open epoch and the end read as before"
    assert all(torch.allclose(kept[name], plain[name], atol=2e-4) for name in plain)
    logs = [json.loads((tmp_path / run / "training.json").read_text())["history"] for run in ("kept", "plain")]
    losses = [[entry["eval_loss"] for entry in log if "eval_loss" in entry] for log in logs]
    assert len(losses[0]) == 4 and losses[0] == pytest.approx(losses[1], abs=1e-5), "three epochs and the end"


@pytest.mark.parametrize("more", [[], ["--bag_orders", "1"]])
def test_the_end_reads_the_weights_that_are_exported(options, tmp_path, more):
    """Not what an encoder of a later epoch made: here the first epoch counts as the best, and the last is frozen."""
    common = [
        *more,
        "--num_train_epochs",
        "4",
        "--frozen_epochs",
        "1",
        "4",
        "--encoder_dropout",
        "0",
        "--head_dropout",
        "0",
    ]
    common += ["--load_best_model_at_end", "True", "--metric_for_best_model", "loss", "--greater_is_better", "True"]
    common += ["--eval_strategy", "epoch", "--save_strategy", "epoch"]
    kept = trained(options, tmp_path / "kept", *common)
    plain = trained(options, tmp_path / "plain", *common, "--keep_frozen_features", "False")
    logs = [json.loads((tmp_path / run / "training.json").read_text()) for run in ("kept", "plain")]
    losses = [entry["eval_loss"] for entry in logs[0]["history"] if "eval_loss" in entry]
    assert losses[-1] == pytest.approx(losses[0], abs=1e-5) and abs(losses[-1] - losses[3]) > 1e-4
    assert logs[0]["metrics"]["eval_loss"] == pytest.approx(logs[1]["metrics"]["eval_loss"], abs=1e-5)
    assert all(torch.allclose(kept[name].float(), plain[name].float(), atol=2e-3) for name in plain)


def test_other_segments_are_read_while_the_encoder_is_frozen(backbone_folder, tmp_path):
    """Parts of either set find their own vectors, and a set that nobody numbered is encoded."""
    rows = [{"input_ids": [5 + index, 6, 7], "labels": index % 2, "length": 3} for index in range(10)]
    learnt, evaluated = datasets.Dataset.from_list(rows[:6]), datasets.Dataset.from_list(rows[6:])
    model = MvhForSequenceClassification.from_backbone(str(backbone_folder)).eval()
    args = train.MvhTrainingArguments(output_dir=str(tmp_path), frozen_epochs=[1], use_cpu=True, report_to="none")
    teacher = train.MvhTrainer(
        model=model, args=args, train_dataset=learnt, eval_dataset=evaluated, data_collator=train.Collator(0)
    )
    with torch.no_grad():
        wanted = model(torch.tensor([row["input_ids"] for row in rows])).logits.numpy()
    model.freeze_encoder(True)
    asked = [(teacher.eval_dataset, [6, 7, 8, 9]), (teacher.train_dataset.select([4, 1]), [4, 1])]
    asked += [(teacher.eval_dataset.select([3, 2]), [9, 8]), (datasets.Dataset.from_list(rows[3:8]), [3, 4, 5, 6, 7])]
    for segments, numbers in asked:
        assert teacher.predict(segments).predictions == pytest.approx(wanted[numbers], abs=1e-6)


@pytest.mark.parametrize("more", [["--lora_r", "2"], ["--feature_names", "comma_share", "log_word_count"]])
def test_lora_and_features_learn_the_same_from_kept_vectors(options, tmp_path, more):
    common = [*more, "--save_strategy", "no", "--num_train_epochs", "2", "--head_dropout", "0", "--lora_dropout", "0.5"]
    kept = trained(options, tmp_path / "kept", *common)
    plain = trained(options, tmp_path / "plain", *common, "--keep_frozen_features", "False")
    assert all(torch.allclose(kept[name], plain[name], atol=2e-4) for name in plain)


def test_a_run_killed_inside_a_stretch_ends_with_the_same_weights(options, tmp_path):
    """Bit for bit, dropout on: the vectors are made again, and no random number is drawn for them."""
    saving = ["--save_strategy", "steps", "--save_steps", "3"]
    whole = trained(options, tmp_path / "whole", *saving)
    steps = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "whole").glob("checkpoint-*"))
    out = tmp_path / "killed"
    out.mkdir()
    shutil.copy(tmp_path / "whole" / "recipe.json", out)
    shutil.copytree(tmp_path / "whole" / f"checkpoint-{steps[1]}", out / f"checkpoint-{steps[1]}")
    resumed = trained(options, out, *saving)
    assert all(whole[name].equal(resumed[name]) for name in whole)


def test_word_embeddings_can_stand_still(options, tmp_path, backbone_folder):
    common = ["--train_embeddings", "False", "--num_train_epochs", "1", "--frozen_epochs", "3"]
    after, before = trained(options, tmp_path, *common), load_file(backbone_folder / "model.safetensors")
    moved = {name for name, value in before.items() if not after.get(f"encoder.{name}", value).equal(value)}
    assert moved and "embeddings.word_embeddings.weight" not in moved
    state = torch.load(next(tmp_path.glob("checkpoint-*")) / "optimizer.pt")["state"]
    assert len(before["embeddings.word_embeddings.weight"]) not in {len(one["exp_avg"]) for one in state.values()}


def test_where_vectors_cannot_be_kept_a_sentence_says_so(monkeypatch):
    said = []
    monkeypatch.setattr(frozen.logger, "warning", said.append)

    given = SimpleNamespace(keep_frozen_features=True, frozen_epochs=[1], world_size=1, n_gpu=0)
    shape = SimpleNamespace(hidden_size=768, num_hidden_layers=12)
    config = SimpleNamespace(head="layers", bag=None, character_bag=None, pooling="cls", backbone_config=shape)
    assert frozen.can_keep(given, config, 100_000) and not said
    for changed in ({"head": "label_token"}, {"bag": {"buckets": 8}}, {"character_bag": {"buckets": 8}}):
        assert not frozen.can_keep(given, SimpleNamespace(**vars(config) | changed), 100_000)
    wide = SimpleNamespace(**vars(config) | {"pooling": "statistics"})
    assert frozen.can_keep(given, wide, 10_000)
    assert not frozen.can_keep(given, wide, 100_000)
    given.world_size = 2
    assert not frozen.can_keep(given, config, 100_000)
    assert [sentence.split(":")[0] for sentence in said] == [
        "The head 'label_token' reads every token, not one vector",
        "The bag of n-grams reads the tokens themselves",
        "The bag of n-grams reads the characters themselves",
        "The vectors of 100,000 segments would take more than 4 GiB",
        "2 devices train together",
    ]
    given.frozen_epochs = []
    assert not frozen.can_keep(given, config, 100_000) and len(said) == 5, "nobody asked for it"


@pytest.mark.parametrize("pooling", POOLINGS)
def test_looked_up_vectors_give_the_logits(backbone_folder, pooling):
    """Whatever the pooling, padding and order; T5's encoder takes the same words."""
    models = [MvhForSequenceClassification.from_backbone(str(backbone_folder), pooling=pooling)]
    if pooling != "cls":
        small = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        models.append(MvhForSequenceClassification(type(models[0].config)(backbone_config=small, pooling=pooling)))
    ids = torch.randint(5, 40, (6, 12))
    mask = (torch.arange(12) < torch.tensor([[3], [12], [5], [1], [12], [7]])).long()
    for model in models:
        model.eval()
        vectors = frozen.pooled_vectors(model, {"input_ids": ids, "attention_mask": mask})
        rows = torch.tensor([4, 0, 3])
        with frozen.looked_up(model, vectors):
            given = model(input_ids=rows[:, None], attention_mask=torch.ones(3, 1, dtype=torch.long)).logits
        assert torch.allclose(given, model(input_ids=ids, attention_mask=mask).logits[rows], atol=1e-6)
        assert "forward" not in vars(model.encoder) and "forward" not in vars(model.pool)


def test_batches_hold_similar_lengths():
    batches = frozen.similar_batches([5, 9, 1, 7, 3], 2)
    assert batches == [[1, 3], [0, 4], [2]]


# --- the output folder ---


def test_two_trainings_in_one_folder(options, tmp_path):
    with sole_use(tmp_path, "training"), pytest.raises(ValueError, match=f"process {os.getpid()}\\) is at work in"):
        train.main([*options, "--output_dir", str(tmp_path)])
    code = f"from pathlib import Path; from mvh.sole_use import sole_use; sole_use(Path({str(tmp_path)!r}), 'training')"
    killed = f"{code}.__enter__(); import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    with sole_use(tmp_path, "training"):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n", "a dead process holds nothing"


def test_a_checkpoint_that_finds_no_room_is_a_sentence(options, tmp_path, monkeypatch):
    """What was begun goes, what was there stays, and the same command goes on from it."""
    saving = ["--save_strategy", "steps", "--save_steps", "5"]
    real = torch.save

    def full(what, file, *more, **named):
        if "checkpoint-10" in str(file):
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
        return real(what, file, *more, **named)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="checkpoint of step 10 cannot be written .* MB are free: .*Earlier checkpoints"):
        train.main([*options, "--output_dir", str(tmp_path), *saving])
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-5"]
    monkeypatch.setattr(torch, "save", real)
    (tmp_path / "model.unfinished-0123abcd").mkdir()
    trained(options, tmp_path, *saving)
    assert not list(tmp_path.glob("*.unfinished-*"))


def test_a_folder_that_cannot_be_made_is_a_sentence(options, tmp_path, caplog, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["train.py", *options, "--output_dir", str(tmp_path / "file" / "run")])
    assert train.command() == 1
    assert "error: [Errno 20] Not a directory" in caplog.text
