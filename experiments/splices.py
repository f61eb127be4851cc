"""How the constants of `passages_mvh` were chosen: human and machine texts of the choosing role, spliced, and swept over.

    python -m mvh.experiments.splices checkpoints/mvh-mini-en --dataset runs/mvh-mini-en/data --out results/edges.json

Pieces of one source are joined at word boundaries (human then machine, machine then human, machine inside human), beside
whole texts of either kind. For every threshold and end cost: how well refined edges fit, and how many whole machine texts
lose a part. The files `mvh.experiments.spans` reports on are not read.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import pipeline

from mvh.experiments.spans import as_segments, edges_report, score
from mvh.export import provenance
from mvh.passages_mvh import merge_passages, refine_passages
from mvh.placing import place_report

BUILDS = ("hm", "mh", "hmh", "hm")  # human and machine pieces in order
LENGTHS = (300, 600, 900, 1300, 2000, 3000)  # characters of a piece
THRESHOLDS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.5)
END_COSTS = (float("inf"), 2.0, 4.0, 6.0)


def make_splices(rows: Iterable[dict[str, Any]], mixed: int = 300, whole: int = 100, seed: int = 5) -> list[dict]:
    """Spliced documents and then whole machine ones, with `id`, `text` and `spans`.

    Args:
        rows: Documents with "text", "label" and "source".
        mixed: Number of spliced documents.
        whole: Number of machine documents.
        seed: Makes the choice of texts, pieces and separators.
    """
    rng = random.Random(seed)
    pools: dict[str, dict[int, list[str]]] = defaultdict(lambda: {0: [], 1: []})
    for row in rows:
        pools[row["source"]][row["label"]].append(row["text"].strip())
    sources = sorted(name for name, pool in pools.items() if min(map(len, pool.values())) >= 4)
    documents = []
    for index in range(mixed + whole):
        source, build = rng.choice(sources), BUILDS[index % len(BUILDS)] if index < mixed else "m"
        text = ""
        spans: list[list[int]] = []
        for kind in build:
            label = int(kind == "m")
            part = piece(pools[source][label], rng.choice(LENGTHS), rng, anywhere=bool(label or text))
            if text:
                text += rng.choice((" ", "\n\n"))
                spans[-1][1] = len(text)
            spans.append([len(text), len(text) + len(part), label])
            text += part
        documents.append({"id": f"{build}-{index}", "text": text, "spans": spans})
    return documents


def piece(pool: list[str], length: int, rng: random.Random, anywhere: bool) -> str:
    """About `length` characters of texts of a pool, joined; cut at words, from anywhere or from the beginning."""
    joined = ""
    for text in rng.sample(pool, len(pool)):
        joined += ("\n\n" if joined else "") + text
        if len(joined) >= length:
            break
    if len(joined) <= 1.3 * length:
        return joined
    words = [match.start() for match in re.finditer(r"\S+", joined) if match.start() <= len(joined) - length]
    begin = rng.choice(words) if anywhere else 0
    return joined[begin : begin + length].rsplit(None, 1)[0]


def sweep(documents: list[dict[str, Any]], detect: Any, alpha: float, correction: str) -> list[dict[str, Any]]:
    """One row for the grid, then one for every threshold and end cost."""
    items = list(score(documents, detect, alpha))
    segments = [as_segments(item, item["decisions"][correction]) for item in items]
    grid = [merge_passages(parts, "machine") for parts in segments]
    mixed = [index for index, document in enumerate(documents) if len(document["spans"]) > 1]
    whole = [i for i, document in enumerate(documents) if len(document["spans"]) == 1 and grid[i]]

    def row(found: list[list[dict[str, Any]]], **setting: float | str) -> dict[str, Any]:
        lengths = [[sum(p["end"] - p["start"] for p in side[i]) for i in whole] for side in (grid, found)]
        before, after = np.array(lengths[0]), np.array(lengths[1])
        return {
            **setting,
            **edges_report([documents[i] for i in mixed], [found[i] for i in mixed]),
            "whole_machine_texts": len(whole),
            "whole_machine_cut": float(np.mean(after < before)),
            "whole_machine_characters": float(after.sum() / before.sum()),
        }

    table = [row(grid, edges="grid")]
    for threshold in THRESHOLDS:
        for end_cost in END_COSTS:
            found = [
                refine_passages(parts, "machine", *item["blocks"], threshold=threshold, end_cost=end_cost)
                if shown
                else []
                for parts, item, shown in zip(segments, items, grid, strict=True)
            ]
            table.append(row(found, edges="refined", threshold=threshold, end_cost=str(end_cost)))
    return table


def markdown(results: dict[str, Any]) -> str:
    """The sweep as a table."""
    lines = [
        "# Edges of passages: the choice of the constants",
        "",
        f"`{results['command']}` (correction {results['correction']}, {results['documents']} documents), commit "
        f"{(results['provenance']['commit'] or 'unknown')[:12]}.",
        "",
        "| threshold | end cost | precision | recall | F1 | boundary error (words) | whole texts cut | kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.get('threshold', 'grid')} | {row.get('end_cost', '')} | {row['precision']:.3f} | {row['recall']:.3f} | "
        f"{row['f1']:.3f} | {row['boundary_mae_words']:.1f} | {row['whole_machine_cut']:.3f} | "
        f"{row['whole_machine_characters']:.3f} |"
        for row in results["table"]
    ]
    return "\n".join([*lines, ""])


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.experiments.splices", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dataset", required=True, help="what mvh.dataset_builder wrote: its role `choose` is read")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON file; a page of the same name is written beside it"
    )
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--correction", default="bh")
    args = parser.parse_args(argv)
    detect: Any = pipeline("mvh-detect", model=str(args.checkpoint), trust_remote_code=True)
    documents = make_splices(datasets.load_dataset(args.dataset, "documents", split="choose"))
    results = {
        "command": "python -m mvh.experiments.splices " + " ".join(sys.argv[1:] if argv is None else argv),
        "provenance": provenance(),
        "alpha": args.alpha,
        "correction": args.correction,
        "documents": len(documents),
        "table": sweep(documents, detect, args.alpha, args.correction),
    }
    place_report(args.out, results, markdown(results))


if __name__ == "__main__":
    main()
