"""Mixed documents: what a detector finds of the machine passages inside human texts, for every correction.

    python -m mvh.experiments.spans checkpoints/mvh-mini-en --out results/spans.json \
        --data continuation_dev.jsonl boundary_peerread_dev.jsonl

The files hold JSON Lines with `id`, `text` and `spans`: gapless [start, end, label] in characters, label 1 = machine.
Segments are scored once; each correction flags its own, and passages are measured with edges on the segment grid and with
refined edges. Boundary errors are those of SemEval-2024 task 8, subtask C: the word at which a text that begins human turns
machine, against the word at which the first passage begins, or the number of words where none is shown.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import pipeline

import mvh.pipeline_mvh  # noqa: F401  registers the task
from mvh.corrections_mvh import CORRECTIONS
from mvh.export import file_sha256, provenance
from mvh.passages_mvh import edge_segments, merge_passages, refine_passages
from mvh.placing import place_report
from mvh.pvalues_mvh import sigmoid
from mvh.voting_mvh import decide

logger = logging.getLogger("mvh.spans")

FEW = 0.25  # share of machine characters up to which a document counts as one with few machine passages
DECISIONS = {None: "uncertain", 0: "human", 1: "machine"}
Rows = Sequence[dict[str, Any]]


def read_spans(path: Path, limit: int | None, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a span-labelled file, or a seeded sample of `limit` of them.

    Raises:
        ValueError: If a row's spans do not tile its text, or a label is neither 0 nor 1.
    """
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        bounds = [0, *(end for _, end, _ in row["spans"])]
        if [start for start, _, _ in row["spans"]] != bounds[:-1] or bounds[-1] != len(row["text"]):
            raise ValueError(
                f"{path.name}, {row['id']}: the spans {row['spans']} do not tile {len(row['text'])} characters."
            )
        if bad := {label for _, _, label in row["spans"]} - {0, 1}:
            raise ValueError(f"{path.name}, {row['id']}: labels are 0 or 1, got {sorted(map(str, bad))}.")
    return rows if limit is None or limit >= len(rows) else random.Random(seed).sample(rows, limit)


