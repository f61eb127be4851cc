"""Memory and time against length: one long text, and a long stream of short ones.

    python -m mvh.benchmarks.memory --model checkpoints/mvh-mini-en --out results/speed_memory.json [--quick]

Each case runs in a process of its own: it loads the detector, judges one page, and then notes how far the peak of its
resident memory rises above that while it works. For a text also: seconds per megabyte, and the share of them that
p-values, correction and vote take. For a stream: how many documents were read before the first result came, and whether the
results came in order. Needs Linux, whose kernel counts the peak (VmHWM in /proc/self/status).

`--layers 0` leaves the encoder's layers out, so that ten megabytes take seconds: memory is then that of everything else.
What the layers take goes by the batch and not by the text, as a run with all of them and `--most 1000` shows.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mvh.benchmarks.measuring import heading, machine, write
from mvh.benchmarks.samples import document, read_sentences
from mvh.experiments.decision_page import table
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.references_mvh import Document
from mvh.results_mvh import settings_of
from mvh.shipped import SHIPPED
from mvh.voting_mvh import decide

LENGTHS = (10_000, 100_000, 1_000_000, 10_000_000)  # characters
DOCUMENTS = (1_000, 10_000, 100_000)
QUICK = {"text": (2_000, 20_000), "stream": (50, 600)}
PAGE_WORDS = 400
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(key: str) -> float:
    """VmRSS (now) or VmHWM (the peak) of this process, in MB.

    Raises:
        ValueError: Where the system does not tell.
    """
    found = (
        re.search(rf"^{key}:\s+(\d+) kB", STATUS.read_text(encoding="utf-8"), re.MULTILINE) if STATUS.exists() else None
    )
    if found is None:
        raise ValueError(f"This benchmark reads {key} from {STATUS}, and it is not there: run it on Linux.")
    return int(found[1]) / 1000


def load(folder: Path, layers: int | None) -> MvhDetectPipeline:
    """The detector, with the first layers of its encoder only where a number is given (of BERT's kind of encoder)."""
    model, tokenizer = open_folder(folder)
    if layers is not None:
        model.encoder.encoder.layer = model.encoder.encoder.layer[:layers]
        if model.pool.every_layer:  # the head reads the layers that are left
            width = 2 * (layers + 1) * model.config.backbone_config.hidden_size
            first = next(module for module in model.head.modules() if isinstance(module, torch.nn.Linear))
            for owner, name in ((model.pool, "mean"), (model.pool, "std"), (first, "weight")):
                kept = getattr(owner, name).detach()[..., :width].contiguous()
                setattr(owner, name, torch.nn.Parameter(kept, requires_grad=False))
    return MvhDetectPipeline(model=model, tokenizer=tokenizer, device="cpu")


def run_text(detect: MvhDetectPipeline, sentences: list[str], characters: int) -> dict[str, Any]:
    """One text of about so many characters."""
    page = " ".join(sentences) + "\n\n"
    text = (page * (characters // len(page) + 1))[:characters]
    reset_peak()
    before, begin = resident("VmRSS"), time.perf_counter()
    result = detect(text)
    seconds, above = time.perf_counter() - begin, resident("VmHWM") - before
    margins = np.array([segment["margin"] for segment in result["segments"]])  # (m,)
    scores = Document(margins, np.full(len(margins), detect.model.config.core_tokens), "latin")
    settings = settings_of(detect.model.config, detect.calibration_id is not None, {})
    begin = time.perf_counter()
    decide(scores, detect.calibration, **settings)
    deciding = time.perf_counter() - begin
    return {
        "size": len(text), "segments": len(result["segments"]), "seconds": seconds, "above_mb": above,
        "deciding_share": deciding / seconds,
    }  # fmt: skip


def run_stream(detect: MvhDetectPipeline, sentences: list[str], documents: int) -> dict[str, Any]:
    """A generator of so many documents of 20 to 119 words, all of different lengths in turn."""
    pool = [document(sentences, 20 + words, words) for words in range(100)]
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for index in range(documents):
            read += 1
            yield pool[index % len(pool)]

    reset_peak()
    before, begin = resident("VmRSS"), time.perf_counter()
    first, in_order = None, True
    for index, result in enumerate(detect(texts())):
        first = read if first is None else first
        in_order &= result["segments"][-1]["end"] == len(pool[index % len(pool)])
    seconds = time.perf_counter() - begin
    return {
        "size": documents, "seconds": seconds, "above_mb": resident("VmHWM") - before, "read_before_first": first,
        "in_order": in_order,
    }  # fmt: skip


def reset_peak() -> None:
    """Let the kernel count the peak from here on."""
    RESET.write_text("5", encoding="utf-8")


CASES = {"text": run_text, "stream": run_stream}


def in_a_process(kind: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """One case, measured by this module in a process of its own."""
    words = [sys.executable, "-m", "mvh.benchmarks.memory", "--model", str(args.model), "--case", kind, str(size)]
    words += ["--texts", str(args.texts)] if args.texts else []
    words += ["--layers", str(args.layers)] if args.layers is not None else []
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The case {kind} {size} ended with status {done.returncode}: {done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("Memory, and time against length", report)
    layers = "" if report["layers"] is None else f", {report['layers']} layers of its encoder only"
    lines += [f"Model {report['model']}{layers}. Memory is the peak above the loaded model.", "", "## One text", ""]
    texts, streams = report["text"], report["stream"]
    lines += table(
        ["characters", "segments", "MB above", "s", "s per MB of text", "to the shortest", "share of deciding"],
        [
            [f"{row['size']:,}", row["segments"], row["above_mb"], row["seconds"], pace(row) * 1e6,
             pace(row) / pace(texts[0]), row["deciding_share"]]
            for row in texts
        ],
    )  # fmt: skip
    lines += ["## A stream of documents", ""]
    heads = ["documents", "MB above", "s", "documents/s", "read before the first result", "in order"]
    return lines + table(
        heads,
        [
            [
                f"{row['size']:,}",
                row["above_mb"],
                row["seconds"],
                1 / pace(row),
                row["read_before_first"],
                row["in_order"],
            ]
            for row in streams
        ],
    )


def pace(row: dict[str, Any]) -> float:
    """Seconds per character or document."""
    return row["seconds"] / row["size"]


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Measure every case, print the page and write it where --out says; with --case, measure that one here."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.benchmarks.memory", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint folder (default: the shipped one)")
    parser.add_argument("--texts", type=Path, help='JSONL whose "text" fields the documents are made of')
    parser.add_argument("--layers", type=int, help="of the encoder that are kept (default: all)")
    parser.add_argument("--longest", type=int, default=LENGTHS[-1], help="characters; longer texts are left out")
    parser.add_argument("--most", type=int, default=DOCUMENTS[-1], help="documents; longer streams are left out")
    parser.add_argument("--quick", action="store_true", help="short texts and short streams")
    parser.add_argument("--case", nargs=2, metavar=("KIND", "SIZE"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    resident("VmHWM")  # says at once where the system does not tell
    if args.case:
        detect, sentences = load(args.model, args.layers), read_sentences(args.texts)
        detect(document(sentences, PAGE_WORDS, 0))
        sys.stdout.write(json.dumps(CASES[args.case[0]](detect, sentences, int(args.case[1]))) + "\n")
        return None
    sizes = QUICK if args.quick else {"text": LENGTHS, "stream": DOCUMENTS}
    report: dict[str, Any] = {
        "command": " ".join(["python -m mvh.benchmarks.memory", *(sys.argv[1:] if argv is None else argv)]),
        "quick": args.quick,
        "machine": machine(),
        "model": args.model.name,
        "layers": args.layers,
    }
    for kind in CASES:
        most = args.longest if kind == "text" else args.most
        report[kind] = [in_a_process(kind, size, args) for size in sizes[kind] if size <= most]
    write(report, page(report), args.out)
    return report


if __name__ == "__main__":
    main()
