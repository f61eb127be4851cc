"""Several detectors in one folder: `MvhEnsembleConfig` and `MvhEnsembleForSequenceClassification`.

Members may differ in backbone, tokenizer, segments and features; they must agree on the labels. A folder holds it all:

    config.json                            model_type "mvh-ensemble"; "members": the whole config of each member, its own
                                           calibration included; "combine", "scales"; "calibration" of the combined scores
                                           (null where p-values are merged: then the members' calibrations count)
    model.safetensors                      weights of all members, named members.0.encoder..., members.1.head...
    tokenizer.json, tokenizer_config.json  tokenizer of the first member
    tokenizers/1/, tokenizers/2/, ...      tokenizers of the others, each a folder with the same two files
    *_mvh.py, README.md, figures.json, requirements.txt, training_texts.npz, calibration_texts.npz
                                           as in any checkpoint; the two lists of hashes are those of all members together

So weights load, shard and are checked as those of any model, and only the tokenizers in `tokenizers/` need a step of
their own: `from_pretrained` fetches them from the same folder or commit. The folder is made by `python -m mvh.ensemble`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_mvh import MvhConfig
from .corrections_mvh import CORRECTIONS, known
from .fields_mvh import (
    NUMBER,
    OBJECT_OR_NONE,
    TEXT,
    TEXT_OR_NONE,
    Kind,
    check_kinds,
    check_others,
    list_of,
    mapping,
    number,
    or_none,
    sentences,
    two_labels,
)
from .members_mvh import TOKENIZERS
from .merging_mvh import MERGERS
from .modeling_mvh import MvhForSequenceClassification
from .pvalues_mvh import P_VALUES
from .voting_mvh import VOTES, check_alpha

SCORE_COMBINATIONS = ("mean_score", "mean_margin")
COMBINATIONS = (*SCORE_COMBINATIONS, *MERGERS)
ENSEMBLE_KINDS: dict[str, Kind] = {
    "members": ("a list of objects or null", or_none(list_of(mapping))),
    "scales": (
        "a list of pairs of finite numbers or null",
        or_none(list_of(lambda pair: list_of(number)(pair) and len(pair) == 2)),
    ),
    "calibration": OBJECT_OR_NONE,
    **dict.fromkeys(("combine", "correction", "name"), TEXT),
    **dict.fromkeys(("vote", "p_values"), TEXT_OR_NONE),
    "alpha": NUMBER,
}
HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token")
ENSEMBLE_AUTO_MAP = {
    "AutoConfig": "ensemble_mvh.MvhEnsembleConfig",
    "AutoModel": "ensemble_mvh.MvhEnsembleForSequenceClassification",
    "AutoModelForSequenceClassification": "ensemble_mvh.MvhEnsembleForSequenceClassification",
}


class MvhEnsembleConfig(PretrainedConfig):
    """Configuration of an ensemble: its members' configs, and how what they say is combined.

    Args:
        members: Config of each member, as `MvhConfig.to_dict` gives it; at least one.
        combine: "mean_score" or "mean_margin" (see `readings_mvh`), or a key of `merging_mvh.MERGERS`.
        scales: For "mean_score" (mean, standard deviation) of each member's human segment scores; None averages the
            margins as they are.
        calibration: Calibration of the combined scores, packed as a single detector's; None where p-values are merged.
        alpha: Level of the tests, in (0, 1).
        correction: Correction over the segments of a document.
        vote: "calibrated", "majority" or "any"; None picks "calibrated" where there is a calibration, else "majority".
        p_values: "conformal" or "softmax"; None picks "conformal" where there is a calibration, else "softmax".
        name: Name the results give the ensemble.
        **kwargs: Fields of `PretrainedConfig`; the labels are the members'.

    Raises:
        ValueError: If there is no member, members disagree on the labels, or a value is outside its range.
    """

    model_type = "mvh-ensemble"
    _auto_class = "AutoConfig"

    def __init__(
        self,
        members: list[dict[str, Any]] | None = None,
        combine: str = "mean_score",
        scales: list[list[float]] | None = None,
        calibration: dict[str, Any] | None = None,
        alpha: float = 0.05,
        correction: str = "bh",
        vote: str | None = None,
        p_values: str | None = None,
        name: str = "mvh-ensemble",
        **kwargs: Any,
    ) -> None:
        check_kinds({name: value for name, value in locals().items() if name in ENSEMBLE_KINDS}, ENSEMBLE_KINDS)
        self.members = list(members or [])
        self.combine = known("combine", combine, COMBINATIONS)
        self.scales = None if scales is None else [[float(mean), float(sd)] for mean, sd in scales]
        self.calibration = calibration
        self.alpha = alpha
        self.correction = known("correction", correction, CORRECTIONS)
        self.vote = vote if vote is None else known("vote", vote, VOTES)
        self.p_values = p_values if p_values is None else known("p_values", p_values, P_VALUES)
        self.name = name
        check_alpha(alpha)
        labels = self._labels()
        if labels:  # without members: the empty config that transformers builds to compare with
            if scales is not None and (len(scales) != len(self.members) or not all(sd > 0 for _, sd in scales)):
                raise ValueError(
                    f"{len(self.members)} members need as many scales with a positive spread, got {scales}."
                )
            # the segments of an ensemble are those of its first member
            self.core_tokens = self.members[0].get("core_tokens")
            self.context_tokens = self.members[0].get("context_tokens")
            kwargs["id2label"] = labels
            kwargs["label2id"] = {label: key for key, label in labels.items()}
        kwargs.setdefault("auto_map", dict(ENSEMBLE_AUTO_MAP))
        for derived in ("num_labels", "core_tokens", "context_tokens"):
            kwargs.pop(derived, None)
        check_others(type(self), kwargs)
        with sentences("The config"):
            super().__init__(**kwargs)

    def _labels(self) -> dict[int, str]:
        """The labels all members share; empty without members."""
        for member in self.members:
            if "id2label" not in member:
                raise ValueError(f"The member {member.get('name')!r} of the ensemble names no labels (id2label).")
        named = [(member.get("name"), two_labels(member["id2label"])) for member in self.members]
        for name, labels in named[1:]:
            if labels != named[0][1]:
                raise ValueError(
                    f"The members of an ensemble must agree on their labels: {named[0][0]!r} has {named[0][1]} and "
                    f"{name!r} has {labels}."
                )
        return named[0][1] if named else {}


class MvhEnsembleForSequenceClassification(MvhForSequenceClassification):
    """The members side by side, loaded, checked and hashed as one model; each is given its own segments.

    Attributes:
        members: The detectors.
        tokenizers: Tokenizers of all members but the first, in order; `from_pretrained` fills it. The first member's is
            the folder's own, which the pipeline loads.
    """

    config_class = MvhEnsembleConfig
    base_model_prefix = ""
    _auto_class = "AutoModelForSequenceClassification"

    def __init__(self, config: MvhEnsembleConfig) -> None:
        PreTrainedModel.__init__(self, config)  # not a single detector's: there is no encoder of its own
        if not config.members:
            raise ValueError("An ensemble needs at least one member, and the config names none.")
        self.members = nn.ModuleList(MvhForSequenceClassification(MvhConfig(**member)) for member in config.members)
        self.tokenizers: list[Any] = []
        self.encoder_frozen = False
        self.post_init()
        self._note_tied_weights()

    @classmethod
    def from_members(
        cls, config: MvhEnsembleConfig, members: Sequence[MvhForSequenceClassification], tokenizers: Sequence[Any]
    ) -> MvhEnsembleForSequenceClassification:
        """An ensemble of loaded detectors.

        Args:
            config: Config that names them.
            members: The detectors.
            tokenizers: Those of all members but the first.
        """
        with torch.device("meta"):  # the weights come with the members
            model = cls(config)
        model.members = nn.ModuleList(members)
        model.tokenizers = list(tokenizers)
        model._note_tied_weights()
        return model

    @classmethod
    def from_pretrained(cls, name: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As for a single detector, and the members' tokenizers come along.

        Raises:
            ValueError: If weights are not those that the config describes, or a member's tokenizer is missing or damaged.
        """
        model, info = super().from_pretrained(name, *args, output_loading_info=True, **kwargs)
        hub = {key: kwargs[key] for key in HUB_OPTIONS if key in kwargs}
        # the commit that the weights came from, whatever has been pushed since
        hub["revision"] = getattr(model.config, "_commit_hash", None) or kwargs.get("revision") or "main"
        for index, member in enumerate(model.members[1:], 1):
            folder = f"{TOKENIZERS}/{index}"
            try:
                tokenizer = AutoTokenizer.from_pretrained(name, subfolder=folder, config=member.config, **hub)
            except Exception as error:  # the tokenizers library raises bare Exceptions on damaged files
                raise ValueError(
                    f"The ensemble {name} names {len(model.members)} members, and the tokenizer of {member.config.name!r} "
                    f"cannot be read from {folder}: {error}"
                ) from error
            model.tokenizers.append(tokenizer)
        return (model, info) if output_loading_info else model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        features: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        characters: torch.Tensor | None = None,
        member: int = 0,
    ) -> SequenceClassifierOutput:
        """Score a batch of one member's segments; see `MvhForSequenceClassification.forward`."""
        chosen: Any = self.members[member]
        return chosen(input_ids, attention_mask, features, labels, characters)

    def get_input_embeddings(self) -> nn.Module:
        """The first member's word embeddings."""
        first: Any = self.members[0]
        return first.get_input_embeddings()

    def _note_tied_weights(self) -> None:
        """Note which weights the members share within themselves: transformers looks no deeper than at direct children."""
        members: Any = self.members
        self.all_tied_weights_keys = {
            f"members.{index}.{name}": f"members.{index}.{source}"
            for index, member in enumerate(members)
            for name, source in member.all_tied_weights_keys.items()
        }
