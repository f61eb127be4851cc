"""Calibration scores: how they are packed into a config, and how a damaged packing is noticed.

A calibration holds two disjoint sets of human documents: the margins of the segments of one, each document with total
weight 1, and the document statistics of the other. Scores travel as float32 in base64, at most 5,000 of them, beside
the number of documents, what they belong to ("about") and an "id" hashed from all of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_CALIBRATION_VALUES = 5_000


def encode_calibration(
    segment_margins: list[np.ndarray],
    document_margins: np.ndarray,
    longest_tokens: int,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Pack calibration scores into the JSON-ready dict that travels in the config.

    Args:
        segment_margins: One array of segment margins per segment-calibration document.
        document_margins: Statistics of the document-calibration documents, shape (N,); not the documents above.
        longest_tokens: Tokens of the longest document-calibration document.
        about: What the calibration belongs to (normaliser, weights, dtype, population ...), kept as it is.

    Returns:
        A dict with "segment", "document", "about" and the "id" that every result repeats.

    Raises:
        ValueError: If a score is not finite, a side is empty, all scores are equal, or there are too many values.
    """
    if any(len(part) == 0 for part in segment_margins):
        raise ValueError(f"{sum(len(part) == 0 for part in segment_margins)} calibration documents have no segment.")
    scores = np.concatenate(segment_margins) if segment_margins else np.empty(0)
    weights = (
        np.concatenate([np.full(len(part), 1.0 / len(part)) for part in segment_margins]) if segment_margins else scores
    )
    order = np.argsort(scores, kind="stable")
    documents = np.sort(np.asarray(document_margins, dtype=np.float64))
    if len(scores) + len(documents) > MAX_CALIBRATION_VALUES:
        raise ValueError(
            f"A calibration holds at most {MAX_CALIBRATION_VALUES} values, got {len(scores)} segments and "
            f"{len(documents)} documents; draw fewer documents."
        )
    packed: dict[str, Any] = {
        "version": 1,
        "segment": {
            "groups": {
                "all": {
                    "scores": _pack(scores[order]),
                    "weights": _pack(weights[order]),
                    "documents": len(segment_margins),
                }
            }
        },
        "document": {
            "statistic": "mean_margin",
            "groups": {
                "all": {"scores": _pack(documents), "documents": len(documents), "longest_tokens": int(longest_tokens)}
            },
        },
        "about": dict(about),
    }
    packed["id"] = calibration_id(packed)
    decode_calibration(packed)
    return packed


def decode_calibration(packed: Mapping[str, Any]) -> dict[str, Any]:
    """Unpack and check a calibration: {"segment": {...}, "document": {...}} with float64 arrays "scores" and "weights".

    Raises:
        ValueError: If the calibration is damaged: missing parts, wrong sizes, unsorted, not finite, constant or too
            many scores, weights that do not sum to the number of documents, or an id that is not its contents'.
    """
    try:
        if packed["version"] != 1 or packed["document"]["statistic"] != "mean_margin":
            raise ValueError(
                f"The calibration is of version {packed['version']} with statistic {packed['document']['statistic']!r}; "
                "this code reads version 1 with 'mean_margin'."
            )
        if not isinstance(packed["about"], Mapping):
            raise ValueError(f"The calibration's 'about' must be a mapping, not {type(packed['about']).__name__}.")
        decoded: dict[str, Any] = {}
        for part in ("segment", "document"):
            group = packed[part]["groups"]["all"]
            scores, documents = _unpack(group["scores"]), int(group["documents"])
            weights = _unpack(group["weights"]) if part == "segment" else np.ones(len(scores))
            decoded[part] = {"scores": scores, "weights": weights, "documents": documents}
            _check_group(part, scores, weights, documents)
        decoded["document"]["longest_tokens"] = int(packed["document"]["groups"]["all"]["longest_tokens"])
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(f"The calibration in the config is damaged: {type(error).__name__} {error}.") from error
    if packed["id"] != calibration_id(packed):
        raise ValueError(
            f"The calibration calls itself {packed['id']}, but its contents hash to {calibration_id(packed)}."
        )
    return decoded


def calibration_id(packed: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of a calibration without its "id"."""
    body = {key: value for key, value in packed.items() if key != "id"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def _check_group(part: str, scores: np.ndarray, weights: np.ndarray, documents: int) -> None:
    if not 0 < len(scores) <= MAX_CALIBRATION_VALUES or len(scores) != len(weights):
        raise ValueError(
            f"The {part} calibration has {len(scores)} scores and {len(weights)} weights; both must be the same "
            f"number, from 1 to {MAX_CALIBRATION_VALUES}."
        )
    if not (np.isfinite(scores).all() and np.isfinite(weights).all()):
        raise ValueError(
            f"The {part} calibration holds {int((~np.isfinite(scores)).sum())} scores that are not finite."
        )
    if (np.diff(scores) < 0).any():
        raise ValueError(f"The {part} calibration scores must ascend and do not.")
    if len(scores) > 1 and scores[0] == scores[-1]:
        raise ValueError(
            f"All {len(scores)} {part} calibration scores equal {scores[0]}: they cannot tell texts apart."
        )
    if not np.isclose(weights.sum(), documents, rtol=1e-3) or (weights <= 0).any():
        raise ValueError(
            f"The {part} calibration weights sum to {weights.sum():.3f}, not to its {documents} documents."
        )


def _pack(values: np.ndarray) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode("ascii")


def _unpack(text: str) -> np.ndarray:
    raw = base64.b64decode(text, validate=True)
    if len(raw) % 4:
        raise ValueError(
            f"The calibration in the config is damaged: {len(raw)} bytes are no whole number of float32 values."
        )
    return np.frombuffer(raw, dtype="<f4").astype(np.float64)
