"""Margins -> p-values -> correction -> segment labels -> verdict: the statistics of a detection, as pure functions.

The null hypothesis of every test is "this looks like the human texts of the calibration". Scores are logit margins,
logit(machine) - logit(human): higher = more machine-like, everywhere.

Three tables hold the choices: P_VALUES, CORRECTIONS and VOTES. Only the document p-value carries a finite-sample
guarantee (conformal ranks of whole documents, exchangeable with the calibration documents); segment p-values are valid
for a random segment of a new document, and corrections over segments of one document are empirical.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MAX_CALIBRATION_VALUES = 5_000  # scores that travel in a config


# --- p-values ---


def softmax_p_values(margins: np.ndarray) -> np.ndarray:
    """1 - P(machine), our reading of the article, which never defines its p-value. Not a valid p-value.

    Args:
        margins: Logit margins, shape (m,).

    Returns:
        Values in (0, 1), shape (m,).
    """
    return sigmoid(-np.asarray(margins, dtype=np.float64))


def conformal_p_values(margins: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank margins among human calibration scores, every calibration document counting once.

    p = (1 + sum_i sum_j w_ij 1{s_ij >= margin}) / (K + 1) with w_ij = 1 / (segments of document i), K documents
    (hierarchical conformal prediction: Lee, Barber, Willett, arXiv 2306.06342). With all weights 1 it is the split
    conformal p-value. Ties count against rejection.

    Args:
        margins: Logit margins to test, shape (m,).
        scores: Calibration margins in ascending order, shape (n,).
        weights: Weight of each score, shape (n,); they sum to the number K of calibration documents.

    Returns:
        p-values in [1 / (K + 1), 1], shape (m,).
    """
    documents = weights.sum()
    at_least = np.concatenate([np.cumsum(weights[::-1])[::-1], [0.0]])  # (n + 1,): weight of scores[i:]
    exceed = at_least[np.searchsorted(scores, margins, side="left")]  # (m,)
    return np.minimum((1.0 + exceed) / (documents + 1.0), 1.0)


P_VALUES = ("conformal", "softmax")


# --- corrections ---


def no_correction(p_values: np.ndarray) -> np.ndarray:
    """p-values as they are: each segment tested alone."""
    return p_values.copy()


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """BH-adjusted p-values (FDR; proven for independent or PRDS p-values)."""
    from statsmodels.stats.multitest import fdrcorrection

    return fdrcorrection(p_values, method="indep")[1]


def benjamini_yekutieli(p_values: np.ndarray) -> np.ndarray:
    """BY-adjusted p-values (FDR under any dependence of valid p-values)."""
    from statsmodels.stats.multitest import fdrcorrection

    return fdrcorrection(p_values, method="negcorr")[1]


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm-adjusted p-values (FWER under any dependence of valid p-values).

    Written out because statsmodels' `multipletests(method="holm")` runs a full garbage collection on every call (33 to
    197 ms); the tests hold it equal to statsmodels.
    """
    m = len(p_values)
    order = np.argsort(p_values)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(m, 0, -1)), 1.0)
    return adjusted


CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": no_correction,
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
    "holm": holm,
}


def adjust(p_values: np.ndarray, correction: str) -> np.ndarray:
    """Adjusted p-values of the segments of one document; a segment is rejected where they are <= alpha.

    Args:
        p_values: Shape (m,), finite, in [0, 1], m >= 1.
        correction: A key of CORRECTIONS.

    Raises:
        ValueError: If the p-values are not such, or the correction is unknown.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if p_values.ndim != 1 or p_values.size == 0:
        raise ValueError(f"A correction needs a non-empty list of p-values, got an array of shape {p_values.shape}.")
    if not (np.isfinite(p_values).all() and (p_values >= 0).all() and (p_values <= 1).all()):
        raise ValueError(
            f"p-values must be finite and in [0, 1], got values from {p_values.min()} to {p_values.max()}."
        )
    return CORRECTIONS[known("correction", correction, CORRECTIONS)](p_values)


# --- document ---


def document_margin(margins: np.ndarray, core_tokens: np.ndarray) -> float:
    """The document statistic: mean segment margin, each segment weighted by the tokens of its core."""
    return float(np.average(margins, weights=core_tokens))


def vote_calibrated(rejected: np.ndarray, p_value: float | None, alpha: float) -> bool:
    """Machine where the document p-value is at most alpha: false-alarm rate at most alpha on exchangeable documents."""
    if p_value is None:
        raise ValueError(
            "vote='calibrated' needs a document calibration and this checkpoint carries none; run calibrate.py."
        )
    return p_value <= alpha


def vote_majority(rejected: np.ndarray, p_value: float | None, alpha: float) -> bool:
    """Machine where more segments are labelled machine than human (the article's rule)."""
    return bool(rejected.sum() > len(rejected) - rejected.sum())


def vote_any(rejected: np.ndarray, p_value: float | None, alpha: float) -> bool:
    """Machine where at least one segment is labelled machine."""
    return bool(rejected.any())


