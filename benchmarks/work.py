"""How much arithmetic a detector's model has to do for segments of given lengths, padding not counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

LENGTHS = (64, 128, 256)  # a transformer's work is a quadratic in the number of tokens: three points fix it


def work_per_length(model: Any) -> np.ndarray:
    """Coefficients of FLOP(T) = c0 T^2 + c1 T + c2 for one segment of T tokens, shape (3,).

    torch counts matrix products, but not those inside its attention kernel for CPUs (two of T x T x H in each layer);
    where it counted no quadratic part, those 4 T^2 H are added.
    """
    counted = []
    for tokens in (LENGTHS[0], *LENGTHS):  # the first call also makes what is kept between calls, and does not count
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            model(
                input_ids=torch.ones(1, tokens, dtype=torch.long),
                attention_mask=torch.ones(1, tokens, dtype=torch.long),
            )
        counted.append(counter.get_total_flops())
    fit = np.polyfit(LENGTHS, counted[1:], 2)
    config = model.config.backbone_config
    attention = 4.0 * config.hidden_size * config.num_hidden_layers
    if fit[0] < attention / 2:
        fit[0] += attention
    return fit


def useful_work(fit: np.ndarray, lengths: Sequence[int]) -> float:
    """FLOPs of segments of these lengths, `fit` from `work_per_length`."""
    return float(np.polyval(fit, np.array(lengths, dtype=float)).sum())
