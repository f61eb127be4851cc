"""Ways to teach the head: each runs, none reads a text it is tested on, and the losses are the formulas."""

import datasets
import numpy as np
import pytest
import torch

from mvh.dataset_builder.build import build_dataset
from mvh.experiments import heads

from .conftest import make_rows, write_jsonl


@pytest.fixture(scope="module")
def made(tmp_path_factory, backbone_folder):
    folder = tmp_path_factory.mktemp("heads")
    rows = [{**row, "source": f"{row['source']}:{row['lang']}"} for row in make_rows(200)]
    file = write_jsonl(folder / "train.jsonl", rows)
    build_dataset([file], str(backbone_folder), folder / "data", core_tokens=32, context_tokens=8)
    command = ["--dataset", str(folder / "data"), "--backbone", str(backbone_folder), "--quick", "--seeds", "0"]
    command += ["--work", str(folder / "work"), "--out", str(folder / "heads.json")]
    fit = [name for name, way in heads.WAYS.items() if way.layers <= 2]
    return folder, [*command, "--ways", *fit], heads.main([*command, "--ways", *fit])


def test_every_way_has_its_row(made):
    folder, _, report = made
    assert set(report["ways"]) == {name for name, way in heads.WAYS.items() if way.layers <= 2}
    for way in report["ways"].values():
        (run,) = way["runs"]
        assert set(run["auroc"]) == {"choose", "without reddit", "without wikihow"}
        assert all(0 <= value <= 1 for value in run["auroc"].values())
    page = (folder / "heads.md").read_text(encoding="utf-8")
    assert page.strip() == heads.page(report).strip() and page.count("\n| ") == len(report["ways"]) + 2


def test_a_finished_run_is_kept_and_another_backbone_is_not_taken_for_it(made):
    folder, command, report = made
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "work").iterdir()}
    assert heads.main(command)["ways"] == report["ways"]
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "work").iterdir()} == before
    with pytest.raises(ValueError, match="'four layers' reads 4 layers, and .* has 2"):
        heads.main([*command[:-1], "four layers"])


def segments(count, seed=0):
    """Vectors whose first number tells the label."""
    torch.manual_seed(seed)
    labels = torch.arange(count) % 2
    vectors = torch.randn(count, 12).half()
    vectors[:, 0] += 3 * labels
    names = np.array([f"d{number // 2}" for number in range(count)])
    rows = datasets.Dataset.from_dict(
        {"source": ["a", "b"] * (count // 2), "model": ["m"] * count, "lang": ["en"] * count}
    )
    pairs = np.array([f"p{number // 4}" for number in range(count)])
    return heads.Segments(vectors, labels, names, pairs, np.array(rows["source"]), rows)


@pytest.mark.parametrize(
    "way", [heads.Way(), heads.Way(average=0.2), heads.Way(contrastive=True), heads.Way(balanced=True)]
)
def test_what_can_be_told_is_learnt(way):
    judge = heads.learn(way, segments(1024), 4, 0, 3)
    logits = judge(segments(200, seed=1).vectors)
    assert ((logits[:, 1] > logits[:, 0]).long() == torch.arange(200) % 2).float().mean() > 0.85
    assert heads.learn(way, segments(1024), 4, 0, 3)(segments(200, 1).vectors).equal(logits)


def test_a_teacher_has_not_seen_the_pair_it_teaches(monkeypatch):
    whole, learnt = segments(400), []

    def learn(way, part, *given):
        learnt.append(set(part.pairs))
        return lambda vectors: torch.full((len(vectors), 2), float(len(learnt) - 1))

    monkeypatch.setattr(heads, "learn", learn)
    taught_by = heads.teachers(whole, 4, 0, 1)[:, 0].int().tolist()
    assert len(learnt) == heads.FOLDS and set(taught_by) == set(range(heads.FOLDS))
    assert not [pair for pair, fold in zip(whole.pairs, taught_by, strict=True) if pair in learnt[fold]]


def test_losses_by_hand():
    vectors = torch.nn.functional.normalize(torch.randn(6, 4), dim=-1)
    labels = torch.tensor([0, 1, 0, 1, 0, 2])
    by_hand = []
    for anchor in range(6):
        others = [one for one in range(6) if one != anchor]
        total = sum(np.exp(float(vectors[anchor] @ vectors[one]) / 0.1) for one in others)
        same = [one for one in others if labels[one] == labels[anchor]]
        parts = [float(vectors[anchor] @ vectors[one]) / 0.1 - np.log(total) for one in same]
        by_hand.append(-np.mean(parts) if parts else 0.0)
    assert heads.contrastive_loss(vectors, labels).item() == pytest.approx(np.mean(by_hand), rel=1e-4)
    x = torch.ones(3, requires_grad=True)
    (2 * heads.Reversed.apply(x, -0.5)).sum().backward()
    assert x.grad.tolist() == [-1.0] * 3
