"""Which number type a call computes in: what "auto" means on this machine."""

from __future__ import annotations

from functools import cache

import torch

AUTO = "auto"


@cache
def has_bfloat16(device: str) -> bool:
    """Whether a kind of device multiplies matrices of bfloat16 by itself; elsewhere it is imitated, and slow.

    Args:
        device: Type of a torch device.
    """
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    # torch tells of these by private functions only; where one is gone, the answer is no
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in asked)


def chosen_precision(precision: str, device: str) -> str:
    """The precision as given; for "auto" bfloat16 where the device has it, else float32."""
    if precision != AUTO:
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"
