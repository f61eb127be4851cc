"""The article on Russian toxic comments beside what runs here: macro precision, recall and F1 of every model.

    python -m mvh.experiments.toxic --csv labeled.csv --out results/toxic.json [--quick]

Both baselines are fitted on the four fifths of the comments that are not held out and judged on the held-out fifth, for
several seeds of the split. An encoder goes through its recipe from end to end: dataset, train.py, calibration, score.py;
of the four fifths it trains on the role "train", for the rest chooses and calibrates. Verdicts are the sign of the
margin, as the article decides; an encoder's verdicts at its alpha stand beside them. Rows that need weights from the
Hub are not run unless `--run` names them. Every finished run is a file in `--work`: the same command again goes on from
there, and makes a row anew whose data or settings have changed.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import json
import logging
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import load_dataset
from sklearn.metrics import precision_recall_fscore_support

from mvh import calibrate, score, train
from mvh.baselines import bilstm, naive_bayes
from mvh.baselines import reference as baselines
from mvh.dataset_builder import toxic
from mvh.dataset_builder.sampling import assign_roles
from mvh.dataset_builder.toxic_folder import build_toxic
from mvh.experiments.kept_runs import keep_run, kept_run, signature
from mvh.experiments.small_backbone import SMALL_BERT, VOCABULARY, small_backbone
from mvh.experiments.toxic_page import markdown
from mvh.export import file_sha256, provenance
from mvh.metrics import auroc, detection_report
from mvh.normalization_mvh import normalize
from mvh.placing import place_report

logger = logging.getLogger("mvh.experiments.toxic")

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
QUICK_ROWS = 2000


@dataclass(frozen=True)
class Job:
    """What a run is given: the CSV, the folder of its files, the seed of split and training, and whether it is quick."""

    csv: Path
    work: Path
    seed: int
    quick: bool


@dataclass(frozen=True)
class Model:
    """A row of the table.

    Attributes:
        title: What the article calls it, or what it is.
        published: Precision, recall and F1 in per cent, None where the article has no such model or names no figure.
        run: Job -> figures, or None where it cannot be run.
        seeds: How many seeds are run.
        hub: Whether it needs weights from the Hub.
        note: What the page says of the row.
    """

    title: str
    published: tuple[float, float, float] | None
    run: Callable[[Job], dict[str, Any]] | None = None
    seeds: int = 1
    hub: bool = False
    note: str = ""


def macro(labels: Sequence[int], margins: Sequence[float]) -> dict[str, Any]:
    """Macro precision, recall and F1 in per cent and AUROC; class 1 where the margin is >= 0."""
    decisions = np.asarray(margins) >= 0
    scores = precision_recall_fscore_support(labels, decisions, average="macro", zero_division=0)[:3]
    return {**dict(zip(("precision", "recall", "f1"), (100 * float(x) for x in scores), strict=True)),
            "auroc": auroc(labels, margins)}  # fmt: skip


# --- the baselines ---


def run_naive_bayes(job: Job) -> dict[str, Any]:
    """Multinomial Naive Bayes, smoothing by cross-validation on the training part."""
    rows, test = toxic.split_toxic(toxic.read_toxic(job.csv), job.seed)
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    model = naive_bayes.fit(texts, labels, "article", toxic.LABELS, seed=job.seed)
    naive_bayes.save(model, job.work / f"naive_bayes-{job.seed}")
    return {"train_documents": len(rows), **judged(model.margins, test), "fit": model.about}


def run_bilstm(job: Job) -> dict[str, Any]:
    """BiLSTM over Word2Vec vectors trained on the training comments alone."""
    rows, test = toxic.split_toxic(toxic.read_toxic(job.csv), job.seed)
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    quick: dict[str, Any] = {"epochs": 2, "vector_epochs": 2, "shape": bilstm.Shape(50, 16, 16)} if job.quick else {}
    model = bilstm.fit(texts, labels, preprocessing="article", label_names=toxic.LABELS, seed=job.seed, **quick)
    bilstm.save(model, job.work / f"bilstm-{job.seed}")
    return {"train_documents": len(rows), **judged(model.margins, test), "fit": model.about}


def run_char_ngram(job: Job) -> dict[str, Any]:
    """The reference baseline of `mvh.baselines`: logistic regression on character n-grams of the normalised text."""
    rows, test = toxic.split_toxic(toxic.read_toxic(job.csv), job.seed)
    fitted = baselines.fit_char_ngram([normalize(row["text"]).text for row in rows], [row["label"] for row in rows])
    figures = judged(lambda texts: fitted([normalize(text).text for text in texts]), test)
    return {"train_documents": len(rows), **figures}


def judged(margins: Callable[[list[str]], Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of a scorer on rows."""
    return {"test_documents": len(rows), **macro([r["label"] for r in rows], margins([r["text"] for r in rows]))}


