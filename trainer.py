"""The Trainer bent to the article's training: frozen epochs, milestones in epochs, batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR
from transformers import Trainer, TrainerCallback


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


class LengthBatches(torch.utils.data.Sampler[int]):
    """Rows in an order whose consecutive batches hold segments of similar length, the batches themselves shuffled.

    The order depends on seed and epoch alone, so a resumed run and every process of a distributed one see the same.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer's data loader at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        shuffled = rng.permutation(len(self.lengths))
        pools = np.split(shuffled, range(50 * self.batch_size, len(shuffled), 50 * self.batch_size))
        ordered = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        whole = len(ordered) // self.batch_size * self.batch_size
        batches = rng.permutation(ordered[:whole].reshape(-1, self.batch_size))
        yield from np.concatenate([batches.ravel(), ordered[whole:]]).tolist()


class MvhTrainer(Trainer):
    """Trainer with learning-rate milestones in epochs and evaluation in the order of the dataset."""

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        """MultiStepLR whose milestones are epochs (the Trainer steps the scheduler once per optimizer step)."""
        if not self.args.lr_milestones:
            return super().create_scheduler(num_training_steps, optimizer)
        if getattr(self, "lr_scheduler", None) is None:
            steps_per_epoch = num_training_steps / self.args.num_train_epochs
            milestones = [round(epoch * steps_per_epoch) for epoch in self.args.lr_milestones]
            self.lr_scheduler = MultiStepLR(optimizer or self.optimizer, milestones, gamma=self.args.lr_gamma)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: datasets.Dataset | None = None) -> torch.utils.data.Sampler | None:
        """Our own length-grouped batches.

        Those of transformers come from the global generator, which a resume or a second process finds in another state.
        """
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        lengths = self.train_dataset["length"]  # the copy given here has lost its unused columns
        return LengthBatches(lengths, self.args.train_batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: datasets.Dataset) -> torch.utils.data.Sampler:
        """Rows in their order: document metrics need it (the dataset was sorted by length beforehand)."""
        return torch.utils.data.SequentialSampler(eval_dataset)
