"""A member: one model with the tokenizer that reads for it. A single detector has one member, an ensemble several.

`segment_inputs` is the way from a text to what the model is given; nothing else tokenises in a detector's work.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .calibration_mvh import decode_calibration
from .features_mvh import compute_features, reads_document_type
from .inputs_mvh import check_text
from .languages_mvh import scripts_and_languages
from .normalization_mvh import STEPS
from .readings_mvh import Reading
from .references_mvh import Calibration, Document
from .segmentation_mvh import Segment, code_points, iter_segments

PROBE = "The re-reader's naïve, 3.14-page résumé didn't CO-OPERATE; Привет, мир! 你好，世界。 مرحبا\n\n\tx²  ing"
TOKENIZERS = "tokenizers"  # folder in a checkpoint: the tokenizers of all members of an ensemble but the first


@dataclass(frozen=True)
class Member:
    """A model, its tokenizer, its calibration (None without), and hashes of its weights and of how it reads texts."""

    model: Any
    tokenizer: Any
    calibration: Calibration | None
    fingerprint: str
    reading: str

    @property
    def config(self) -> Any:
        """The model's."""
        return self.model.config

    @property
    def pad_id(self) -> int:
        """Id that the tokenizer pads with."""
        return self.tokenizer.pad_token_id or 0


def members_of(model: Any, tokenizer: Any) -> list[Member]:
    """The members of a detector: itself, or those of an ensemble.

    Each reads with its own copy of its tokenizer: calls with truncation or padding leave both in a fast tokenizer, so
    whoever else uses the same object would cut texts here, silently.

    Args:
        model: A `MvhForSequenceClassification` or a `MvhEnsembleForSequenceClassification`.
        tokenizer: The one of the detector or of the first member.

    Raises:
        ValueError: If a tokenizer is missing, or a calibration is damaged.
    """
    if tokenizer is None:
        raise ValueError(f"The detector {model.config.name!r} came without a tokenizer; pass tokenizer= beside model=.")
    models = list(getattr(model, "members", [model]))
    tokenizers = [tokenizer, *getattr(model, "tokenizers", [])]
    if len(models) != len(tokenizers):
        raise ValueError(
            f"The ensemble {model.config.name!r} has {len(models)} members and the tokenizers of {len(tokenizers)}: load it "
            "with from_pretrained, which brings them all."
        )
    return [
        Member(
            part,
            own_copy(reader),
            None if part.config.calibration is None else decode_calibration(part.config.calibration),
            part.fingerprint(),
            reading_of(part.config, reader),
        )
        for part, reader in zip(models, tokenizers, strict=True)
    ]


def reading_of(config: Any, tokenizer: Any) -> str:
    """Hash of how a detector makes inputs of texts: its segments, steps, features and characters, and its tokenizer.

    Of a tokenizer the number of its pieces counts and what it makes of PROBE: hashing all of it would cost the first verdict a
    good part of a second.
    """
    words = tokenizer.backend_tokenizer.encode(PROBE, add_special_tokens=False).ids
    pieces = tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=True)
    read: list[Any] = [
        config.core_tokens,
        config.context_tokens,
        steps_of(config),
        config.feature_names,
        config.feature_data,
    ]
    read += [config.character_bag, pieces, words]
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16]


def own_copy(tokenizer: Any) -> Any:
    """A copy of a tokenizer without the truncation and padding that earlier calls left in it."""
    own = copy.deepcopy(tokenizer)
    if getattr(own, "is_fast", False):
        own.backend_tokenizer.no_truncation()
        own.backend_tokenizer.no_padding()
    return own


def segments_of(member: Member, text: Any) -> Iterator[Segment]:
    """The segments of a document, as the member's config says; built one by one, as they are asked for.

    Raises:
        TypeError: If the text is no string.
        ValueError: If it is blank or nothing readable is left of it.
    """
    config = member.config
    return iter_segments(
        check_text(text), member.tokenizer, config.core_tokens, config.context_tokens, steps_of(config)
    )


def steps_of(config: Any) -> tuple[str, ...]:
    """The steps of normalisation that a detector of this config reads texts through."""
    return tuple(STEPS) if config.normalization is None else tuple(config.normalization)


