"""MvhForSequenceClassification: encoder -> pooling ++ features -> GELU head -> two logits.

Letters in shape comments: B segments, T tokens, H hidden size of the backbone, F handcrafted features, C classes.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForTextEncoding, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_mvh import MvhConfig


class MvhHead(nn.Module):
    """Fully connected layers with GELU between them, dropout before each.

    The article's head has three (two widths, "Дообучение модели"); without widths it is the one linear layer of BERT's
    usual classifier.
    """

    def __init__(self, inputs: int, widths: list[int], classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = [f"dense{number}" for number in range(1, len(widths) + 1)]
        for name, before, after in zip(self.hidden, [inputs, *widths], widths, strict=False):
            setattr(self, name, nn.Linear(before, after))
        self.out = nn.Linear([inputs, *widths][-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H + F) -> (B, C)."""
        for name in self.hidden:
            x = nn.functional.gelu(getattr(self, name)(self.dropout(x)))  # (B, width)
        return self.out(self.dropout(x))  # (B, C)


class MvhForSequenceClassification(PreTrainedModel):
    """Scores one segment of text: any AutoModel text encoder under a head of fully connected layers.

    `forward` returns a `SequenceClassifierOutput` with `logits` of shape (B, C), the null class first; the margin used
    by every decision is `logits[:, 1] - logits[:, 0]`.
    """

    config_class = MvhConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    accepts_loss_kwargs = False  # the loss is a plain mean: the Trainer divides by the accumulation steps itself
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _auto_class = "AutoModelForSequenceClassification"

    def __init__(self, config: MvhConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.encoder = _encoder_from_config(config.backbone_config)
        self._drop_pooler()
        inputs = config.backbone_config.hidden_size + len(config.feature_names)
        self.head = MvhHead(inputs, config.head_widths, config.num_labels, config.head_dropout)
        self.encoder_frozen = False
        self.post_init()

    @classmethod
    def from_backbone(cls, name_or_path: str, **config_fields: Any) -> MvhForSequenceClassification:
        """A detector with a pretrained backbone and a fresh head.

        Args:
            name_or_path: Hub name or folder of an AutoModel text encoder; of T5 only the encoder is taken.
            **config_fields: Fields of `MvhConfig`; `backbone_overrides` may hold a dict of fields of the backbone's
            config.
        """
        overrides = config_fields.pop("backbone_overrides", None) or {}
        try:
            encoder = AutoModelForTextEncoding.from_pretrained(name_or_path, dtype=torch.float32, **overrides)
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise
            encoder = AutoModel.from_pretrained(name_or_path, dtype=torch.float32, **overrides)
        model = cls(MvhConfig(backbone_config=encoder.config, **config_fields))
        model.encoder = encoder
        model._drop_pooler()
        return model

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As in transformers, but a checkpoint whose weights are not exactly this model's is refused.

        Raises:
            ValueError: If weights are missing (they would be random), left over, of another shape, or not finite.
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        faults = {kind.removesuffix("_keys"): sorted(map(str, keys)) for kind, keys in info.items() if keys}
        if faults:
            listed = "; ".join(f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in faults.items())
            raise ValueError(f"The checkpoint's weights are not those its config describes: {listed}.")
        loaded = {name: tensor for name, tensor in model.state_dict().items() if not tensor.is_meta}
        if bad := [name for name, tensor in loaded.items() if not torch.isfinite(tensor).all()]:
            raise ValueError(f"{len(bad)} weights of the checkpoint are not finite numbers, among them {bad[0]}.")
        return (model, info) if output_loading_info else model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        features: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Score a batch of segments.

        Args:
            input_ids: Token ids, shape (B, T).
            attention_mask: 1 for tokens, 0 for padding, shape (B, T).
            features: Unscaled handcrafted features in the config's order, shape (B, F); needed iff F > 0.
            labels: Class indices, shape (B,); with them the output holds the cross-entropy loss.

        Raises:
            ValueError: If the number of features is not the config's.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
        if self.config.pooling == "mean":
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)  # (B, H)
        else:
            pooled = hidden[:, 0]  # (B, H)
        logits = self.head(self._join_features(pooled, features))  # (B, C)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def freeze_encoder(self, frozen: bool) -> None:
        """Freeze or thaw the encoder; a frozen encoder also stays in eval mode (no dropout) while the head trains.

        Only what was trainable before the first freeze is thawed, so LoRA's frozen base weights stay frozen.
        """
        if not hasattr(self, "_encoder_trainable"):
            self._encoder_trainable = [p for p in self.encoder.parameters() if p.requires_grad]
        for parameter in self._encoder_trainable:
            parameter.requires_grad_(not frozen)
        self.encoder_frozen = frozen
        self.train(self.training)

    def train(self, mode: bool = True) -> MvhForSequenceClassification:
        """Set training mode; a frozen encoder stays in eval mode. The Trainer calls this at every step."""
        super().train(mode)
        if getattr(self, "encoder_frozen", False):
            self.encoder.eval()
        return self

    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of all weights: a calibration names the weights it was made with."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            if not tensor.is_meta:  # offloaded
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's word embeddings."""
        return self.encoder.get_input_embeddings()

    def _join_features(self, pooled: torch.Tensor, features: torch.Tensor | None) -> torch.Tensor:
        """(B, H) and (B, F) -> (B, H + F), features scaled by the config's statistics, at most ten deviations."""
        wanted, given = len(self.config.feature_names), 0 if features is None else features.shape[-1]
        if wanted != given:
            raise ValueError(f"The config names {wanted} handcrafted features, and {given} were given.")
        if features is None:
            return pooled
        mean = features.new_tensor(self.config.feature_mean)  # (F,)
        std = features.new_tensor(self.config.feature_std)  # (F,)
        scaled = ((features - mean) / std).clamp(
            -10, 10
        )  # (B, F); a feature that training hardly saw must not decide alone
        return torch.cat([pooled, scaled.to(pooled.dtype)], dim=-1)

    def _drop_pooler(self) -> None:
        """Remove BERT's and XLM-R's pooler: the head never reads it, and its weights would never get a gradient."""
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None


def _encoder_from_config(config: PretrainedConfig) -> PreTrainedModel:
    """Build the encoder: the text-encoding class where the library has one (T5's encoder alone), else AutoModel."""
    try:
        return AutoModelForTextEncoding.from_config(config)
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        return AutoModel.from_config(config)
