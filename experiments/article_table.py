"""A table of the first article: rows and seeds run one by one, each kept, and the results as JSON and Markdown.

A table is an `Experiment`. `main` runs the rows that can be run, for several seeds: each draws its own sample and its own
head. Every finished run is a small file in `--work`: the same command again goes on after it, and the page shows the runs of
every backbone that are there. Runs that a table beside `--out` already shows are not made again either, so a fresh clone
goes on from the committed tables, where it is given the same files, weights and options; runs of others leave the page. Words
after `--` go to train.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from mvh.experiments.article import BACKBONES, RECIPES, RUNS, Job, Row, read_file, weights_for
from mvh.experiments.article_page import markdown
from mvh.experiments.kept_runs import identity, keep_run, kept_run, signature
from mvh.export import file_sha256, provenance
from mvh.placing import place_report

logger = logging.getLogger("mvh.experiments.article")

SEEDS = 3
ON_CPU = ("--use_cpu", "True")
# said above the tables that read many languages
MADE_HERE = """No multilingual pre-trained weights were at hand: `scratch` and `scratch_30k` are small BERTs of random weights
(two layers of width 128) under 8,000 and 30,000 word pieces made from the training texts, and `minilm_l6` was pre-trained on
English alone. Word pieces are made from 4,000 texts of the training file's role "train", drawn without their labels."""


@dataclass(frozen=True)
class Experiment:
    """A table: its name, title, what is said above it, its rows, and what is said below it once they have run."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]
    decisions: tuple[str, ...] = ("argmax", "softmax BH")
    figures: tuple[str, ...] = ("f1", "recall", "precision")
    notes: Callable[[dict[str, Any]], list[str]] = lambda result: []


def signed(row: Row, job: Job) -> str:
    """The signature of a run: files, recipe, weights, options, decisions. It does not see a change of code."""
    files = [_sha256(path) for name in sorted(files_of(row)) for path in job.files[name]]
    recipe = (RECIPES / f"{row.training.recipe}.yaml").read_text(encoding="utf-8")
    made_of = [str(BACKBONES[job.backbone]), _identity(job.weights) if job.weights else ""]
    made_of += [_identity(given) for member in row.members[1:] if (given := weights_for(member, job))]
    options = (*placeless(job.options), *ON_CPU)  # as the committed runs were signed, which were all made on CPUs
    asked = [repr(row.training), repr(options), *job.decisions, str(job.quick), row.kind, *row.members]
    return signature([*files, recipe, *made_of, *asked])


def placeless(options: Sequence[str]) -> tuple[str, ...]:
    """Words of train.py's command line without those that say whether a CPU computes, which is no setting of a run."""
    left: list[str] = []
    for before, word in zip(("", *options), options, strict=False):
        value = before == ON_CPU[0] and not word.startswith("--")
        left += [word] if word != ON_CPU[0] and not value else []
    return tuple(left)


def files_of(row: Row) -> set[str]:
    """The files a row reads: "english", "multilingual"."""
    return {*row.training.data, row.test}


def run_file(row: Row, job: Job) -> Path:
    """Where a run of a row is kept; tables with the same row share it."""
    asked = signature(job.decisions)[:4]
    made_of = "+".join(row.members) or job.backbone
    kind = row.kind.replace(":", "_")
    return job.work / "runs" / f"{kind}-{row.training.name()}-{row.test}-{made_of}-{job.seed}-{asked}.json"


Shown = dict[tuple[str, str, str, int], dict[str, Any]]


def shown_runs(folder: Path) -> Shown:
    """The runs that the tables in a folder show, by test file, signature, backbone and seed.

    By test file too: a training on both tracks has one signature, and a run for each track it is judged on.
    """
    found = {}
    for file in sorted(folder.glob("*.json")):
        table = json.loads(file.read_text(encoding="utf-8"))
        for row in table.get("rows", []) if "experiment" in table else []:
            for run in (run for runs in row.get("runs", {}).values() for run in runs):
                found[row["test"], run["signature"], run["backbone"], run["seed"]] = run
    return found


@cache
def about_file(path: Path) -> dict[str, Any]:
    """What a page says of a file: its name, hash, how many texts it has and which share of them is English."""
    languages = [row["lang"] for row in read_file(path)]
    english = sum(language == "en" for language in languages) / max(1, len(languages))
    return {"file": path.name, "sha256": _sha256(path), "texts": len(languages), "english": english}


def wanted(row: Row, args: argparse.Namespace) -> bool:
    """Whether the command asks for this row: by its title, or by a word in it that is no other row's title."""
    named = not args.rows or any(word == row.title if word in args.titles else word in row.title for word in args.rows)
    return not args.page_only and named and (not row.needs or row.needs in args.needs)


@cache
def _identity(weights: str) -> str:
    return identity(weights)


@cache
def _sha256(path: Path) -> str:
    return file_sha256(path)


def run(row: Row, job: Job) -> dict[str, Any]:
    """Run a row for one seed, and keep it."""
    logger.info("%s on %s, %s, seed %d", row.training.name(), row.test, job.backbone, job.seed)
    begun, made_by = time.perf_counter(), provenance()
    figures = {
        "backbone": job.backbone,
        "seed": job.seed,
        **RUNS[row.kind.partition(":")[0]](row, job),
        "made_by": made_by,
    }
    figures["seconds"] = round(time.perf_counter() - begun)
    return keep_run(run_file(row, job), signed(row, job), figures)


