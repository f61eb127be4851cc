"""The detectors that `mvh.experiments.generalisation` compares: a task -> margins of its test and threshold texts.

Four plain baselines (length, formatting, character n-grams, handcrafted features), recipes that go through train.py from
end to end, and detectors that were trained elsewhere: a saved checkpoint or any text classifier of the Hub.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from mvh import score, train
from mvh.baselines import reference
from mvh.experiments.features import MODELS, document_scores, pieces
from mvh.experiments.generalisation_tasks import Task
from mvh.experiments.held_out import Row
from mvh.experiments.kept_runs import identity, signature
from mvh.features_mvh import GROUPS, compute_features
from mvh.opening import local_folder
from mvh.seen import read_seen, seen_before

FEATURE_GROUPS = [
    name for name in GROUPS if name not in ("spelling", "register")
]  # those need data made from many texts
FIELDS = ("id", "label", "text", "model", "source", "lang", "pair")


@dataclass(frozen=True)
class Job:
    """What a run is given besides its task: folder of its files, seed, and whether it is quick."""

    work: Path
    seed: int
    quick: bool


@dataclass(frozen=True)
class Detector:
    """A row of the tables.

    Attributes:
        name: As results show it.
        made_by: What its figures depend on besides the task: another text, another run.
        margins: (task, job) -> margins of the test texts and of the threshold texts, and what is known of the run.
    """

    name: str
    made_by: str
    margins: Callable[[Task, Job], tuple[list[float], list[float], dict[str, Any]]]


class NotComparable(ValueError):
    """A detector that has learnt from the texts it would be tested on."""


def baseline(name: str, text: str) -> Detector:
    """One of `baselines.reference.BASELINES` on raw or normalised text."""
    fit = reference.BASELINES[name]

    def margins(task: Task, job: Job) -> tuple[list[float], list[float], dict[str, Any]]:
        scorer = fit([row[text] for row in task.learn], [row["label"] for row in task.learn])
        tested, threshold = (scorer([row[text] for row in rows]).tolist() for rows in (task.tested, task.threshold))
        return tested, threshold, {}

    return Detector(name, f"{name} {text} 1", margins)


def features_only(task: Task, job: Job) -> tuple[list[float], list[float], dict[str, Any]]:
    """Logistic regression on the handcrafted features of the texts' pieces, by the mean over a text's pieces."""

    def read(rows: Sequence[Row]) -> tuple[NDArray, NDArray]:
        """Features of all pieces, shape (pieces, F), and the number of each piece's text, shape (pieces,)."""
        parts = [(part, owner) for owner, row in enumerate(rows) for part in pieces(row["normalised"])]
        values = [compute_features(part, FEATURE_GROUPS) for part, _ in parts]
        return np.array(values, dtype=np.float64), np.array([owner for _, owner in parts])

    values, owners = read(task.learn)
    fitted = MODELS["logistic regression"]().fit(values, [task.learn[owner]["label"] for owner in owners])

    def scored(rows: Sequence[Row]) -> list[float]:
        found, whose = read(rows)
        return document_scores(fitted.decision_function(found), whose).tolist()

    return scored(task.tested), scored(task.threshold), {"features": values.shape[1]}


def recipe(path: Path, backbone: str | None) -> Detector:
    """A recipe trained on the task's texts by train.py; a killed training goes on, a finished one leaves its figures alone.

    Args:
        path: YAML of the recipe; its name is the row's.
        backbone: Instead of the recipe's own.
    """
    made_by = path.read_text(encoding="utf-8")
    used = backbone or yaml.safe_load(made_by)["backbone"]

    def margins(task: Task, job: Job) -> tuple[list[float], list[float], dict[str, Any]]:
        lines = [json.dumps({key: row[key] for key in FIELDS}) + "\n" for row in [*task.learn, *task.choose]]
        made_of = signature([made_by, used, str(job.seed), str(job.quick), *lines])  # another training, another folder
        folder = job.work / "trainings" / f"{task.group}-{task.name}-{path.stem}-{made_of}".replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        texts = folder / "train.jsonl"
        texts.write_text("".join(lines), encoding="utf-8")
        options = [str(path), "--train_file", str(texts), "--output_dir", str(folder / "run"), "--backbone", used]
        options += ["--seed", str(job.seed), "--data_seed_roles", str(job.seed), "--disable_tqdm", "True"]
        model = train.main([*options, *(["--num_train_epochs", "1"] if job.quick else [])])
        scorer, _ = score.open_checkpoint(str(model), {})
        tested, threshold = scored_by(scorer, task.tested), scored_by(scorer, task.threshold)
        log = json.loads((folder / "run" / "training.json").read_text(encoding="utf-8"))
        manifest = json.loads((folder / "run" / "data" / "manifest.json").read_text(encoding="utf-8"))
        about = {"training": log["metrics"], "counts": manifest["counts"], "backbone": "/".join(Path(used).parts[-2:])}
        shutil.rmtree(folder)  # weights are large, and all that counts is kept
        return tested, threshold, about

    return Detector(path.stem, f"{made_by}\n{identity(used)}", margins)


def elsewhere(kind: str, name: str, options: dict[str, Any]) -> Detector:
    """A detector trained elsewhere, opened by `mvh.score`; the task's training texts play no part.

    Raises:
        NotComparable: By `margins`, if the detector says that it has learnt from a text of the test.
    """
    public = Path(name).name if Path(name).is_dir() else name
    label = options.get("positive_label")

    def margins(task: Task, job: Job) -> tuple[list[float], list[float], dict[str, Any]]:
        known = read_seen(local_folder(name)) if kind == "checkpoint" else None
        texts = [row["text"] for row in (*task.tested, *task.threshold)]
        if known is not None and (shared := len(seen_before(texts, known))):
            raise NotComparable(f"it has learnt from {shared} of the {len(texts)} texts of test and threshold")
        scorer, about = score.DETECTORS[kind](name, options)
        return scored_by(scorer, task.tested), scored_by(scorer, task.threshold), {"detector": about}

    return Detector(f"{public} ({label or kind})", f"{kind} {identity(name)} {label}", margins)


def scored_by(scorer: score.Scorer, rows: Sequence[Row]) -> list[float]:
    """Margins of the rows; what cannot be read takes the lowest of them."""
    margins = [result["margin"] for result in score.predictions(iter(rows), scorer)]
    known = [margin for margin in margins if margin is not None]
    if not known:
        raise ValueError(f"None of {len(rows)} texts could be scored.")
    return [min(known) if margin is None else margin for margin in margins]


BASELINES = {
    "length": baseline("length", "normalised"),
    "formatting": baseline("formatting", "raw"),
    "char_ngram": baseline("char_ngram", "normalised"),
    "features": Detector("features", "features all 1", features_only),
}
REFERENCE = "char_ngram"  # what a detector has to beat
