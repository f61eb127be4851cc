"""A small BERT of random weights, with a WordPiece tokenizer trained on given texts: what learns from those texts alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForTextEncoding

from mvh.normalization_mvh import normalize
from mvh.vocabulary_transfer import word_pieces

SMALL_BERT = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
VOCABULARY = 8000


def small_backbone(
    texts: Iterable[str],
    folder: Path,
    seed: int,
    vocabulary: int = VOCABULARY,
    positions: int = 128,
    **sizes: Any,
) -> Path:
    """Save such a backbone as a Hub folder.

    Args:
        texts: What the tokenizer is trained on, after normalisation.
        folder: Where to save it.
        seed: Of the weights.
        vocabulary: Most word pieces.
        positions: Longest input in tokens, [CLS] and [SEP] included.
        **sizes: Fields of the config other than `SMALL_BERT` has them.

    Returns:
        `folder`.
    """
    tokenizer = word_pieces([normalize(text).text for text in texts], vocabulary, positions)
    torch.manual_seed(seed)
    fields = {"vocab_size": len(tokenizer), "pad_token_id": 0, "max_position_embeddings": positions}
    config = AutoConfig.for_model("bert", **{**fields, **SMALL_BERT, **sizes})
    AutoModelForTextEncoding.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
