"""Margins of test and threshold texts -> the figures of `mvh.experiments.generalisation`, with intervals.

AUROC speaks of order alone. TPR and FPR are at thresholds that the training side's human texts give for 5 % and 1 %. The
intervals are over resampled pairs (`intervals.paired_interval`), those of false-positive rates are Clopper-Pearson.

Folds are trainings of their own with scales of their own. Before they are pooled, margins are put on one scale: minus the
mean of the fold's threshold texts, over their standard deviation; thresholds stay those of each fold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from mvh.audit.statistics import share
from mvh.experiments.generalisation_rows import REFERENCE
from mvh.experiments.generalisation_tasks import LEAST, Task
from mvh.experiments.held_out import Row
from mvh.experiments.intervals import paired_interval
from mvh.experiments.scored import family
from mvh.metrics import REPORTED_FPRS, auroc, threshold_at_fpr

LENGTHS = (0, 50, 100, 200, 400)  # words; lower bounds
Measured = Sequence[tuple[Task, dict[str, dict[str, Any] | None]]]  # per task: margins by row


def group_figures(name: str, measured: Measured, resamples: int) -> dict[str, Any]:
    """The figures of every task of a group and every row, and of languages where the tasks are folds over them.

    Returns:
        `tasks` (name -> counts and `rows`: row -> figures, None where it was not compared), and for the group
        "languages" `pooled` in the same form, over all folds, with figures by language.
    """
    tasks = {task.name: _about(task) | {"rows": _rows([(task, kept)], resamples)} for task, kept in measured}
    result: dict[str, Any] = {"tasks": tasks}
    if name == "languages":
        tested = [row for task, _ in measured for row in task.tested]
        result["pooled"] = _counts(tested) | {"rows": _rows(measured, resamples, languages=True)}
    return result


def _about(task: Task) -> dict[str, Any]:
    return {"learn": _counts(task.learn), "threshold_texts": len(task.threshold), **_counts(task.tested)}


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    labels = Counter(row["label"] for row in rows)
    return {"human": labels[0], "machine": labels[1]}


def _rows(measured: Measured, resamples: int, languages: bool = False) -> dict[str, Any]:
    """Figures of every row over the tasks together."""
    rows = [row for task, _ in measured for row in task.tested]
    pooled = {name: _pooled([(task, kept[name]) for task, kept in measured]) for name in measured[0][1]}
    reference = pooled.get(REFERENCE)
    report: dict[str, Any] = {}
    for name, parts in pooled.items():
        if parts is None:
            report[name] = None
            continue
        margins, flags = parts
        entry = figures(rows, margins, flags, resamples)
        if reference is not None and name != REFERENCE:
            entry["auroc_over_reference"] = _gain(rows, margins, reference[0], resamples)
        entry["by_source"] = _by([family(row["source"]) for row in rows], rows, margins, flags, 0)
        entry["by_words"] = _by([_length(row) for row in rows], rows, margins, flags, 0)
        if languages:
            entry["by_language"] = _by([row["lang"] for row in rows], rows, margins, flags, resamples)
            entry["mean_over_languages"] = _language_mean(rows, margins, None, resamples)
            if reference is not None and name != REFERENCE:
                entry["mean_over_languages_over_reference"] = _language_mean(rows, margins, reference[0], resamples)
        kept = [part[name] for _, part in measured]
        entry["seconds"] = round(sum(part["seconds"] for part in kept if part), 1)
        entry["made_by"] = [{"about": part["about"], **part["made_by"]} for part in kept if part]
        report[name] = entry
    return report


def _pooled(parts: Sequence[tuple[Task, dict[str, Any] | None]]) -> tuple[NDArray, NDArray] | None:
    """Margins on one scale, shape (texts,), and flags at each reported FPR, shape (rates, texts); None if a part is."""
    margins, flags = [], []
    for _, kept in parts:
        if kept is None:
            return None
        tested, human = np.array(kept["tested"]), np.array(kept["threshold"])
        flags.append([tested > threshold_at_fpr(human, fpr) for fpr in REPORTED_FPRS])
        margins.append((tested - human.mean()) / (human.std() or 1.0) if len(parts) > 1 else tested)
    return np.concatenate(margins), np.concatenate([np.array(part) for part in flags], axis=1)


def figures(rows: Sequence[Row], margins: NDArray, flags: NDArray, resamples: int) -> dict[str, Any]:
    """AUROC, and TPR and FPR at each reported rate; without resamples no intervals but those of the FPR.

    Args:
        rows: The texts' labels and pairs.
        margins: Shape (texts,).
        flags: Whether each text is flagged at each of `REPORTED_FPRS`, shape (rates, texts).
        resamples: Of the intervals.
    """
    labels, pairs = np.array([row["label"] for row in rows]), [row["pair"] for row in rows]
    report: dict[str, Any] = {**_counts(rows), "auroc": auroc(labels, margins)}
    if resamples:
        report["auroc_interval_95"] = paired_interval(lambda at: auroc(labels[at], margins[at]), pairs, resamples)
    machine, human = (np.flatnonzero(labels == label) for label in (1, 0))
    for fpr, flagged in zip(REPORTED_FPRS, flags, strict=True):
        found: dict[str, Any] = {"rate": float(flagged[machine].mean()) if len(machine) else None}
        if resamples and len(machine):
            found["interval_95"] = _rate_interval(flagged[machine], [pairs[i] for i in machine], resamples)
        report[f"tpr_{fpr}"] = found
        report[f"fpr_{fpr}"] = share(int(flagged[human].sum()), len(human))
    return report


def _rate_interval(flagged: NDArray, pairs: Sequence[str], resamples: int) -> list[float] | None:
    return paired_interval(lambda at: float(flagged[at].mean()), pairs, resamples)


def _by(kinds: Sequence[str], rows: Sequence[Row], margins: NDArray, flags: NDArray, resamples: int) -> dict[str, Any]:
    """`figures` of the texts of each kind."""
    report = {}
    for kind in sorted(set(kinds)):
        at = [place for place, found in enumerate(kinds) if found == kind]
        few = min(_counts([rows[i] for i in at]).values()) < LEAST
        report[kind] = figures([rows[i] for i in at], margins[at], flags[:, at], 0 if few else resamples)
    return report


def _gain(rows: Sequence[Row], margins: NDArray, reference: NDArray, resamples: int) -> dict[str, Any]:
    """AUROC above the reference's on the same texts, with its interval."""
    labels = np.array([row["label"] for row in rows])

    def gain(at: NDArray) -> float | None:
        own, other = auroc(labels[at], margins[at]), auroc(labels[at], reference[at])
        return None if own is None or other is None else own - other

    pairs = [row["pair"] for row in rows]
    return {"gain": gain(np.arange(len(rows))), "interval_95": paired_interval(gain, pairs, resamples)}


def _language_mean(rows: Sequence[Row], margins: NDArray, reference: NDArray | None, resamples: int) -> dict[str, Any]:
    """Mean of the languages' AUROC, every language counting alike, or how far it lies above a reference's; with interval."""
    labels, languages = np.array([row["label"] for row in rows]), np.array([row["lang"] for row in rows])

    def mean(at: NDArray) -> float | None:
        found = []
        for language in sorted(set(languages.tolist())):
            own = at[languages[at] == language]
            if len(set(labels[own].tolist())) < 2:
                return None
            above = 0.0 if reference is None else roc_auc_score(labels[own], reference[own])
            found.append(roc_auc_score(labels[own], margins[own]) - above)
        return float(np.mean(found))

    value = mean(np.arange(len(rows)))
    return {"value": value, "interval_95": paired_interval(mean, [row["pair"] for row in rows], resamples)}


def _length(row: Row) -> str:
    """The length group of a text in words, as "050-099"."""
    words = len(row["normalised"].split())
    low = max(bound for bound in LENGTHS if bound <= words)
    above = [bound for bound in LENGTHS if bound > words]
    return f"{low:03}-{above[0] - 1:03}" if above else f"{low:03} and more"
