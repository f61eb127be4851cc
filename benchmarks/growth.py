"""How cost grows: seconds against the length of a document, and the share of them that deciding takes.

    python -m mvh.benchmarks.growth --model checkpoints/mvh-mini-en --out results/speed_growth.json [--quick]

Documents of all lengths take turns in rounds; of short ones so many are judged, one call each, that a turn reads --turn
characters. The longest, which takes minutes, has one turn at the end. Reported: seconds of a call, seconds per million
characters, and the slope between each length and the next, seconds per million further characters: those of a straight line
are all one number. The slopes are those of scoring and deciding; the second look at the edges of passages comes beside it, as
its cost goes by how often a text changes sides, not by its length (these are made of human and machine sentences in a random
order, the worst case). Then, for each correction, the time of p-values, correction and vote for --segments segments against
the time in which so many are scored.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mvh.benchmarks.measuring import heading, interleave, machine, spread, write
from mvh.benchmarks.samples import document, read_sentences
from mvh.corrections_mvh import CORRECTIONS
from mvh.experiments.decision_page import table
from mvh.inputs_mvh import EDGES, PRECISIONS
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.references_mvh import Document
from mvh.results_mvh import settings_of
from mvh.shipped import SHIPPED
from mvh.voting_mvh import decide

LENGTHS = (10_000, 100_000, 1_000_000)  # characters
LONGEST = 10_000_000
STRAIGHT, CHEAP = 0.10, 0.02  # slopes differ at most so much; deciding costs at most so much


def texts_of(sentences: list[str], characters: int, turn: int) -> list[str]:
    """Different texts of so many characters, together `turn` characters or one text."""
    count = max(1, turn // characters)
    words = characters // 4  # more than enough: what is too long is cut
    return [document(sentences, words, seed)[:characters] for seed in range(count)]


def slopes(seconds: dict[int, float]) -> list[dict[str, float]]:
    """Between each length and the next: seconds per million further characters."""
    lengths = sorted(seconds)
    return [
        {"from": short, "to": long, "slope": 1e6 * (seconds[long] - seconds[short]) / (long - short)}
        for short, long in zip(lengths, lengths[1:], strict=False)
    ]


def deciding(detect: MvhDetectPipeline, segments: int, rounds: int) -> dict[str, float]:
    """Seconds that p-values, correction and vote take for one document of so many segments, by correction."""
    config, tasks = detect.model.config, {}
    margins = np.random.default_rng(0).normal(size=segments)
    scores = Document(margins, np.full(segments, config.core_tokens), "latin")
    for correction in CORRECTIONS:
        if correction == "calibrated" and detect.calibration is None:
            continue
        settings = settings_of(config, detect.calibration_id is not None, {"correction": correction})
        tasks[correction] = partial(decide, scores, detect.calibration, **settings)
    return {name: spread(took)["median"] for name, took in interleave(tasks, rounds).items()}


def measure(args: argparse.Namespace, detect: MvhDetectPipeline) -> dict[str, Any]:
    """Seconds by length, slopes, and what deciding costs."""
    sentences, judged = read_sentences(args.texts), {}
    lengths = (2_000, 10_000) if args.quick else LENGTHS
    longest = 20_000 if args.quick else args.longest

    def judge(texts: Sequence[str], edges: str = "grid") -> None:
        for text in texts:
            judged[len(text)] = len(detect(text, precision=args.precision, edges=edges)["segments"])

    texts = {length: texts_of(sentences, length, args.turn) for length in lengths}
    tasks: dict[str, Callable[[], None]] = {
        f"{length} {edges}": partial(judge, found, edges) for length, found in texts.items() for edges in EDGES
    }
    took = interleave(tasks, args.rounds)
    rows: list[dict[str, Any]] = []
    for length in lengths:
        calls = len(texts[length])
        grid, refined = (spread([one / calls for one in took[f"{length} {edges}"]]) for edges in ("grid", "refined"))
        about = {"characters": length, "calls": calls, "segments": judged[length]}
        rows.append({**about, "seconds": grid, "refined": refined["median"]})
    long = texts_of(sentences, longest, 0)
    begin = time.perf_counter()
    judge(long)
    once = time.perf_counter() - begin
    about = {"characters": longest, "calls": 1, "segments": judged[longest]}
    rows.append({**about, "seconds": spread([once]), "refined": None})
    found = slopes({row["characters"]: row["seconds"]["median"] for row in rows})
    scoring = args.segments * rows[-1]["seconds"]["median"] / rows[-1]["segments"]
    shares = {name: seconds / scoring for name, seconds in deciding(detect, args.segments, 5).items()}
    values = [one["slope"] for one in found]
    return {"rows": rows, "slopes": found, "slopes_differ": max(values) / min(values) - 1, "scoring_seconds": scoring,
            "deciding_share": shares}  # fmt: skip


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("How cost grows", report)
    lines += [f"Model {report['model']}, precision {report['precision']}, {report['rounds']} rounds.", ""]
    cells = []
    for row in report["rows"]:
        took = row["seconds"]
        cells.append([f"{row['characters']:,}", f"{row['segments']:,}", row["calls"],
                      f"{took['median']:.3f} ({took['least']:.3f} to {took['most']:.3f})",
                      1e6 * took["median"] / row["characters"],
                      row["refined"] and 1e6 * row["refined"] / row["characters"]])  # fmt: skip
    heads = [
        "characters",
        "segments",
        "calls in a turn",
        "s a call, median (least to most)",
        "s per million characters",
        "with edges refined",
    ]
    lines += table(heads, cells)
    lines += table(["from", "to", "s per million further characters"],
                   ([f"{one['from']:,}", f"{one['to']:,}", one["slope"]] for one in report["slopes"]))  # fmt: skip
    lines += [
        f"The largest slope is {report['slopes_differ']:.1%} above the smallest (wanted: at most {STRAIGHT:.0%}).",
        "",
    ]
    lines += [f"Scoring {report['segments']:,} segments takes {report['scoring_seconds']:.1f} s at the longest document's "
              f"pace; p-values, correction and vote take of that (wanted: at most {CHEAP:.0%}):", ""]  # fmt: skip
    return lines + table(
        ["correction", "share"], ([name, f"{share:.4%}"] for name, share in report["deciding_share"].items())
    )


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the page and write it where --out says."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.benchmarks.growth", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint folder (default: the shipped one)")
    parser.add_argument("--texts", type=Path, help='JSONL whose "text" fields the documents are made of')
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--longest", type=int, default=LONGEST, help="characters of the longest (default: 10,000,000)")
    parser.add_argument("--turn", type=int, default=400_000, help="characters of a turn (default: 400,000)")
    parser.add_argument("--segments", type=int, default=10_000, help="that are decided on (default: 10,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="short documents, one round")
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    if args.quick:
        args.rounds, args.turn = 1, 10_000
    report: dict[str, Any] = {
        "command": " ".join(["python -m mvh.benchmarks.growth", *(sys.argv[1:] if argv is None else argv)]),
        "quick": args.quick,
        "machine": machine(),
        "model": args.model.name,
        **{name: getattr(args, name) for name in ("precision", "rounds", "segments")},
    }
    model, tokenizer = open_folder(args.model)
    report |= measure(args, MvhDetectPipeline(model=model, tokenizer=tokenizer, device="cpu"))
    write(report, page(report), args.out)
    return report


if __name__ == "__main__":
    main()
