"""One run behind a table of the first article: train on a sample, judge 1,000 test documents.

A run is a `Row` (what is trained, what it is judged on, the article's figures) carried out by a `Job` (files, backbone,
seed). Its training lives in a folder of its own name, so tables share what they train; its scores are kept beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset

from mvh import train
from mvh.baselines.reference import fit_char_ngram
from mvh.calibrate import calibrate
from mvh.calibration_mvh import decode_calibration
from mvh.dataset_builder.build import fingerprint
from mvh.dataset_builder.sampling import assign_roles, balanced_sample, largest_balanced, merge_pairs
from mvh.dataset_builder.semeval import read_semeval
from mvh.detector import load_detector
from mvh.ensemble import make_ensemble
from mvh.experiments.article_decisions import flag_figures, judged, ranking
from mvh.experiments.kept_runs import identity
from mvh.experiments.scored import scored_rows
from mvh.experiments.small_backbone import VOCABULARY, small_backbone
from mvh.export import file_sha256
from mvh.merging_mvh import MERGERS
from mvh.normalization_mvh import normalize
from mvh.placing import whole_file
from mvh.recipe import parse_recipe
from mvh.seen import refuse_seen
from mvh.vocabulary_transfer import transfer

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
TEST_DOCUMENTS = 1000
POSITIONS = 512  # of a backbone made here: longer than any segment of the tables
QUICK_DOCUMENTS = 440  # a dictionary of spelling needs 200 texts of a language, and some tables halve the sample
QUICK_SIZES = {"hidden_size": 32, "num_hidden_layers": 1}
# name on the command line -> Hub name; or how many word pieces one made from the training texts has (None: 8,000)
BACKBONES: dict[str, str | int | None] = {
    "mdeberta": "microsoft/mdeberta-v3-base",
    "xlmr": "FacebookAI/xlm-roberta-base",
    "minilm_l12": "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
    "t5": "google/mt5-base",
    "minilm_l6": "sentence-transformers/all-MiniLM-L6-v2",
    "mpnet": "sentence-transformers/all-mpnet-base-v2",
    "scratch": None,
    "scratch_30k": 30_000,
    "minilm_l6_30k": 30_000,
}
DONORS = {
    "minilm_l6_30k": "minilm_l6"
}  # one made here under whose word pieces another's layers go, instead of random ones


@dataclass(frozen=True)
class Training:
    """What is trained.

    Attributes:
        data: Which files the sample comes from, in equal parts: "english", "multilingual".
        documents: Size of the balanced sample.
        recipe: Name of the recipe.
        change: Name of what differs from the recipe; a part of the folder's name.
        options: What differs, as words of train.py's command line.
    """

    data: tuple[str, ...]
    documents: int
    recipe: str = "article_en_plain"
    change: str = ""
    options: tuple[str, ...] = ()

    def name(self) -> str:
        """Name of its folder, without backbone and seed."""
        return "-".join([*self.data, str(self.documents), *filter(None, [self.change])])


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        title: What the article calls it.
        training: What is trained for it.
        test: Which test file it is judged on.
        published: The article's figures by name, empty where it has none.
        kind: A key of RUNS; "ensemble" with the combination after a colon.
        members: Of an ensemble the backbones, keys of BACKBONES, the row's own first.
        backbone: A key of BACKBONES that this row is about; None takes the one of the command line.
        needs: What it needs that no checkpoint holds, such as a translation model; empty when it needs nothing.
    """

    title: str
    training: Training
    test: str = "english"
    published: tuple[tuple[str, float], ...] = ()
    kind: str = "encoder"
    backbone: str | None = None
    needs: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One run: files, backbone, seed, and how it is run."""

    files: dict[str, tuple[Path, Path]]  # "english" -> (train, test)
    work: Path
    seed: int
    backbone: str
    weights: str | None
    options: tuple[str, ...]
    decisions: tuple[str, ...]
    quick: bool
    given: tuple[tuple[str, str], ...] = ()  # backbones whose weights are not taken from the Hub, and where they lie


def read_file(path: Path) -> list[dict[str, Any]]:
    """The valid rows of a file; the others are counted where the dataset is built."""
    return list(read_semeval(path, lambda fault: None))


def recipe_options(training: Training, job: Job, backbone: str) -> list[str]:
    """The command line of train.py for a run."""
    sample = QUICK_DOCUMENTS if job.quick else training.documents
    files = [str(job.files[name][0]) for name in training.data]
    options = [str(RECIPES / f"{training.recipe}.yaml"), "--backbone", backbone, "--train_file", *files]
    options += ["--documents", str(sample), "--data_seed_roles", str(job.seed), "--seed", str(job.seed)]
    options += ["--output_dir", str(run_folder(training, job)), "--disable_tqdm", "True"]
    quick = ["--num_train_epochs", "1", "--use_cpu", "True"] if job.quick else []
    return [*options, "--eval_strategy", "no", *job.options, *training.options, *quick]


def run_folder(training: Training, job: Job) -> Path:
    """Folder of a training."""
    return job.work / f"{training.name()}-{job.backbone}-{job.seed}"


def backbone_of(training: Training, job: Job) -> str:
    """Name or folder of the backbone's weights; one without weights is made from the texts of role "train".

    Where layers of a donor go under its word pieces, `job.weights` are the donor's.
    """
    made = BACKBONES[job.backbone]
    if isinstance(made, str):
        return job.weights or made
    folder = job.work / f"backbone-{'-'.join(training.data)}-{job.backbone}-{job.seed}"
    if folder.exists():
        same_weights(job, folder)
    else:
        remember_weights(job, folder)
        texts = [row["text"] for row in training_role([job.files[name][0] for name in training.data], job.seed)]
        drawn = np.random.default_rng(job.seed).permutation(len(texts))[: 4000 if not job.quick else 50]
        sample = [texts[index] for index in drawn]
        if donor := DONORS.get(job.backbone):
            layers = 1 if job.quick else None
            normalized = [normalize(text).text for text in sample]
            transfer(job.weights or str(BACKBONES[donor]), normalized, folder, made or VOCABULARY, layers, job.seed)
        else:
            sizes: dict[str, int] = QUICK_SIZES if job.quick else {}
            part = folder.with_name(folder.name + ".part")
            small_backbone(sample, part, job.seed, made or VOCABULARY, positions=POSITIONS, **sizes)
            part.rename(folder)
    return str(folder)


def weights_for(backbone: str, job: Job) -> str | None:
    """The weights that are given for this backbone or its donor; None for those on the Hub."""
    given = dict(job.given)
    return given.get(backbone) or given.get(DONORS.get(backbone, ""))


def training_role(paths: Sequence[Path], seed: int) -> list[dict[str, Any]]:
    """The rows of role "train", as a build of these files deals it: calibration texts must stay unseen."""
    rows = [row for path in paths for row in read_file(path)]
    groups = merge_pairs((row["pair"], fingerprint(normalize(row["text"]).text)) for row in rows)
    roles = assign_roles(groups.values(), seed)
    return [row for row in rows if roles[groups[row["pair"]]] == "train"]


def trained(training: Training, job: Job) -> Path:
    """The checkpoint of a training, made now unless it is there; another training in its folder is refused."""
    options = recipe_options(training, job, backbone_of(training, job))
    folder = run_folder(training, job)
    if folder.exists():
        same_weights(job, folder)
    else:
        remember_weights(job, folder)
    if (folder / "model" / "config.json").exists():  # exported whole or not at all
        train.keep_recipe(*parse_recipe(options), resumed=True)
        _same_files(training, job, folder)
    else:
        train.main(options)
    for left in [*folder.glob("checkpoint-*"), *folder.glob("masked")]:  # hundreds of MB that nothing needs any more
        shutil.rmtree(left)
    return folder / "model"


def remember_weights(job: Job, folder: Path) -> None:
    """Write beside a folder from which weights it is made: the same path may hold others another day."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(_weights_file(folder), "utf-8") as file:
        file.write(_weights(job))


