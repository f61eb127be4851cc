"""Every metric of the project, once: pure functions over labels, scores and decisions.

Labels are 0 (human) or 1 (machine). Scores are finite numbers, higher = more machine-like; where probabilities are
needed (calibration error) or a decision is implied (0 is the boundary) they are logit margins. Decisions are 0, 1 or -1
("uncertain"), which counts as not flagged and stays in every denominator; `coverage` says how many texts were decided.
A value that the labels leave undefined (AUROC with one class absent, recall without machine texts) is None, never NaN,
so that reports are plain JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import f1_score, precision_score, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

HUMAN, MACHINE, UNCERTAIN = 0, 1, -1
DECISIONS = {"human": HUMAN, "machine": MACHINE, "uncertain": UNCERTAIN}
REPORTED_FPRS = (0.05, 0.01)


def checked_labels(labels: ArrayLike) -> NDArray[np.int64]:
    """The labels as a vector of 0 and 1; raises ValueError for anything else and for no labels at all."""
    return _codes(labels, (HUMAN, MACHINE), "labels")


def checked_decisions(decisions: ArrayLike, texts: int) -> NDArray[np.int64]:
    """The decisions as a vector of -1, 0 and 1; raises ValueError for other values or a length other than `texts`."""
    vector = _codes(decisions, (UNCERTAIN, HUMAN, MACHINE), "decisions")
    _check_length("decisions", len(vector), texts)
    return vector


def checked_scores(scores: ArrayLike, texts: int | None = None) -> NDArray[np.float64]:
    """The scores as a vector of finite floats; raises ValueError for NaN, infinity or a length other than `texts`."""
    vector = np.asarray(scores, dtype=np.float64)
    if vector.ndim != 1 or len(vector) == 0:
        raise ValueError(f"scores must be a non-empty vector, but their shape is {vector.shape}.")
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise ValueError(f"scores must be finite, but score {bad[0]} is {vector[bad[0]]} ({len(bad)} such scores).")
    if texts is not None:
        _check_length("scores", len(vector), texts)
    return vector


def _codes(values: ArrayLike, allowed: tuple[int, ...], name: str) -> NDArray[np.int64]:
    vector = np.asarray(values)
    if vector.ndim != 1 or len(vector) == 0:
        raise ValueError(f"{name} must be a non-empty vector, but their shape is {vector.shape}.")
    bad = np.flatnonzero(~np.isin(vector, allowed))
    if len(bad):
        raise ValueError(f"{name} must be among {allowed}, but number {bad[0]} is {vector[bad[0]]!r}.")
    return vector.astype(np.int64)


def _check_length(name: str, length: int, texts: int) -> None:
    if length != texts:
        raise ValueError(f"There are {texts} labels, but {length} {name}.")


def accuracy(labels: ArrayLike, decisions: ArrayLike) -> float:
    """Share of texts that are flagged if and only if they are machine-written, in [0, 1]."""
    truth, flagged = _truth_and_flags(labels, decisions)
    return float(np.mean(truth == flagged))


def precision(labels: ArrayLike, decisions: ArrayLike) -> float | None:
    """Share of flagged texts that are machine-written; 0 when nothing is flagged, None without machine texts."""
    truth, flagged = _truth_and_flags(labels, decisions)
    return float(precision_score(truth, flagged, zero_division=0)) if truth.any() else None


def recall(labels: ArrayLike, decisions: ArrayLike) -> float | None:
    """Share of machine texts that are flagged (TPR, power); None without machine texts."""
    truth, flagged = _truth_and_flags(labels, decisions)
    return float(flagged[truth == MACHINE].mean()) if truth.any() else None


def f1(labels: ArrayLike, decisions: ArrayLike) -> float | None:
    """F1 of the machine class; None without machine texts."""
    truth, flagged = _truth_and_flags(labels, decisions)
    return float(f1_score(truth, flagged, zero_division=0)) if truth.any() else None


def f1_macro(labels: ArrayLike, decisions: ArrayLike) -> float | None:
    """Mean of the F1 of both classes; None unless both classes are present."""
    truth, flagged = _truth_and_flags(labels, decisions)
    return float(f1_score(truth, flagged, average="macro", zero_division=0)) if 0 < truth.mean() < 1 else None


def false_positive_rate(labels: ArrayLike, decisions: ArrayLike) -> float | None:
    """Share of human texts that are flagged; None without human texts."""
    truth, flagged = _truth_and_flags(labels, decisions)
    return float(flagged[truth == HUMAN].mean()) if (truth == HUMAN).any() else None


def false_positive_interval(labels: ArrayLike, decisions: ArrayLike, level: float = 0.95) -> list[float] | None:
    """Clopper-Pearson interval [low, high] of the false-positive rate; None without human texts."""
    truth, flagged = _truth_and_flags(labels, decisions)
    humans = int((truth == HUMAN).sum())
    if humans == 0:
        return None
    flagged_humans = int(flagged[truth == HUMAN].sum())
    low, high = proportion_confint(flagged_humans, humans, alpha=1 - _share(level, "level"), method="beta")
    return [float(low), float(high)]


def coverage(decisions: ArrayLike) -> float:
    """Share of texts that were decided, that is, not "uncertain"."""
    return float(np.mean(checked_decisions(decisions, len(np.asarray(decisions))) != UNCERTAIN))


def _truth_and_flags(labels: ArrayLike, decisions: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    truth = checked_labels(labels)
    return truth, (checked_decisions(decisions, len(truth)) == MACHINE).astype(np.int64)


def auroc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Probability that a machine text scores above a human one, ties counted half; None unless both are present."""
    truth = checked_labels(labels)
    margins = checked_scores(scores, len(truth))
    return float(roc_auc_score(truth, margins)) if 0 < truth.mean() < 1 else None