# --- the encoders ---


def run_encoder(name: str, job: Job) -> dict[str, Any]:
    """Dataset -> train.py -> calibration -> score.py, as the recipe's head says."""
    recipe = RECIPES / f"toxic_{name}.yaml"
    fields = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    folder = job.work / f"{fields['name']}-{job.seed}-{signed(name, job)}"  # other data or settings: another training
    data, backbone = folder / "data", fields["backbone"]
    if name == "scratch":
        rows, _ = toxic.split_toxic(toxic.read_toxic(job.csv), job.seed)
        roles = assign_roles((row["pair"] for row in rows), job.seed)
        learnt = [row["text"] for row in rows if roles[row["pair"]] == "train"]  # the calibration's texts stay unseen
        backbone = str(folder / "backbone")
        if not Path(backbone, "config.json").exists():
            small_backbone(learnt, Path(backbone), job.seed, 1000 if job.quick else VOCABULARY)
    if not data.exists():
        tokens = fields["core_tokens"], fields["context_tokens"]
        build_toxic(job.csv, backbone, data, "none", job.seed, *tokens, progress=False)
    options = [str(recipe), "--backbone", backbone, "--dataset", str(data), "--output_dir", str(folder)]
    options += ["--seed", str(job.seed), "--disable_tqdm", "True", *(["--num_train_epochs", "1"] if job.quick else [])]
    model = train.main(options)
    calibrated = folder / "calibrated"
    documents = load_dataset(str(data), "documents")
    neutral = [
        [row["text"] for row in documents[role] if row["label"] == 0]
        for role in ("calibration_segments", "calibration_documents")
    ]
    calibrate.calibrate(model, *neutral, calibrated, POPULATION)
    scored = score.main([str(calibrated), "--data", str(data), "--out", str(folder / "scored")])
    lines = (folder / "scored" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    read = [line for line in map(json.loads, lines) if line["error"] is None]
    labels, margins = [line["label"] for line in read], [line["margin"] for line in read]
    verdicts = [score.DECISIONS[line["decision"]] for line in read]
    report = detection_report(labels, margins, verdicts)["overall"]
    roles = json.loads((data / "manifest.json").read_text(encoding="utf-8"))["counts"]["documents"]["train"]
    return {
        "train_documents": sum(sum(by_lang.values()) for by_lang in roles.values()),
        "test_documents": len(read),
        **macro(labels, margins),
        "at_alpha": {"alpha": read[0]["alpha"], "fpr_limit_99": scored["files"]["data"]["fpr_limit_99"],
                     "documents": dict(Counter(line["group"] for line in read)),
                     **{key: report[key] for key in ("fpr", "fpr_interval_95", "recall", "coverage")}},
    }  # fmt: skip


POPULATION = "neutral comments of 2ch and Pikabu, used neither for training nor for any choice"
MODELS: dict[str, Model] = {
    "naive_bayes": Model("MNB", (87.01, 81.22, 83.21), run_naive_bayes, seeds=5,
                         note="the smoothing is chosen by cross-validation on the training part"),
    "bilstm": Model("BiLSTM", None, run_bilstm, seeds=3,
                    note="Word2Vec is trained on the training comments alone, not on the article's corpus of tweets; the "
                    "figure published for it is not among those at hand"),
    "char_ngram": Model("character n-grams", None, run_char_ngram, seeds=3,
                        note="not in the article: the reference baseline of `mvh.baselines`, which sees parts of words"),
    "scratch": Model("small BERT, random weights", None, partial(run_encoder, "scratch"),
                     note="not in the article: what train.py learns from the comments alone"),
    "mbert": Model("M-BERT", (91.19, 91.10, 91.15), partial(run_encoder, "mbert"), hub=True),
    "rubert": Model("ruBERT", (91.91, 92.51, 92.20), partial(run_encoder, "rubert"), hub=True),
    "muse_cnn": Model("M-USE-CNN", (89.69, 90.14, 89.91), note="no transformers checkpoint of it is known"),
    "muse": Model("M-USE-Trans", (90.85, 91.92, 91.35), partial(run_encoder, "muse"), hub=True,
                        note="through distiluse-base-multilingual-cased-v1, a distillation of M-USE into a DistilBERT"),
}  # fmt: skip
# --- runs, kept one by one ---


def signed(name: str, job: Job) -> str:
    """The signature of a run: its data, settings, and code or recipe."""
    made_by = {
        "naive_bayes": inspect.getsource(naive_bayes),
        "bilstm": inspect.getsource(bilstm),
        "char_ngram": inspect.getsource(baselines.fit_char_ngram),
    }
    if name not in made_by:
        made_by[name] = (RECIPES / f"toxic_{name}.yaml").read_text(encoding="utf-8") + str(SMALL_BERT)
    return signature([file_sha256(job.csv), str(job.seed), str(job.quick), name, made_by[name]])


def run_file(name: str, job: Job) -> Path:
    """Where a run is kept."""
    return job.work / f"{name}-{job.seed}.json"


def new_run(name: str, model: Model, job: Job) -> dict[str, Any]:
    """Run a row for one seed and keep its figures with seconds and provenance."""
    assert model.run is not None
    logger.info("%s, seed %d", name, job.seed)
    begun, made_by = time.perf_counter(), provenance()
    figures = {"seed": job.seed, **model.run(job), "made_by": made_by}
    figures["seconds"] = round(time.perf_counter() - begun)
    return keep_run(run_file(name, job), signed(name, job), figures)


def summary(model: Model, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row of the results: the published figures, the mean and standard deviation over seeds, and each run."""
    measured = None
    if runs:
        measured = {}
        for key in ("precision", "recall", "f1", "auroc"):
            values = [run[key] for run in runs]
            measured[key] = {
                "mean": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)) if len(runs) > 1 else None,
            }
    published = dict(zip(("precision", "recall", "f1"), model.published, strict=True)) if model.published else None
    return {"title": model.title, "published": published, "measured": measured, "note": model.note, "runs": list(runs)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring. Returns what the JSON file holds."""
    parser = argparse.ArgumentParser(prog="python -m mvh.experiments.toxic", description=__doc__.split("\n")[0])
    parser.add_argument("--csv", type=Path, required=True, help="the published labeled.csv")
    parser.add_argument("--out", type=Path, required=True, help="a .json file; the page lies beside it")
    parser.add_argument("--work", type=Path, default=Path("runs/toxic"), help="folder of the finished runs")
    parser.add_argument("--run", nargs="+", choices=[name for name, model in MODELS.items() if model.run],
                        help="rows to run (default: all that need no weights from the Hub)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument(
        "--quick", action="store_true", help="few comments and steps: whether it runs, not what it finds"
    )
    args = parser.parse_args(argv)
    if args.out.suffix != ".json":
        raise ValueError(f"--out must name a .json file, got {args.out.name}.")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("gensim").setLevel(logging.WARNING)
    work = args.work / "quick" if args.quick else args.work
    work.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    toxic.read_toxic(args.csv, counts=counts)  # a file that cannot be read stops everything here
    file = first_rows(args.csv, work / "quick.csv") if args.quick else args.csv
    wanted = args.run or [name for name, model in MODELS.items() if model.run and not model.hub]
    rows = {}
    for name, model in MODELS.items():
        seeds = range(args.seed, args.seed + (1 if args.quick else model.seeds)) if model.run else ()
        jobs = [Job(file, work, seed, args.quick) for seed in seeds]
        runs = []
        for job in jobs:
            kept = kept_run(run_file(name, job), signed(name, job))
            if run := kept or (name in wanted and new_run(name, model, job)):
                runs.append(run)
        rows[name] = summary(model, runs)
        if model.run and not runs:
            rows[name]["command"] = (
                f"python -m mvh.experiments.toxic --csv {args.csv.name} --out {args.out} --run {name}"
            )
    words = sys.argv[1:] if argv is None else list(argv)
    shown = [Path(word).name if word == str(args.csv) else word for word in words]  # no path of this machine
    result = {
        "command": "python -m mvh.experiments.toxic " + shlex.join(shown),
        "seed": args.seed,
        "quick": args.quick,
        "csv": {"file": args.csv.name, "sha256": file_sha256(args.csv), **counts},
        **provenance(),
        "models": rows,
    }
    place_report(args.out, result, markdown(result))
    return result


def first_rows(path: Path, out: Path) -> Path:
    """The first QUICK_ROWS rows of each label of the CSV, as a CSV."""
    taken: Counter[int] = Counter()
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(toxic.COLUMNS)
        for row in toxic.read_toxic(path):
            taken[row["label"]] += 1
            if taken[row["label"]] <= QUICK_ROWS // 2:
                writer.writerow((row["text"], float(row["label"])))
    return out


if __name__ == "__main__":
    main()