def machine_mask(spans: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """True for the characters inside machine spans, shape (length,)."""
    mask = np.zeros(length, dtype=bool)
    for start, end, label in spans:
        mask[start:end] = label == 1
    return mask


def boundary_error(row: Mapping[str, Any], passages: Rows) -> tuple[int, int] | None:
    """True and predicted word index of the change from human to machine; None for texts of another build."""
    if [label for _, _, label in row["spans"]] != [0, 1]:
        return None
    words = np.array([match.start() for match in re.finditer(r"\S+", row["text"])])
    predicted = np.searchsorted(words, passages[0]["start"]) if passages else len(words)
    return int(np.searchsorted(words, row["spans"][1][0])), int(predicted)


def edges_report(rows: Rows, found: Sequence[Rows]) -> dict[str, Any]:
    """Character precision, recall and F1 of the passages, and the boundary error with a 95 % bootstrap interval."""
    hit = shown = machine = 0
    errors = []
    for row, passages in zip(rows, found, strict=True):
        truth = machine_mask(row["spans"], len(row["text"]))
        flagged = machine_mask([(p["start"], p["end"], 1) for p in passages], len(row["text"]))
        hit, shown, machine = hit + (truth & flagged).sum(), shown + flagged.sum(), machine + truth.sum()
        if (pair := boundary_error(row, passages)) is not None:
            errors.append((abs(pair[0] - pair[1]), bool(passages)))
    precision, recall = (float(hit / whole) if whole else None for whole in (shown, machine))
    report: dict[str, Any] = {
        "precision": precision,
        "recall": recall,
        "f1": float(2 * hit / (shown + machine)) if shown + machine else None,
    }
    if errors:
        words, seen = (np.array(column) for column in zip(*errors, strict=True))
        means = words[np.random.default_rng(0).integers(0, len(words), (1000, len(words)))].mean(1)
        report |= {
            "boundary_documents": len(words),
            "boundary_mae_words": float(words.mean()),
            "boundary_mae_words_95": [float(q) for q in np.quantile(means, (0.025, 0.975))],
            "boundary_documents_with_passage": int(seen.sum()),
            "boundary_mae_words_with_passage": float(words[seen].mean()) if seen.any() else None,
        }
    return report


def segments_report(truth: Sequence[np.ndarray], flags: Sequence[np.ndarray]) -> dict[str, Any]:
    """Segment FDR (mean over documents of the human share of the flagged) and power (share of machine segments flagged)."""
    pairs = list(zip(truth, flags, strict=True))
    flagged = np.concatenate([flag for _, flag in pairs])
    machine = np.concatenate([is_machine for is_machine, _ in pairs])
    return {
        "segments": len(flagged),
        "machine_segments": int(machine.sum()),
        "flagged_segments": int(flagged.sum()),
        "fdr": float(np.mean([(flag & ~is_machine).sum() / max(flag.sum(), 1) for is_machine, flag in pairs])),
        "power": float((flagged & machine).sum() / machine.sum()) if machine.any() else None,
    }


def score(rows: Rows, detect: Any, alpha: float) -> Iterator[dict[str, Any]]:
    """For each row its segments' spans, what every correction decides, and the block margins any of them needs."""
    for row, scored in zip(rows, detect.margins([row["text"] for row in rows]), strict=True):
        if isinstance(scored, Exception):
            raise ValueError(f"{row['id']} cannot be scored: {scored}") from scored
        document, bounds = scored
        decisions = {
            name: decide(document, detect.calibration, alpha, name, "calibrated", "conformal") for name in CORRECTIONS
        }
        near = sorted({index for d in decisions.values() for index in edge_segments(d["rejected"])})
        began = time.perf_counter()
        blocks = detect.block_margins(list(detect.preprocess(row["text"])), near) if near else None
        yield {
            "bounds": bounds,
            "margins": document.margins,
            "decisions": decisions,
            "blocks": blocks,
            "seconds": time.perf_counter() - began,
        }


def as_segments(item: Mapping[str, Any], decision: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The segments of a scored document as `passages_mvh` takes them."""
    return [
        {"start": start, "end": end, "label": "machine" if flag else "human", "score": score, "adjusted_p_value": p}
        for (start, end), flag, score, p in zip(
            item["bounds"],
            decision["rejected"],
            sigmoid(item["margins"]),
            decision["segment_adjusted"],
            strict=True,
        )
    ]


def measure(path: Path, detect: Any, alpha: float, limit: int | None) -> dict[str, Any]:
    """Every figure of one file."""
    rows = read_spans(path, limit)
    began = time.perf_counter()
    items = list(tqdm(score(rows, detect, alpha), total=len(rows), desc=path.name, unit=" documents"))
    masks = [machine_mask(row["spans"], len(row["text"])) for row in rows]
    truth = [
        np.array([mask[start:end].mean() > 0.5 if end > start else False for start, end in item["bounds"]])
        for mask, item in zip(masks, items, strict=True)
    ]
    second = sum(item["seconds"] for item in items)
    report: dict[str, Any] = {
        "documents": len(rows),
        "sha256": file_sha256(path),
        "seconds_first_pass": time.perf_counter() - began - second,
        "seconds_second_look": second,
        "corrections": {},
    }
    for name in CORRECTIONS:
        decisions = [item["decisions"][name] for item in items]
        segments = [as_segments(item, decision) for item, decision in zip(items, decisions, strict=True)]
        grid = [merge_passages(parts, "machine") for parts in segments]
        refined = [
            refine_passages(parts, "machine", *item["blocks"]) if shown else []
            for parts, item, shown in zip(segments, items, grid, strict=True)
        ]
        verdicts = [
            (DECISIONS[decision["label"]] + (", passages shown" if shown else ", none shown"), mask.mean() <= FEW)
            for decision, shown, mask in zip(decisions, grid, masks, strict=True)
        ]
        report["corrections"][name] = {
            **segments_report(truth, [decision["rejected"] for decision in decisions]),
            "grid": edges_report(rows, grid),
            "refined": edges_report(rows, refined),
            "verdicts": dict(sorted(Counter(verdict for verdict, _ in verdicts).items())),
            f"verdicts_machine_share_up_to_{FEW}": dict(sorted(Counter(v for v, few in verdicts if few).items())),
        }
    return report


def markdown(results: dict[str, Any]) -> str:
    """The page of results: per file a table of all corrections, grid edges beside refined ones."""
    commit = (results["provenance"]["commit"] or "unknown")[:12]
    lines = ["# Mixed documents: passages and their edges", "", f"`{results['command']}`, commit {commit}.", ""]
    for name, file in results["files"].items():
        lines += [
            f"## {name}",
            "",
            f"{file['documents']} documents, alpha {results['alpha']}. First pass {file['seconds_first_pass']:.0f} s, second "
            f"look at the edges {file['seconds_second_look']:.0f} s (for all corrections together).",
            "",
            "| correction | segment FDR | power | edges | precision | recall | F1 | boundary error (words) | where shown |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for correction, figures in file["corrections"].items():
            for edges in ("grid", "refined"):
                row, first = figures[edges], [correction, _show(figures["fdr"]), _show(figures["power"])]
                low, high = row.get("boundary_mae_words_95", (None, None))
                cells = [*(first if edges == "grid" else ["", "", ""]), edges]
                cells += [_show(row[key]) for key in ("precision", "recall", "f1")]
                cells += [f"{_show(row.get('boundary_mae_words'), 1)} ({_show(low, 1)} to {_show(high, 1)})"]
                cells += [
                    f"{_show(row.get('boundary_mae_words_with_passage'), 1)} "
                    f"({row.get('boundary_documents_with_passage', 0)} documents)"
                ]
                lines.append("| " + " | ".join(cells) + " |")
        lines += ["", f"Verdict on the whole document, at most {FEW:.0%} of whose characters are machine:", ""]
        for correction, figures in file["corrections"].items():
            counts = figures[f"verdicts_machine_share_up_to_{FEW}"]
            said = "; ".join(f"{verdict}: {count}" for verdict, count in counts.items()) or "no such document"
            lines.append(f"- {correction}: {said}")
        lines.append("")
    made = results["provenance"]
    lines += [
        f"Detector {results['detector']}, commit {made['commit']}"
        f"{' with uncommitted changes' if made['uncommitted_changes'] else ''}, {made['threads']} thread(s).",
        "",
        "Segment FDR is the mean over documents of the human share of the flagged segments; a segment counts as machine where "
        "most of its characters are. The boundary is the word at which a human text turns machine; the error's 95 % "
        "interval is a bootstrap over documents.",
        "",
    ]
    return "\n".join(lines)


def _show(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.experiments.spans", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.jsonl")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON file; a page of the same name is written beside it"
    )
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--limit", type=int, help="a seeded sample of so many documents of each file")
    args = parser.parse_args(argv)
    detect: Any = pipeline("mvh-detect", model=str(args.checkpoint), trust_remote_code=True)
    if detect.calibration is None:
        raise ValueError(f"{args.checkpoint} carries no calibration; run mvh.calibrate first.")
    given = sys.argv[1:] if argv is None else argv
    results: dict[str, Any] = {
        "command": "python -m mvh.experiments.spans " + " ".join(given),
        "provenance": provenance(),
        "detector": detect.model.config.name,
        "calibration": detect.model.config.calibration["id"],
        "alpha": args.alpha,
        "files": {path.name: measure(path, detect, args.alpha, args.limit) for path in args.data},
    }
    place_report(args.out, results, markdown(results))


if __name__ == "__main__":
    main()
