"""The Trainer bent to the article's training: frozen epochs without the encoder, milestones, batches of similar length."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from safetensors import SafetensorError
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR
from transformers import Trainer
from transformers.trainer_utils import rotate_checkpoints

from mvh.auxiliary import AUXILIARY, auxiliary_loss
from mvh.freeing import FreeMemory
from mvh.frozen import can_keep, fits, looked_up, pooled_vectors, similar_batches

ROW = "row"  # a segment's number, which goes on from the training set to the one that is evaluated
NOT_FOR_ENCODER = (ROW, AUXILIARY, "labels")


def numbered(segments: datasets.Dataset, first: int) -> datasets.Dataset:
    """Segments with their numbers, from `first` on, in a column."""
    return segments.add_column(ROW, np.arange(first, first + len(segments)))


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


class SteadyTrainer(Trainer):
    """Batches of similar length, freed memory given back, and a run that can be killed at any moment and go on."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.add_callback(FreeMemory())

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """As in transformers; where it fails, what was begun goes and a sentence says what is left.

        Older checkpoints go by their step: transformers goes by file times, and clocks jump.

        Raises:
            OSError: If the checkpoint cannot be written; torch and safetensors tell of it each in a way of its own.
        """
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            out = Path(self.args.output_dir)
            shutil.rmtree(out / f"checkpoint-{self.state.global_step}", ignore_errors=True)
            free = shutil.disk_usage(out).free / 2**20
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]  # the former without paths
            raise OSError(
                f"The checkpoint of step {self.state.global_step} cannot be written to {out}, where {free:,.0f} MB are "
                f"free: {reason}. Earlier checkpoints are whole; the same command goes on from the last of them."
            ) from error
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            rotate_checkpoints(self.args.output_dir, limit, self.state.best_model_checkpoint)

    def _get_train_sampler(self, train_dataset: datasets.Dataset | None = None) -> torch.utils.data.Sampler | None:
        """Our own length-grouped batches.

        Those of transformers come from the global generator, which a resume or a second process finds in another state.
        """
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        lengths = self.train_dataset["length"]  # the copy given here has lost its unused columns
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return LengthBatches(lengths, self.args.train_batch_size, seed)


class MvhTrainer(SteadyTrainer):
    """Milestones in epochs, evaluation in the dataset's order, auxiliary tasks, and frozen epochs without the encoder."""

    def __init__(self, *given: Any, auxiliary_weight: float = 0.0, **named: Any) -> None:
        super().__init__(*given, **named)
        self.auxiliary_weight = auxiliary_weight
        self.kept: dict[int, torch.Tensor] = {}  # a set's first row -> (N, P), what the frozen encoder makes of the set
        learnt, evaluated = named["train_dataset"], named.get("eval_dataset")
        if can_keep(self.args, self.model.config, len(learnt)):
            self.train_dataset = numbered(learnt, 0)
            if evaluated is not None and fits(self.model.config, len(learnt) + len(evaluated)):
                self.eval_dataset = numbered(evaluated, len(learnt))

    def train(self, *given: Any, **named: Any) -> Any:
        """As in transformers. Nothing is frozen or kept afterwards: the weights may be those of an earlier epoch."""
        self.kept.clear()
        try:
            return super().train(*given, **named)
        finally:
            self.kept.clear()
            self.accelerator.unwrap_model(self.model).freeze_encoder(False)

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """As in transformers; while the encoder is frozen, its vectors are looked up, see mvh.frozen."""
        with self._looked_up(model, inputs) as given:
            return super().training_step(model, given, num_items_in_batch)

    def prediction_step(self, model: torch.nn.Module, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        """As in transformers; while the encoder is frozen, its vectors are looked up, see mvh.frozen."""
        with self._looked_up(model, inputs) as looked:
            return super().prediction_step(model, looked, *given, **named)

    @contextmanager
    def _looked_up(self, model: torch.nn.Module, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A batch for the model; while the encoder is frozen, one of row numbers, where the batch has them."""
        rows = inputs.get(ROW)  # (B,)
        rest = {name: value for name, value in inputs.items() if name != ROW}
        detector = self.accelerator.unwrap_model(model)
        if not detector.encoder_frozen:
            self.kept.clear()
        if rows is None or not detector.encoder_frozen:
            yield rest
            return
        learnt = len(self.train_dataset)
        first, segments = (0, self.train_dataset) if rows[0] < learnt else (learnt, self.eval_dataset)
        if first not in self.kept:
            self.kept[first] = self._encode(detector, segments)
        ids = (rows - first)[:, None]  # (B, 1)
        with looked_up(detector, self.kept[first]):
            yield rest | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """As in transformers, and while the model trains the loss of the auxiliary tasks, see mvh.auxiliary."""
        classes = inputs.pop(AUXILIARY, None)  # (B, K)
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if classes is not None and model.training:
            loss = loss + self.auxiliary_weight * auxiliary_loss(outputs.auxiliary_logits, classes)
        return (loss, outputs) if return_outputs else loss

    def _encode(self, detector: Any, segments: datasets.Dataset) -> torch.Tensor:
        """The frozen encoder's vectors of all segments, shape (N, P); draws no random number."""
        detector.eval()
        lengths = segments["length"]
        vectors = torch.empty(0)
        for rows in similar_batches(lengths, self.args.eval_batch_size):
            batch = self._prepare_inputs(self.data_collator([segments[row] for row in rows]))
            with self.accelerator.autocast():
                found = pooled_vectors(detector, {k: v for k, v in batch.items() if k not in NOT_FOR_ENCODER})  # (B, P)
            if not len(vectors):
                vectors = found.new_empty(len(lengths), found.shape[1])  # (N, P)
            vectors[rows] = found
        return vectors

    def evaluate(self, *given: Any, **named: Any) -> Any:
        """As in transformers, but no random number is used up: a run that goes on from just before it has none to miss."""
        with torch.random.fork_rng(devices=[]):
            return super().evaluate(*given, **named)

    def _set_signature_columns_if_needed(self) -> None:
        """The columns that are kept for a batch: what `forward` takes, the row's number, the classes of auxiliary tasks."""
        super()._set_signature_columns_if_needed()
        if ROW not in self._signature_columns:
            self._signature_columns += [ROW, AUXILIARY]

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

    def _get_eval_sampler(self, eval_dataset: datasets.Dataset) -> torch.utils.data.Sampler:
        """Rows in their order: document metrics need it (the dataset was sorted by length beforehand)."""
        return torch.utils.data.SequentialSampler(eval_dataset)
