"""Weights -> the number types they are stored in, and back from a folder: float32, float16, bfloat16, or a byte each.

"float8_e4m3fn" (1 sign, 4 exponent and 3 mantissa bits; Micikevicius et al. 2022, arXiv 2209.05433) keeps large matrices in a
byte a weight, which moves each by at most a sixteenth or, where that is more, 2^-10, and all else in float16. transformers
loads any of them as float32, so a folder needs no code for it. A calibration has to be made of the weights as they are
stored.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from mvh.recipe import STORE_DTYPES

BYTE = "float8_e4m3fn"
LARGE = 1 << 15  # numbers of a matrix; smaller ones together are less than a hundredth of a model
NAMES = {"F16": "float16", "BF16": "bfloat16", "F8_E4M3": BYTE}  # of number types in a safetensors file


def kind_of(value: torch.Tensor, store_dtype: str) -> torch.dtype:
    """The number type in which one weight is stored.

    Raises:
        ValueError: If `store_dtype` is unknown.
    """
    if store_dtype not in STORE_DTYPES:
        raise ValueError(f"store_dtype must be one of {STORE_DTYPES}, got {store_dtype!r}.")
    if store_dtype == BYTE and (value.ndim != 2 or value.numel() < LARGE):
        return torch.float16
    return getattr(torch, store_dtype)  # type: ignore[no-any-return]


def cast(model: nn.Module, store_dtype: str) -> None:
    """Round the weights of a model to the number types in which they will be stored, in place.

    Raises:
        ValueError: If `store_dtype` is unknown, or a weight would not be finite; then nothing was changed.
    """
    weights = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    largest = {name: torch.finfo(kind_of(value, store_dtype)).max for name, value in weights.items()}
    # asked before it is done: numbers beyond the largest of a byte become that number without a word
    if bad := [name for name, value in weights.items() if not (value.abs() <= largest[name]).all()]:
        raise ValueError(
            f"{len(bad)} weights are not finite in {store_dtype}, among them {bad[0]}: this model cannot be exported."
        )
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(kind_of(tensor, store_dtype))


def stored_dtype(folder: Path) -> str:
    """The `store_dtype` of a checkpoint's weights; float32 where it is none of ours."""
    with safe_open(min(folder.glob("*.safetensors")), framework="pt") as weights:
        kinds = {NAMES.get(weights.get_slice(key).get_dtype(), "float32") for key in weights.keys()}  # noqa: SIM118  no mapping
    if kinds <= {BYTE, "float16"} and BYTE in kinds:
        return BYTE
    return kinds.pop() if len(kinds) == 1 else "float32"