VOTES: dict[str, Callable[[np.ndarray, float | None, float], bool]] = {
    "calibrated": vote_calibrated,
    "majority": vote_majority,
    "any": vote_any,
}


def decide(
    margins: np.ndarray,
    core_tokens: np.ndarray,
    calibration: Mapping[str, Any] | None,
    alpha: float,
    correction: str,
    vote: str,
    p_values: str,
) -> dict[str, Any]:
    """Everything that is decided about one document, from the margins of its segments.

    Args:
        margins: Logit margins of the segments, shape (m,).
        core_tokens: Tokens of each core, shape (m,).
        calibration: What `decode_calibration` returns, or None.
        alpha: Level of the tests, in (0, 1).
        correction: A key of CORRECTIONS.
        vote: A key of VOTES.
        p_values: "conformal" or "softmax".

    Returns:
        A dict of "label" (1 machine, 0 human, None uncertain), "margin", "p_value" (None without calibration),
        "segment_p_values", "segment_adjusted", "rejected" (arrays of shape (m,)) and "warnings".

    Raises:
        ValueError: If a margin is not finite, alpha is outside (0, 1), a choice is unknown, or a choice needs a
            calibration that is not there.
    """
    if not np.isfinite(margins).all():
        raise ValueError(
            f"{int((~np.isfinite(margins)).sum())} of {len(margins)} segment scores are not finite numbers."
        )
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}.")
    warnings: list[str] = []
    margin = document_margin(margins, core_tokens)
    p_document: float | None = None
    if calibration is not None:
        segment, document = calibration["segment"], calibration["document"]
        p_document = float(conformal_p_values(np.array([margin]), document["scores"], document["weights"])[0])

    if known("p_values", p_values, P_VALUES) == "softmax":
        p_segments = softmax_p_values(margins)
    elif calibration is None:
        raise ValueError("p_values='conformal' needs a calibration and this checkpoint carries none; run calibrate.py.")
    else:
        p_segments = conformal_p_values(margins, segment["scores"], segment["weights"])
        if needed := calibration_documents_needed(len(margins), alpha, correction, segment["documents"]):
            warnings.append(
                f"No single segment can be labelled machine: one rejection among {len(margins)} segments at alpha "
                f"{alpha} with correction '{correction}' needs {needed} calibration documents, and there are "
                f"{segment['documents']}."
            )

    adjusted = adjust(p_segments, correction)
    rejected = adjusted <= alpha
    label: int | None = int(VOTES[known("vote", vote, VOTES)](rejected, p_document, alpha))
    if calibration is None:
        warnings.append("This checkpoint carries no calibration: no false-alarm rate is known for this verdict.")
    elif vote == "calibrated":
        longest, tokens = calibration["document"]["longest_tokens"], int(core_tokens.sum())
        if tokens > longest:
            label = None
            warnings.append(
                f"The document has {tokens} tokens and the longest calibration document {longest}: no verdict on the "
                "whole; the segments and passages are still reported."
            )
        elif 1.0 / (calibration["document"]["documents"] + 1) > alpha:
            label = None
            warnings.append(
                f"No document can be called machine at alpha {alpha}: the smallest p-value that "
                f"{calibration['document']['documents']} calibration documents allow is larger."
            )
    return {
        "label": label,
        "margin": margin,
        "p_value": p_document,
        "segment_p_values": p_segments,
        "segment_adjusted": adjusted,
        "rejected": rejected,
        "warnings": warnings,
    }


def calibration_documents_needed(m: int, alpha: float, correction: str, documents: int) -> int | None:
    """Calibration documents that one lone rejection among m segments needs, or None where there are enough.

    The smallest conformal p-value is 1 / (K + 1); a lone small p-value is rejected by BH and Holm where it is at most
    alpha / m, by BY where it is at most alpha / (m H_m).
    """
    penalty = {"none": 1.0, "by": m * float(np.sum(1.0 / np.arange(1, m + 1)))}.get(correction, float(m))
    needed = int(np.ceil(penalty / alpha - 1.0 - 1e-9))
    return needed if documents < needed else None


# --- calibration: how it travels ---


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
    packed = {
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
    decode_calibration(packed)
    return packed | {"id": calibration_id(packed)}


def decode_calibration(packed: Mapping[str, Any]) -> dict[str, Any]:
    """Unpack and check a calibration: {"segment": {...}, "document": {...}} with float64 arrays "scores" and "weights".

    Raises:
        ValueError: If the calibration is damaged: missing parts, wrong sizes, unsorted, not finite, constant or too
            many scores, weights that do not sum to the number of documents, or an id that is not its contents'.
    """
    try:
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
    if "id" in packed and packed["id"] != calibration_id(packed):
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


# --- small shared pieces ---


def sigmoid(x: np.ndarray | float) -> np.ndarray:
    """Logistic function without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, dtype=np.float64)))


def known(name: str, value: str, choices: Any) -> str:
    """Return `value` if it is among `choices`, else raise a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value
