"""Recipe and training segments -> the detector that is trained: backbone, pooling, head, statistics of the features, LoRA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import torch
from transformers import AutoConfig, PreTrainedModel

from mvh.features_mvh import expand_features
from mvh.fit_features import fit_feature_data, held_out, segment_features, type_or_source
from mvh.frozen import similar_batches
from mvh.modeling_mvh import MvhForSequenceClassification, backbone_class, label_token_ids
from mvh.recipe import ModelArguments

SCALED_BY = 512  # training segments that scale the pooled vector
SCALE_BATCH = 16


def label_tokens(model_args: ModelArguments, tokenizer: Any) -> list[int] | None:
    """The tokens that the recipe's labels are generated as, None for a head of layers; checked before any text is read.

    Raises:
        ValueError: If the backbone has no decoder or a label word is not one token.
    """
    backbone_class(AutoConfig.from_pretrained(model_args.backbone), model_args.head)
    if model_args.head != "label_token":
        return None
    return label_token_ids(tokenizer, model_args.label_words or model_args.labels)


def build_model(
    model_args: ModelArguments,
    train_segments: datasets.Dataset,
    tokens: list[int] | None,
    teach: Callable[[PreTrainedModel], None] | None = None,
) -> PreTrainedModel:
    """A detector on the pretrained backbone, with the training segments' feature statistics, in LoRA if asked.

    Args:
        model_args: The recipe's part of it.
        train_segments: Segments of role "train".
        tokens: What `label_tokens` found.
        teach: Trains the encoder in place before its vectors are measured, see mvh.masked_training.
    """
    overrides = {}
    if model_args.encoder_dropout is not None:
        overrides = {name: model_args.encoder_dropout for name in _dropout_names(model_args.backbone)}
    names = model_args.feature_names
    data = None
    if names:
        sources = [type_or_source(row) for row in _without_ids(train_segments)]
        data = fit_feature_data(names, train_segments["text"], sources)
    mean, std = feature_statistics(train_segments, names, data)
    model = MvhForSequenceClassification.from_backbone(
        model_args.backbone,
        backbone_overrides=overrides,
        name=model_args.name,
        id2label=dict(enumerate(model_args.labels)),
        head=model_args.head,
        label_token_ids=tokens,
        pooling=model_args.pooling,
        head_widths=model_args.head_widths,
        head_dropout=model_args.head_dropout,
        core_tokens=model_args.core_tokens,
        context_tokens=model_args.context_tokens,
        normalization=model_args.normalization,
        feature_names=names,
        feature_mean=mean,
        feature_std=std,
        feature_data=data,
    )
    if not model_args.train_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    if teach is not None:
        teach(model.encoder)
    if model_args.head == "layers" and model_args.pooling == "statistics":
        fit_pooling(model, train_segments)
    if not model_args.lora_r:
        return model
    from peft import LoraConfig, get_peft_model

    targets = model_args.lora_targets or guess_lora_targets(model)
    lora = LoraConfig(
        r=model_args.lora_r,
        lora_alpha=model_args.lora_alpha,
        lora_dropout=model_args.lora_dropout,
        target_modules=targets,
        modules_to_save=["head"] if tokens is None else None,
    )
    return get_peft_model(model, lora)


def _dropout_names(backbone: str) -> list[str]:
    """The config fields that hold the encoder's dropout in this architecture."""
    known = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout_rate", "dropout", "attention_dropout")
    return [name for name in known if hasattr(AutoConfig.from_pretrained(backbone), name)]


def guess_lora_targets(model: PreTrainedModel) -> list[str]:
    """Names of the query and value projections of the encoder's attention.

    Raises:
        ValueError: If the encoder has none of the known names.
    """
    leaves = {name.rsplit(".", 1)[-1] for name, _ in model.encoder.named_modules()}
    for pair in (("query", "value"), ("query_proj", "value_proj"), ("q", "v"), ("q_lin", "v_lin"), ("Wqkv",)):
        if leaves.issuperset(pair):
            return list(pair)
    raise ValueError(f"No known attention projections among the encoder's modules {sorted(leaves)}; set lora_targets.")


def feature_statistics(
    segments: datasets.Dataset, names: list[str], data: dict[str, Any] | None = None
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each feature over the training segments (1 where a feature is all but constant)."""
    if not names:
        return [], []
    names = expand_features(names)
    rows = _without_ids(segments)
    data_for = held_out(data, segments["text"], segments["document_id"])
    values = np.array(
        [segment_features(row, names, data_for(row["document_id"])) for row in rows], dtype=np.float64
    )  # (segments, F)
    std = values.std(axis=0)
    return values.mean(axis=0).tolist(), np.where(std > 1e-5, std, 1.0).tolist()


@torch.no_grad()
def fit_pooling(model: PreTrainedModel, segments: datasets.Dataset) -> None:
    """Scale the vector of pooling "statistics" by what the untrained encoder makes of training segments, evenly drawn."""
    drawn = np.linspace(0, len(segments) - 1, min(len(segments), SCALED_BY)).astype(int)
    ids = segments.select(drawn)["input_ids"]
    model.eval()
    vectors = []
    for rows in similar_batches([len(one) for one in ids], SCALE_BATCH):
        parts = [torch.tensor(ids[row]) for row in rows]
        batch = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)  # (B, T)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(part) for part in parts], batch_first=True)  # (B, T)
        output = model.encoder(input_ids=batch, attention_mask=mask, output_hidden_states=True)
        vectors.append(model.pool.unscaled(output, mask))  # (B, P)
    model.pool.fit_scale(torch.cat(vectors))


def _without_ids(segments: datasets.Dataset) -> datasets.Dataset:
    """The columns that features are made from: decoding token ids would cost most of the time."""
    wanted = ("text", "source", "document_id", "document_type")
    return segments.select_columns([name for name in wanted if name in segments.column_names])
