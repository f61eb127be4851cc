"""Documents longer than any calibrated one: how often they are flagged when they are judged by their parts.

    python -m mvh.experiments.long_documents checkpoints/mvh-mini-en --long long_human_en.jsonl \
        --report monolingual_dev.jsonl ood_report_en.jsonl --cache runs/decision --out results/long_documents.json

`parts_mvh` ranks parts of a long document among the whole human documents of a length group. That this keeps the rate is an
assumption, and three measurements test it. (1) Human documents of --long beyond the longest calibration document. (2)
Documents of --report beyond a lower, pretended limit: real ones, human and machine, which can also be judged whole, as
the calibration does promise. (3) Documents of --report of one source and label put together until they are several times as
long as the limit: no long machine texts are at hand, so this tells the power. Texts that were not written as one resemble
each other less than the parts of one do, so the false-alarm rate of human ones is flattered. Texts are scored once into the
cache. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mvh.audit.statistics import share
from mvh.calibration_mvh import Calibration, Document, decode_calibration
from mvh.card import longest_in_words
from mvh.dataset_builder.semeval import read_semeval
from mvh.experiments.decision_page import table
from mvh.experiments.kept_runs import signature
from mvh.experiments.scored import Scored, human, machine, scored_rows
from mvh.export import file_sha256, provenance
from mvh.normalization_mvh import NORMALIZER_VERSION
from mvh.parts_mvh import parts_of
from mvh.placing import place_report
from mvh.voting_mvh import document_p_value

ALPHAS = (0.01, 0.05, 0.1)
PRETENDED = (512, 768, 1024)  # tokens; parts hold two segments or more
TIMES = (2, 4, 8)  # as long as the limit


def limited(calibration: Calibration, longest: int) -> Calibration:
    """The same calibration, believing that its longest document has so many tokens."""
    return replace(calibration, longest_tokens=longest, longest_by_script={})


def flagged(documents: Sequence[Document], calibration: Calibration) -> dict[str, Any]:
    """How many documents are flagged at each alpha, with 95 % Clopper-Pearson intervals."""
    p_values = np.array([document_p_value(document, calibration) for document in documents])
    return {str(alpha): share(int((p_values <= alpha).sum()), len(documents)) for alpha in ALPHAS}


def by_parts(documents: Sequence[Document], calibration: Calibration) -> dict[str, Any]:
    """How many documents there are, the median of their parts, and how many are flagged by parts and as wholes."""
    count = [len(parts_of(document, calibration)) for document in documents]
    unlimited = limited(calibration, sys.maxsize)
    return {
        "documents": len(documents),
        "parts_median": float(np.median(count)),
        "parts_most": max(count),
        "by_parts": flagged(documents, calibration),
        "whole": flagged(documents, unlimited),
    }


def joined(documents: Sequence[Scored], tokens: int, seed: int = 0) -> list[Scored]:
    """Documents of one source, script and label, in random order, put together up to so many tokens; rests are left out."""
    rng = np.random.default_rng(seed)
    whole = []
    for kind in sorted({(document.source, document.script) for document in documents}):
        mine = [document for document in documents if (document.source, document.script) == kind]
        pile: list[Scored] = []
        for index in rng.permutation(len(mine)):
            pile.append(mine[index])
            if sum(document.tokens for document in pile) >= tokens:
                margins = np.concatenate([document.margins for document in pile])
                whole.append(
                    replace(pile[0], margins=margins, core_tokens=np.concatenate([d.core_tokens for d in pile]))
                )
                pile = []
    return whole


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# Documents longer than any calibrated one", ""]
    lines += [f"`{report['command']}`, commit {(report['commit'] or 'unknown')[:12]}.", ""]
    lines += [
        f"The longest calibration document of {report['name']} has {report['longest']} tokens. What is longer is judged by "
        "parts: machine at alpha where more than half of its K parts, k of them, are flagged at alpha k / K. Beside it stands "
        "what ranking the whole among much shorter documents would flag. Shares with 95 % Clopper-Pearson intervals.",
        "",
    ]
    heads = ["texts", "label", "tokens from", "documents", "parts, median (most)"]
    heads += [f"by parts, alpha {alpha}" for alpha in ALPHAS] + ["whole, alpha 0.05"]

    def rows(name: str) -> list[list[Any]]:
        return [
            [
                row["texts"],
                row["label"],
                f"{row['tokens_from']:,}",
                row["documents"],
                f"{row['parts_median']:g} ({row['parts_most']})",
                *(_shown(row["by_parts"][str(alpha)]) for alpha in ALPHAS),
                _shown(row["whole"]["0.05"]),
            ]
            for row in report[name]
        ]

    lines += ["## Long human documents", "", *table(heads, rows("long"))]
    lines += ["## Real documents beyond a pretended limit", ""]
    lines += [
        "The calibration holds longer documents than this limit, so that judging the whole is what it promises.",
        "",
    ]
    lines += table(heads, rows("pretended"))
    lines += ["## Documents put together", ""]
    lines += [
        "Of one source and label, not written as one text: the shares of machine ones tell the power, those of human ones "
        "flatter the false-alarm rate.",
        "",
        *table(heads, rows("joined")),
    ]
    return "\n".join(lines)


def _shown(rate: dict[str, Any]) -> str:
    low, high = rate["interval_95"]
    return f"{rate['rate']:.3f} ({low:.3f} to {high:.3f})"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring. Returns what the JSON file holds."""
    parser = argparse.ArgumentParser(prog="mvh.experiments.long_documents", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--long", type=Path, nargs="+", required=True, help="JSONL files of long human texts")
    parser.add_argument("--report", type=Path, nargs="+", required=True, help="JSONL files for reporting")
    parser.add_argument("--cache", type=Path, required=True, help="folder of scored texts")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    command = "python -m mvh.experiments.long_documents " + shlex.join(sys.argv[1:] if argv is None else argv)
    weights = file_sha256(args.checkpoint / "model.safetensors")
    config = json.loads((args.checkpoint / "config.json").read_text(encoding="utf-8"))
    calibration = decode_calibration(config["calibration"])

    def scored(path: Path) -> list[Scored]:
        name = f"{path.stem}-{signature([weights, NORMALIZER_VERSION, file_sha256(path)])}"
        documents = scored_rows(str(args.checkpoint), args.cache, name, partial(read_semeval, path, _refuse))
        return [document for document in documents if document.script in calibration.scripts]

    rows: dict[str, list[dict[str, Any]]] = {"long": [], "pretended": [], "joined": []}

    def add(kind: str, path: Path, documents: Sequence[Scored], label: str, among: Calibration, tokens: int) -> None:
        beyond = [document for document in documents if document.tokens > among.longest(document.script)]
        if beyond:
            about = {"texts": path.name, "label": label, "tokens_from": tokens}
            rows[kind].append(about | by_parts(beyond, among))

    for path in args.long:
        add("long", path, human(scored(path)), "human", calibration, calibration.longest_tokens + 1)
    for path in args.report:
        documents = scored(path)
        sides = {"human": human(documents), "machine": machine(documents)}
        for label, mine in sides.items():
            for limit in PRETENDED:
                add("pretended", path, mine, label, limited(calibration, limit), limit + 1)
            for times in TIMES:
                tokens = times * calibration.longest_tokens
                add("joined", path, joined(mine, tokens), label, calibration, tokens)
    report = {
        "command": command,
        **provenance(),
        "data": {path.name: file_sha256(path) for path in [*args.long, *args.report]},
        "name": config["name"],
        "calibration": config["calibration"]["id"],
        "longest": longest_in_words(calibration),
        **rows,
    }
    place_report(args.out, report, page(report))
    return report


def _refuse(bad: dict[str, Any]) -> None:
    raise ValueError(bad["message"])


if __name__ == "__main__":
    main()
