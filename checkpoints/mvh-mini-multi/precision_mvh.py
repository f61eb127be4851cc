"""Which number type a call computes in: what "auto" precision means for a detector on this machine.

A detector is calibrated in float32. bfloat16 is about twice as fast where the processor has it, and stands in for float32
by default only where it was measured that verdicts stay: the calibration then carries a record under "parity", written by
`python -m mvh.benchmarks.parity --keep`, of how often the label of human and machine documents was the same in both.
"""

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


def chosen_precision(precision: str, device: str, proven: bool) -> str:
    """The precision as given; for "auto" bfloat16 where it is proven for the detector and the device has it, else float32.

    Args:
        precision: "auto", "float32" or "bfloat16".
        device: Type of a torch device.
        proven: Whether the detector's verdicts are known to stay, see `identity_mvh.keeps_verdicts`.
    """
    if precision != AUTO:
        return precision
    return "bfloat16" if proven and has_bfloat16(device) else "float32"
