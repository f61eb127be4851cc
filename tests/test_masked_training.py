"""Masked epochs before a training: the encoder learns tokens, masks are right, a killed run goes on, what cannot is refused."""

import json
import shutil

import datasets
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModel, BartConfig

from mvh import train
from mvh.experiments.shipped import refuse_other_training, training_summary
from mvh.masked_training import IGNORED, MaskingCollator, TokenFiller, learn_masked_tokens
from mvh.recipe import MvhTrainingArguments
from mvh.trainer import SteadyTrainer

from .conftest import make_rows, write_jsonl


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, backbone_folder):
    folder = tmp_path_factory.mktemp("masked-recipe")
    fields = {
        "backbone": str(backbone_folder),
        "pooling": "statistics",
        "head_widths": [8],
        "core_tokens": 32,
        "context_tokens": 8,
        "train_file": str(write_jsonl(folder / "train.jsonl", make_rows(60))),
        "num_train_epochs": 1,
        "masked_epochs": 3,
        "masked_learning_rate": 0.003,
        "train_sampling_strategy": "group_by_length",
        "eval_strategy": "no",
        "logging_strategy": "epoch",
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("masked-run")
    train.main([str(recipe), "--output_dir", str(out)])
    return out


def losses(out) -> list[float]:
    history = json.loads((out / "training.json").read_text())["masked_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def test_the_encoder_learns_to_fill_in_tokens_before_the_detector_is_trained(finished, backbone_folder):
    assert losses(finished)[-1] < losses(finished)[0]
    start = load_file(backbone_folder / "model.safetensors")
    after = load_file(finished / "masked" / "encoder.safetensors")
    assert any(not after[name].equal(start[name]) for name in after)
    assert not list(finished.glob("masked.*")), "checkpoints of masked epochs that nobody needs any more"


def test_the_small_log_of_a_shipped_detector_tells_of_both_trainings(finished, tmp_path):
    log = json.loads((finished / "training.json").read_text())
    summary = training_summary(log)
    assert [loss for _, loss in summary["masked_losses"]] == losses(finished)
    assert summary["recipe"]["masked_epochs"] == 3 and summary["recipe"]["masked_learning_rate"] == 0.003
    assert summary["losses"] and summary["masked_train_seconds"] > 0 < summary["train_seconds"]
    refuse_other_training(finished / "training.json", finished / "model")
    other = shutil.copytree(finished / "model", tmp_path / "other")
    (other / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ValueError, match="training.json tells of weights with the hash .*, and those of .*other have"):
        refuse_other_training(finished / "training.json", other)
    before = {
        key: value for key, value in log.items() if key != "masked_history"
    }  # of a run made before there were any
    assert training_summary(before)["masked_losses"] == []


def test_the_pooled_vector_is_scaled_by_the_taught_encoder(recipe, finished, tmp_path):
    plain = tmp_path / "plain"
    train.main([str(recipe), "--output_dir", str(plain), "--masked_epochs", "0"])
    scales = [load_file(out / "model" / "model.safetensors") for out in (finished, plain)]
    names = [name for name in scales[0] if name.startswith("pool.")]
    assert names and any(not scales[0][name].equal(scales[1][name]) for name in names)
    assert json.loads((plain / "training.json").read_text())["masked_history"] == []


@pytest.mark.parametrize("lora", ["0", "4"])
@pytest.mark.parametrize(("trainer", "epoch"), [(SteadyTrainer, 2.0), (train.MvhTrainer, 0.5)])
def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(recipe, tmp_path, monkeypatch, trainer, epoch, lora):
    command = [str(recipe), "--lora_r", lora, "--output_dir"]
    train.main([*command, str(tmp_path / "whole")])
    step, seen = trainer.training_step, []

    def killed(self, *given, **named):
        if self.state.epoch >= epoch:
            raise KeyboardInterrupt
        return step(self, *given, **named)

    def noted(self, *given, **named):
        seen.append(self.state.epoch)
        return step(self, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "training_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train.main([*command, str(tmp_path / "killed")])
    assert (tmp_path / "killed" / "masked").exists() == (trainer is train.MvhTrainer)
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "training_step", noted)
        train.main([*command, str(tmp_path / "killed")])
    assert seen[0] == (2.0 if trainer is SteadyTrainer else 0.0), "of the detector no checkpoint had been written"
    whole, resumed = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.allclose(whole[name], resumed[name], atol=1e-6) for name in whole)


@pytest.mark.parametrize("other", [("--masked_epochs", "0"), ("--masked_epochs", "2"), ("--seed", "7")])
def test_another_recipe_does_not_take_over_what_masked_epochs_have_left(recipe, finished, tmp_path, other):
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(finished / "recipe.json", out)
    shutil.copytree(finished / "masked", out / "masked")
    with pytest.raises(ValueError, match=f"holds a training begun with {other[0].lstrip('-')}"):
        train.main([str(recipe), *other, "--output_dir", str(out)])


def test_embeddings_that_are_not_trained_stay_as_they_were(recipe, tmp_path, backbone_folder):
    train.main([str(recipe), "--train_embeddings", "false", "--output_dir", str(tmp_path)])
    start = load_file(backbone_folder / "model.safetensors")
    after = load_file(tmp_path / "masked" / "encoder.safetensors")
    name = "embeddings.word_embeddings.weight"
    assert after[name].equal(start[name])
    assert any(not after[other].equal(start[other]) for other in after)


def test_a_share_of_the_tokens_is_masked_and_no_special_one(tokenizer):
    torch.manual_seed(0)
    body = tokenizer("the quick brown fox " * 40, add_special_tokens=False)["input_ids"]
    rows = [
        {"input_ids": [tokenizer.cls_token_id, *body[:length], tokenizer.sep_token_id]} for length in (150, 90)
    ] * 20
    batch = MaskingCollator(tokenizer, 0.2)(rows)
    masked = batch["labels"] != IGNORED
    original = torch.where(masked, batch["labels"], batch["input_ids"])
    for row, ids, attended in zip(rows, original.tolist(), batch["attention_mask"].tolist(), strict=True):
        assert ids[: len(row["input_ids"])] == row["input_ids"] and sum(attended) == len(row["input_ids"])
    assert not torch.isin(batch["labels"][masked], torch.tensor(tokenizer.all_special_ids)).any()
    tokens = sum(len(row["input_ids"]) - 2 for row in rows)
    assert masked.sum().item() / tokens == pytest.approx(0.2, abs=0.02)
    shown = (batch["input_ids"][masked] == tokenizer.mask_token_id).float().mean().item()
    assert shown == pytest.approx(0.8, abs=0.05)


def test_the_loss_is_the_mean_over_masked_tokens_and_zero_without_any(backbone_folder, tokenizer):
    encoder = AutoModel.from_pretrained(backbone_folder).eval()
    filler = TokenFiller(encoder, torch.ones(encoder.config.vocab_size))
    ids = torch.randint(5, 40, (3, 12))
    mask = torch.ones_like(ids)
    labels = torch.full_like(ids, IGNORED)
    assert filler(ids, mask, labels)["loss"].item() == 0.0
    labels[0, 3], labels[2, 7] = 9, 11
    hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    logits = filler.transform(hidden) @ encoder.get_input_embeddings().weight.T + filler.bias  # (B, T, V)
    chances = logits.log_softmax(-1)
    expected = -(chances[0, 3, 9] + chances[2, 7, 11]) / 2
    assert filler(ids, mask, labels)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("fault", ["no mask token", "more tokens than embeddings", "an encoder-decoder"])
def test_what_cannot_be_masked_is_refused_before_any_text_is_read(recipe, tmp_path, monkeypatch, fault, tokenizer):
    monkeypatch.setattr(train, "load_segments", lambda *given: pytest.fail("the texts were read"))
    load, options, said = train.load_tokenizer, [], "the backbone's tokenizer has no mask_token"

    def changed(name):
        tokenizer = load(name)
        if fault == "no mask token":
            tokenizer.mask_token = None
        elif fault == "more tokens than embeddings":
            tokenizer.add_tokens([f"new{number}" for number in range(3000)])
        return tokenizer

    if fault == "more tokens than embeddings":
        said = r"the tokenizer has \d+ tokens, the backbone \d+"
    elif fault == "an encoder-decoder":
        sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
        BartConfig(vocab_size=len(tokenizer), **sizes).save_pretrained(tmp_path / "bart")
        tokenizer.save_pretrained(tmp_path / "bart")
        options, said = ["--backbone", str(tmp_path / "bart")], "a bart, is a whole encoder-decoder"
    monkeypatch.setattr(train, "load_tokenizer", changed)
    with pytest.raises(ValueError, match=f"masked_epochs is 3, and .*{said}"):
        train.main([str(recipe), *options, "--output_dir", str(tmp_path / "run")])


@pytest.mark.parametrize(
    "wrong", [{"masked_epochs": -1}, {"masked_share": 0.0}, {"masked_share": 1.0}, {"masked_learning_rate": -1.0}]
)
def test_masked_epochs_that_mean_nothing_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="must not be negative and masked_share lie between 0 and 1"):
        MvhTrainingArguments(output_dir=str(tmp_path), **wrong)


def test_finished_masked_epochs_are_read_and_not_trained_again(finished, backbone_folder, tokenizer, monkeypatch):
    monkeypatch.setattr("mvh.masked_training.SteadyTrainer", lambda **given: pytest.fail("it was trained again"))
    encoder = AutoModel.from_pretrained(backbone_folder, add_pooling_layer=False)
    nothing = datasets.Dataset.from_dict({"input_ids": [], "length": []})
    args = MvhTrainingArguments(output_dir=str(finished), masked_epochs=3)
    learn_masked_tokens(encoder, nothing, tokenizer, args, finished / "masked")
    kept = load_file(finished / "masked" / "encoder.safetensors")
    state = encoder.state_dict()
    assert all(np.array_equal(kept[name].numpy(), state[name].numpy()) for name in kept)
