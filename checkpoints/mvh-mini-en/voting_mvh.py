"""Margins -> p-values -> correction -> segment labels -> verdict: the statistics of a detection, as pure functions.

The null hypothesis of every test is "this looks like the human texts of the calibration". Scores are logit margins,
logit(machine) - logit(human): higher = more machine-like, everywhere.

Three tables hold the choices: P_VALUES, CORRECTIONS and VOTES. Only the document p-value carries a finite-sample
guarantee (conformal ranks of whole documents, exchangeable with the calibration documents); segment p-values are valid
for a random segment of a new document, and corrections over segments of one document are empirical.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

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
        calibration: What `calibration_mvh.decode_calibration` returns, or None.
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
    check_alpha(alpha)
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
                f"One lone machine segment among {len(margins)} cannot be found: at alpha {alpha} with correction "
                f"'{correction}' that needs {needed} calibration documents, and there are {segment['documents']}."
            )

    adjusted = adjust(p_segments, correction)
    rejected = adjusted <= alpha
    label: int | None = int(VOTES[known("vote", vote, VOTES)](rejected, p_document, alpha))
    if calibration is None:
        warnings.append("This checkpoint carries no calibration: no false-alarm rate is known for this verdict.")
    else:
        document, tokens = calibration["document"], int(core_tokens.sum())
        if tokens > document["longest_tokens"]:
            label = None if vote == "calibrated" else label
            warnings.append(
                f"The document has {tokens} tokens and the longest calibration document {document['longest_tokens']}: its "
                "p-value says nothing about the whole; the segments and passages are still reported."
            )
        elif vote == "calibrated" and 1.0 / (document["documents"] + 1) > alpha:
            label = None
            warnings.append(
                f"No document can be called machine at alpha {alpha}: the smallest p-value that "
                f"{document['documents']} calibration documents allow is larger."
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


# --- small shared pieces ---


def sigmoid(x: np.ndarray | float) -> np.ndarray:
    """Logistic function without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, dtype=np.float64)))


def check_alpha(alpha: float) -> None:
    """Raise a ValueError unless alpha is a number between 0 and 1."""
    if not isinstance(alpha, (int, float)) or not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be a number between 0 and 1, got {alpha!r}.")


def known(name: str, value: str, choices: Any) -> str:
    """Return `value` if it is among `choices`, else raise a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value
