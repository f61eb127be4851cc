"""p-values of a document's segments -> adjusted p-values: the multiple-testing corrections, in one table.

A segment is flagged where its adjusted p-value is at most alpha. What each promises, if every segment's p-value is valid:
`bonferroni` and `holm` bound the chance of any false flag (FWER) under any dependence, `bh` the expected share of false
flags (FDR) for independent or positively dependent p-values, `by` the same under any dependence. Segments of one
document overlap and share its style, and conformal segment p-values are valid for a *random* segment only, so over one
document these four are empirical. `calibrated` promises less and keeps it: it ranks the document's BH-adjusted p-values
among those of whole human documents, so a human document gets any flag with probability at most alpha, whatever the
dependence inside it (split conformal on the document's Simes statistic); for mixed documents its FDR is empirical too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np


def no_correction(p_values: np.ndarray) -> np.ndarray:
    """p-values as they are: each segment tested alone."""
    return p_values.copy()


def bonferroni(p_values: np.ndarray) -> np.ndarray:
    """Each p-value times their number m: FWER under any dependence."""
    return np.minimum(p_values * len(p_values), 1.0)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm-adjusted p-values (FWER under any dependence; Holm 1979).

    Written out because statsmodels' `multipletests(method="holm")` runs a full garbage collection on every call (33 to
    197 ms); the tests hold it equal to statsmodels.
    """
    m = len(p_values)
    order = np.argsort(p_values)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(m, 0, -1)), 1.0)
    return adjusted


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """BH-adjusted p-values (FDR; proven for independent or PRDS p-values; Benjamini and Hochberg 1995)."""
    return step_up(p_values, 1.0)


def benjamini_yekutieli(p_values: np.ndarray) -> np.ndarray:
    """BY-adjusted p-values (FDR under any dependence; Benjamini and Yekutieli 2001)."""
    return step_up(p_values, float(np.sum(1.0 / np.arange(1, len(p_values) + 1))))


def step_up(p_values: np.ndarray, penalty: float) -> np.ndarray:
    """adjusted_(i) = min over k >= i of p_(k) m penalty / k, at most 1: the smallest level at which step-up rejects p_(i).

    Written out because importing statsmodels takes about a second, longer than the verdict on a page; the tests hold it
    equal to statsmodels, to the last bit, and to the definition.
    """
    m = len(p_values)
    order = np.argsort(p_values)
    raw = p_values[order] / (np.arange(1, m + 1) / m / penalty)  # in statsmodels' order of operations
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return adjusted


def calibrated(p_values: np.ndarray, human_simes: np.ndarray) -> np.ndarray:
    """BH-adjusted p-values ranked among the Simes p-values of whole human calibration documents.

    adjusted_j = (1 + #{i: simes_i <= bh_j}) / (N + 1). The smallest BH-adjusted p-value of a document is its Simes
    p-value, so P(any segment of a human document is flagged) <= alpha by exchangeability of documents.

    Args:
        p_values: Shape (m,).
        human_simes: Simes p-values of the N document-calibration documents, ascending, shape (N,).
    """
    # human_simes travelled as float32 and ties are frequent: a little slack keeps them ties, so that they count
    reached = np.searchsorted(human_simes, benjamini_hochberg(p_values) * (1.0 + 1e-6), side="right")
    return (1.0 + reached) / (len(human_simes) + 1.0)


CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "none": no_correction,
    "bonferroni": bonferroni,
    "holm": holm,
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
    "calibrated": None,  # needs the calibration documents beside the p-values: `adjust` calls it
}


def adjust(p_values: np.ndarray, correction: str, human_simes: np.ndarray | None = None) -> np.ndarray:
    """Adjusted p-values of the segments of one document; a segment is flagged where they are <= alpha.

    Args:
        p_values: Shape (m,), finite, in [0, 1], m >= 1.
        correction: A key of CORRECTIONS.
        human_simes: What "calibrated" needs: ascending Simes p-values of human calibration documents.

    Raises:
        ValueError: If the p-values are not such, the correction is unknown, or "calibrated" lacks its calibration.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if p_values.ndim != 1 or p_values.size == 0:
        raise ValueError(f"A correction needs a non-empty list of p-values, got an array of shape {p_values.shape}.")
    if not (np.isfinite(p_values).all() and (p_values >= 0).all() and (p_values <= 1).all()):
        raise ValueError(
            f"p-values must be finite and in [0, 1], got values from {p_values.min()} to {p_values.max()}."
        )
    rule = CORRECTIONS[known("correction", correction, CORRECTIONS)]
    if rule is not None:
        return rule(p_values)
    if human_simes is None:
        raise ValueError("correction='calibrated' needs a document calibration and conformal p-values.")
    return calibrated(p_values, human_simes)


def simes(p_values: np.ndarray) -> float:
    """The Simes p-value of a document: min_k m p_(k) / k over its sorted segment p-values (Simes 1986)."""
    m = len(p_values)
    return float(np.min(np.sort(p_values) * m / np.arange(1, m + 1)))


def documents_needed(m: int, alpha: float, correction: str, human_simes: np.ndarray | None = None) -> int:
    """Calibration documents that one lone rejection among m segments needs.

    The smallest conformal p-value is 1 / (K + 1); a lone small one is rejected by BH, Holm and Bonferroni where it is at
    most alpha / m, by BY where it is at most alpha / (m H_m). "calibrated" rejects it where m / (K + 1) lies below the
    Simes p-values of all but alpha of the human documents: an estimate, as those would change with K too.
    """
    if correction == "calibrated" and human_simes is not None:
        rank = min(int(np.floor(alpha * (len(human_simes) + 1) + 1e-9)), len(human_simes))
        if rank > 0:
            return int(np.floor(m / human_simes[rank - 1] * (1.0 + 1e-5)))
    harmonic = float(np.sum(1.0 / np.arange(1, m + 1)))
    penalty = {"none": 1.0, "calibrated": 1.0, "by": m * harmonic}.get(correction, float(m))
    return int(min(np.ceil(penalty / alpha - 1.0 - 1e-9), sys.maxsize))  # infinite at the smallest alphas


def known(name: str, value: str, choices: object) -> str:
    """Return `value` if it is among `choices`, else raise a ValueError that lists them."""
    names = tuple(choices)  # type: ignore[arg-type, var-annotated]
    if value not in names:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, names))}, got {value!r}.")
    return value
