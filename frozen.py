"""Epochs in which the encoder is frozen: which they are, and how the head trains in them without running the encoder.

A frozen encoder is in eval mode, so it makes the same vector of a segment at every step. In a stretch of frozen epochs it
therefore reads each segment once, in batches of similar length and without a graph, and steps and evaluations look the vectors
up. Nothing is kept on disk: a run that goes on after a kill computes the same vectors in the same batches again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from mvh.pooling_mvh import pooled_width

logger = logging.get_logger(__name__)

MOST_KEPT = 4 * 2**30  # bytes of kept vectors: more could push the model off its device


class FreezeSchedule(TrainerCallback):
    """Freeze the encoder in the given epochs and thaw it in the others.

    The optimizer must be built while everything is trainable, so nothing may be frozen before the Trainer starts.
    """

    def __init__(self, frozen_epochs: list[int]) -> None:
        self.frozen_epochs = set(frozen_epochs)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Set the state for the epoch that begins; right after a resume in the middle of an epoch, too."""
        epoch = int((state.epoch or 0.0) + 1e-6) + 1
        detector = getattr(model, "module", model)
        detector.freeze_encoder(epoch in self.frozen_epochs)


def can_keep(args: Any, config: Any, segments: int) -> bool:
    """Whether the vectors of frozen epochs are kept; where they are wanted and cannot be, a warning says why.

    Args:
        args: A `MvhTrainingArguments`.
        config: The model's `MvhConfig`.
        segments: Number of training segments.
    """
    if not args.keep_frozen_features or not args.frozen_epochs:
        return False
    devices = args.world_size * max(1, args.n_gpu)
    reasons = [  # no recipe begins with a bag; a detector given to the Trainer may
        (config.head != "layers", f"The head {config.head!r} reads every token, not one vector"),
        (bool(config.bag), "The bag of n-grams reads the tokens themselves"),
        (bool(config.character_bag), "The bag of n-grams reads the characters themselves"),
        (devices > 1, f"{devices} devices train together"),
        (
            not fits(config, segments),
            f"The vectors of {segments:,} segments would take more than {MOST_KEPT / 2**30:g} GiB",
        ),
    ]
    against = [reason for holds, reason in reasons if holds]
    if against:
        logger.warning(f"{against[0]}: the frozen encoder runs at every step.")
    return not against


def fits(config: Any, segments: int) -> bool:
    """Whether the vectors of so many segments may be kept."""
    width = pooled_width(config.pooling, config.backbone_config) if config.head == "layers" else 0
    return 4 * segments * width <= MOST_KEPT


def similar_batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """All rows in batches of similar length, the longest first, so that memory that suffices once suffices."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    return [order[first : first + size].tolist() for first in range(0, len(order), size)]


@torch.no_grad()
def pooled_vectors(detector: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the head is given of a batch, without the handcrafted features: shape (B, P).

    Args:
        detector: A `MvhForSequenceClassification` in eval mode.
        inputs: What its `forward` takes, features included.
    """
    seen: list[torch.Tensor] = []
    hook = detector.head.register_forward_pre_hook(lambda head, given: seen.append(given[0]))
    try:
        detector(**inputs)
    finally:
        hook.remove()
    return seen[0][:, : seen[0].shape[1] - len(detector.config.feature_names)]  # (B, P + F) -> (B, P)


@contextmanager
def looked_up(detector: Any, vectors: torch.Tensor) -> Iterator[None]:
    """Let a detector take row numbers (B, 1) for token ids, and its head be given those rows of `vectors` (N, P)."""

    def rows(input_ids: torch.Tensor, attention_mask: torch.Tensor, **named: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=vectors[input_ids])  # (B, 1) -> (B, 1, P)

    encoder, pool = detector.encoder, detector.pool
    encoder.forward = rows  # of this module alone; its class keeps its own
    pool.forward = lambda output, attention_mask: output.last_hidden_state[:, 0]  # (B, 1, P) -> (B, P)
    try:
        yield
    finally:
        del encoder.forward, pool.forward
