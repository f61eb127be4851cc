"""The benchmarks of training, scanning and growth: one schedule on both sides, kept runs, sums that add up; no figures."""

import json
from pathlib import Path

import pytest
import torch

from mvh.benchmarks import growth, measuring, steps
from mvh.benchmarks import scan as scanning
from mvh.benchmarks import train as training
from mvh.benchmarks.allocated import peak_allocated

from .conftest import TINY, make_rows, write_jsonl


@pytest.fixture(scope="module")
def words(tmp_path_factory, backbone_folder):
    folder = tmp_path_factory.mktemp("speed")
    files = [write_jsonl(folder / f"{name}.jsonl", make_rows(160, seed)) for seed, name in enumerate(("train", "dev"))]
    given = [
        "--backbone",
        backbone_folder,
        "--train",
        files[0],
        "--dev",
        files[1],
        "--work",
        folder / "work",
        "--quick",
    ]
    return [str(word) for word in given]


def test_both_sides_run_the_schedule_and_runs_are_kept(words, tmp_path, capsys):
    assert training.main([*words, "--minutes", "0"]) is None and "same command again" in capsys.readouterr().err
    report = training.main([*words, "--out", str(tmp_path / "speed.json")])
    assert json.loads((tmp_path / "speed.json").read_text()) == report
    page = (tmp_path / "speed.md").read_text()
    assert page == capsys.readouterr().out and measuring.QUICK in page and "Wanted: at least 3 times" in page
    stock, ours = report["rows"]
    assert stock["times_as_fast"] == 1 and stock["steps"] == ours["steps"] == 15, "five epochs of three batches"
    assert not stock["bf16"] and stock["document"]["difference"] == 0
    assert 0 < ours["segment"]["mean"] <= 1
    again = training.main([*words, "--minutes", "0"])
    assert again and again["rows"] == report["rows"], "finished runs are not run again"
    with pytest.raises(ValueError, match=r"is a run of .*'0.0001'.*, now wanted is .*'0.001'.*name another --work"):
        training.main([*words, "--learning-rate", "0.001"])
    other = tmp_path / Path(words[words.index("--train") + 1]).name
    other.write_text(Path(words[words.index("--train") + 1]).read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"is a run of \{'train': .*name another --work"):
        training.main([*words, "--train", str(other)])
    with pytest.raises(ValueError, match="needs --backbone, --train, --dev"):
        training.main([])


def test_the_stock_side_is_stock(words, tmp_path, backbone_folder):
    """transformers' own Trainer and AdamW, float32, dropout on; the encoder stays in train mode while it is frozen."""
    args = type("Given", (), {"backbone": backbone_folder, "work": tmp_path, "learning_rate": 1e-4})()
    model_args, recipe = training.described(args, training.STOCK, 0)
    assert model_args.encoder_dropout is None and not recipe.bf16
    model = training.build_model(model_args, None, None)
    training.FreezePlainly([1, 5]).on_epoch_begin(None, type("State", (), {"epoch": 4.0})(), None, model=model)
    model.train()
    assert model.encoder.training and not any(weight.requires_grad for weight in model.encoder.parameters())
    trainer = training.stock_trainer(model, recipe, [0] * 40, training.Collator(0))
    assert type(trainer) is training.Trainer and trainer.args.train_sampling_strategy == "random"
    assert sorted(trainer.lr_scheduler.milestones) == [6, 12], "after epochs 2 and 4 of three batches each"


def test_steps_of_a_shape(monkeypatch, tmp_path):
    monkeypatch.setitem(steps.SHAPES, "mdeberta-base", steps.SHAPES["mdeberta-base"] | TINY | {"vocab_size": 90})
    monkeypatch.setattr(measuring, "MATRIX", 64)
    out = tmp_path / "steps.json"
    words = ["--shape", "mdeberta-base", "--quick", "--segments-per-text", "2", "--out", str(out)]
    report = training.main(words)
    rows = {row["step"]: row for row in report["rows"]}
    thrice = pytest.approx(3 * rows[steps.VECTORS]["gflop"], rel=1e-12)  # each was divided by 1e9
    assert rows[steps.FULL]["gflop"] == thrice and rows[steps.HEAD]["gflop"] is None
    assert report["embeddings"] == 90 * TINY["hidden_size"] and report["epoch"]["segments"] == 2 * steps.SEMEVAL
    assert report["epoch"]["steps"] == steps.SEMEVAL and "Not run." in out.with_suffix(".md").read_text()
    weights, trained = 4 * report["weights"], 8 * report["weights"]  # bytes; AdamW keeps two moments of each
    assert rows[steps.VECTORS]["held_bytes"] == weights
    assert rows[steps.FULL]["held_bytes"] == pytest.approx(weights + trained, rel=0.01), "and the numbers of steps"
    assert rows[steps.NO_TABLE]["held_bytes"] == pytest.approx(weights + trained - 8 * report["embeddings"], rel=0.01)
    assert rows[steps.PLAIN]["peak_bytes"] > rows[steps.PLAIN]["held_bytes"] + weights, "every weight has a gradient"
    assert rows[steps.VECTORS]["peak_bytes"] < rows[steps.FROZEN]["peak_bytes"] < rows[steps.FULL]["peak_bytes"]


