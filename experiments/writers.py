"""Whom a detector accuses: false alarms on human texts by how plainly, informally and faultily they are written.

    python -m mvh.score checkpoints/mvh-mini-en --data monolingual_dev.jsonl --data ood_report_en.jsonl --out runs/score-mini
    python -m mvh.experiments.writers --score runs/score-mini --data monolingual_dev.jsonl ood_report_en.jsonl \
        --train monolingual_train.jsonl --out results/writers.json

Known detectors accuse learners of a language more often, as plain words are predictable (Liang et al. 2023, Patterns 4(7)).
No texts of learners are at hand. What can be had is a look at the human texts that are most like theirs: easy to read, with
more spelling slips, more contractions, fewer different words. Texts are sorted by one statistic at a time into quarters of
the human texts; many texts that share a value, as 0, stay together, so that there may be fewer than four groups. The
dictionary for spelling is made of texts of role "train", human and machine alike. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvh.audit.statistics import figures
from mvh.baselines.reference import read_rows, training_rows
from mvh.experiments.attacks import shown
from mvh.experiments.decision_page import table
from mvh.export import file_sha256, provenance
from mvh.features_mvh import compute_features
from mvh.lexicon_mvh import build_lexicon
from mvh.metrics import DECISIONS, HUMAN
from mvh.placing import place_report

logger = logging.getLogger(__name__)

STATISTICS = {  # of features_mvh -> as the page says it
    "reading_ease": "reading ease (Flesch; high is plain)",
    "grade": "school grade (Flesch-Kincaid)",
    "word_length_mean": "letters per word",
    "type_token_ratio": "different words of all",
    "misspelled_share": "words one slip away from a known one",
    "unknown_word_share": "words the dictionary lacks",
    "contraction_share": "contractions",
    "lowercase_opening_share": "sentences that begin with a small letter",
}


def quarters(values: NDArray[np.float64], human: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[float]]:
    """The group of each text, and the largest values of all groups but the last.

    Args:
        values: A statistic of each text, shape (texts,).
        human: Which of them are human: their quartiles are the borders, shape (texts,).
    """
    borders = np.unique(np.quantile(values[human], [0.25, 0.5, 0.75]))  # (at most 3,)
    return np.searchsorted(borders, values, side="left"), borders.tolist()


def by_statistic(rows: Sequence[dict[str, Any]], values: NDArray[np.float64]) -> dict[str, list[dict[str, Any]]]:
    """Rates in every group of every statistic.

    Args:
        rows: Texts with label and decision.
        values: Their statistics, shape (texts, len(STATISTICS)).
    """
    human = np.array([row["label"] == HUMAN for row in rows])
    report = {}
    for column, name in enumerate(STATISTICS):
        groups, borders = quarters(values[:, column], human)
        edges = [None, *borders, None]
        report[name] = [
            {"above": edges[group], "to": edges[group + 1]}
            | figures([row for row, mine in zip(rows, groups, strict=True) if mine == group])
            for group in range(len(borders) + 1)
            if (groups == group).any()
        ]
    return report


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# Whom it accuses", "", f"`{report['command']}`, commit {(report['commit'] or 'unknown')[:12]}.", ""]
    lines += [
        f"{report['detector']} at alpha {report['alpha']}. False alarms: human texts called machine, with 95 % Clopper-Pearson "
        "interval; power: machine texts called so; coverage: texts with a verdict. Groups are quarters of the human texts by "
        "one statistic. No texts of learners are among them.",
        "",
    ]
    for file, part in report["files"].items():
        lines += [f"## {file}", ""]
        for name, groups in part.items():
            lines += [f"**{STATISTICS[name]}**", ""]
            lines += table(
                ["above", "to", "human", "false alarms", "95 % interval", "machine", "power", "coverage"],
                (
                    [
                        group["above"],
                        group["to"],
                        group["human"],
                        group["false_alarms"]["rate"],
                        _interval(group["false_alarms"]["interval_95"]),
                        group["machine"],
                        group["power"]["rate"],
                        group["coverage"],
                    ]
                    for group in groups
                ),
            )
    return "\n".join(lines)


def _interval(interval: list[float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def judged(file: Path, predictions: dict[tuple[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a file with the decisions that `mvh.score` kept; what could not be read is left out.

    Raises:
        ValueError: If a row was not scored.
    """
    rows = []
    for row in read_rows(file):
        found = predictions.get((file.name, str(row["id"])))
        if found is None:
            raise ValueError(f"{file.name} has the text {row['id']}, and the predictions hold none of it.")
        if found["error"] is None:
            rows.append(row | {"decision": DECISIONS[found["decision"]]})
    return rows


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mvh.experiments.writers", description=__doc__.split("\n")[0])
    parser.add_argument("--score", type=Path, required=True, help="folder that mvh.score made")
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="JSONL files that were scored")
    parser.add_argument(
        "--train", type=Path, required=True, help="training file; its role 'train' makes the dictionary"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write; a .md file is written beside it")
    return parser


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring. Returns what the JSON file holds."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    lines = (options.score / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    predictions = {(row["file"], row["id"]): row for row in map(json.loads, lines)}
    lexicon = build_lexicon(row["normalised"] for row in training_rows(read_rows(options.train), [], 0))
    files = {}
    for file in options.data:
        rows = judged(file, predictions)
        values = [compute_features(row["normalised"], list(STATISTICS), {"lexicon": lexicon}) for row in rows]
        files[file.name] = by_statistic(rows, np.array(values, dtype=np.float64))
        logger.info("%s: %d texts", file.name, len(rows))
    scored = json.loads((options.score / "metrics.json").read_text(encoding="utf-8"))
    report = {
        "command": "python -m mvh.experiments.writers "
        + shlex.join(shown(sys.argv[1:] if arguments is None else arguments)),
        **provenance(),
        "scored_by": {key: scored[key] for key in ("command", "commit")},
        "detector": scored["detector"]["name"],
        "alpha": next(iter(predictions.values()))["alpha"],
        "data": {path.name: file_sha256(path) for path in [*options.data, options.train]},
        "files": files,
    }
    place_report(options.out, report, page(report))
    return report


if __name__ == "__main__":
    main()