def segment_inputs(member: Member, index: int, text: Any, document_type: str | None = None) -> Iterator[dict[str, Any]]:
    """What a member is given of a document: one dict for each segment, built as it is asked for.

    Args:
        member: The member.
        index: Its number.
        text: The document.
        document_type: Its type, one of `features_mvh.REGISTERS`, where it is known and a feature reads it.

    Yields:
        Dicts of arrays: "input_ids" and "attention_mask" (1, T), "features" (1, F) where the config names some, "characters"
        (1, L) where it counts their n-grams, the keys of `batching_mvh.HANDED_ON` with "core_ids" (core_tokens,),
        "block_starts" and "block_texts" (None where no characters are counted) for the second look at edges.

    Raises:
        TypeError: If the text is no string.
        ValueError: If it is blank or nothing readable is left of it.
    """
    config = member.config
    segments = segments_of(member, text)
    (script, *beside), language, other_languages = scripts_and_languages(text, steps_of(config))
    for segment in segments:
        ids = np.array([segment.input_ids], dtype=np.int64)  # (1, T)
        item: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),  # (1, T)
            "member": index,
            "start": segment.start,
            "end": segment.end,
            "core_tokens": segment.core_tokens,
            "core_ids": ids[0, segment.core_start : segment.core_start + segment.core_tokens],  # (core_tokens,)
            "block_starts": segment.block_starts,
            "block_texts": None,
            "script": script,
            "language": language,
            "beside": beside,
            "other_languages": other_languages,
            "unread": segment.unread,
            "document_type": (document_type or "") if reads_document_type(config.feature_names) else "",
        }
        if config.feature_names:
            features = compute_features(segment.text, config.feature_names, config.feature_data, document_type)  # (F,)
            item["features"] = features[None]  # (1, F)
        if config.character_bag:
            edges = [*segment.block_offsets, len(segment.text)]
            item["characters"] = code_points(segment.text, len(segment.input_ids))[None]  # (1, L)
            item["block_texts"] = [segment.text[begin:end] for begin, end in pairwise(edges)]
        yield item


def refuse_idle_type(members: Sequence[Member], document_type: str | None) -> None:
    """Raise a ValueError where a document type is given and no member has a feature that reads it."""
    if document_type is not None and not any(reads_document_type(member.config.feature_names) for member in members):
        raise ValueError(
            f"document_type {document_type!r} is given, and the detector has no feature of the groups 'document_type' and "
            "'register' to read it."
        )


def readings_of(outputs: Sequence[dict[str, Any]]) -> list[Reading]:
    """The scored segments of one document, member by member, as the statistics take them."""
    readings = []
    for index in sorted({output["member"] for output in outputs}):
        mine = [output for output in outputs if output["member"] == index]
        document = Document(
            margins=np.array([float(output["margins"]) for output in mine]),  # (m,)
            core_tokens=np.array([output["core_tokens"] for output in mine]),  # (m,)
            script=mine[0]["script"],
            language=mine[0]["language"],
            beside=tuple(mine[0]["beside"]),
            other_languages=tuple(mine[0]["other_languages"]),
            unread=sum(output["unread"] for output in mine) / mine[-1]["end"],
            document_type=mine[0]["document_type"],
        )
        readings.append(Reading(document, np.array([(output["start"], output["end"]) for output in mine])))
    return readings


def prepare_saving(model: Any, members: Sequence[Member], folder: Path) -> None:
    """Make a detector's config name its own code, clear its tokenizers of what calls left in them, and save the other ones.

    Those of all members but the first are written below the folder; the rest is for the pipeline to save.
    """
    place, own = (f"{kind.__module__.split('.')[-1]}.{kind.__name__}" for kind in (type(model), type(model.config)))
    # entries of a Hub repository would point back to it
    model.config.auto_map = {"AutoConfig": own, "AutoModel": place, "AutoModelForSequenceClassification": place}
    for index, member in enumerate(members):
        member.tokenizer.model_input_names = ["input_ids", "attention_mask"]  # what the model's forward takes
        backend = member.tokenizer.backend_tokenizer
        backend.no_truncation()  # the Rust tokenizer saves the last truncation it was asked for
        backend.no_padding()
        if index:
            member.tokenizer.save_pretrained(folder / TOKENIZERS / str(index))
