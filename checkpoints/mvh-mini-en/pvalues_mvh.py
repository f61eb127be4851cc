"""Margins -> p-values under the hypothesis "this looks like the human texts of the calibration".

Scores are logit margins, logit(machine) - logit(human): higher = more machine-like, everywhere. A conformal p-value
ranks a score among those of human calibration documents. What holds of it: over the draw of the calibration *and* of the
new document, P(p <= alpha) <= alpha (`conformal_p_values`). Given one calibration set the realised rate varies around that
(`false_alarm_interval`), and `with_confidence` trades power for a rate that stays below alpha with a named confidence.
"""

from __future__ import annotations

import numpy as np

P_VALUES = ("conformal", "softmax")
SMALLEST = float(np.finfo(np.float64).tiny)  # a p-value is never 0, also where float64 has run out of digits


def softmax_p_values(margins: np.ndarray) -> np.ndarray:
    """1 - P(machine), our reading of the article, which never defines its p-value. Not a valid p-value.

    Args:
        margins: Logit margins, shape (m,).

    Returns:
        Values in (0, 1], shape (m,).
    """
    return np.maximum(sigmoid(-np.asarray(margins, dtype=np.float64)), SMALLEST)


def conformal_p_values(margins: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank margins among human calibration scores, every calibration document counting once.

    p = (1 + sum_i sum_j w_ij 1{s_ij >= margin}) / (K + 1) with w_ij = 1 / (segments of document i), K documents
    (hierarchical conformal prediction: Lee, Barber, Willett, arXiv 2306.06342). With all weights 1 it is the split
    conformal p-value. Ties count against rejection. It is valid for one document, or for a random segment of one.

    Args:
        margins: Scores to test, shape (m,).
        scores: Calibration scores in ascending order, shape (n,).
        weights: Weight of each score, shape (n,); they sum to the number K of calibration documents.

    Returns:
        p-values in [1 / (K + 1), 1], shape (m,).
    """
    documents = np.round(weights.sum())  # weights such as 1/3 do not add up to the last bit
    at_least = np.concatenate([np.cumsum(weights[::-1])[::-1], [0.0]])  # (n + 1,): weight of scores[i:]
    exceed = at_least[np.searchsorted(scores, margins, side="left")]  # (m,)
    return np.minimum((1.0 + exceed) / (documents + 1.0), 1.0)


def with_confidence(p_values: np.ndarray, documents: int, confidence: float) -> np.ndarray:
    """p-values whose realised false-alarm rate at a fixed alpha is at most alpha with the given confidence.

    A score that r of n calibration documents reach has p = (r + 1) / (n + 1); its tail probability among human
    documents is at most the quantile of Beta(r + 1, n - r) with that confidence (Clopper and Pearson 1934, here over the
    calibration draw; the pointwise form of Bates et al. 2023, section 4). A low confidence gives a smaller quantile than p,
    which would be no valid p-value: then p stays.

    Args:
        p_values: Conformal document p-values, shape (m,).
        documents: Number n of calibration documents behind them.
        confidence: 1 - delta, in (0, 1).

    Returns:
        Values in (0, 1], none below its p-value, shape (m,), in the same order.

    Raises:
        ValueError: If the confidence is outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}.")
    from scipy.special import betaincinv  # ships with statsmodels; imported on use, as importing it takes time

    reached = np.round(np.asarray(p_values, dtype=np.float64) * (documents + 1) - 1)  # (m,)
    # below 1e-9 SciPy returns NaN at last; a higher confidence is the safe side
    bound = betaincinv(reached + 1, np.maximum(documents - reached, 1), max(confidence, 1e-9))
    return np.where(reached >= documents, 1.0, np.maximum(bound, p_values))


def false_alarm_interval(documents: int, alpha: float, level: float = 0.9) -> tuple[float, float]:
    """Where the realised false-alarm rate of "p <= alpha" lies, given one calibration set of n documents.

    It is distributed as Beta(l, n + 1 - l) with l = floor((n + 1) alpha) for scores without ties (Vovk 2012); (0, 0)
    where l = 0: nothing can be flagged; (1, 1) where l = n + 1: everything is.

    Returns:
        The central interval that holds the rate in a share `level` of calibration draws.
    """
    from scipy.special import betaincinv

    rank = int(np.floor((documents + 1) * alpha + 1e-9))
    if rank == 0:
        return 0.0, 0.0
    if rank > documents:
        return 1.0, 1.0
    low, high = (1 - level) / 2, (1 + level) / 2
    return tuple(float(betaincinv(rank, documents + 1 - rank, q)) for q in (low, high))  # type: ignore[return-value]


def sigmoid(x: np.ndarray | float) -> np.ndarray:
    """Logistic function without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, dtype=np.float64)))
