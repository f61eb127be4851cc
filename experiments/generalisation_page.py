"""The report of mvh.experiments.generalisation as a page: made from its JSON alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mvh.experiments.decision_page import number, table

TITLES = {
    "collections": "Collections held out, one at a time",
    "choose": "Out of domain, for choosing",
    "dev": "In domain, for comparison",
    "report": "Out of domain, for reporting",
    "generators": "Generators held out, one at a time",
    "languages": "Languages: five folds over the pairs",
}
NOTES = {
    "collections": [
        "Choices of a recipe may look at these figures. The texts tested are of the training file and of that of `--dev`.",
        "",
    ],
    "languages": [
        "The recipe's backbone is made of the training file beforehand (`mvh.vocabulary_transfer`): its word pieces have seen, "
        "without labels, most of the texts tested here and none of those that thresholds come from. All that is learnt, masked "
        "tokens included, and the n-grams are learnt anew in each fold. Two settings of mvh-mini-multi's recipe were settled "
        "by looking at texts of these folds (pooling by the mean: two folds of an earlier run; masked tokens first: "
        "results/few_texts.md, tested on multilingual_dev), so its lead is a little flattered.",
        "",
    ],
}
HEADS = ["detector", "AUROC", "over n-grams", "TPR at 5 %", "FPR at 5 %", "TPR at 1 %", "FPR at 1 %"]


def markdown(report: dict[str, Any]) -> str:
    """The report as Markdown: an overview by task, then every task by row, source and length, and the languages."""
    segments = report["size"]["segments"]
    learnt = "all" if segments is None else f"about {segments}"
    lines = ["# Where a detector was not trained", ""]
    lines += [f"`{report['command']}`, commit {(report['commit'] or 'unknown')[:12]}.", ""]
    lines += [
        f"Trained on {learnt} segments of each task's training texts. Thresholds come from human texts of the training "
        "sources that were not learnt from: TPR and FPR are what a user would have met. Recipes also get the texts that they "
        "choose on, about a tenth more, and baselines do not. In brackets 95 % intervals, over resampled pairs, of one "
        "training and not adjusted for their number; of FPR, Clopper-Pearson.",
        "",
    ]
    if report["quick"]:
        lines += ["Made with `--quick`: it shows that the experiment runs, the figures mean nothing.", ""]
    for name, group in report["groups"].items():
        lines += [f"## {TITLES[name]}", "", *NOTES.get(name, [])]
        tasks = {"all folds": group["pooled"]} if "pooled" in group else group["tasks"]
        if len(tasks) > 1:
            areas = ([row, *(_cell(task["rows"][row], "auroc") for task in tasks.values())] for row in report["rows"])
            lines += table(["AUROC", *tasks], areas)
        for title, task in tasks.items():
            lines += [f"### {title} ({task['human']} human, {task['machine']} machine)", ""]
            if "learn" in task:
                lines += [
                    f"Learnt from {task['learn']['human']} human and {task['learn']['machine']} machine texts; thresholds from "
                    f"{task['threshold_texts']} human texts.",
                    "",
                ]
            lines += [made_at(task["rows"]), ""]
            lines += table(HEADS, _overall(task["rows"]))
            lines += _language_means(task["rows"])
            parts = (("by_language", "language"), ("by_source", "source"), ("by_words", "words"))
            for part, kind in parts:
                lines += _part(task["rows"], part, kind)
    return "\n".join(lines)


def made_at(rows: dict[str, Any]) -> str:
    """One sentence: the commits at which the rows were made, which need not be the page's, as finished rows are kept."""
    by_commit: dict[str, list[str]] = {}
    for name, row in rows.items():
        for commit in dict.fromkeys((made["commit"] or "unknown")[:12] for made in row["made_by"]) if row else ():
            by_commit.setdefault(commit, []).append(name)
    made = "; ".join(f"{', '.join(names)} at {commit}" for commit, names in by_commit.items())
    return f"Rows made: {made or 'none'}."


def _overall(rows: dict[str, Any]) -> Iterable[list[Any]]:
    for name, row in rows.items():
        if row is None:
            yield [name, "not compared: it has learnt from these texts", *[""] * (len(HEADS) - 2)]
            continue
        gain = row.get("auroc_over_reference")
        over = "" if gain is None else _ranged(gain["gain"], gain["interval_95"], sign=True)
        rates = [_rate(row[f"{kind}_{fpr}"]) for fpr in (0.05, 0.01) for kind in ("tpr", "fpr")]
        yield [name, _ranged(row["auroc"], row.get("auroc_interval_95")), over, *rates]


def _language_means(rows: dict[str, Any]) -> list[str]:
    """One table: the mean of the languages' AUROC by detector; nothing where languages are not told apart."""
    measured = {name: row for name, row in rows.items() if row is not None and "mean_over_languages" in row}
    body = []
    for name, row in measured.items():
        own, over = row["mean_over_languages"], row.get("mean_over_languages_over_reference")
        gain = "" if over is None else _ranged(over["value"], over["interval_95"], sign=True)
        body.append([name, _ranged(own["value"], own["interval_95"]), gain])
    return table(["detector", "mean AUROC over languages", "over n-grams"], body) if body else []


def _part(rows: dict[str, Any], part: str, kind: str) -> list[str]:
    """One table: kinds down, for every detector AUROC, and TPR and FPR at 5 %."""
    measured = {name: row[part] for name, row in rows.items() if row is not None and part in row}
    if not measured:
        return []
    first = next(iter(measured.values()))
    heads = [kind, "human", "machine", *(f"{name}: AUROC, TPR / FPR at 5 %" for name in measured)]
    said = _rate if kind == "language" else _bare_rate  # elsewhere intervals would make it too wide
    body = []
    for value, counts in first.items():
        cells = []
        for row in measured.values():
            entry = row[value]
            shown = _ranged(entry["auroc"], entry.get("auroc_interval_95"))
            cells.append(f"{shown}, {said(entry['tpr_0.05'])} / {said(entry['fpr_0.05'])}")
        body.append([value, counts["human"], counts["machine"], *cells])
    return table(heads, body)


def _cell(row: dict[str, Any] | None, key: str) -> Any:
    return "" if row is None else row[key]


def _rate(rate: dict[str, Any]) -> str:
    """A share with its interval; drawn pairs that all agree tell none."""
    interval = rate.get("interval_95")
    return _ranged(rate["rate"], interval if interval and interval[0] < interval[1] else None)


def _bare_rate(rate: dict[str, Any]) -> str:
    return str(number(rate["rate"]))


def _ranged(value: float | None, interval: list[float] | None, sign: bool = False) -> str:
    shown = "–" if value is None else f"{value:+.3f}" if sign else f"{value:.3f}"
    return shown if interval is None else f"{shown} ({number(interval[0])} to {number(interval[1])})"
