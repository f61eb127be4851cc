"""MvhForSequenceClassification: a segment -> two logits, by one of two heads.

`head="layers"`: encoder -> pooling ++ features -> GELU head. `head="label_token"`: a whole encoder-decoder such as T5
generates the label as one token; decoding is constrained to the two label words, so their logits at the decoder's first
step are the two logits, and the margin is the log-odds of the words. Either may be joined by bags of n-grams.

Letters in shape comments: B segments, T tokens, L characters, P width of the pooled vector, F handcrafted features, C
classes, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoModelForTextEncoding,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from .attention_mvh import use_plain_attention
from .bag_mvh import NgramBag
from .configuration_mvh import MvhConfig
from .pooling_mvh import Pooling, pooled_width


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
        """(B, P + F) -> (B, C), in the number type of the weights: two logits in bfloat16 would be coarse."""
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self.forward(x)
        x = x.to(self.out.weight.dtype)
        for name in self.hidden:
            x = nn.functional.gelu(getattr(self, name)(self.dropout(x)))  # (B, width)
        return self.out(self.dropout(x))  # (B, C)


class MvhForSequenceClassification(PreTrainedModel):
    """Scores one segment of text: an AutoModel text encoder under fully connected layers, or a whole encoder-decoder.

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
        self.encoder = backbone_class(config.backbone_config, config.head).from_config(config.backbone_config)
        self._fit_backbone()
        if config.head == "layers":
            self.pool = Pooling(config.pooling, config.backbone_config)
            inputs = pooled_width(config.pooling, config.backbone_config) + len(config.feature_names)
            self.head = MvhHead(inputs, config.head_widths, config.num_labels, config.head_dropout)
        self.bag = NgramBag(**config.bag) if config.bag else None
        self.character_bag = NgramBag(**config.character_bag) if config.character_bag else None
        self.encoder_frozen = False
        self.post_init()

    @classmethod
    def from_backbone(cls, name_or_path: str, **config_fields: Any) -> MvhForSequenceClassification:
        """A detector with a pretrained backbone and a fresh head; a label token needs nothing fresh.

        Args:
            name_or_path: Hub name or folder of an AutoModel text encoder; of T5 only the encoder is taken, unless
                `head="label_token"`.
            **config_fields: Fields of `MvhConfig`; `backbone_overrides` may hold a dict of fields of the backbone's
                config.

        Raises:
            ValueError: If a label token is wanted of a backbone without a decoder.
        """
        overrides = config_fields.pop("backbone_overrides", None) or {}
        kind = backbone_class(AutoConfig.from_pretrained(name_or_path), config_fields.get("head", "layers"))
        encoder = kind.from_pretrained(name_or_path, dtype=torch.float32, **overrides)
        if getattr(encoder.config, "decoder_start_token_id", None) is None and encoder.can_generate():
            encoder.config.decoder_start_token_id = encoder.generation_config.decoder_start_token_id
        model = cls(MvhConfig(backbone_config=encoder.config, **config_fields))
        model.encoder = encoder
        # T5 v1.1 and mT5 were trained with an output layer of their own: what is tied is what was found to be tied
        model.all_tied_weights_keys = {f"encoder.{a}": f"encoder.{b}" for a, b in encoder.all_tied_weights_keys.items()}
        model._fit_backbone()
        return model

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As in transformers, but a checkpoint whose weights are not exactly this model's is refused.

        Raises:
            ValueError: If weights are missing (they would be random), left over, of another shape, or not finite.
        """
        kwargs["use_safetensors"] = True  # weights in a pickle are not opened, harmless or not
        kwargs["ignore_mismatched_sizes"] = True  # else transformers ends in a table; they are refused below
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        faults = {kind.removesuffix("_keys"): sorted(map(str, keys)) for kind, keys in info.items() if keys}
        if faults:
            listed = "; ".join(f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in faults.items())
            raise ValueError(f"The checkpoint's weights are not those its config describes: {listed}.")
        loaded = {name: tensor for name, tensor in model.state_dict().items() if not tensor.is_meta}
        if bad := [name for name, tensor in loaded.items() if not all_finite(tensor)]:
            raise ValueError(f"{len(bad)} weights of the checkpoint are not finite numbers, among them {bad[0]}.")
        return (model, info) if output_loading_info else model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        features: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        characters: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Score a batch of segments.

        Args:
            input_ids: Token ids, shape (B, T).
            attention_mask: 1 for tokens, 0 for padding, shape (B, T).
            features: Unscaled handcrafted features in the config's order, shape (B, F); needed iff F > 0.
            labels: Class indices, shape (B,); with them the output holds the cross-entropy loss.
            characters: Code points of the segments' normalised texts, 0 for padding, shape (B, L); needed iff the config
                has a character_bag.

        Raises:
            ValueError: If the number of features is not the config's, or characters are missing or have no use.
        """
        if self.character_bag is not None and characters is None:
            raise ValueError("The model counts n-grams of characters, and no characters were given.")
        if self.character_bag is None and characters is not None:
            raise ValueError("The model counts no n-grams of characters, and characters were given.")
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if self.config.head == "label_token":
            logits = self._label_logits(input_ids, attention_mask, features)  # (B, C)
        else:
            asked = {"output_hidden_states": True} if self.pool.every_layer else {}
            output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **asked)
            pooled = self.pool(output, attention_mask)  # (B, P)
            logits = self.head(self._join_features(pooled, features))  # (B, C)
        if self.bag is not None:
            logits = self.bag.join(logits, input_ids, attention_mask)  # (B, C)
        if self.character_bag is not None and characters is not None:  # both or none, see above
            logits = self.character_bag.join(logits, characters, characters != 0)  # (B, C)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def freeze_encoder(self, frozen: bool) -> None:
        """Freeze or thaw the encoder; a frozen encoder also stays in eval mode (no dropout) while the head trains.

        Where the label is a token, the head is the decoder, with the output layer where it is not the embeddings:
        frozen are the encoder and the embeddings that encoder and decoder share. Only what was trainable before the
        first freeze is thawed, so LoRA's frozen base weights stay frozen; of a decoder its LoRA goes on training.
        """
        if not hasattr(self, "_encoder_trainable"):
            self._encoder_trainable = [p for p in self._freezable().parameters() if p.requires_grad]
        for parameter in self._encoder_trainable:
            parameter.requires_grad_(not frozen)
        self.encoder_frozen = frozen
        self.train(self.training)

    def train(self, mode: bool = True) -> MvhForSequenceClassification:
        """Set training mode; a frozen encoder stays in eval mode. The Trainer calls this at every step."""
        super().train(mode)
        if getattr(self, "encoder_frozen", False):
            self._freezable().eval()
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

    def _freezable(self) -> nn.Module:
        """What `freeze_encoder` freezes. T5's encoder holds the shared embeddings."""
        return self.encoder.get_encoder() if self.config.head == "label_token" else self.encoder

    def _label_logits(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, features: torch.Tensor | None
    ) -> torch.Tensor:
        """(B, T) -> (B, C): the label words' logits at the decoder's first step, after its start token."""
        if features is not None:
            raise ValueError(f"A label token takes no handcrafted features, and {features.shape[-1]} were given.")
        start = self.config.backbone_config.decoder_start_token_id
        output = self.encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=input_ids.new_full((len(input_ids), 1), start),  # (B, 1)
            use_cache=False,
        )
        return output.logits[:, 0, self.config.label_token_ids]  # (B, 1, V) -> (B, C)

    def _join_features(self, pooled: torch.Tensor, features: torch.Tensor | None) -> torch.Tensor:
        """(B, P) and (B, F) -> (B, P + F), features scaled by the config's statistics, at most ten deviations."""
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

    def _fit_backbone(self) -> None:
        """Remove the pooler of BERT and its kin, which the head never reads and no gradient reaches; make attention fast."""
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None
        use_plain_attention(self.encoder)
        family = self.encoder.config.model_type
        # each of these imports transformers' code of its family, which the first verdict of the others need not wait for
        if family == "deberta-v2":
            from .deberta_mvh import use_fast_attention

            use_fast_attention(self.encoder)
        elif family == "mpnet":
            from .mpnet_mvh import use_shared_distances

            use_shared_distances(self.encoder)


