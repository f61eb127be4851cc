"""Latency: the first verdict of a fresh process, and a call of a detector that is loaded.

    python -m mvh.benchmarks.latency --model checkpoints/mvh-mini-en --out results/speed_latency.json [--quick]

Fresh processes take turns: one imports torch and transformers' modeling utilities and does nothing, the others judge one
page, as a user of mvh, as a user of transformers' pipeline, of `mvh.light`, or at the command line. Reported: seconds of the
whole process (median and spread) and the ratio to the imports alone; then calls on two examples in this process.
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
from mvh.benchmarks.rivals import ONNX_PACKAGES, missing
from mvh.benchmarks.samples import EXAMPLES, document, read_sentences
from mvh.experiments.decision_page import table
from mvh.export_onnx import export
from mvh.inputs_mvh import EDGES
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.shipped import SHIPPED

IMPORTS = "importing torch and transformers.modeling_utils"
LIGHT = "mvh.light"
PAGE_WORDS = 400
PAGES = ("1-darwin.txt", "2-machine.txt")  # of a human and of a machine
READ = "text = open({page!r}, encoding='utf-8').read(); "
CODE = {
    IMPORTS: "import torch, transformers.modeling_utils",
    "mvh.load_detector": "import mvh; " + READ + "mvh.load_detector({model!r})(text)",
    'transformers.pipeline("mvh-detect")': "from transformers import pipeline; "
    + READ
    + "pipeline('mvh-detect', model={model!r}, trust_remote_code=True)(text)",
    LIGHT: "from mvh.light import load_light; " + READ + "load_light({light!r})(text)",
}


def fresh(words: list[str]) -> Callable[[], None]:
    """What runs a command in a fresh process.

    Raises:
        RuntimeError: When it is run, if the command fails: `mvh detect` has status 1 where it could not read something.
    """

    def run() -> None:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0 or "Traceback" in done.stderr:
            raise RuntimeError(f"{words[1:3]} ended with status {done.returncode}: {done.stderr[-1500:]}")

    return run


def warm_calls(detect: Any, text: str, calls: int, edges: str) -> dict[str, Any]:
    """Seconds of a call on one page, of many after three that do not count, and the verdict."""
    seconds, result = [], {}
    for _ in range(calls + 3):
        begin = time.perf_counter()
        result = detect(text, edges=edges)
        seconds.append(time.perf_counter() - begin)
    return {"label": result["label"], "edges": edges, "segments": len(result["segments"]), **spread(seconds[3:])}


def warm(model: Path, calls: int) -> list[dict[str, Any]]:
    """Warm calls on the examples PAGES, with edges on the grid and refined."""
    network, tokenizer = open_folder(model)
    detect = MvhDetectPipeline(model=network, tokenizer=tokenizer, device="cpu")
    texts = {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in PAGES}
    return [
        {"page": name, "words": len(text.split()), **warm_calls(detect, text, calls, edges)}
        for name, text in texts.items()
        for edges in EDGES
    ]


def light(model: Path, folder: Path) -> Path | None:
    """The detector exported for `mvh.light`, None where the packages that it takes are not installed."""
    if missing(ONNX_PACKAGES):
        return None
    export(model, folder)
    return folder


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("Latency", report)
    lines += [f"Model {report['model']}, one page of {PAGE_WORDS} words, {report['rounds']} rounds.", ""]
    rows = [
        [row["way"], row["seconds"]["median"], row["seconds"]["least"], row["seconds"]["most"], row["ratio"]]
        for row in report["fresh"]
    ]
    lines += table(["fresh process", "s, median", "least", "most", "to the imports alone"], rows)
    lines += ["A call of a detector that is loaded:", ""]
    cells = [
        [row["page"], row["words"], row["segments"], row["label"], row["edges"]]
        + [f"{row['median'] * 1000:.1f} ({row['least'] * 1000:.1f} to {row['most'] * 1000:.1f})"]
        for row in report["warm"]
    ]
    lines += table(["page", "words", "segments", "verdict", "edges", "ms, median (least to most)"], cells)
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
        exported = light(args.model, Path(folder) / "light")
        given = {"page": str(file), "model": str(args.model), "light": str(exported)}
        ways = {way: code for way, code in CODE.items() if exported or way != LIGHT}
        tasks = {way: fresh([sys.executable, "-c", code.format(**given)]) for way, code in ways.items()}
        for way, checkpoint in (("mvh detect", args.model), ("mvh detect, ONNX export", exported)):
            if checkpoint:
                command = ["-m", "mvh.cli", "detect", str(file), "--model", str(checkpoint), "--json"]
                tasks[way] = fresh([sys.executable, *command])
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
        "warm": warm(args.model, 5 if args.quick else 50),
    }
    write(report, page(report), args.out)
    return report


if __name__ == "__main__":
    main()
