"""A small BERT of random weights, with a WordPiece tokenizer trained on given texts: what learns from those texts alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForTextEncoding, PreTrainedTokenizerFast

from mvh.normalization_mvh import normalize

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
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)  # й is no accented и
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    raw.train_from_iterator((normalize(text).text for text in texts), trainer)
    ends = [(token, raw.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    raw.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, model_input_names=["input_ids", "attention_mask"], model_max_length=positions, **names
    )
    torch.manual_seed(seed)
    fields = {"vocab_size": len(tokenizer), "pad_token_id": 0, "max_position_embeddings": positions}
    config = AutoConfig.for_model("bert", **{**fields, **SMALL_BERT, **sizes})
    AutoModelForTextEncoding.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
