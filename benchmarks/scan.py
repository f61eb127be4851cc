"""A corpus through `mvh scan`: documents per second and core, one worker against two, cost, and a billion by arithmetic.

    python -m mvh.benchmarks.scan checkpoints/mvh-mini-en --data documents.jsonl --out results/speed_scan.json [--quick]

Every scan is a fresh process whose workers have one thread each. A scan of one document per worker is the start-up (imports,
plan, detector, summary); what a scan of many takes beyond it is the work, so that a rate is that of a long scan. One worker
and several take turns in rounds. The documents are drawn at random and dealt to shards of equal length, as a long corpus has
many shards and no worker waits for the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mvh.benchmarks.measuring import heading, interleave, machine, spread, write
from mvh.experiments.decision_page import table
from mvh.inputs_mvh import PRECISIONS

SHARDS = 4  # for each worker
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {"TOKENIZERS_PARALLELISM": "false"}
BILLION = 1_000_000_000
WANTED = 1.8  # times as many documents with two workers


def sample(data: Path, count: int, shards: int, seed: int = 0) -> list[str]:
    """Texts of a JSONL file drawn at random, in an order in which each of `shards` runs is of about the same length.

    Raises:
        ValueError: If the file has fewer texts, or `count` is no multiple of `shards`.
    """
    rows = (json.loads(line) for line in data.read_text(encoding="utf-8").splitlines() if line.strip())
    texts = [row["text"] for row in rows if isinstance(row.get("text"), str) and row["text"].strip()]
    if len(texts) < count or count % shards:
        raise ValueError(f"{data} has {len(texts)} texts; wanted are {count} in {shards} shards of the same number.")
    drawn = sorted(random.Random(seed).sample(texts, count), key=len)
    dealt: list[list[str]] = [[] for _ in range(shards)]
    for number, text in enumerate(drawn):  # there and back: 0 1 2 2 1 0 0 1 2
        place = number % (2 * shards)
        dealt[min(place, 2 * shards - 1 - place)].append(text)
    return [text for shard in dealt for text in shard]


def write_texts(texts: Sequence[str], path: Path) -> Path:
    """The texts as JSON Lines."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def scanning(args: argparse.Namespace, data: Path, out: Path, workers: int, rows: int) -> Callable[[], None]:
    """What scans a file in a fresh process, into a folder that it empties first.

    Raises:
        RuntimeError: When it is run, if the scan fails.
    """
    words = [sys.executable, "-m", "mvh.scan", str(data), str(out), "--model", str(args.checkpoint)]
    words += ["--workers", str(workers), "--shard-rows", str(rows), "--precision", args.precision]

    def run() -> None:
        shutil.rmtree(out, ignore_errors=True)
        done = subprocess.run(words, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"mvh scan ended with status {done.returncode}: {done.stderr[-1500:]}")

    return run


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start-up and work of one worker and of several, and what a document leaves on the disk."""
    counts, tasks = [1, args.workers], {}
    shards = SHARDS * args.workers
    texts = sample(args.data, args.documents // shards * shards, shards)
    many = write_texts(texts, folder / "many.jsonl")
    for workers in counts:
        few = write_texts(texts[:workers], folder / f"few{workers}.jsonl")
        tasks[f"start of {workers}"] = scanning(args, few, folder / f"start{workers}", workers, 1)
        rows = len(texts) // shards
        tasks[f"scan by {workers}"] = scanning(args, many, folder / f"scan{workers}", workers, rows)
    seconds = interleave(tasks, args.rounds)
    results = []
    for workers in counts:
        start = spread(seconds[f"start of {workers}"])
        work = spread([took - start["median"] for took in seconds[f"scan by {workers}"]])
        rate = (len(texts) - workers) / work["median"]
        results.append({"workers": workers, "start": start, "work": work, "documents_per_second": rate,
                        "per_core": rate / workers})  # fmt: skip
    scored = sum(path.stat().st_size for path in (folder / "scan1" / "scored").iterdir())
    characters = sum(map(len, texts)) / len(texts)
    return {
        **{"documents": len(texts), "characters_per_document": characters, "rows": results},
        "scaling": results[1]["documents_per_second"] / results[0]["documents_per_second"],
        "bytes_per_document": scored / len(texts),
        "largest_process_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000,
    }


def estimate(found: dict[str, Any], price: float, cores: int) -> dict[str, float]:
    """Arithmetic for a million and for a billion documents of this length, at the rate per core of several workers."""
    row = found["rows"][-1]
    hours = BILLION / row["per_core"] / 3600  # of one core
    starts = cores * row["start"]["median"] / 3600
    return {
        "price_per_core_hour": price,
        "cost_per_million": price * 1e6 / row["per_core"] / 3600,
        "cores": cores,
        "core_hours": hours + starts,
        "start_share": starts / (hours + starts),
        "hours": (hours + starts) / cores,
        "cost": price * (hours + starts),
        "memory_gb": cores * found["largest_process_mb"] / 1000,
        "output_gb": BILLION * found["bytes_per_document"] / 1e9,
    }


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("Corpora", report)
    lines += [f"Model {report['model']}, precision {report['precision']}, {report['documents']:,} documents of "
              f"{report['characters_per_document']:,.0f} characters on average, {report['rounds']} rounds; one thread a "
              "worker.", ""]  # fmt: skip
    cells = []
    for row in report["rows"]:
        start, work = row["start"], row["work"]
        cells.append([row["workers"], f"{start['median']:.1f}", f"{work['median']:.1f} ({work['least']:.1f} to "
                      f"{work['most']:.1f})", f"{row['documents_per_second']:.1f}", f"{row['per_core']:.1f}"])  # fmt: skip
    lines += table(["workers", "start-up, s", "work, s, median (least to most)", "documents/s", "per core"], cells)
    last, sums = report["rows"][-1], report["estimate"]
    lines += [
        f"{last['workers']} workers do {report['scaling']:.2f} times the work of one"
        + (f" (wanted: {WANTED})." if last["workers"] == 2 else "."),
        "", "## By arithmetic, not run", "",
        f"- A million documents: 1,000,000 / {last['per_core']:.1f} documents/s / 3,600 x {sums['price_per_core_hour']:g} "
        f"per core hour (an assumption, `--price`) = {sums['cost_per_million']:.2f}.",
        f"- A billion documents of this length: 1,000,000,000 / {last['per_core']:.1f} / 3,600 = "
        f"{sums['core_hours'] * (1 - sums['start_share']):,.0f} core hours, and {sums['cores']:,} starts of "
        f"{last['start']['median']:.1f} s ({sums['start_share']:.2%} of all); on {sums['cores']:,} cores like these "
        f"{sums['hours']:,.1f} hours, {sums['cost']:,.0f} in all.",
        f"- Memory: {report['largest_process_mb']:,.0f} MB, the largest process, x {sums['cores']:,} workers = "
        f"{sums['memory_gb']:,.0f} GB. Output: {report['bytes_per_document']:,.0f} bytes a document (text and columns, "
        f"compressed), {sums['output_gb']:,.0f} GB.",
        "- Not in it: waiting for the cluster and for storage, failed nodes. `--shard-rows 0` saves counting the rows of the "
        "input beforehand, which one process does. Hyper-threads are no cores: measure on the machine you rent.",
    ]  # fmt: skip
    return lines


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the page and write it where --out says."""
    parser = argparse.ArgumentParser(prog="python -m mvh.benchmarks.scan", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help='JSONL whose "text" fields are the corpus')
    parser.add_argument("--documents", type=int, default=800, help="that are scanned (default: 800)")
    parser.add_argument("--workers", type=int, default=2, help="that are compared with one (default: 2)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--price", type=float, default=0.05, help="of a core hour, in any currency (default: 0.05)")
    parser.add_argument("--cores", type=int, default=1000, help="of the cluster in the estimate (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few documents in one round")
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    if args.workers < 2:
        parser.error(f"--workers are compared with one, so there must be two or more, got {args.workers}")
    if args.quick:
        args.documents, args.rounds = 4 * SHARDS * args.workers, 1
    report: dict[str, Any] = {
        "command": " ".join(["python -m mvh.benchmarks.scan", *(sys.argv[1:] if argv is None else argv)]),
        "quick": args.quick,
        "machine": machine(),
        "model": args.checkpoint.name,
        "precision": args.precision,
        "rounds": args.rounds,
    }
    with tempfile.TemporaryDirectory() as folder:
        report |= measure(args, Path(folder))
    report["estimate"] = estimate(report, args.price, args.cores)
    write(report, page(report), args.out)
    return report


if __name__ == "__main__":
    main()
