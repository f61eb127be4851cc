"""A corpus through a detector: columns added to every document, or human text kept at a stated rate; resumable.

    mvh scan posts.jsonl.gz scanned/ --workers 4
    mvh scan crawl/ scanned/ --workers 8 --keep human --fdr 0.01       # a folder of JSON Lines and Parquet
    mvh scan s3://bucket/crawl/ scanned/ --executor slurm --partition cpu --workers 200
    mvh scan USER/DATASET scanned/ --split train --text-column body    # a dataset of the Hub

Writes OUTPUT/scored (the documents in order, with columns mvh_label, mvh_score, mvh_p_value, mvh_passages, mvh_error ...),
statistics.json and index.html. With --keep a second pass writes what is kept to OUTPUT/kept_human_fdr_0.01: which
documents stay flagged together is known only when all p-values are. Give the same command again to go on after a kill.
Exit status: 0 the scan is complete (failed documents are counted and say why), 1 it is not, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from mvh.cli.faults import FAILED, INTERRUPTED, OK, failed
from mvh.corrections_mvh import CORRECTIONS
from mvh.inputs_mvh import PRECISIONS
from mvh.placing import UNFINISHED
from mvh.scan.plan import PLAN, Plan, check_column, check_same, find_sources, make_plan, read_plan, write_plan
from mvh.scan.scorer import Scorer
from mvh.sole_use import LOCK, sole_use
from mvh.usage import documented
from mvh.voting_mvh import VOTES

FDR = 0.05  # where neither --fdr nor --alpha is given
JUDGED = ("alpha", "correction", "vote", "confidence", "precision", "batch_size")
EXECUTORS = ("local", "slurm", "ray")
Number = TypeVar("Number", int, float)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line; wrong usage ends the process with status 2."""
    parser = documented("mvh scan", __doc__)
    parser.add_argument("input", metavar="INPUT", help="file, folder, address such as s3:// or hf://, or dataset")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="folder; the same one goes on with a scan")
    parser.add_argument("--model", metavar="CKPT", help="checkpoint folder or Hub name (default: the shipped one)")
    parser.add_argument("--revision", metavar="COMMIT", help="of a checkpoint on the Hub")
    parser.add_argument("--text-column", default="text", metavar="NAME", help="where a row has its text")
    parser.add_argument("--config", metavar="NAME", help="of a dataset")
    parser.add_argument("--split", default="train", metavar="NAME", help="of a dataset (default: train)")
    parser.add_argument("--limit", type=positive, metavar="N", help="the first N rows only, to try out")
    judged = parser.add_argument_group("how it is judged")
    judged.add_argument("--alpha", type=probability, help="level of each document's test (default: the model's)")
    judged.add_argument("--correction", choices=tuple(CORRECTIONS), help="of the segments within a document")
    judged.add_argument("--vote", choices=tuple(VOTES), help="how a document's segments make its label")
    judged.add_argument("--confidence", type=probability, help="keep alpha with this confidence, not on average only")
    judged.add_argument("--precision", choices=PRECISIONS, help="auto: bfloat16 where a worker computes in it")
    judged.add_argument("--batch-size", type=positive, metavar="N", help="segments per batch")
    kept = parser.add_argument_group("what is kept")
    kept.add_argument(
        "--keep", choices=("human", "machine"), help="write the documents that are not (are) flagged together"
    )
    kept.add_argument(
        "--fdr", type=probability, help="share of the flagged that may be human (default: alpha, or 0.05)"
    )
    runs = parser.add_argument_group("how it runs")
    runs.add_argument("--workers", type=positive, default=1, metavar="N", help="processes, jobs or tasks at a time")
    runs.add_argument(
        "--shard-rows", type=from_zero, metavar="N", help="rows of a shard; 0: a file is a shard, rows uncounted"
    )
    runs.add_argument(
        "--gpus", type=from_zero, default=0, metavar="N", help="GPUs of this machine; Slurm and Ray: one a worker"
    )
    runs.add_argument("--executor", choices=EXECUTORS, default="local", help="this machine (default), Slurm, or Ray")
    runs.add_argument("--partition", metavar="NAME", help="of Slurm")
    runs.add_argument("--time", default="24:00:00", metavar="LIMIT", help="of a Slurm job (default: 24:00:00)")
    runs.add_argument("--sbatch", action="append", default=[], metavar="KEY=VALUE", help="further options of sbatch")
    args = parser.parse_args(argv)
    if args.executor == "slurm" and not args.partition:
        parser.error("--executor slurm needs --partition")
    if args.fdr is not None and not args.keep:
        parser.error("--fdr says what --keep keeps; name --keep too")
    if bad := [word for word in args.sbatch if "=" not in word]:
        parser.error(f"--sbatch takes KEY=VALUE, got {bad[0]!r}")
    if args.shard_rows == 0 and args.limit:
        parser.error("--limit counts rows and --shard-rows 0 does not")
    return args


def probability(word: str) -> float:
    """A number between 0 and 1 from the command line."""
    value = _number(float, word)
    if value is None or not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, got {word}")
    return value


def positive(word: str) -> int:
    """A whole number above 0 from the command line."""
    value = _number(int, word)
    if value is None or value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {word}")
    return value


