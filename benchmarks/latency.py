"""Latency: the first verdict of a fresh process, and a call of a detector that is loaded.

    python -m mvh.benchmarks.latency --model checkpoints/mvh-mini-en --out results/speed_latency.json [--quick]

Fresh processes take turns: one imports torch and transformers' modeling utilities and does nothing, the others judge one
page, as a user of mvh, as a user of transformers' pipeline, or at the command line. Reported: seconds of the whole process
(median and spread) and the ratio to the imports alone; then a warm call on the same page in this process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mvh.benchmarks.measuring import heading, interleave, machine, spread, write
from mvh.benchmarks.samples import document, read_sentences
from mvh.detector import SHIPPED
from mvh.experiments.decision_page import table
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline

IMPORTS = "importing torch and transformers.modeling_utils"
PAGE_WORDS = 400
READ = "text = open({page!r}, encoding='utf-8').read(); "
CODE = {
    IMPORTS: "import torch, transformers.modeling_utils",
    "mvh.load_detector": "import mvh; " + READ + "mvh.load_detector({model!r})(text)",
    'transformers.pipeline("mvh-detect")': "from transformers import pipeline; "
    + READ
    + "pipeline('mvh-detect', model={model!r}, trust_remote_code=True)(text)",
}


def fresh(words: list[str]) -> Callable[[], None]:
    """What runs a command in a fresh process.

    Raises:
        RuntimeError: When it is run, if the command fails (status 1 of `mvh detect` says that something was flagged).
    """

    def run() -> None:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1) or "Traceback" in done.stderr:
            raise RuntimeError(f"{words[1:3]} ended with status {done.returncode}: {done.stderr[-1500:]}")

    return run


def warm_calls(model: Path, text: str, calls: int) -> dict[str, float]:
    """Seconds of a call on one page, of many after three that do not count."""
    network, tokenizer = open_folder(model)
    detect = MvhDetectPipeline(model=network, tokenizer=tokenizer, device="cpu")
    seconds = []
    for _ in range(calls + 3):
        begin = time.perf_counter()
        detect(text)
        seconds.append(time.perf_counter() - begin)
    return spread(seconds[3:])


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("Latency", report)
    lines += [f"Model {report['model']}, one page of {PAGE_WORDS} words, {report['rounds']} rounds.", ""]
    rows = [
        [row["way"], row["seconds"]["median"], row["seconds"]["least"], row["seconds"]["most"], row["ratio"]]
        for row in report["fresh"]
    ]
    lines += table(["fresh process", "s, median", "least", "most", "to the imports alone"], rows)
    warm = report["warm"]
    lines += [
        f"A warm call: {warm['median'] * 1000:.1f} ms ({warm['least'] * 1000:.1f} to {warm['most'] * 1000:.1f}).",
        "",
    ]
    return lines


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the page and write it where --out says."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.benchmarks.latency", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint folder (default: the shipped one)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    rounds, about = 1 if args.quick else args.rounds, machine()
    text = document(read_sentences(), PAGE_WORDS, 0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.txt"
        file.write_text(text, encoding="utf-8")
        given = {"page": str(file), "model": str(args.model)}
        tasks = {way: fresh([sys.executable, "-c", code.format(**given)]) for way, code in CODE.items()}
        tasks["mvh detect"] = fresh(
            [sys.executable, "-m", "mvh.cli", "detect", str(file), "--model", str(args.model), "--json"]
        )
        seconds = interleave(tasks, rounds)
    report: dict[str, Any] = {
        "command": " ".join(["python -m mvh.benchmarks.latency", *(sys.argv[1:] if argv is None else argv)]),
        "quick": args.quick,
        "machine": about,
        "model": args.model.name,
        "rounds": rounds,
        "fresh": [
            {"way": way, "seconds": spread(took), "ratio": spread(took)["median"] / spread(seconds[IMPORTS])["median"]}
            for way, took in seconds.items()
        ],
        "warm": warm_calls(args.model, text, 5 if args.quick else 50),
    }
    write(report, page(report), args.out)
    return report


if __name__ == "__main__":
    main()
