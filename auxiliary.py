"""Auxiliary tasks: what the head learns to tell beside the two labels, such as a text's source, and forgets after the training.

For each task a linear layer sits beside the head's last one and reads the same vector, so that vector must also hold what the
task asks for. The layers belong to the training alone: its checkpoints hold them, the exported detector does not.

Source: German Gritsai, Anastasia Voznyuk, Ildar Khabutdinov, Andrey Grabovoy, "Advacheck at GenAI Detection Task 1: AI
Detection Powered by Domain-Aware Multi-Tasking" (GenAIDetect 2025), whose tasks are the domains of each collection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

AUXILIARY = "auxiliary"  # column of the training set: each task's class; the model's module; the batch's entry

# task -> column of the segments, and what counts of its values
COLUMNS: dict[str, tuple[str, Callable[[str], str]]] = {
    "source": ("source", str),
    "generator": ("model", lambda name: name.partition("+")[0]),  # "GPT-4o+perturbation" was written by GPT-4o
    "language": ("lang", str),
}


@dataclass
class OutputWithTasks(SequenceClassifierOutput):
    """What a detector in training returns: logits of shape (B, classes) for each task beside its own."""

    auxiliary_logits: tuple[torch.Tensor, ...] | None = None


def check_tasks(tasks: Sequence[str], weight: float) -> None:
    """Refuse what cannot be trained.

    Raises:
        ValueError: If a task is unknown or named twice, or the weight is negative or no number.
    """
    if unknown := [task for task in tasks if task not in COLUMNS]:
        raise ValueError(f"auxiliary_tasks are among {sorted(COLUMNS)}, and {unknown[0]!r} is none of them.")
    if len(set(tasks)) < len(tasks):
        raise ValueError(f"auxiliary_tasks name each task once, and they are {list(tasks)}.")
    if not 0 <= weight < math.inf:
        raise ValueError(f"auxiliary_weight must be a number from 0 up, got {weight}.")


def task_classes(segments: datasets.Dataset, tasks: Sequence[str]) -> tuple[list[list[int]], list[int]]:
    """Number the classes of each task, and the segments by them.

    Args:
        segments: Of role "train".
        tasks: K names of COLUMNS.

    Returns:
        For each segment its K class numbers, and how many classes each task has.

    Raises:
        ValueError: If a task has one class only: there is nothing to learn.
    """
    columns, sizes = [], []
    for task in tasks:
        column, read = COLUMNS[task]
        values = [read(value) for value in segments[column]]
        numbers = {value: number for number, value in enumerate(sorted(set(values)))}
        if len(numbers) < 2:
            raise ValueError(
                f"The auxiliary task {task!r} needs two classes or more, and every training text has {values[0]!r}."
            )
        columns.append([numbers[value] for value in values])
        sizes.append(len(numbers))
    return [list(classes) for classes in zip(*columns, strict=True)], sizes


class AuxiliaryHeads(nn.Module):
    """One linear layer for each task, and the hooks that give a detector in training their logits to return.

    The logits are made inside the detector's own call, so that several processes that train together see which weights a
    batch has used.
    """

    def __init__(self, detector: Any, sizes: Sequence[int]) -> None:
        """Join a detector with a head of layers.

        Args:
            detector: A `MvhForSequenceClassification`; it gets this module under the name "auxiliary".
            sizes: Number of classes of each task.
        """
        super().__init__()
        last = detector.head.out
        self.tasks = nn.ModuleList(nn.Linear(last.in_features, size) for size in sizes)
        self.read: list[torch.Tensor] = []  # (B, H), what the head's last layer was given, until the call ends
        self.hooks = [last.register_forward_pre_hook(self._listen), detector.register_forward_hook(self._add_logits)]
        setattr(detector, AUXILIARY, self)

    def leave(self, detector: Any) -> None:
        """Leave the detector as it was before, its head's weights apart."""
        for hook in self.hooks:
            hook.remove()
        delattr(detector, AUXILIARY)

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, H) -> (B, classes) for each task, in the number type of the weights like the head's own logits."""
        with torch.autocast(vectors.device.type, enabled=False):
            return tuple(task(vectors) for task in self.tasks)

    def _listen(self, layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if self.training:
            self.read[:] = [given[0]]

    def _add_logits(
        self, detector: nn.Module, given: Any, output: SequenceClassifierOutput
    ) -> SequenceClassifierOutput:
        if not self.training:
            return output
        return OutputWithTasks(**output, auxiliary_logits=self(self.read.pop()))


def auxiliary_loss(logits: Sequence[torch.Tensor], classes: torch.Tensor) -> torch.Tensor:
    """The sum of the tasks' cross-entropies.

    Args:
        logits: Of each of the K tasks, shape (B, classes).
        classes: Class numbers, shape (B, K).
    """
    losses = [nn.functional.cross_entropy(one, classes[:, task]) for task, one in enumerate(logits)]
    return torch.stack(losses).sum()