def from_zero(word: str) -> int:
    """A whole number of 0 or more from the command line."""
    value = _number(int, word)
    if value is None or value < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number of 0 or more, got {word}")
    return value


def _number(kind: Callable[[str], Number], word: str) -> Number | None:
    """The word as a number, None where it is none."""
    try:
        return kind(word)
    except ValueError:
        return None


def planned(args: argparse.Namespace) -> Plan:
    """The plan of this scan: the stored one if the output folder has it, else a new one, written down.

    Raises:
        ValueError: If there is nothing to read, or the folder holds another scan.
    """
    folder = args.output
    settings = {name: getattr(args, name) for name in ("input", "model", "revision", "text_column", "limit", *JUDGED)}
    sources = find_sources(args.input, args.config, args.split, say)
    stored = read_plan(folder)
    if stored is not None:
        check_same(stored, settings, sources, folder)
        return stored
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no scan; name a new folder.")
    check_column(sources, args.text_column)
    plan = make_plan(settings, sources, args.shard_rows, args.limit)
    if not plan.shards:
        raise ValueError(f"{args.input} holds no rows: {len(sources)} files, all of them empty.")
    folder.mkdir(parents=True, exist_ok=True)
    write_plan(plan, folder)
    return plan


@contextmanager
def sole_output(folder: Path) -> Iterator[None]:
    """Keep a second scan away from the folder; one in which nothing was begun is left as it was found.

    Raises:
        ValueError: If another scan is at work there.
    """
    with sole_use(folder, "scan"):
        try:
            yield
        finally:
            if not (folder / PLAN).exists():
                (folder / LOCK).unlink(missing_ok=True)
                with suppress(OSError):
                    folder.rmdir()


def scan(args: argparse.Namespace) -> dict[str, Any] | None:
    """Run a scan, or what is left of it.

    Returns:
        The content of statistics.json; None where Slurm does the work later.
    """
    from mvh.scan.executors import EXECUTORS, Place, Stage
    from mvh.scan.steps import COUNTS, SCORED, STATISTICS, Keep, ReadShard, Score, Summarise, WriteShard

    folder: Path = args.output.resolve()
    plan = planned(args)
    if args.executor != "slurm":  # whose jobs may be writing: the lock of this process says nothing of them
        for part in folder.glob(
            f"*/*{UNFINISHED}*"
        ):  # of workers that were killed; this process has the folder for itself
            part.unlink(missing_ok=True)
    options = {name: getattr(args, name) for name in JUDGED if getattr(args, name) is not None}
    alone = args.executor == "local" and args.workers == 1
    scorer = Scorer(args.model, options, None if alone else 1, args.revision)
    tasks = len(plan.shards)
    steps = [ReadShard(folder), Score(scorer, args.keep is not None), WriteShard(folder, scorer)]
    fdr = args.fdr or args.alpha or FDR
    stages = [Stage("score", steps, tasks), Stage("summary", [Summarise(folder, fdr, args.keep)], 1, again=True)]
    out = folder / f"kept_{args.keep}_fdr_{fdr}"
    if args.keep:
        stages.append(Stage(out.name, [Keep(folder, out, args.keep)], tasks))
    sbatch = dict(word.split("=", 1) for word in args.sbatch)
    place = Place(folder / "logs", args.workers, args.gpus, args.partition or "", args.time, sbatch)

    with tqdm(total=plan.documents, unit=" documents", disable=None, desc="scan") as bar:

        def advance(stage: Stage, rank: int) -> None:
            if stage.name == "score":
                counts = json.loads((folder / COUNTS / f"{rank:05d}.json").read_text(encoding="utf-8"))
                bar.update(counts["documents"])

        EXECUTORS[args.executor](stages, place, advance)
    if args.executor == "slurm":
        say(f"{len(stages)} arrays of jobs are with Slurm; {folder / STATISTICS} is there when they are done.")
        return None
    report = json.loads((folder / STATISTICS).read_text(encoding="utf-8"))
    show(report, folder, folder / SCORED, out if args.keep else None)
    return report


def show(report: dict[str, Any], folder: Path, scored: Path, kept: Path | None) -> None:
    """Print what was found and where it lies."""
    from mvh.scan.page import sentences

    for sentence in sentences(report):
        print(sentence)
    print(f"Documents with columns: {scored}" + (f"; what is kept: {kept}" if kept else ""))
    print(f"Histograms: {folder / 'index.html'}")


def say(sentence: str) -> None:
    """A sentence beside the results."""
    print(sentence, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring.

    Returns:
        The exit status.
    """
    args = arguments(argv)
    try:
        with sole_output(args.output):
            report = scan(args)
    except KeyboardInterrupt:
        say("\nInterrupted: finished shards are kept; give the same command again to go on.")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("datatrove", "ray"):
            raise
        say(
            f"error: This scan needs {error.name}: pip install "
            + ("'ray[data]'." if error.name == "ray" else "'mvh[scan]'.")
        )
        return FAILED
    except (ValueError, OSError) as error:
        return failed(error)
    return OK if report is None or report["scored"] else FAILED


if __name__ == "__main__":
    sys.exit(main())
