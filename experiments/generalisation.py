"""How a detector does where it was not trained: other collections, generators, domains, lengths and languages.

    python -m mvh.experiments.generalisation --train monolingual_train.jsonl --dev monolingual_dev.jsonl \
        --choose ood_choose_en.jsonl --recipes recipes/a.yaml recipes/b.yaml --out results/generalisation.json
    python -m mvh.experiments.generalisation --tasks report generators languages … --recipes recipes/best.yaml

The tasks are those of `mvh.experiments.generalisation_tasks`; without `--tasks` only those run that a choice of recipe may
look at. Every row learns from the same documents of a task: about `--segments` training segments, equally many of both
labels, over the collections in turn. Thresholds for 5 % and 1 % FPR come from human texts of the training sources that were
not learnt from, never from the test: so the FPR beside each TPR is what a user would have met.

Rows: length, formatting, character n-grams and handcrafted features; recipes, trained by train.py; detectors trained
elsewhere (`--checkpoints`; `--hub NAME=LABEL`, LABEL being the one that means machine). A checkpoint that has learnt from
a test text is not compared. Every finished row is a file in `--work`: the same command again goes on from there, makes
anew what has changed, and a killed training goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mvh.experiments.attacks import shown
from mvh.experiments.generalisation_figures import group_figures
from mvh.experiments.generalisation_page import markdown
from mvh.experiments.generalisation_rows import BASELINES, Detector, Job, NotComparable, elsewhere, recipe
from mvh.experiments.generalisation_tasks import FOR_CHOOSING, TASKS, Size, Task
from mvh.experiments.kept_runs import keep_run, kept_run, signature
from mvh.export import file_sha256, provenance
from mvh.normalization_mvh import NORMALIZER_VERSION
from mvh.placing import place_report

logger = logging.getLogger(__name__)

FILES = ("train", "dev", "choose", "report", "multilingual_train", "multilingual_dev")
SEGMENTS, TESTED, THRESHOLD = 3000, 500, 500
QUICK = Size(segments=60, tested=30, threshold=40)


def fingerprint(task: Task) -> str:
    """A hash of everything a task holds: names, labels and texts of its rows."""
    digest = hashlib.sha256(f"{task.group} {task.name}".encode())
    for part in (task.learn, task.choose, task.threshold, task.tested):
        for row in part:
            digest.update(f"\0{row['id']} {row['label']} {row['text']}".encode())
        digest.update(b"\1")
    return digest.hexdigest()


def margins_of(detector: Detector, task: Task, job: Job) -> dict[str, Any] | None:
    """Kept margins of a row, or new ones; None where the row is not comparable on this task."""
    signed = signature([fingerprint(task), detector.made_by, NORMALIZER_VERSION, str(job.seed), str(job.quick)])
    name = f"{task.group} {task.name} {detector.name}".replace(" ", "-").replace("/", "_")
    path = job.work / f"{name}.json"
    kept = kept_run(path, signed)
    if kept is None:
        logger.info(
            "%s, %s: %d texts to learn from, %d tested", task.name, detector.name, len(task.learn), len(task.tested)
        )
        begun, made_by = time.perf_counter(), provenance()
        try:
            tested, threshold, about = detector.margins(task, job)
        except NotComparable as error:
            logger.warning("%s, %s: not compared, %s", task.name, detector.name, error)
            return None
        seconds = round(time.perf_counter() - begun, 1)
        found = {"tested": tested, "threshold": threshold, "about": about, "seconds": seconds, "made_by": made_by}
        kept = keep_run(path, signed, found)
    return kept


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.experiments.generalisation", description=__doc__.split("\n")[0]
    )
    for name in FILES:
        tasks = ", ".join(task for task, (files, _) in TASKS.items() if name in files)
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, help=f"JSONL file, for {tasks}")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(FOR_CHOOSING),
                        help="default: those for choosing; the others are for the final recipe only")  # fmt: skip
    parser.add_argument("--recipes", type=Path, nargs="+", default=[], help="YAML files, each a row named after it")
    parser.add_argument("--backbone", help="folder or Hub name instead of the recipes' own")
    parser.add_argument("--checkpoints", nargs="+", default=[], help="detectors trained elsewhere")
    parser.add_argument("--hub", nargs="+", default=[], metavar="NAME=LABEL", help="other people's classifiers")
    parser.add_argument("--baselines", nargs="*", choices=BASELINES, default=list(BASELINES), help="default: all")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write; a .md file is written beside it")
    parser.add_argument("--work", type=Path, default=Path("runs/generalisation"), help="folder of the finished rows")
    parser.add_argument("--segments", type=int, default=SEGMENTS, help="to train on; 0: all (default: %(default)s)")
    parser.add_argument(
        "--tested", type=int, default=TESTED, help="test texts of each label; 0: all (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of roles, samples, folds and trainings")
    parser.add_argument("--quick", action="store_true", help="few texts, one epoch: whether it runs, not what it finds")
    return parser


def rows_of(options: argparse.Namespace) -> list[Detector]:
    """The rows asked for, in the order of the tables.

    Raises:
        ValueError: If `--hub` names no label, or two rows bear one name.
    """
    rows = [BASELINES[name] for name in options.baselines]
    rows += [recipe(path, options.backbone) for path in options.recipes]
    rows += [elsewhere("checkpoint", name, {}) for name in options.checkpoints]
    for word in options.hub:
        name, equals, label = word.rpartition("=")
        if not equals:
            raise ValueError(f"--hub takes NAME=LABEL, LABEL being the one that means machine, and got {word!r}.")
        rows.append(elsewhere("hub", name, {"positive_label": label}))
    names = [row.name for row in rows]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"Rows are told apart by name, but {len(rows)} rows share {sorted(twice)}.")
    if not rows:
        raise ValueError("There is no row to measure: name --recipes, --checkpoints, --hub or --baselines.")
    return rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring. Returns what the JSON file holds."""
    options = parser().parse_args(arguments)
    if options.out.suffix != ".json":
        raise ValueError(f"--out must name a .json file, got {options.out.name}.")
    files = {name: path for name in FILES if (path := getattr(options, name)) is not None}
    for name in options.tasks:
        if missing := [file for file in TASKS[name][0] if file not in files]:
            raise ValueError(f"The task {name!r} needs --{missing[0].replace('_', '-')}, and it was not given.")
    for path in [*files.values(), *options.recipes]:
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
    rows = rows_of(options)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    work = options.work / "quick" if options.quick else options.work
    job = Job(work, options.seed, options.quick)
    size = QUICK if options.quick else Size(options.segments or None, options.tested or None, THRESHOLD)

    groups: dict[str, Any] = {}
    for name in options.tasks:
        tasks = TASKS[name][1](files, size, job.seed)
        measured = [(task, {row.name: margins_of(row, task, job) for row in rows}) for task in tasks]
        groups[name] = group_figures(name, measured, resamples=50 if options.quick else 500)
    arguments = sys.argv[1:] if arguments is None else arguments
    report = {
        "command": "python -m mvh.experiments.generalisation " + shlex.join(shown(arguments)),
        **provenance(),
        "quick": options.quick,
        "seed": options.seed,
        "normalizer": NORMALIZER_VERSION,
        "files": {name: {"file": path.name, "sha256": file_sha256(path)} for name, path in files.items()},
        "size": {"segments": size.segments, "tested": size.tested, "threshold": size.threshold},
        "rows": [row.name for row in rows],
        "groups": groups,
    }
    place_report(options.out, report, markdown(report))
    logger.info("%s", options.out.with_suffix(".md"))
    return report


if __name__ == "__main__":
    main()
