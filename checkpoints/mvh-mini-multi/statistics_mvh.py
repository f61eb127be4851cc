"""The segments of a document -> one number, higher = more machine-like: the statistics a document can be judged by.

Any of them gives a valid document p-value once it is ranked among whole human documents; they differ in power.
results/decision.md shows the comparison by which a checkpoint's statistic was chosen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .corrections_mvh import simes


def document_margin(margins: np.ndarray, core_tokens: np.ndarray) -> float:
    """Mean margin of the segments (m,), each weighted by the tokens of its core: the "margin" of every result."""
    return float(np.average(margins, weights=core_tokens))


def mean_margin(margins: np.ndarray, core_tokens: np.ndarray, p_values: np.ndarray) -> float:
    """The document margin."""
    return document_margin(margins, core_tokens)


def truncated_mean(margins: np.ndarray, core_tokens: np.ndarray, p_values: np.ndarray) -> float:
    """Mean margin of the more machine-like half of the segments (at least one), weighted by tokens."""
    top = np.argsort(-margins, kind="stable")[: (len(margins) + 1) // 2]
    return float(np.average(margins[top], weights=core_tokens[top]))


def max_margin(margins: np.ndarray, core_tokens: np.ndarray, p_values: np.ndarray) -> float:
    """The most machine-like segment's margin."""
    return float(margins.max())


def stouffer(margins: np.ndarray, core_tokens: np.ndarray, p_values: np.ndarray) -> float:
    """Sum of the segments' normal scores over the root of their number (Stouffer 1949): long documents speak louder."""
    from scipy.special import ndtri

    return float(-ndtri(np.clip(p_values, 1e-9, 1 - 1e-9)).sum() / np.sqrt(len(p_values)))


def minus_log_simes(margins: np.ndarray, core_tokens: np.ndarray, p_values: np.ndarray) -> float:
    """-log of the Simes p-value, ties broken by the mean margin (a thousandth of its logistic)."""
    return float(-np.log(simes(p_values)) + 1e-3 / (1.0 + np.exp(-mean_margin(margins, core_tokens, p_values))))


def share_rejected(margins: np.ndarray, core_tokens: np.ndarray, p_values: np.ndarray) -> float:
    """Share of tokens in segments with p <= 0.05, ties broken by the mean margin (a thousandth of its logistic)."""
    share = np.average(p_values <= 0.05, weights=core_tokens)
    return float(share + 1e-3 / (1.0 + np.exp(-mean_margin(margins, core_tokens, p_values))))


Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
STATISTICS: dict[str, Statistic] = {
    "mean_margin": mean_margin,
    "truncated_mean": truncated_mean,
    "max_margin": max_margin,
    "stouffer": stouffer,
    "simes": minus_log_simes,
    "share_rejected": share_rejected,
}