def same_weights(job: Job, folder: Path) -> None:
    """Raise a ValueError where a folder was made from other weights; one that does not say is taken as it is."""
    file = _weights_file(folder)
    if file.exists() and file.read_text(encoding="utf-8") != _weights(job):
        raise ValueError(f"{folder.name} was made from other weights than those in {job.weights}; remove it.")


def _weights_file(folder: Path) -> Path:
    return folder.with_name(folder.name + ".weights")


def _weights(job: Job) -> str:
    return identity(job.weights) if job.weights else ""


def _same_files(training: Training, job: Job, folder: Path) -> None:
    inputs = json.loads((folder / "data" / "manifest.json").read_text(encoding="utf-8"))["inputs"]
    learnt = [source["sha256"] for name, source in inputs.items() if name.startswith("train_file")]
    given = [file_sha256(job.files[name][0]) for name in training.data]
    if learnt != given:
        raise ValueError(f"{folder.name} was trained on files of sha256 {learnt}, and those given have {given}.")


def test_rows(job: Job, test: str) -> list[dict[str, Any]]:
    """The balanced test documents, the same for every run."""
    rows = read_file(job.files[test][1])
    most = QUICK_DOCUMENTS if job.quick else TEST_DOCUMENTS
    return [dict(row) for row in balanced_sample(rows, min(most, largest_balanced(rows)), seed=0)]