def threshold_at_fpr(human_scores: ArrayLike, fpr: float) -> float:
    """The lowest threshold t for which the share of human scores with `score > t` is at most `fpr`, ties included.

    Args:
        human_scores: Scores of human texts.
        fpr: The permitted share of them in [0, 1].

    Returns:
        One of the scores, or -inf where everything may be flagged. Flag a text when its score is strictly above it.
    """
    descending = -np.sort(-checked_scores(human_scores))
    permitted = _count_within(len(descending), _share(fpr, "fpr"))
    return float(descending[permitted]) if permitted < len(descending) else float("-inf")


def tpr_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float) -> float | None:
    """Share of machine texts above the threshold that lets at most `fpr` of the given human texts through.

    The threshold is fitted on the same human texts, so this describes the ROC curve and is no claim about new texts.
    None unless both classes are present.
    """
    truth = checked_labels(labels)
    margins = checked_scores(scores, len(truth))
    if not 0 < truth.mean() < 1:
        return None
    return float(np.mean(margins[truth == MACHINE] > threshold_at_fpr(margins[truth == HUMAN], fpr)))


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Mean distance between P(machine) and the share of machine texts, over equal-width bins [k/bins, (k+1)/bins).

    The binary form of Guo et al. 2017 (arXiv 1706.04599, equation 3): bins of P(machine) instead of the top class's
    confidence, each weighted by its texts; 1.0 belongs to the last bin.
    """
    truth = checked_labels(labels)
    chances = checked_scores(probabilities, len(truth))
    if chances.min() < 0 or chances.max() > 1:
        raise ValueError(f"Probabilities must lie in [0, 1], but they span [{chances.min()}, {chances.max()}].")
    bin_of = np.minimum((chances * bins).astype(np.int64), bins - 1)
    excess = np.bincount(bin_of, weights=chances - truth, minlength=bins)
    return float(np.abs(excess).sum() / len(truth))


def segment_fdr_and_power(labels: ArrayLike, decisions: ArrayLike, documents: Sequence[Any]) -> dict[str, Any]:
    """Means over documents of the false share of flagged segments (FDR) and the flagged share of machine ones (power).

    Args:
        labels: True label of each segment.
        decisions: Decision on each segment.
        documents: The document each segment belongs to.

    Returns:
        `fdr` (a document without flags counts 0), `power` (over documents with machine segments; None without one) and
        the number of `documents`.
    """
    truth, flagged = _truth_and_flags(labels, decisions)
    _check_length("documents", len(documents), len(truth))
    _, document_of = np.unique(np.asarray(documents).astype(str), return_inverse=True)
    flags, machines, hits = (
        np.bincount(document_of, weights=weights) for weights in (flagged, truth, flagged * truth)
    )  # one number per document each
    discoveries = hits[machines > 0] / machines[machines > 0]
    return {
        "fdr": float(np.mean((flags - hits) / np.maximum(flags, 1))),
        "power": float(discoveries.mean()) if len(discoveries) else None,
        "documents": len(flags),
    }


def _share(value: float, name: str) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], but is {value}.")
    return float(value)


def _count_within(total: int, share: float) -> int:
    """The largest k with k / total <= share; floor(total * share) alone is off by one where the product is rounded."""
    floor = int(total * share)
    return max(k for k in (floor - 1, floor, floor + 1) if k <= 0 or (k <= total and k / total <= share))


Metric = Callable[[ArrayLike, ArrayLike, ArrayLike], float | None]

METRICS: dict[str, Metric] = {  # name -> function of (labels, scores, decisions)
    "accuracy": lambda labels, scores, decisions: accuracy(labels, decisions),
    "f1": lambda labels, scores, decisions: f1(labels, decisions),
    "f1_macro": lambda labels, scores, decisions: f1_macro(labels, decisions),
    "precision": lambda labels, scores, decisions: precision(labels, decisions),
    "recall": lambda labels, scores, decisions: recall(labels, decisions),
    "auroc": lambda labels, scores, decisions: auroc(labels, scores),
}


def classification_metrics(
    labels: ArrayLike, scores: ArrayLike, decisions: ArrayLike | None = None
) -> dict[str, float | None]:
    """All of `METRICS`; without `decisions` a text is machine where its logit margin is >= 0."""
    if decisions is None:
        decisions = (checked_scores(scores) >= 0).astype(np.int64)
    return {name: metric(labels, scores, decisions) for name, metric in METRICS.items()}


def detection_report(
    labels: ArrayLike,
    scores: ArrayLike,
    decisions: ArrayLike | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Everything a table of detection results needs, overall and by source, as plain JSON types.

    Args:
        labels: True labels.
        scores: Logit margins; AUROC, `tpr_at_fpr` and the calibration error of their sigmoid run over all texts.
        decisions: Decisions; without them a text is machine where its margin is >= 0.
        groups: The source of each text; without them the report has no sources.

    Returns:
        `{"overall": figures, "by_source": {source: figures}}`.
    """
    truth = checked_labels(labels)
    margins = checked_scores(scores, len(truth))
    chosen = checked_decisions(np.where(margins >= 0, MACHINE, HUMAN) if decisions is None else decisions, len(truth))
    sources = np.asarray([] if groups is None else groups).astype(str)
    if groups is not None:
        _check_length("groups", len(sources), len(truth))
    by_source = {}
    for name in sorted(set(sources.tolist())):
        chosen_rows = sources == name
        by_source[name] = _figures(truth[chosen_rows], margins[chosen_rows], chosen[chosen_rows])
    return {"overall": _figures(truth, margins, chosen), "by_source": by_source}


def source_groups(sources: Sequence[str], most: int = 12) -> list[str]:
    """The groups that sources are reported under: their names or, beyond `most` of those, the part before a colon.

    A table of sixty sources with five texts each ("l2r:Business", "l2r:Finance") says less than one of four ("l2r").
    """
    return list(sources) if len(set(sources)) <= most else [source.split(":")[0] for source in sources]


def _figures(truth: NDArray[np.int64], margins: NDArray[np.float64], decisions: NDArray[np.int64]) -> dict[str, Any]:
    chances = 1 / (1 + np.exp(-np.clip(margins, -500, 500)))
    return {
        "human": int((truth == HUMAN).sum()),
        "machine": int((truth == MACHINE).sum()),
        **classification_metrics(truth, margins, decisions),
        "fpr": false_positive_rate(truth, decisions),
        "fpr_interval_95": false_positive_interval(truth, decisions),
        "coverage": coverage(decisions),
        "tpr_at_fpr": {str(fpr): tpr_at_fpr(truth, margins, fpr) for fpr in REPORTED_FPRS},
        "expected_calibration_error_15": expected_calibration_error(truth, chances),
    }
