"""A batch of segments, arrays until here, as the tensors that a model of PyTorch takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .batching_mvh import INPUTS


def collate(segments: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Any]:
    """Stack the arrays of one member's segments, each padded at the right end to the longest.

    Returns:
        Tensors "input_ids" and "attention_mask" of shape (B, T), "features" of shape (B, F) and "characters" of shape
        (B, L) where there are some, and "member".
    """
    batch: dict[str, Any] = {"member": segments[0].get("member", 0)}
    for name in (name for name in INPUTS if name in segments[0]):
        rows = [torch.from_numpy(segment[name][0]) for segment in segments]
        pad = pad_id if name == "input_ids" else 0
        batch[name] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    return batch
