"""MvhConfig: everything a detector needs besides its weights and tokenizer, checked when it is built."""

from __future__ import annotations

from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from .bag_mvh import check_bag
from .corrections_mvh import CORRECTIONS, known
from .features_mvh import check_feature_data, expand_features
from .fields_mvh import KINDS, check_kinds, check_others, check_unread, sentences, two_labels
from .normalization_mvh import ALL_STEPS
from .pooling_mvh import POOLINGS, pooled_width
from .pvalues_mvh import P_VALUES
from .voting_mvh import VOTES, check_alpha

HEADS = ("layers", "label_token")
ABSOLUTE_POSITIONS = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "albert", "mpnet")
PADDED_POSITIONS = ("roberta", "xlm-roberta", "mpnet")  # of these, whose first position stands after the padding's
WIDEST = 1 << 16  # of a layer of the head: more would fill the memory before the weights are compared
AUTO_MAP = {
    "AutoConfig": "configuration_mvh.MvhConfig",
    "AutoModel": "modeling_mvh.MvhForSequenceClassification",
    "AutoModelForSequenceClassification": "modeling_mvh.MvhForSequenceClassification",
}


class MvhConfig(PretrainedConfig):
    """Configuration of `MvhForSequenceClassification` and of the detection around it.

    Args:
        backbone_config: Config (or its dict) of any AutoModel text encoder; mDeBERTa-v3-base's shape by default.
        head: "layers": fully connected layers over a pooled encoder state; "label_token": the backbone is a whole
            encoder-decoder that generates the label as one token, and pooling, widths, dropout and features of a head
            have no use.
        label_token_ids: Of a label token the ids of the two label words, label 0 first; else None.
        pooling: "cls" takes the first token's hidden state, "mean" averages over the tokens, "statistics" takes mean and
            standard deviation over the tokens of every layer (`pooling_mvh`).
        head_widths: Widths of the head's hidden layers (GELU), the article's two by default; empty for one linear layer.
        head_dropout: Dropout before each layer of the head, in [0, 1).
        core_tokens: Tokens a segment is responsible for.
        context_tokens: Tokens of left context shown beside the core, in [0, core_tokens].
        normalization: Names of the normalisation steps, in order; None for all that are on by default.
        feature_names: Handcrafted features joined to the pooled state, or groups of them (kept as the features they
            hold), in order; empty for none.
        feature_mean: Mean of each feature on the training segments.
        feature_std: Standard deviation of each feature on the training segments, positive.
        feature_data: What the groups "spelling", "register" and "document_type" need, as `fit_features.fit_feature_data`
            makes it; or None.
        bag: The n-grams of tokens counted beside the encoder, {"orders": [1, 2], "buckets": 1048576}; None for none
            (`bag_mvh`).
        character_bag: Those of characters, likewise.
        calibration: Calibration scores as packed by `calibration_mvh.encode_calibration`, or None.
        alpha: Level of the tests, in (0, 1).
        correction: Correction over the segments of a document: "bh", "by", "holm" or "none".
        vote: "calibrated", "majority" or "any"; None picks "calibrated" where there is a calibration, else "majority".
        p_values: "conformal" or "softmax"; None picks "conformal" where there is a calibration, else "softmax".
        name: Name the results give the detector.
        **kwargs: Fields of `PretrainedConfig`, such as `id2label` (label 0 is the null class; human and machine by
            default).

    Raises:
        ValueError: If a value is of another kind or outside its range, the feature lists differ in length, or a field of
            `PretrainedConfig` or of the backbone cannot be used.
    """

    model_type = "mvh"
    sub_configs = {"backbone_config": AutoConfig}
    _auto_class = "AutoConfig"

    def __init__(
        self,
        backbone_config: PretrainedConfig | dict[str, Any] | None = None,
        head: str = "layers",
        label_token_ids: list[int] | None = None,
        pooling: str = "cls",
        head_widths: list[int] | tuple[int, ...] = (512, 256),
        head_dropout: float = 0.1,
        core_tokens: int = 256,
        context_tokens: int = 50,
        normalization: list[str] | None = None,
        feature_names: list[str] | None = None,
        feature_mean: list[float] | None = None,
        feature_std: list[float] | None = None,
        feature_data: dict[str, Any] | None = None,
        bag: dict[str, Any] | None = None,
        character_bag: dict[str, Any] | None = None,
        calibration: dict[str, Any] | None = None,
        alpha: float = 0.05,
        correction: str = "bh",
        vote: str | None = None,
        p_values: str | None = None,
        name: str = "mvh",
        **kwargs: Any,
    ) -> None:
        check_kinds({name: value for name, value in locals().items() if name in KINDS})  # the arguments
        self.backbone_config = _as_config(backbone_config)
        self.head = head
        self.label_token_ids = None if label_token_ids is None else list(label_token_ids)
        self.pooling = pooling
        self.head_widths = list(head_widths)
        self.head_dropout = head_dropout
        self.core_tokens = core_tokens
        self.context_tokens = context_tokens
        self.normalization = normalization
        self.feature_names = expand_features(feature_names or [])
        self.feature_mean = list(feature_mean or [0.0] * len(self.feature_names))
        self.feature_std = list(feature_std or [1.0] * len(self.feature_names))
        self.feature_data = feature_data
        self.bag = bag
        self.character_bag = character_bag
        self.calibration = calibration
        self.alpha = alpha
        self.correction = correction
        self.vote = vote
        self.p_values = p_values
        self.name = name
        labels = {0: "human", 1: "machine"} if kwargs.get("id2label") is None else two_labels(kwargs["id2label"])
        self._check(labels, kwargs.pop("num_labels", 2))
        kwargs["id2label"] = labels
        kwargs["label2id"] = {name: key for key, name in labels.items()}
        kwargs.setdefault("pad_token_id", getattr(self.backbone_config, "pad_token_id", None))
        kwargs.setdefault("auto_map", dict(AUTO_MAP))
        check_others(type(self), kwargs)
        with sentences("The config"):
            super().__init__(**kwargs)

    def _check(self, labels: dict[int, str], num_labels: int) -> None:
        if num_labels != 2:
            raise ValueError(f"A detector has the two labels {labels}, and num_labels is {num_labels!r}.")
        known("correction", self.correction, CORRECTIONS)
        if self.vote is not None:
            known("vote", self.vote, VOTES)
        if self.p_values is not None:
            known("p_values", self.p_values, P_VALUES)
        for step in self.normalization or []:
            known("A step of normalization", step, ALL_STEPS)
        with sentences("feature_data"):
            check_feature_data(self.feature_names, self.feature_data)
        for name, bag in (("bag", self.bag), ("character_bag", self.character_bag)):
            if bag is not None:
                check_bag(name, bag)
        longest = self.core_tokens + self.context_tokens + 2  # with [CLS] and [SEP]
        positions = getattr(self.backbone_config, "max_position_embeddings", None)
        kind = getattr(self.backbone_config, "model_type", "")
        if kind in PADDED_POSITIONS and isinstance(positions, int):
            positions -= 1 + (getattr(self.backbone_config, "pad_token_id", None) or 0)
        if kind in ABSOLUTE_POSITIONS and isinstance(positions, int) and longest > positions:
            raise ValueError(f"A segment has up to {longest} tokens and the backbone reads only {positions}.")
        self._check_head()
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {POOLINGS}, got {self.pooling!r}.")
        if self.head == "layers" and self.pooling == "statistics":
            pooled_width(self.pooling, self.backbone_config)  # checks it
        if not all(1 <= width <= WIDEST for width in self.head_widths):
            raise ValueError(f"head_widths must be whole numbers from 1 to {WIDEST}, got {self.head_widths}.")
        if not 0.0 <= self.head_dropout < 1.0:
            raise ValueError(f"head_dropout must lie in [0, 1), got {self.head_dropout}.")
        if self.core_tokens < 1 or not 0 <= self.context_tokens <= self.core_tokens:
            raise ValueError(
                f"context_tokens must lie in [0, core_tokens], got {self.context_tokens} "
                f"with a core of {self.core_tokens}."
            )
        check_alpha(self.alpha)
        lengths = {len(self.feature_names), len(self.feature_mean), len(self.feature_std)}
        if len(lengths) != 1 or min(self.feature_std, default=1.0) <= 0:
            raise ValueError(
                f"{len(self.feature_names)} features need as many means and positive standard deviations, got "
                f"{len(self.feature_mean)} and {len(self.feature_std)}."
            )

    def _check_head(self) -> None:
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {HEADS}, got {self.head!r}.")
        ids = self.label_token_ids
        if self.head == "layers":
            if ids is not None:
                raise ValueError(f"label_token_ids {ids} belong to the head 'label_token', and the head is 'layers'.")
            return
        words = getattr(self.backbone_config, "vocab_size", 0)
        if ids is None or len(ids) != 2 or ids[0] == ids[1] or not all(0 <= one < words for one in ids):
            raise ValueError(f"A label token needs two label_token_ids below {words}, got {ids}.")
        if self.feature_names:
            raise ValueError(f"A label token takes no handcrafted features, and {len(self.feature_names)} are named.")
        if getattr(self.backbone_config, "decoder_start_token_id", None) is None:
            raise ValueError(
                f"A label token needs the backbone's decoder_start_token_id, and this {self.backbone_config.model_type} "
                "names none (of T5 it is the padding token)."
            )


def _as_config(backbone: PretrainedConfig | dict[str, Any] | None) -> PretrainedConfig:
    """The backbone's config object; mDeBERTa-v3-base's shape if none is given."""
    if backbone is None:
        return CONFIG_MAPPING["deberta-v2"](
            vocab_size=251_000,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            max_position_embeddings=512,
            position_buckets=256,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            position_biased_input=False,
            type_vocab_size=0,
            layer_norm_eps=1e-7,
            max_relative_positions=-1,
        )
    if isinstance(backbone, PretrainedConfig):
        return backbone
    kind = backbone.get("model_type")
    if kind is None:
        raise ValueError(f"backbone_config must name its model_type, got only {sorted(backbone)}.")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ValueError(
            f"backbone_config names the model_type {kind!r}, which this version of transformers does not know."
        )
    with sentences(f"The backbone_config of type {kind!r}"):
        check_unread(backbone)
        return CONFIG_MAPPING[kind](**backbone)
