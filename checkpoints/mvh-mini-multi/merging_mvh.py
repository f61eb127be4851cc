"""Dependent p-values of one hypothesis -> one p-value: how an ensemble merges what its members say.

The members read the same text and often share calibration documents, so their p-values depend on each other in a way
nobody knows. A merging function gives a p-value whatever the dependence (Vovk and Wang, "Combining p-values via
averaging", Biometrika 107, 2020): F(p_1, ..., p_K) with P(F <= a) <= a for all a whenever each p_k is one. Averages become
merging functions when multiplied by a factor; with one p-value each of them is that p-value. All but `cauchy_p` are
merging functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Merger(NamedTuple):
    """A function of (K, m) p-values -> m merged ones, and the factor it multiplies an average of K of them with.

    Where all K are equal to p the merged one is `factor(K) * p`; and a merged one <= a needs a p_k <= a / factor(K).
    """

    average: Callable[[np.ndarray], np.ndarray]
    factor: Callable[[int], float]

    def __call__(self, p_values: np.ndarray) -> np.ndarray:
        """Merge p-values.

        Args:
            p_values: In (0, 1], shape (K, m): K members, m hypotheses.

        Returns:
            Shape (m,), at most 1.

        Raises:
            ValueError: If there is no member, or a value is no p-value.
        """
        values = np.asarray(p_values, dtype=np.float64)
        if values.ndim != 2 or not len(values) or not ((values > 0) & (values <= 1)).all():
            raise ValueError(f"p-values to merge must lie in (0, 1], one row for each member, got {values!r}.")
        if len(values) == 1:
            return values[0]
        return np.minimum(self.factor(len(values)) * self.average(values), 1.0)


def arithmetic(p_values: np.ndarray) -> np.ndarray:
    """Arithmetic mean over the members."""
    return p_values.mean(axis=0)


def geometric(p_values: np.ndarray) -> np.ndarray:
    """Geometric mean over the members."""
    return np.exp(np.log(p_values).mean(axis=0))


def harmonic(p_values: np.ndarray) -> np.ndarray:
    """Harmonic mean over the members."""
    return 1.0 / (1.0 / p_values).mean(axis=0)


def cauchy(p_values: np.ndarray) -> np.ndarray:
    """Tail of the mean of the members' Cauchy scores (Liu and Xie, JASA 115, 2020)."""
    scores = np.tan((0.5 - p_values) * np.pi).mean(axis=0)
    # 1/2 - arctan(x)/pi, written as arctan(1/x)/pi where x is large: the difference would lose its digits
    return np.where(scores > 1, np.arctan(1 / np.where(scores > 1, scores, 1)) / np.pi, 0.5 - np.arctan(scores) / np.pi)


def smallest(p_values: np.ndarray) -> np.ndarray:
    """The smallest over the members."""
    return p_values.min(axis=0)


def largest(p_values: np.ndarray) -> np.ndarray:
    """The largest over the members."""
    return p_values.max(axis=0)


MERGERS: dict[str, Merger] = {
    # twice the mean: Rueschendorf 1982; Vovk and Wang 2020. Best where the members are alike
    "mean_p": Merger(arithmetic, lambda k: min(2.0, k)),
    # e times the geometric mean: Vovk and Wang 2020
    "geometric_mean_p": Merger(geometric, lambda k: float(min(np.e, k))),
    # e ln K times the harmonic mean for K > 2 and K times it below: Vovk and Wang 2020. The harmonic mean by itself
    # (Wilson, PNAS 116, 2019) is no p-value under arbitrary dependence
    "harmonic_mean_p": Merger(harmonic, lambda k: float(min(k, np.e * np.log(k))) if k > 2 else float(k)),
    # K times the smallest: Bonferroni. Best where one member sees what the others miss
    "bonferroni_p": Merger(smallest, float),
    # every member must agree; valid because one of them is
    "max_p": Merger(largest, lambda k: 1.0),
    # close to valid for small p-values under many dependences (Liu and Xie 2020), but with no guarantee under all
    "cauchy_p": Merger(cauchy, lambda k: 1.0),
}