def test_the_peak_is_of_what_was_allocated_at_once():
    def work() -> None:
        first = torch.empty(1000, dtype=torch.float64)
        del first
        kept = torch.empty(500, dtype=torch.float64)
        kept.clone()

    assert peak_allocated(work) == 8000 and peak_allocated(lambda: None) == 0


def test_a_step_moves_what_it_names(monkeypatch):
    monkeypatch.setitem(steps.SHAPES, "mdeberta-base", steps.SHAPES["mdeberta-base"] | TINY | {"vocab_size": 90})
    model = steps.random_model("mdeberta-base")
    before = {}

    def moved(task):
        before.update({name: weight.detach().clone() for name, weight in model.named_parameters()})
        task()
        names = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
        return {"table" if "word_embeddings" in name else name.split(".")[0] for name in names}

    tasks = steps.tasks(model, 4, 8, {})
    everything = {"table", "encoder", "head"}
    expected = {steps.FULL: everything, steps.NO_TABLE: everything - {"table"}, steps.FROZEN: {"head"}}
    expected |= {steps.VECTORS: set(), steps.HEAD: {"head"}}
    expected |= {steps.PLAIN: everything, steps.DROPOUT: everything}
    assert {name: moved(task) for name, task in tasks.items()} == {name: expected[name] for name in tasks}


# --- corpora ---


def test_a_sample_is_dealt_to_shards_of_one_length(tmp_path):
    file = write_jsonl(tmp_path / "texts.jsonl", [{"text": "x" * length} for length in range(1, 101)] + [{"text": " "}])
    texts = scanning.sample(file, 80, 8)
    sizes = [sum(map(len, texts[first : first + 10])) for first in range(0, 80, 10)]
    assert max(sizes) < 1.1 * min(sizes) and len(set(texts)) == 80 and texts == scanning.sample(file, 80, 8)
    with pytest.raises(ValueError, match="has 100 texts; wanted are 104 in 8 shards"):
        scanning.sample(file, 104, 8)


def test_the_estimate_is_its_arithmetic():
    rows = [{"per_core": 30.0}, {"per_core": 25.0, "start": {"median": 36.0}}]
    found = {"rows": rows, "largest_process_mb": 500.0, "bytes_per_document": 400.0}
    sums = scanning.estimate(found, price=0.09, cores=1000)
    assert sums["cost_per_million"] == pytest.approx(1.0), "1e6 / 25 = 40,000 s = 11.1 core hours x 0.09"
    assert sums["core_hours"] == pytest.approx(1e9 / 25 / 3600 + 10) and sums["hours"] * 1000 == sums["core_hours"]
    assert sums["memory_gb"] == 500 and sums["output_gb"] == 400


@pytest.mark.slow
def test_a_corpus_by_one_and_by_two_workers(detector, tmp_path, capsys):
    pytest.importorskip("datatrove")
    data = write_jsonl(tmp_path / "texts.jsonl", make_rows(40))
    out = tmp_path / "scan.json"
    report = scanning.main([str(detector), "--data", str(data), "--quick", "--out", str(out)])
    assert json.loads(out.read_text()) == report and report["documents"] == 32
    assert [row["workers"] for row in report["rows"]] == [1, 2] and report["bytes_per_document"] > 0
    assert "By arithmetic, not run" in capsys.readouterr().out


# --- growth ---


def test_slopes_of_a_straight_line_are_one_number():
    found = growth.slopes({10_000: 0.3, 100_000: 2.1, 1_000_000: 20.1})
    assert [one["slope"] for one in found] == pytest.approx([20.0, 20.0]), "the fixed cost of a call does not count"


def test_growth_is_written_as_measured(detector, tmp_path, capsys):
    out = tmp_path / "growth.json"
    report = growth.main(["--model", str(detector), "--quick", "--segments", "200", "--out", str(out)])
    assert json.loads(out.read_text()) == report and measuring.QUICK in capsys.readouterr().out
    assert [row["characters"] for row in report["rows"]] == [2_000, 10_000, 20_000]
    assert report["rows"][0]["calls"] == 5 and set(report["deciding_share"]) == set(growth.CORRECTIONS)
