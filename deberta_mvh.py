"""DeBERTa-v2's disentangled attention, the same numbers with less work: mDeBERTa-v3 runs on it by default.

A score is the sum of three products: content to content, content to position and position to content (He et al. 2021,
"DeBERTa", eq. 4). transformers multiplies every query and every key with the whole position table and gathers what it
needs by index, once for each layer. Four things are done differently here:

- The distances i - j within a block of b tokens take fewer than T + b values. Only their rows of the table are
  multiplied, laid out by distance; each row of the product, shifted by its place in the block, is a row of the scores
  ("relative shift", Dai et al. 2019, "Transformer-XL", appendix B): a view instead of a gather.
- The position scores become the additive bias of `scaled_dot_product_attention`, which does the rest.
- On a CPU a few heads are scored at a time, so that their scores stay in its cache.
- On a CPU in eval mode the projected table, which depends on weights alone, is kept between calls.

Letters in shape comments: B segments, T tokens, A attention heads, D width of a head, P rows of the position table, N
blocks, b tokens of a block, W = N * b + b columns of a block's product.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention
from transformers.utils import logging

from .packed_mvh import PackedLinear

logger = logging.get_logger(__name__)

BLOCK = 64  # tokens: larger blocks multiply more distances than needed, smaller ones make inefficient products
SCORES_AT_ONCE = 2**20  # on a CPU: 4 MB in float32


class FastDisentangledSelfAttention(DisentangledSelfAttention):
    """transformers' module with another `forward`; parameters and their names are the same."""

    _kept: tuple[list, torch.Tensor, dict[str, torch.Tensor]] | None = None  # what tables depend on, and the tables

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor,
        output_attentions: bool = False,
        query_states: torch.Tensor | None = None,
        relative_pos: torch.Tensor | None = None,
        rel_embeddings: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As transformers' own forward, which takes over where this one does not serve; graphs are always its own.

        Args:
            hidden_states: Shape (B, T, A * D).
            attention_mask: True or 1 where token i may attend to token j, shape (B, 1, T, T).
            output_attentions: Left to transformers: attention weights are never formed here.
            query_states: Left to transformers: queries of their own are for pretraining.
            relative_pos: Buckets of the distances, a function of i - j alone; shape (1, T, T).
            rel_embeddings: The position table before its projections, shape (P, A * D).

        Returns:
            The context, shape (B, T, A * D), and None.
        """
        graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if graph or output_attentions or query_states is not None or relative_pos is None or rel_embeddings is None:
            if not graph:  # which cannot warn
                logger.warning_once(
                    "The fast DeBERTa attention forms no output_attentions and needs its usual inputs: transformers' own "
                    "attention is used for this call."
                )
            return super().forward(
                hidden_states, attention_mask, output_attentions, query_states, relative_pos, rel_embeddings
            )
        query, key, value = (
            self._split_heads(project(hidden_states)).transpose(1, 2)  # (B, A, T, D)
            for project in (self.query_proj, self.key_proj, self.value_proj)
        )
        batch, heads, tokens, _ = query.shape
        # the table's row for each distance i - j = 1 - T ... T - 1, read off transformers' first row and first column
        distances = torch.cat([relative_pos[0, 0].flip(0), relative_pos[0, 1:, 0]]).long()  # (2T - 1,)
        rows = (distances + self.pos_ebd_size).clamp(0, 2 * self.pos_ebd_size - 1)
        tables = {
            kind: rows_by_block(table, rows.flip(0) if kind == "c2p" else rows)  # (A, N, W, D)
            for kind, table in self._position_tables(rel_embeddings).items()
        }
        hidden = ~attention_mask.bool()  # (B, 1, T, T)
        any_hidden = not hidden.is_cpu or bool(hidden.any())  # looking saves a CPU a pass; a GPU would have to wait
        groups = min(heads, math.ceil(batch * heads * tokens**2 / SCORES_AT_ONCE)) if hidden.is_cpu else 1
        size = math.ceil(heads / groups)
        dropout = self.dropout.p if self.training else 0.0
        contexts = []
        for first in range(0, heads, size):
            some = slice(first, first + size)
            bias = position_scores(query[:, some], key[:, some], {kind: t[some] for kind, t in tables.items()})
            if any_hidden:  # half of the smallest number: hides as well as transformers' smallest, and cannot overflow
                bias = bias.masked_fill_(hidden, torch.finfo(bias.dtype).min / 2)
            contexts.append(attend(query[:, some], key[:, some], value[:, some], bias, self._scale(), dropout))
        return torch.cat(contexts, 1).transpose(1, 2).flatten(2), None  # (B, T, A * D)

    def train(self, mode: bool = True) -> FastDisentangledSelfAttention:
        """Set training mode and forget the kept tables."""
        self._kept = None
        return super().train(mode)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> FastDisentangledSelfAttention:
        """Move or cast the weights and forget the kept tables."""
        self._kept = None
        return super()._apply(fn, recurse)

    def _split_heads(self, states: torch.Tensor) -> torch.Tensor:
        """(..., A * D) -> (..., A, D)."""
        return states.unflatten(-1, (self.num_attention_heads, -1))

    def _scale(self) -> float:
        """What scores are multiplied with: 1 / sqrt(D * how many products are summed)."""
        return 1 / math.sqrt(self.attention_head_size * (1 + len(self._position_projections())))

    def _position_projections(self) -> dict[str, nn.Module]:
        """What makes the position table keys of queries ("c2p") and queries of keys ("p2c")."""
        if self.share_att_key:
            names = {"c2p": "key_proj", "p2c": "query_proj"}
        else:
            names = {"c2p": "pos_key_proj", "p2c": "pos_query_proj"}
        return {kind: getattr(self, name) for kind, name in names.items() if kind in self.pos_att_type}

    def _position_tables(self, rel_embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
        """The position table projected and scaled for each kind of product, each (A, P, D).

        Kept between calls on a CPU in eval mode, as long as the table and the weights are those of the last call. Weights
        are recognised by address and version, which every change moves except one through `Tensor.data`; `train()`,
        `eval()`, moving and casting also forget. LoRA's projections can change without either, so theirs are not kept.
        """
        projections = self._position_projections()
        weights = [weight for project in projections.values() for weight in project.parameters()]
        keep = (
            rel_embeddings.is_cpu
            and not self.training
            and all(type(project) in (nn.Linear, PackedLinear) for project in projections.values())
            and not any(weight.is_inference() for weight in weights)
            and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (rel_embeddings, *weights)))
        )
        state: list = [(weight.data_ptr(), weight._version) for weight in weights] if keep else []
        state += [torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.is_inference_mode_enabled()]
        if keep and self._kept is not None and self._kept[0] == state and torch.equal(self._kept[1], rel_embeddings):
            return self._kept[2]
        embeddings = self.pos_dropout(rel_embeddings)[: 2 * self.pos_ebd_size]  # (P, A * D)
        tables = {
            kind: self._split_heads(project(embeddings) * self._scale()).transpose(0, 1)
            for kind, project in projections.items()
        }
        self._kept = (state, rel_embeddings.clone(), tables) if keep else None
        return tables


def rows_by_block(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """What each block of tokens is multiplied with: the table's rows by distance, for `relative_product`.

    Args:
        table: Shape (A, P, D).
        rows: Row of the table for each distance n - m from 1 - T to T - 1, shape (2T - 1,).

    Returns:
        Shape (A, N, W, D): in the block that begins with token s, column c is for n - m = c - (b - 1) - s.
    """
    tokens = (len(rows) + 1) // 2
    blocks, block = block_sizes(tokens)
    starts = block * torch.arange(blocks, device=rows.device)  # (N,)
    distances = torch.arange(blocks * block + block, device=rows.device) - (block - 1) - starts.unsqueeze(1)  # (N, W)
    return table[:, rows[(distances + tokens - 1).clamp(0, 2 * tokens - 2)]]  # clamped are distances of no token


def block_sizes(tokens: int) -> tuple[int, int]:
    """How many blocks (N), and of how many tokens (b): nearly equal ones, at least 2, so that a row can be shifted."""
    blocks = math.ceil(tokens / BLOCK)
    return blocks, max(2, math.ceil(tokens / blocks))


def relative_product(states: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Product of every token m with the table's row for the distance n - m, for all n.

    Args:
        states: Shape (B, A, T, D).
        table: As `rows_by_block` makes it, shape (A, N, W, D).

    Returns:
        Shape (B, A, N, b, N * b): token m as block and place, by token n. Both are filled up to whole blocks.
    """
    batch, heads, tokens, _ = states.shape
    blocks, block = block_sizes(tokens)
    whole = blocks * block
    filled = nn.functional.pad(states, (0, 0, 0, whole - tokens)).unflatten(2, (blocks, block))  # (B, A, N, b, D)
    by_block = filled.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1, 2)  # (A * N, B * b, D)
    product = torch.bmm(by_block, table.flatten(0, 1).transpose(1, 2))  # (A * N, B * b, W)
    # the token at place r of its block meets n = 0 in column b - 1 - r. Of the block's b * W numbers, those from b - 1
    # on are read in rows of W - 1: then every row begins with n = 0
    flat = product.reshape(heads, blocks, batch, block * (whole + block))
    shifted = flat[..., block - 1 : -1].unflatten(-1, (block, whole + block - 1))[..., :whole]  # (A, N, B, b, N * b)
    return shifted.permute(2, 0, 1, 3, 4)


