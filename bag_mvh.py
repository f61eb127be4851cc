"""Hashed n-grams of a segment under one linear layer: what counting words or characters says, beside what the encoder says.

Which words and pairs of words a writer uses separates human from machine text about as well as a small encoder does, and
errs elsewhere. The bag is a TF-IDF logistic regression (Salton and Buckley 1988: 1 + ln tf, idf, unit length) whose
vocabulary is a hash table, so that it needs no list of words and works for the tokens of any backbone. What it counts are
whole numbers: the ids of tokens, or code points of characters, which keep the case, the spaces and the parts of words that
the tokens of a small backbone lose.

Letters in shape comments: B segments, T tokens or characters, K n-grams of a segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

# odd 64-bit constants that spread the bits: 2^64 / golden ratio, and one of MurmurHash3, as signed numbers
GOLDEN = 0x9E3779B97F4A7C15 - 2**64
MURMUR = 0xFF51AFD7ED558CCD - 2**64
MOST_BUCKETS = 2**24  # more would fill the memory before the weights are compared
LONGEST_ORDER = 8


class NgramBag(nn.Module):
    """Margins from hashed n-grams, and how much the margin they are added to counts beside them.

    That is the encoder's, or in a second bag, where `encoder_share` is 1, the sum of encoder and first bag.

    The weights are fitted by logistic regression (`mvh.fit_bag`), not by gradient steps, so none asks for a gradient.

    Args:
        orders: Lengths of the n-grams in tokens or characters.
        buckets: Size of the hash table, a power of two.
    """

    def __init__(self, orders: Sequence[int], buckets: int) -> None:
        super().__init__()
        self.orders = list(orders)
        self.buckets = buckets
        self.idf = nn.Parameter(torch.zeros(buckets), requires_grad=False)
        self.weight = nn.Parameter(torch.zeros(buckets), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.encoder_share = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (B, T) -> margins (B,), in float32 whatever the encoder computes in."""
        grams = hashed_ngrams(input_ids, attention_mask, self.orders, self.buckets)  # (B, K)
        grams, counts = count_runs(grams)  # (B, K), (B, K)
        known = grams < self.buckets
        at = grams.clamp(max=self.buckets - 1)
        values = torch.where(known & (counts > 0), 1 + counts.clamp(min=1).log(), 0.0) * self.idf.float()[at]  # (B, K)
        length = values.norm(dim=1).clamp(min=1e-12)  # (B,)
        return (values * self.weight.float()[at]).sum(1) / length + self.bias.float()

    def join(self, logits: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2) with the bag's margin added: their margins add, with the encoder's share."""
        half = self(input_ids, attention_mask)[:, None] / 2  # (B, 1)
        return logits.float() * self.encoder_share.float() + torch.cat([-half, half], dim=1)  # (B, 2)


def hashed_ngrams(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, orders: Sequence[int], buckets: int
) -> torch.Tensor:
    """The bucket of every n-gram of every order, shape (B, K); `buckets`, which is none, where padding is touched.

    The hash mixes one token at a time, so a pair's bucket depends on the order of its tokens.
    """
    found = [input_ids.new_empty((input_ids.shape[0], 0))]  # len() would be a constant of an export
    for order in orders:
        starts = input_ids.shape[1] - order + 1
        if starts < 1:
            continue
        mixed = torch.full_like(input_ids[:, :starts], order)  # (B, starts)
        real = torch.ones_like(mixed, dtype=torch.bool)
        for offset in range(order):
            mixed = (mixed ^ input_ids[:, offset : offset + starts]) * GOLDEN  # int64 wraps around
            mixed = (mixed ^ ((mixed >> 33) & 0x7FFFFFFF)) * MURMUR
            real &= attention_mask[:, offset : offset + starts].bool()
        found.append(torch.where(real, (mixed >> 20) & (buckets - 1), buckets))
    return torch.cat(found, dim=1)


def count_runs(grams: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort each row; at the first place of every value how often it occurs, elsewhere 0. Both (B, K), the second float."""
    grams = grams.sort(dim=1).values
    first = torch.ones_like(grams, dtype=torch.bool)
    first[:, 1:] = grams[:, 1:] != grams[:, :-1]
    run = first.long().cumsum(1) - 1  # which distinct value of its row each place belongs to
    counts = torch.zeros(grams.shape, device=grams.device).scatter_add_(
        1, run, torch.ones_like(grams, dtype=torch.float)
    )
    return grams, torch.where(first, counts.gather(1, run), 0.0)


def check_bag(name: str, bag: Mapping[str, Any]) -> None:
    """Raise a ValueError unless a config's field of this name has n-grams that can be counted and a table that can be built."""
    if sorted(bag) != ["buckets", "orders"]:
        raise ValueError(f"{name} must have the fields buckets and orders, got {sorted(map(str, bag))}.")
    orders, buckets = bag["orders"], bag["buckets"]
    if not isinstance(orders, (list, tuple)) or not orders or not all(type(n) is int for n in orders):
        raise ValueError(f"The orders of {name} must be a list of whole numbers, got {orders!r}.")
    if not all(1 <= n <= LONGEST_ORDER for n in orders) or len(set(orders)) < len(orders):
        raise ValueError(
            f"The orders of {name} must be different numbers from 1 to {LONGEST_ORDER}, got {list(orders)}."
        )
    if type(buckets) is not int or not 1 <= buckets <= MOST_BUCKETS or buckets & (buckets - 1):
        raise ValueError(f"The buckets of {name} must be a power of two up to {MOST_BUCKETS}, got {buckets!r}.")
