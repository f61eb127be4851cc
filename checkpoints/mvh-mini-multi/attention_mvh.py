"""Attention of BERT's kind of encoder in bfloat16 on a CPU: three plain steps that stay in its cache.

There PyTorch's `scaled_dot_product_attention` takes longer than a product, a softmax and a product over a few segments at
a time, whose scores fit into the cache. Most of a softmax is the search for the largest score of a row, which only keeps
exponentials from overflowing: without a graph it is left out, and done after all where sums show that they did. Everything
else (float32, other devices, dropout, compiled graphs, causal or grouped heads, biases) goes to transformers' own function, so
a backbone can be told of this one once and for all. MPNet, which has biases, takes the three steps in every number type
(`mpnet_mvh`).

Letters in shape comments: B segments, T tokens, A attention heads, D width of a head, b segments at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = f"{__name__}.attention"  # code that came with another checkpoint has another name
NO_MATTER = ("output_hidden_states",)  # what may be asked of the encoder and changes nothing in its attention
SUMS = (1e-30, 1e30)  # of a row's exponentials: between these none that counts is lost, and none has overflowed
SCORES_AT_ONCE = 2**20  # 2 MB in bfloat16: one segment of 256 tokens with its context and twelve heads


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As transformers' `sdpa_attention_forward`, which takes over where the three steps do not serve.

    Args:
        module: The attention module that asks.
        query: Shape (B, A, T, D).
        key: Shape (B, A, T, D).
        value: Shape (B, A, T, D).
        attention_mask: True where token i may attend to token j, shape (B, 1, T, T), or None where all may.
        dropout: Of the attention weights.
        scaling: What scores are multiplied with; 1 / sqrt(D) by default.
        **kwargs: Left to transformers where one of them says anything.

    Returns:
        The context, shape (B, T, A, D), and None.
    """
    if not serves(module, query, key, attention_mask, dropout, kwargs):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    biases = []
    if attention_mask is not None:  # added: filling by a mask that heads share takes three times as long
        bias = torch.zeros_like(attention_mask, dtype=query.dtype)  # (B, 1, T, T)
        biases = [bias.masked_fill_(~attention_mask, torch.finfo(query.dtype).min / 2)]  # half: a sum cannot overflow
    return three_steps(query, key, value, biases).transpose(1, 2), None


def three_steps(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, biases: Sequence[torch.Tensor]
) -> torch.Tensor:
    """A product, a softmax and a product, over a few segments at a time.

    Args:
        query: Scaled, shape (B, A, T, D).
        key: Shape (B, A, T, D).
        value: Shape (B, A, T, D).
        biases: What is added to the scores, in their number type: (B or 1, A or 1, T or 1, T) each.

    Returns:
        The context, shape (B, A, T, D).
    """
    batch, heads, tokens, _ = query.shape
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    # with a graph the scores are kept anyway, and one pass over all is quickest
    step = batch if torch.is_grad_enabled() else max(1, SCORES_AT_ONCE // (heads * tokens**2))
    contexts = []
    for first in range(0, batch, step):
        some = slice(first, first + step)
        q, k, v = (states[some].flatten(0, 1) for states in (query, key, value))  # (b * A, T, D)
        added = [bias[some] if len(bias) == batch else bias for bias in biases]
        context = softmax_product(partial(scores_of, q, k, added, heads), v)  # (b * A, T, D)
        contexts.append(context.unflatten(0, (-1, heads)))  # (b, A, T, D)
    return torch.cat(contexts)


def softmax_product(scores: Callable[[], torch.Tensor], value: torch.Tensor) -> torch.Tensor:
    """The softmax of scores times values.

    Args:
        scores: Makes the scores, shape (N, T, T), a second time where their exponentials overflow.
        value: Shape (N, T, D).

    Returns:
        Shape (N, T, D).
    """
    if not torch.is_grad_enabled() and value.dtype != torch.float16:  # whose small exponentials are coarse
        weights = scores().exp_()  # (N, T, T)
        sums = weights.sum(-1, keepdim=True, dtype=torch.float32)  # (N, T, 1)
        least, most = sums.aminmax()
        if SUMS[0] < least and most < SUMS[1]:
            return (torch.bmm(weights, value) / sums).to(value.dtype)
    return torch.bmm(scores().softmax(-1), value)


def scores_of(query: torch.Tensor, key: torch.Tensor, biases: Sequence[torch.Tensor], heads: int) -> torch.Tensor:
    """Products of queries and keys with the biases added, shape (b * A, T, T)."""
    scores = torch.bmm(query, key.transpose(1, 2))
    for bias in biases:
        scores.unflatten(0, (-1, heads)).add_(bias)
    return scores


def serves(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float,
    others: dict[str, Any],
) -> bool:
    """Whether the three steps compute what is asked for, and faster."""
    return (
        query.is_cpu
        and query.dtype == key.dtype == torch.bfloat16
        and query.shape == key.shape
        and dropout == 0.0
        and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
        and getattr(module, "is_causal", True) is False
        and (attention_mask is None or attention_mask.dtype == torch.bool)
        and all(value is None or value is False for name, value in others.items() if name not in NO_MATTER)
    )


def use_plain_attention(backbone: Any) -> None:
    """Let a backbone that runs on transformers' SDPA ask `attention` instead; others are left as they are."""
    if backbone.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        backbone.config._attn_implementation = NAME