def position_scores(query: torch.Tensor, key: torch.Tensor, tables: dict[str, torch.Tensor]) -> torch.Tensor:
    """Content-to-position plus position-to-content scores of query i and key j.

    Args:
        query: Shape (B, A, T, D).
        key: Shape (B, A, T, D).
        tables: As `rows_by_block` makes them of the position table, shape (A, N, W, D) each: as keys by falling distance
            i - j ("c2p"), and as queries by rising distance ("p2c"), or one of them.

    Returns:
        Scores, shape (B, A, T, T).
    """
    tokens = query.shape[2]
    parts = []
    if "p2c" in tables:
        by_key = relative_product(key, tables["p2c"])  # [..., block of j, place of j, i]
        parts.append(by_key.permute(0, 1, 4, 2, 3).flatten(3).unflatten(2, by_key.shape[2:4]))  # turned by a copy
    if "c2p" in tables:
        parts.append(relative_product(query, tables["c2p"]))  # [..., block of i, place of i, j]
    return sum(parts[1:], parts[0]).flatten(2, 3)[:, :, :tokens, :tokens]


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, scale: float, dropout: float
) -> torch.Tensor:
    """Attention with an additive bias: (B, A, T, D) three times and (B, A, T, T) -> (B, A, T, D)."""
    if query.is_cpu and query.dtype == torch.bfloat16:  # where PyTorch's kernel is slower than three plain steps
        shape = query.shape[:2]
        query, key, value, bias = (states.flatten(0, 1) for states in (query, key, value, bias))  # (B * A, T, ...)
        scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale)  # (B * A, T, T)
        weights = nn.functional.dropout(scores.softmax(-1), dropout, training=dropout > 0)
        return torch.bmm(weights, value).unflatten(0, shape)
    return nn.functional.scaled_dot_product_attention(query, key, value, bias, dropout, scale=scale)


def use_fast_attention(backbone: nn.Module) -> None:
    """Let every disentangled attention of a backbone compute as above; other backbones are left as they are.

    Weights stay in place under their names, so checkpoints load in both directions.
    """
    for module in backbone.modules():
        if not isinstance(module, DisentangledSelfAttention):
            continue
        if module.relative_attention and any(kind in module.pos_att_type for kind in ("c2p", "p2c")):
            module.__class__ = FastDisentangledSelfAttention  # no second set of weights is made to be thrown away
        else:
            logger.warning_once(
                "The fast DeBERTa attention needs relative positions of type c2p or p2c, and this backbone has "
                f"relative_attention={module.relative_attention} and pos_att_type={module.pos_att_type}: transformers' "
                "own is used."
            )
