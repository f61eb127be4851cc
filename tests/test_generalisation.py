"""Held-out evaluation: nothing tested is learnt from, thresholds are the training side's, finished rows are not made anew."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mvh.baselines.reference import read_rows
from mvh.dataset_builder.build import fingerprint
from mvh.experiments import generalisation, generalisation_page, generalisation_rows
from mvh.experiments.generalisation_figures import group_figures
from mvh.experiments.generalisation_tasks import TASKS, Size, Task
from mvh.experiments.held_out import LEARN, THRESHOLD, by_use, collection, in_turn, segments_of, training_sample
from mvh.experiments.intervals import paired_interval
from mvh.tests.conftest import make_rows, make_text, write_jsonl

SIZE = Size(segments=40, tested=20, threshold=20)


def corpus(documents: int, seed: int) -> list[dict]:
    """Toy rows of three collections and three generators, in pairs."""
    rows = make_rows(documents, seed=seed, words=(20, 90))
    for number, row in enumerate(rows):
        row["id"], row["pair"] = f"{seed}-{number}", f"{seed}-{number // 2}"
        row["source"] = ["one:a", "one:b", "two", "three"][number // 2 % 4]
        row["model"] = ["x", "y", "z"][number // 2 % 3] if row["label"] else "human"
    return rows


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpus")
    names = {"train": 480, "dev": 120, "choose": 80, "report": 80, "multilingual_train": 400, "multilingual_dev": 100}
    return {
        name: write_jsonl(folder / f"{name}.jsonl", corpus(documents, seed))
        for seed, (name, documents) in enumerate(names.items())
    }


def texts(rows: list[dict]) -> set[bytes]:
    return {fingerprint(row["normalised"]) for row in rows}


@pytest.mark.parametrize("group", TASKS)
def test_no_task_learns_chooses_or_takes_thresholds_from_what_it_tests(group: str, files: dict[str, Path]) -> None:
    tasks = list(TASKS[group][1](files, SIZE, 0))
    assert [task.name for task in tasks] == {
        "collections": ["without one", "without three", "without two"],
        "generators": ["without x", "without y", "without z"],
        "languages": [f"fold {fold}" for fold in range(1, 6)],
    }.get(group, [group if group != "dev" else "dev"])
    for task in tasks:
        parts = [task.learn, task.choose, task.threshold, task.tested]
        for a in range(4):
            for b in range(a):
                assert not texts(parts[a]) & texts(parts[b])
                assert not {row["pair"] for row in parts[a]} & {row["pair"] for row in parts[b]}
        assert {row["label"] for row in task.threshold} == {0}
        assert {row["label"] for row in task.learn} == {row["label"] for row in task.tested} == {0, 1}
        held = task.name.removeprefix("without ")
        if group == "collections":
            assert {collection(row) for row in task.tested} == {held}
            assert held not in {collection(row) for row in [*task.learn, *task.choose, *task.threshold]}
        if group == "generators":
            assert {row["model"] for row in task.tested} == {"human", held}
            assert held not in {row["model"] for row in [*task.learn, *task.choose]}
    if group == "languages":
        assert {row["lang"] for task in tasks for row in task.tested} == {"en", "ru"}


def test_folds_test_every_text_once(files: dict[str, Path]) -> None:
    tasks = list(TASKS["languages"][1](files, Size(None, None, None), 0))
    tested = Counter(row["id"] for task in tasks for row in task.tested)
    assert set(tested.values()) == {1} and len(tested) == 500


def test_a_text_under_two_pairs_is_kept_from_both_sides(tmp_path: Path) -> None:
    rows = corpus(200, 9)
    same = make_text(0, 40, 77)
    rows += [dict(rows[0], id="a", pair="pa", text=same), dict(rows[0], id="b", pair="pb", text=same.upper())]
    read = read_rows(write_jsonl(tmp_path / "rows.jsonl", rows))
    uses = by_use(read[:-1], [read[-1]], 0)
    assert "a" not in {row["id"] for part in uses.values() for row in part}
    assert len(uses[LEARN]) > len(uses[THRESHOLD]) > 0


def test_samples_are_balanced_nested_and_as_large_as_asked(files: dict[str, Path]) -> None:
    rows = read_rows(files["train"])
    small, large = (training_sample(rows, segments, 100, seed=0) for segments in (40, 120))
    assert {row["id"] for row in small} < {row["id"] for row in large}
    assert training_sample(rows[::-1], 40, 100, seed=0) == small
    for label in (0, 1):
        of_label = [row for row in large if row["label"] == label]
        assert 50 <= sum(segments_of(row, 100) for row in of_label) <= 60
        counts = Counter(collection(row) for row in of_label)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert {row["id"] for row in in_turn(rows, 0, "x", collection)} == {row["id"] for row in rows}
    with pytest.raises(ValueError, match="both labels"):
        training_sample([row for row in rows if row["label"]], 40, 100, 0)


def test_intervals_draw_pairs_not_texts() -> None:
    rng = np.random.default_rng(0)
    of_pair = rng.normal(size=50)
    values, pairs = np.repeat(of_pair, 8), [f"p{number}" for number in range(50) for _ in range(8)]
    low, high = paired_interval(lambda rows: float(values[rows].mean()), pairs)
    assert low < values.mean() < high
    alone = paired_interval(lambda rows: float(values[rows].mean()), [str(number) for number in range(400)])
    assert high - low > 2 * (alone[1] - alone[0])  # eight copies tell no more than one
    assert paired_interval(lambda rows: None, pairs) is None


def toy_task(group: str = "report", name: str = "toy", seed: int = 0) -> Task:
    def rows(count: int, labels: tuple[int, ...]) -> list[dict]:
        made = [
            {"id": f"{seed}-{n}", "label": labels[n % len(labels)], "pair": f"{seed}-{n}", "source": "s", "lang": "en"}
            for n in range(count)
        ]
        return [row | {"normalised": "word " * (30 + row["label"]), "text": "word " * 30} for row in made]

    return Task(name, group, rows(8, (0, 1)), rows(4, (0, 1)), rows(100, (0,)), rows(200, (0, 1)))


def kept(task: Task, shift: float, scale: float = 1.0) -> dict:
    """Margins of a detector that separates by `shift`; the threshold texts are like the human test texts."""
    rng = random.Random(f"{task.name} {shift}")
    tested = [scale * (rng.gauss(0, 1) + shift * row["label"]) for row in task.tested]
    threshold = [scale * rng.gauss(0, 1) for _ in task.threshold]
    return {"tested": tested, "threshold": threshold, "about": {}, "seconds": 1.0, "made_by": {"commit": None}}


def test_figures_take_their_thresholds_from_the_training_side() -> None:
    task = toy_task()
    rows = {"char_ngram": kept(task, 0.5), "good": kept(task, 3.0), "foreign": None}
    shifted = {**rows["good"], "tested": [margin + 5 for margin in rows["good"]["tested"]]}
    report = group_figures("report", [(task, rows | {"moved": shifted})], resamples=50)["tasks"]["toy"]
    good, moved, plain = (report["rows"][name] for name in ("good", "moved", "char_ngram"))
    assert report["rows"]["foreign"] is None and report["human"] == report["machine"] == 100
    assert good["auroc"] > 0.95 > plain["auroc"] and good["auroc_over_reference"]["interval_95"][0] > 0
    assert good["auroc_interval_95"][0] < good["auroc"] < good["auroc_interval_95"][1]
    assert good["fpr_0.05"]["rate"] < 0.15 and good["tpr_0.05"]["rate"] > 0.7
    assert moved["auroc"] == good["auroc"]  # the order is the same,
    assert moved["fpr_0.05"]["rate"] == moved["fpr_0.01"]["rate"] == 1.0  # the threshold is not
    assert good["by_words"].keys() == {"000-049"} and good["by_source"].keys() == {"s"}
    json.dumps(report)


def test_folds_of_different_scales_are_pooled_on_one() -> None:
    tasks = [toy_task("languages", f"fold {n}", n) for n in range(3)]
    measured = [(task, {"detector": kept(task, 2.0, 10.0**n)}) for n, task in enumerate(tasks)]
    report = group_figures("languages", measured, resamples=20)
    folds = [task["rows"]["detector"]["auroc"] for task in report["tasks"].values()]
    assert report["pooled"]["rows"]["detector"]["auroc"] == pytest.approx(np.mean(folds), abs=0.03)
    assert report["pooled"]["rows"]["detector"]["by_language"]["en"]["auroc_interval_95"]


def test_every_language_counts_alike_in_their_mean() -> None:
    task = toy_task("languages", "fold 1", 1)
    for place, row in enumerate(task.tested):
        row["lang"] = "bg" if place % 20 < 2 else "en"  # ten English texts for each Bulgarian one
    own, plain = kept(task, 2.0), kept(task, 0.5)
    own["tested"] = [
        0.0 if row["lang"] == "bg" else margin for row, margin in zip(task.tested, own["tested"], strict=True)
    ]
    rows = group_figures("languages", [(task, {"char_ngram": plain, "own": own})], resamples=20)["pooled"]["rows"]
    areas = {name: [part["auroc"] for part in row["by_language"].values()] for name, row in rows.items()}
    assert rows["own"]["by_language"]["bg"]["auroc"] == 0.5  # every margin the same: it tells nothing there
    assert rows["own"]["mean_over_languages"]["value"] == pytest.approx(np.mean(areas["own"]))
    gain = rows["own"]["mean_over_languages_over_reference"]
    assert gain["value"] == pytest.approx(np.mean(areas["own"]) - np.mean(areas["char_ngram"]))
    assert gain["interval_95"][0] <= gain["value"] <= gain["interval_95"][1]
    assert rows["own"]["mean_over_languages"]["value"] < rows["own"]["auroc"]


def test_the_page_says_at_which_commit_each_row_was_made() -> None:
    rows = {
        "old": {"made_by": [{"commit": "a" * 40}]},
        "folds": {"made_by": [{"commit": "b" * 40}, {"commit": "a" * 40}]},
        "refused": None,
        "no repository": {"made_by": [{"commit": None}]},
    }
    assert generalisation_page.made_at(rows) == (
        "Rows made: old, folds at aaaaaaaaaaaa; folds at bbbbbbbbbbbb; no repository at unknown."
    )


def test_journey_of_baselines_a_recipe_and_a_checkpoint(
    files: dict[str, Path], backbone_folder: Path, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        f"backbone: {backbone_folder}\npooling: mean\nhead_widths: [8]\ncore_tokens: 32\ncontext_tokens: 8\nuse_cpu: true\n"
        "learning_rate: 0.005\nper_device_train_batch_size: 16\nsave_strategy: 'no'\nreport_to: none\n"
    )
    command = [word for name in ("train", "dev", "choose") for word in (f"--{name}", str(files[name]))]
    command += ["--tasks", "choose", "--recipes", str(recipe), "--checkpoints", str(detector), "--quick"]
    command += ["--out", str(tmp_path / "out.json"), "--work", str(tmp_path / "work")]
    report = generalisation.main(command)
    rows = report["groups"]["choose"]["tasks"]["choose"]["rows"]
    assert list(rows) == ["length", "formatting", "char_ngram", "features", "tiny", "toy (checkpoint)"] and all(
        rows.values()
    )
    assert rows["char_ngram"]["auroc"] > 0.9
    page = (tmp_path / "out.md").read_text()
    assert "--quick" in page and "tiny" in page and str(tmp_path) not in page
    assert not list((tmp_path / "work").rglob("*.safetensors"))

    def never(*_: object) -> None:
        raise AssertionError("a finished row was made anew")

    monkeypatch.setattr(generalisation_rows.train, "main", never)
    monkeypatch.setattr(generalisation_rows.score, "open_checkpoint", never)
    again = generalisation.main(command)
    assert again["groups"] == report["groups"]
    recipe.write_text(recipe.read_text() + "warmup_steps: 1\n")
    with pytest.raises(AssertionError, match="made anew"):
        generalisation.main(command)


def test_a_checkpoint_is_not_compared_on_what_it_has_learnt(
    files: dict[str, Path], detector: Path, tmp_path: Path
) -> None:
    known = [row | {"id": str(row["id"])} for row in make_rows(120)]  # what the toy detector was trained on
    choose = write_jsonl(tmp_path / "known.jsonl", known)
    report = generalisation.main(
        [
            "--train",
            str(files["train"]),
            "--choose",
            str(choose),
            "--tasks",
            "choose",
            "--baselines",
            "length",
            "--quick",
        ]
        + ["--checkpoints", str(detector), "--out", str(tmp_path / "o.json"), "--work", str(tmp_path / "w")]
    )
    assert report["groups"]["choose"]["tasks"]["known"]["rows"]["toy (checkpoint)"] is None
    assert "not compared" in (tmp_path / "o.md").read_text()


def test_bad_commands_say_what_is_wrong(files: dict[str, Path], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "o.json")]
    given = ["--train", str(files["train"]), "--report", str(files["report"]), "--tasks", "report"]
    with pytest.raises(ValueError, match="'collections' needs --train"):
        generalisation.main(out)
    with pytest.raises(ValueError, match="NAME=LABEL"):
        generalisation.main([*given, "--hub", "x", *out])
    with pytest.raises(FileNotFoundError, match="There is no file"):
        generalisation.main(["--train", "nowhere.jsonl", "--report", str(files["report"]), "--tasks", "report", *out])
    with pytest.raises(ValueError, match=r"\.json file"):
        generalisation.main(["--out", str(tmp_path / "o.txt")])
