"""Freed memory goes back to the system while a detector is trained on a CPU.

glibc keeps what a batch has freed for the next one, in pieces of that batch's sizes. Batches of segments have hundreds of
shapes, so what is kept grows to several times what a step needs.
"""

from __future__ import annotations

import ctypes
from typing import Any

from transformers import TrainerCallback

EVERY = 100  # steps: a call takes time, and the pages must be asked for again


class FreeMemory(TrainerCallback):
    """Give freed memory back every hundred steps of a training on a CPU."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the Trainer."""
        if state.global_step % EVERY == 0 and args.device.type == "cpu":
            give_back()


def give_back() -> bool:
    """Give freed memory of this process back to the system. Returns whether there was a way: only glibc has one."""
    try:
        trim = ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return False
    return bool(trim(0))
