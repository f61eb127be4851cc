"""A model's twin for a CPU: the same weights, those of its linear layers laid out once for the processor.

By itself PyTorch multiplies float32 by MKL, which on some processors is half as fast as oneDNN; in bfloat16 autocast casts
the float32 weights anew in every batch, and `linear` copies the bias over its whole output before it multiplies. The twin
shares every parameter with its model but keeps a second copy of the encoder's linear layers, in float32 or bfloat16, in the
order that oneDNN multiplies them in, and hands the bias to the product itself, with the GELU that may follow: there it is
free, by itself it passes over the widest states. In bfloat16 hidden states are bfloat16 from the embeddings on; sums, norms'
statistics and the head stay in float32.

The product is a function of PyTorch that its compiler uses and its documentation does not name. Where it is missing or
does not multiply, a warning says so and the model itself computes, in bfloat16 under autocast.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

logger = logging.get_logger(__name__)

ROWS = 2_048  # rows of the input that the weights' order is chosen for: the tokens of a batch
ALLOWED = {torch.float32: (1e-4, 1e-4), torch.bfloat16: (0.05, 0.1)}  # relative and absolute errors of a product of 32


class PackedLinear(nn.Linear):
    """A linear layer with packed weights in one number type; `weight` stays the model's own."""

    packed: torch.Tensor
    packed_bias: torch.Tensor | None
    dtype: torch.dtype
    after: str = "none"  # or "gelu"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., inputs) -> (..., outputs) in the number type of the packed weights."""
        return product(x.to(self.dtype), self.packed, self.packed_bias, self.after)


def pack(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The weight (outputs, inputs) in a number type, in the order that `product` multiplies fastest."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype), ROWS)


def product(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None, after: str = "none") -> torch.Tensor:
    """X W^T + bias, or the exact GELU of it where `after` is "gelu": (..., inputs) -> (..., outputs)."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, after, [], "none" if after == "gelu" else "")


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether `pack` and `product` work on this machine, tried out on a small product; a warning says where not.

    A build without oneDNN, such as those for Apple's processors, multiplies float32 by a quick product of its own: no warning.
    """
    if dtype == torch.float32 and not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(size, generator=generator) for size in ((5, 32), (48, 32), (48,)))
    relative, absolute = ALLOWED[dtype]
    try:
        plain = nn.functional.linear(x, weight, bias)
        works = all(
            torch.allclose(
                product(x.to(dtype), pack(weight, dtype), bias.to(dtype), after).float(),
                right,
                rtol=relative,
                atol=absolute,
            )
            for after, right in (("none", plain), ("gelu", nn.functional.gelu(plain)))
        )
        reason = "gave other numbers"
    except Exception as error:  # whatever a build without it raises
        works, reason = False, f"failed ({type(error).__name__})"
    if not works:
        instead = "bfloat16 runs under autocast" if dtype == torch.bfloat16 else "float32 runs as the model is"
        logger.warning(
            f"PyTorch {torch.__version__} multiplies no packed {str(dtype).removeprefix('torch.')} weights here (a trial "
            f"{reason}): {instead}, somewhat slower."
        )
    return works


def state_of(model: Any) -> list[tuple[int, int]]:
    """What changes when a weight or module does: address and version of a weight, but for changes through `Tensor.data`."""
    weights = [(weight.data_ptr(), weight._version) for weight in model.parameters() if not weight.is_inference()]
    return weights + [(id(module), 0) for module in model.modules()]


def is_watched(model: Any) -> bool:
    """Whether something in a model asks that the model itself runs: hooks, or training mode with its dropout."""
    return any(module.training or module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def has_twin(model: Any, dtype: torch.dtype) -> bool:
    """Whether a twin of the model can be made: weights at hand on the CPU in float32, plain linear layers, a head on top."""
    names_and_weights = list(model.named_parameters())
    return (
        model.config.head == "layers"
        and all(w.is_cpu and w.dtype == torch.float32 and not w.is_inference() for _, w in names_and_weights)
        and not any("lora_" in name for name, _ in names_and_weights)  # adapters can change without their weights
        and not any(type(module).__module__.startswith("peft.") for module in model.modules())
        and not any(hasattr(module, "_hf_hook") for module in model.modules())  # weights fetched when needed
        and can_pack(dtype)
    )


def twin_of(model: Any, dtype: torch.dtype) -> Any:
    """The model's twin, in eval mode; call it without gradients, one in bfloat16 under autocast.

    Args:
        model: A `MvhForSequenceClassification` for which `has_twin` holds.
        dtype: Number type of the linear layers: float32 or bfloat16.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    with torch.inference_mode(False), torch.no_grad():
        twin = copy.deepcopy(model, shared).eval()
        for module in twin.encoder.modules():
            if type(module) is nn.Linear:
                use_packed_weight(module, dtype)
        for module in twin.encoder.modules():
            if followed_by_gelu(module):
                module.dense.after, module.intermediate_act_fn = "gelu", nn.Identity()
    if dtype == torch.bfloat16 and isinstance(embeddings := getattr(twin.encoder, "embeddings", None), nn.Module):
        embeddings.register_forward_hook(in_bfloat16)
    return twin


def use_packed_weight(layer: Any, dtype: torch.dtype) -> None:
    """Let a linear layer multiply with its weight, as it is now, packed in a number type."""
    layer.dtype, layer.packed = dtype, pack(layer.weight, dtype)
    layer.packed_bias = None if layer.bias is None else layer.bias.detach().to(dtype)
    layer.__class__ = PackedLinear


def followed_by_gelu(module: nn.Module) -> bool:
    """Whether a module is the first half of a feed-forward block as BERT and its kin have it, with the exact GELU."""
    layer, then = getattr(module, "dense", None), getattr(module, "intermediate_act_fn", None)
    return isinstance(layer, PackedLinear) and getattr(then, "act", None) is nn.functional.gelu


def in_bfloat16(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Hook: hidden states leave the embeddings in bfloat16."""
    return output.to(torch.bfloat16) if isinstance(output, torch.Tensor) else output


class Twins:
    """The twins of a detector's members, made when first asked for and made anew when weights or modules have changed.

    A copied or pickled pipeline makes its own: packed weights can be neither copied nor written.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, torch.dtype], tuple[list[tuple[int, int]], Any]] = {}

    def __reduce__(self) -> tuple[type[Twins], tuple[()]]:
        return Twins, ()

    def of(self, member: int, model: Any, dtype: torch.dtype) -> Any:
        """The twin of a member's model in a number type, or the model itself where it has none or is watched."""
        if is_watched(model):
            return model
        kept, state = self._kept.get((member, dtype)), state_of(model)
        if kept is None or kept[0] != state:
            kept = (state, twin_of(model, dtype) if has_twin(model, dtype) else model)
            self._kept[member, dtype] = kept  # two threads may both make one: they are equal
        return kept[1]