def summary(row: Row, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row of the results: published figures, runs by backbone."""
    backbones: dict[str, list[dict[str, Any]]] = {}
    for made in runs:
        backbones.setdefault(made["backbone"], []).append(made)
    return {"title": row.title, "name": row.training.name(), "kind": row.kind, "test": row.test, "needs": row.needs,
            "backbone": row.backbone, "published": dict(row.published), "runs": backbones}  # fmt: skip


def parser_of(experiment: Experiment) -> argparse.ArgumentParser:
    """The command line that every table has."""
    parser = argparse.ArgumentParser(prog=f"python -m mvh.experiments.{experiment.name}", description=experiment.title)
    pair = {"nargs": 2, "type": Path, "metavar": ("TRAIN", "TEST")}
    parser.add_argument("--english", required=True, help="SemEval files of the English track", **pair)  # type: ignore[arg-type]
    parser.add_argument("--multilingual", help="the same of the multilingual track", **pair)  # type: ignore[arg-type]
    parser.add_argument(
        "--backbone",
        nargs="+",
        choices=list(BACKBONES),
        default=own_backbones(experiment),
        help="what is trained: the first for rows that leave it open, each for rows about it (default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        help="names or folders of their weights in that order, if not those on the Hub",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)), help="one run of each row per seed")
    parser.add_argument("--rows", nargs="+", help="run only rows of these titles, or whose title holds such a word")
    parser.add_argument("--needs", nargs="+", default=[], help="rows are run that need this, e.g. translation")
    parser.add_argument(
        "--out", type=Path, default=Path(f"results/{experiment.name}.json"), help="the page lies beside it"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/article"), help="folder of trainings and finished runs")
    parser.add_argument("--page-only", action="store_true", help="run nothing; the page from what has finished")
    parser.add_argument("--quick", action="store_true", help="whether it runs, not what it finds")
    return parser


def own_backbones(experiment: Experiment) -> list[str]:
    """What a table trains by itself: the article's encoder where a row leaves it open, and those its rows are about."""
    named = {row.backbone or "mdeberta" for row in experiment.rows}
    return [name for name in BACKBONES if name in named]


def runs_of(row: Row, given: Job, args: argparse.Namespace, before: Shown) -> tuple[list[dict[str, Any]], list[str]]:
    """The finished runs of a row on every backbone, those made now among them; and a sentence for each that failed."""
    runs: list[dict[str, Any]] = []
    faults: list[str] = []
    for backbone in [*args.backbone, *(name for name in BACKBONES if name not in args.backbone)]:
        for seed in args.seeds[:1] if args.quick else args.seeds:
            job = replace(given, backbone=backbone, seed=seed, weights=weights_for(backbone, given))
            if not files_of(row) <= set(given.files) or row.backbone not in (None, backbone):
                continue
            asked = signed(row, job)
            made = kept_run(run_file(row, job), asked) or before.get((row.test, asked, backbone, seed))
            trained_here = args.backbone if row.backbone else args.backbone[:1]
            if made is None and backbone in trained_here and wanted(row, args):
                try:
                    made = run(row, job)
                except (ValueError, OSError) as error:  # weights or a back-end that are not to be had: the others go on
                    faults.append(f"{row.title}, {backbone}, seed {seed}: {error}")
                    logger.error("error: %s", faults[-1])
            runs += [made] if made else []
        if runs and row.kind == "char_ngram":
            break  # it is the same whatever backbone is trained beside it
    return runs, faults


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line of every table; see the docstring of one. Returns what its JSON file holds.

    Raises:
        ValueError: If `--out` names no .json file.
        SystemExit: With status 1 where a run failed, after the page of all others is written.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    words, extra = words[:cut], words[cut + 1 :]
    parser = parser_of(experiment)
    args = parser.parse_args(words)
    args.titles = {row.title for row in experiment.rows}
    if args.out.suffix != ".json":
        raise ValueError(f"--out must name a .json file, got {args.out.name}.")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    files = {"english": tuple(args.english)}
    if args.multilingual:
        files["multilingual"] = tuple(args.multilingual)
    work = args.work / "quick" if args.quick else args.work
    if len(args.weights) > len(args.backbone):
        raise ValueError(f"--weights names {len(args.weights)} weights, and --backbone {len(args.backbone)} backbones.")
    weights = tuple(zip(args.backbone, args.weights, strict=False))  # the backbones after them are the Hub's
    given = Job(files, work, 0, args.backbone[0], None, tuple(extra), experiment.decisions, args.quick, weights)
    before = shown_runs(args.out.parent)
    rows, faults = [], []
    for row in experiment.rows:
        runs, failed = runs_of(row, given, args, before)
        rows.append(summary(row, runs))
        faults += failed
    ran = [word for word in words if word != "--page-only"]  # the command that makes the runs, not only the page
    shown = [Path(word).name if Path(word).is_absolute() or Path(word).is_file() else word for word in ran]
    command = shlex.join([*shown, *(["--", *extra] if extra else [])])
    result = {
        "experiment": experiment.name,
        "title": experiment.title,
        "about": experiment.about,
        "figures": list(experiment.figures),
        "decisions": list(experiment.decisions),
        "command": f"{parser.prog} {command}",
        "options": list(placeless(extra)),
        "quick": args.quick,
        "files": {name: [about_file(path) for path in pair] for name, pair in files.items()},
        **provenance(),
        "rows": rows,
    }
    result["notes"] = experiment.notes(result)
    place_report(args.out, result, markdown(result))
    if faults:
        raise SystemExit(f"{len(faults)} runs failed, and {args.out} shows the others; the first: {faults[0]}")
    return result