def new_rows(job: Job, test: str, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The test documents; a ValueError where one of them served the training of one of these checkpoints."""
    rows = test_rows(job, test)
    for folder in folders:
        refuse_seen(folder, [document["text"] for document in rows], "The test documents", ("training",))
    return rows


def run_encoder(row: Row, job: Job) -> dict[str, Any]:
    """Train, score the test documents, decide."""
    folder = trained(row.training, job)
    rows = new_rows(job, row.test, [folder])
    if "calibrated" in job.decisions or any(name.startswith("conformal") for name in job.decisions):
        folder = calibrated(folder)
    cache, kept = f"{row.test}-{file_sha256(job.files[row.test][1])[:12]}", run_folder(row.training, job) / "scored"
    scores = kept / f"{cache}.jsonl"
    if scores.exists() and scores.stat().st_mtime < (folder / "model.safetensors").stat().st_mtime:
        scores.unlink()  # by a model that was here before
    documents = scored_rows(str(folder), kept, cache, lambda: rows)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    calibration = decode_calibration(config["calibration"]) if config["calibration"] else None
    log = json.loads((run_folder(row.training, job) / "training.json").read_text(encoding="utf-8"))
    trained_at = {key: log.get(key) for key in ("commit", "uncommitted_changes")}
    manifest = json.loads((run_folder(row.training, job) / "data" / "manifest.json").read_text(encoding="utf-8"))
    return {
        **judged(documents, calibration, job.decisions),
        "trained_at": trained_at,
        "augmentation": manifest.get("augmentation", []),
    }


def calibrated(folder: Path, data: Path | None = None) -> Path:
    """The checkpoint with a calibration by the human documents of its own roles, those of the data folder beside it."""
    out = folder.with_name("calibrated")
    weights = [file_sha256(part / "model.safetensors") for part in (folder, out) if (part / "config.json").exists()]
    if len(weights) < 2 or weights[0] != weights[1]:  # there is none, or it is of a model that was here before
        documents = load_dataset(str(data or folder.parent / "data"), "documents")
        human = [
            [row["text"] for row in documents[role] if row["label"] == 0]
            for role in ("calibration_segments", "calibration_documents")
        ]
        calibrate(folder, *human, out, "human documents of the calibration roles of the training files")
    return out


def run_char_ngram(row: Row, job: Job) -> dict[str, Any]:
    """The character n-gram baseline on the very texts the encoder was trained on."""
    folder = trained(row.training, job)  # the data beside it hold the sample
    sample = load_dataset(str(run_folder(row.training, job) / "data"), "documents", split="train")
    fitted = fit_char_ngram([normalize(text).text for text in sample["text"]], sample["label"])
    rows = new_rows(job, row.test, [folder])
    margins = fitted([normalize(document["text"]).text for document in rows])
    labels = [document["label"] for document in rows]
    return {**ranking(labels, margins), "decisions": {"argmax": flag_figures(labels, np.asarray(margins) >= 0)}}


def run_ensemble(row: Row, job: Job) -> dict[str, Any]:
    """The same training on several backbones, calibrated, joined, and judged by its own verdicts."""
    folders = []
    for name in row.members:
        member = replace(job, backbone=name, weights=weights_for(name, job))
        folders.append(calibrated(trained(row.training, member)))
    combine = row.kind.partition(":")[2]
    joined = job.work / f"ensemble-{row.training.name()}-{'-'.join(row.members)}-{combine}-{job.seed}"
    model = make_ensemble(folders, joined / "model", combine)
    if combine not in MERGERS:  # averaged scores are calibrated as a whole, on the roles of the first member
        model = calibrated(model, folders[0].parent / "data")
    rows = new_rows(job, row.test, folders)
    results = load_detector(str(model))([document["text"] for document in rows])
    labels = [document["label"] for document in rows]
    margins = [result["margin"] for result in results]
    flagged = {"argmax": np.asarray(margins) >= 0, "calibrated": np.array([r["label"] == "machine" for r in results])}
    shutil.rmtree(joined)  # the members stay
    return {**ranking(labels, margins), "decisions": {name: flag_figures(labels, f) for name, f in flagged.items()}}


RUNS: dict[str, Callable[[Row, Job], dict[str, Any]]] = {
    "encoder": run_encoder,
    "char_ngram": run_char_ngram,
    "ensemble": run_ensemble,
}
