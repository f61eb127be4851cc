"""Hidden states of a segment's tokens -> the one vector that the head reads.

"cls" is the first token's state in the last layer, "mean" the mean of that layer over the tokens. "statistics" takes mean and
standard deviation over the tokens of every layer, the embeddings among them (the statistics pooling of Snyder et al. 2018,
"X-vectors", there of one layer): the lower layers hold words and grammar, and a deviation says how much the tokens differ. The
vector is scaled by its mean and deviation over training segments as the untrained encoder makes them, so that at the start of
the training no layer counts more for the size of its states.

Letters in shape comments: B segments, T tokens, H hidden size, N layers with the embeddings, P width of the pooled vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

POOLINGS = ("cls", "mean", "statistics")
FARTHEST = 5.0  # deviations from the mean that are told apart: no number of a text may decide alone
WIDEST = 1 << 18  # of the pooled vector: DeBERTa-v2-xxlarge has 150,528 numbers


def pooled_width(pooling: str, backbone_config: Any) -> int:
    """P: how long the vector is that a head reads of this backbone.

    Raises:
        ValueError: If the statistics of every layer are wanted and the config names no sensible number of layers.
    """
    if pooling != "statistics":
        return backbone_config.hidden_size  # type: ignore[no-any-return]
    layers, hidden = (getattr(backbone_config, name, None) for name in ("num_hidden_layers", "hidden_size"))
    width = 2 * (layers + 1) * hidden if isinstance(layers, int) and isinstance(hidden, int) else 0
    if not 1 <= width <= WIDEST:
        raise ValueError(
            f"Pooling 'statistics' reads up to {WIDEST} numbers of a backbone, and num_hidden_layers {layers} with "
            f"hidden_size {hidden} gives {width}."
        )
    return width


class Pooling(nn.Module):
    """One of POOLINGS; "statistics" holds the scale of its vector, which no gradient changes (`fit_scale`).

    Args:
        pooling: One of POOLINGS.
        backbone_config: Config of the encoder.
    """

    def __init__(self, pooling: str, backbone_config: Any) -> None:
        super().__init__()
        self.pooling = pooling
        self.every_layer = pooling == "statistics"
        if self.every_layer:
            width = pooled_width(pooling, backbone_config)
            self.mean = nn.Parameter(torch.zeros(width), requires_grad=False)
            self.std = nn.Parameter(torch.ones(width), requires_grad=False)

    def forward(self, output: Any, attention_mask: torch.Tensor) -> torch.Tensor:
        """An encoder's output, with `hidden_states` where `every_layer`, and the mask (B, T) -> (B, P)."""
        if self.pooling == "cls":
            return output.last_hidden_state[:, 0]
        if not self.every_layer:
            return token_mean(output.last_hidden_state.float(), attention_mask)
        scaled = (self.unscaled(output, attention_mask) - self.mean.float()) / self.std.float()
        return scaled.clamp(-FARTHEST, FARTHEST)

    def unscaled(self, output: Any, attention_mask: torch.Tensor) -> torch.Tensor:
        """The statistics (B, P) of an encoder's output.

        Raises:
            ValueError: If the encoder has given other layers than its config says.
        """
        layers = getattr(output, "hidden_states", None) or ()
        whole = [states for states in layers if states.shape[:2] == attention_mask.shape]  # some encoders shorten texts
        width = sum(2 * states.shape[-1] for states in whole)
        if width != len(self.mean):
            raise ValueError(
                f"Pooling 'statistics' expects {len(self.mean)} numbers of all layers, and this encoder's "
                f"hidden states give {width}; choose 'mean' or 'cls'."
            )
        return statistics(whole, attention_mask)

    def fit_scale(self, vectors: torch.Tensor) -> None:
        """Scale by these segments: what `unscaled` gives, (segments, P), becomes 0 in the mean with deviation 1."""
        self.mean.data = vectors.mean(0)
        self.std.data = vectors.std(0, correction=0).clamp(min=1e-3)  # an all but constant one stays small


def token_mean(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """(B, T, H) and (B, T) -> (B, H): the mean over the tokens that are no padding."""
    mask = attention_mask.unsqueeze(-1).to(states.dtype)  # (B, T, 1)
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1)


def statistics(layers: Sequence[torch.Tensor], attention_mask: torch.Tensor) -> torch.Tensor:
    """N tensors (B, T, H) -> (B, P): mean and standard deviation over the tokens of each, in float32."""
    graph = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing()
    if attention_mask.is_cpu and not graph:
        return torch.cat([by_segment(states, attention_mask) for states in layers], dim=-1)
    parts = []
    for states in layers:
        mean = token_mean(states.float(), attention_mask)  # (B, H)
        variance = token_mean((states.float() - mean.unsqueeze(1)).square(), attention_mask)  # (B, H)
        parts += [mean, (variance + 1e-6).sqrt()]  # no infinite slope where a text has one token
    return torch.cat(parts, dim=-1)


def by_segment(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """(B, T, H) -> (B, 2 H): as `statistics`, one segment at a time, so that its states stay in a CPU's cache."""
    rows = []
    for segment, kept in zip(states, attention_mask.bool(), strict=True):  # (T, H), (T,)
        own = (segment if bool(kept.all()) else segment[kept]).to(torch.float32, copy=True)  # (n, H)
        count = max(1, len(own))
        mean = own.sum(0) / count  # (H,)
        variance = own.sub_(mean).square_().sum(0) / count  # (H,)
        rows.append(torch.cat([mean, (variance + 1e-6).sqrt()]))
    return torch.stack(rows)
