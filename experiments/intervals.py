"""Intervals for figures on texts that belong together: whole pairs are drawn again, with replacement (cluster bootstrap).

A pair's human text and its machine rewrites share a topic, so they are not independent, and texts drawn one by one would give
intervals of another width (Efron and Tibshirani 1993, chapter 8). The training is never repeated: an interval speaks
of other test texts, not of another training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 500

Figure = Callable[[NDArray[np.int64]], float | None]


def paired_interval(
    figure: Figure, pairs: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> list[float] | None:
    """95 % percentile interval [low, high] of a figure over resampled pairs.

    Args:
        figure: Row numbers -> the figure on these rows (rows repeat), or None where it is not defined.
        pairs: The pair of each row, shape (rows,).
        resamples: How often pairs are drawn.
        seed: Of the drawing.

    Returns:
        The interval, or None where the figure was defined in less than half of the resamples.
    """
    _, pair_of = np.unique(np.asarray(pairs), return_inverse=True)
    members = np.split(np.argsort(pair_of, kind="stable"), np.cumsum(np.bincount(pair_of))[:-1])
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(len(members), size=len(members)) for _ in range(resamples))
    values = [figure(np.concatenate([members[index] for index in indices])) for indices in drawn]
    known = [value for value in values if value is not None]
    if 2 * len(known) < resamples:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return [float(low), float(high)]