def all_finite(tensor: torch.Tensor) -> bool:
    """Whether no number is infinite or nan, seen by the least and the largest: many times faster than `isfinite().all()`."""
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def backbone_class(config: PretrainedConfig, head: str) -> Any:
    """The auto class that builds a backbone: for T5's encoder alone the text-encoding one, which other models may lack.

    Raises:
        ValueError: If a label token is wanted of a backbone without a decoder.
    """
    if head == "label_token":
        if type(config) not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
            raise ValueError(
                f"head 'label_token' needs an encoder-decoder such as T5, and a {config.model_type} is none."
            )
        return AutoModelForSeq2SeqLM
    return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel


def label_token_ids(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """The token that each label word is.

    Args:
        tokenizer: The backbone's tokenizer.
        words: One word for each label, label 0 first.

    Raises:
        ValueError: If a word is not one known token, or two words are the same token.
    """
    ids = []
    for word in words:
        found = tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(found) != 1 or found[0] == tokenizer.unk_token_id:
            tokens = tokenizer.convert_ids_to_tokens(found)
            raise ValueError(
                f"A label word must be one token that the tokenizer knows, and {word!r} is {tokens} to "
                f"{type(tokenizer).__name__}; name other label_words."
            )
        ids.append(found[0])
    if len(set(ids)) < len(ids):
        raise ValueError(f"The label words {list(words)} are the same token to {type(tokenizer).__name__}.")
    return ids
