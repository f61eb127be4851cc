"""MPNet's attention, the same numbers with less work: all-mpnet-base-v2 and its kin run on it by default.

To every score MPNet adds a number for the distance of its two tokens and the head (Song et al. 2020, "MPNet", as in Raffel et
al. 2020, "T5", section 2.1). transformers copies these numbers for every segment of a batch and then takes each step over the
scores of all segments, which do not fit into a cache. Here a batch shares one table, and on a CPU a few segments are scored at
a time; elsewhere the table is the bias of `scaled_dot_product_attention`.

Letters in shape comments: B segments, T tokens, A attention heads, D width of a head.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder, MPNetSelfAttention
from transformers.utils import logging

from .attention_mvh import three_steps

logger = logging.get_logger(__name__)

ASKED_WITH = ("hidden_states", "attention_mask", "position_bias", "output_attentions")


class FastMPNetEncoder(MPNetEncoder):
    """transformers' module with one table of distances for a whole batch."""

    def compute_position_bias(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Hidden states (B, T, A * D) -> what each head adds to the score of tokens i and j, shape (1, A, T, T)."""
        return super().compute_position_bias(x[:1], *args, **kwargs)


class FastMPNetSelfAttention(MPNetSelfAttention):
    """transformers' module with another `forward`; parameters and their names are the same."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, ...]:
        """As transformers' own forward, which takes over for graphs, attention weights and dropout.

        Args:
            hidden_states: Shape (B, T, A * D).
            attention_mask: What is added to all scores of a token, 0 or a very low number, shape (B, 1, 1 or T, T).
            position_bias: What is added for the distance of two tokens, shape (1, A, T, T).
            output_attentions: Left to transformers: attention weights are never kept here.
            **kwargs: As transformers has them, unused.

        Returns:
            The states after the output projection, shape (B, T, A * D), alone in a tuple.
        """
        graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
        dropout = self.dropout.p if self.training else 0.0
        if graph or output_attentions or dropout or position_bias is None or len(position_bias) != 1:
            return super().forward(hidden_states, attention_mask, position_bias, output_attentions, **kwargs)
        query, key, value = (
            project(hidden_states).unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)  # (B, A, T, D)
            for project in (self.q, self.k, self.v)
        )
        biases = [position_bias.to(query.dtype)]
        if attention_mask is not None and not (attention_mask.is_cpu and not attention_mask.any()):
            # half of the smallest number hides as well as the smallest, and a sum with it cannot overflow
            biases.append(attention_mask.clamp(min=torch.finfo(query.dtype).min / 2).to(query.dtype))
        if query.is_cpu:
            context = three_steps(query * self.attention_head_size**-0.5, key, value, biases)
        else:
            context = nn.functional.scaled_dot_product_attention(query, key, value, sum(biases[1:], biases[0]))
        return (self.o(context.transpose(1, 2).flatten(2)),)  # (B, A, T, D) -> (B, T, A * D)


def use_shared_distances(backbone: nn.Module) -> None:
    """Let every MPNet encoder in a backbone compute as above; other backbones are left as they are.

    Weights stay in place under their names, so checkpoints load in both directions.
    """
    if not set(ASKED_WITH) <= set(inspect.signature(MPNetSelfAttention.forward).parameters):
        logger.warning_once(
            f"The fast MPNet attention expects to be asked with {', '.join(ASKED_WITH)}, and this version of transformers "
            "asks otherwise: transformers' own is used."
        )
        return
    for module in backbone.modules():
        if type(module) is MPNetEncoder:
            module.__class__ = FastMPNetEncoder
        elif type(module) is MPNetSelfAttention:
            module.__class__ = FastMPNetSelfAttention
