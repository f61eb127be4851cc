"""Auxiliary tasks: the head learns more than the labels, and the detector that is left is one like any other."""

import shutil

import datasets
import pytest
import torch
from safetensors.torch import load_file

from mvh import train
from mvh.auxiliary import AUXILIARY, AuxiliaryHeads, auxiliary_loss, task_classes
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.recipe import parse_recipe

from .conftest import make_rows, toy_training, trained, write_jsonl

TASKS = ["--auxiliary_tasks", "source", "generator", "language"]


@pytest.fixture(scope="module")
def options(tmp_path_factory, backbone_folder):
    return [*toy_training(tmp_path_factory.mktemp("auxiliary"), backbone_folder), "--label_smoothing_factor", "0.1"]


def detector(backbone_folder):
    torch.manual_seed(0)
    return MvhForSequenceClassification.from_backbone(str(backbone_folder), head_widths=[16, 8], head_dropout=0.0)


def test_tasks_move_the_head_and_leave_nothing_behind(options, tmp_path):
    plain = trained(options, tmp_path / "plain", "--save_strategy", "no")
    idle = trained(options, tmp_path / "idle", *TASKS, "--auxiliary_weight", "0", "--save_strategy", "no")
    more = trained(options, tmp_path / "more", *TASKS)
    assert plain.keys() == idle.keys() == more.keys()
    assert all(plain[name].equal(idle[name]) for name in plain), "of weight 0 they change nothing"
    assert not any(plain[name].equal(more[name]) for name in plain if name.startswith("head."))
    last = max((tmp_path / "more").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    kept = {name for name in load_file(last / "model.safetensors") if name.startswith(AUXILIARY)}
    assert kept == {f"auxiliary.tasks.{task}.{part}" for task in range(3) for part in ("weight", "bias")}


def test_kept_vectors_teach_the_same(options, tmp_path):
    common = [*TASKS, "--save_strategy", "no", "--encoder_dropout", "0", "--head_dropout", "0"]
    kept = trained(options, tmp_path / "kept", *common)
    plain = trained(options, tmp_path / "plain", *common, "--keep_frozen_features", "False")
    assert all(torch.allclose(kept[name], plain[name], atol=2e-4) for name in plain)


def test_a_killed_training_ends_with_the_same_weights(options, tmp_path):
    saving = [*TASKS, "--save_strategy", "steps", "--save_steps", "3"]
    whole = trained(options, tmp_path / "whole", *saving)
    steps = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "whole").glob("checkpoint-*"))
    out = tmp_path / "killed"
    out.mkdir()
    shutil.copy(tmp_path / "whole" / "recipe.json", out)
    shutil.copytree(tmp_path / "whole" / f"checkpoint-{steps[1]}", out / f"checkpoint-{steps[1]}")
    resumed = trained(options, out, *saving)
    assert all(whole[name].equal(resumed[name]) for name in whole)


def test_what_has_one_class_is_refused_before_anything_is_learnt(options, tmp_path):
    file = write_jsonl(tmp_path / "one.jsonl", [{**row, "source": "reddit"} for row in make_rows(60)])
    at = options.index("--dataset")
    command = [
        *options[:at],
        *options[at + 2 :],
        "--train_file",
        str(file),
        "--output_dir",
        str(tmp_path / "out"),
        "--masked_epochs",
        "1",
    ]
    with pytest.raises(ValueError, match="every training text has 'reddit'"):
        train.main([*command, "--auxiliary_tasks", "source"])
    assert not (tmp_path / "out" / "masked").exists()


def test_classes_of_each_task():
    segments = datasets.Dataset.from_dict(
        {
            "source": ["b", "a", "b", "c"],
            "model": ["human+perturbation", "GPT-4o+translation", "human", "GPT-4o"],
            "lang": ["en"] * 4,
        }
    )
    classes, sizes = task_classes(segments, ["source", "generator"])
    assert sizes == [3, 2]
    assert classes == [[1, 1], [0, 0], [1, 1], [2, 0]], "a disguised text is its writer's"
    assert task_classes(segments, []) == ([], [])
    with pytest.raises(ValueError, match="'language' needs two classes or more, and every training text has 'en'"):
        task_classes(segments, ["language"])


def test_the_loss_is_the_labels_and_the_tasks(backbone_folder):
    model = detector(backbone_folder)
    AuxiliaryHeads(model, [3, 2])
    ids, labels, classes = torch.randint(5, 40, (4, 9)), torch.tensor([0, 1, 1, 0]), torch.tensor([[2, 0]] * 4)
    model.train()
    output = model(input_ids=ids, labels=labels)
    assert [tuple(one.shape) for one in output.auxiliary_logits] == [(4, 3), (4, 2)]
    by_hand = -sum(
        one.log_softmax(1)[range(4), classes[:, task]].mean() for task, one in enumerate(output.auxiliary_logits)
    )
    assert auxiliary_loss(output.auxiliary_logits, classes).item() == pytest.approx(by_hand.item(), rel=1e-6)
    auxiliary_loss(output.auxiliary_logits, classes).backward()
    assert model.head.dense1.weight.grad.abs().sum() > 0 and model.head.out.weight.grad is None


def test_a_detector_that_was_left_is_as_before(backbone_folder):
    model, ids = detector(backbone_folder), torch.randint(5, 40, (2, 9))
    names, before = set(model.state_dict()), model.eval()(input_ids=ids).logits
    AuxiliaryHeads(model, [3])
    assert "auxiliary_logits" not in model.eval()(input_ids=ids), "it adds nothing to a verdict"
    assert "auxiliary_logits" in model.train()(input_ids=ids)
    model.auxiliary.leave(model)
    assert set(model.state_dict()) == names and "auxiliary_logits" not in model.train()(input_ids=ids)
    assert model.eval()(input_ids=ids).logits.equal(before)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--auxiliary_tasks", "topic"], "'topic' is none of them"),
        (["--auxiliary_tasks", "source", "source"], "name each task once"),
        (["--auxiliary_tasks", "source", "--auxiliary_weight", "-1"], "from 0 up, got -1"),
        (["--auxiliary_tasks", "source", "--auxiliary_weight", "nan"], "from 0 up, got nan"),
        (["--auxiliary_tasks", "source", "--lora_r", "4"], "not with lora_r 4"),
        (["--auxiliary_tasks", "source", "--head", "label_token"], "not with head 'label_token'"),
    ],
)
def test_what_cannot_be_trained_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        parse_recipe([*given, "--train_file", "train.jsonl", "--output_dir", "out"])
