"""A document judged by members whose p-values are merged: `voting_mvh.decide` for an ensemble without a common score.

Each member says its p-values, of the document and of the segments, against its own calibration; `merging_mvh` makes one of
each. The document p-value is valid whatever the dependence between the members (except with "cauchy_p"). A doubt of one
member about what its p-value stands on, such as a script it never saw, is a doubt about the merged one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .corrections_mvh import adjust, documents_needed, known
from .merging_mvh import MERGERS, Merger
from .readings_mvh import Reading, nearest
from .references_mvh import Calibration, Document
from .statistics_mvh import document_margin
from .voting_mvh import (
    SOFTMAX_WARNING,
    UNCALIBRATED_WARNING,
    VOTES,
    by_parts,
    decide,
    doubts_about,
    highest_rate,
    rare_script,
    too_short_to_tell,
)


def decide_merged(
    document: Document,
    readings: Sequence[Reading],
    calibrations: Sequence[Calibration] | None,
    names: Sequence[str],
    combine: str,
    alpha: float,
    correction: str,
    vote: str,
    p_values: str,
    confidence: float | None = None,
) -> dict[str, Any]:
    """Everything that is decided about one document; `voting_mvh.decide` says what is returned.

    Args:
        document: What `readings_mvh.mean_document` makes of the readings: its margins are reported and decide nothing.
        readings: One of each member; the segments are the first one's.
        calibrations: The members' own, or None where they have none.
        names: The members' names, for what one of them doubts.
        combine: A key of MERGERS.
        alpha: Level of the tests, in (0, 1).
        correction: A key of CORRECTIONS but "calibrated", which needs one calibration of the whole.
        vote: A key of VOTES.
        p_values: "conformal" or "softmax", for the segments.
        confidence: None: merged p-values are valid on average over calibration draws.

    Raises:
        ValueError: As `decide`; and for a correction or a confidence that merged p-values cannot give.
    """
    merge = MERGERS[known("combine", combine, MERGERS)]
    if len(readings) == 1:
        own = None if calibrations is None else calibrations[0]
        return decide(document, own, alpha, correction, vote, p_values, confidence)
    if correction == "calibrated" or confidence is not None:
        asked = "correction='calibrated'" if correction == "calibrated" else "confidence"
        raise ValueError(
            f"{asked} needs a calibration of the ensemble as a whole, and combine={combine!r} merges its members' "
            "p-values; make the ensemble with combine='mean_score'."
        )
    grid = readings[0].spans
    said = [
        decide(reading.document, calibration, alpha, "none", "any", p_values)
        for reading, calibration in zip(readings, calibrations or [None] * len(readings), strict=True)
    ]
    rows = [one["segment_p_values"][nearest(grid, r)] for one, r in zip(said, readings, strict=True)]  # K of (m,)
    p_segments = merge(np.array(rows))  # (m,)
    adjusted = adjust(p_segments, correction, None)
    rejected = adjusted <= alpha
    p_document, about = None, None
    doubts: list[str] = []
    reasons: list[str] = []  # to abstain, although the p-value holds
    warnings = [SOFTMAX_WARNING] if p_values == "softmax" else []
    if calibrations is None:
        warnings.append(UNCALIBRATED_WARNING)
    else:
        p_document = float(merge(np.array([[one["p_value"]] for one in said]))[0])
        highest = partial(highest_rate, alpha=alpha / merge.factor(len(said)), level=1 - 2 * 0.05 / len(said))
        rates = [highest(reading.document, one) for reading, one in zip(readings, calibrations, strict=True)]
        about = _rests_on(said, rates, merge, len(grid), alpha, correction)
        for name, its, reading, calibration in zip(names, said, readings, calibrations, strict=True):
            text, parts = reading.document, its["calibration"]["parts"]
            doubts += [f"{name}: {doubt}" for doubt in doubts_about(text, calibration)]
            told = by_parts(text, calibration, parts) + rare_script(text, calibration)
            warnings += [f"{name}: {warning}" for warning in told]
        if (smallest := about["smallest_p_value"]) > alpha:
            reasons.append(
                f"No document can be flagged at alpha {alpha}: the smallest p-value that {len(said)} members with "
                f"{about['documents']} or more calibration documents can merge to is {smallest:.4f}."
            )
        if p_values == "conformal" and about["segment_documents"] < about["segment_documents_needed"]:
            warnings.append(
                f"One lone flagged segment among {len(grid)} cannot be found: at alpha {alpha} with correction "
                f"'{correction}' and {combine} that needs {about['segment_documents_needed']} calibration documents of each "
                f"member, and there are {about['segment_documents']}."
            )
        if combine == "cauchy_p":
            warnings.append("Cauchy combination: its p-value is close to valid where it is small, but not guaranteed.")
    label: int | None = int(VOTES[known("vote", vote, VOTES)](rejected, p_document, alpha))
    if calibrations is not None and not label:
        for name, reading, calibration in zip(names, readings, calibrations, strict=True):
            reasons += [f"{name}: {said}" for said in too_short_to_tell(reading.document, calibration)]
    return {
        "label": None if (doubts or reasons) and vote == "calibrated" else label,
        "margin": document_margin(document.margins, document.core_tokens),
        "p_value": p_document,
        "segment_p_values": p_segments,
        "segment_adjusted": adjusted,
        "rejected": rejected,
        "calibration": about,
        "doubts": doubts,
        "warnings": doubts + reasons + warnings,
    }


def _rests_on(
    said: Sequence[dict[str, Any]], rates: Sequence[float], merge: Merger, m: int, alpha: float, correction: str
) -> dict[str, Any]:
    """What merged p-values rest on; see `voting_mvh`. The realised rate is known from above only.

    A merged p-value <= alpha needs a member's p-value <= alpha / factor, so the realised rate is at most the sum of the
    members' rates there; each stays below its 1 - 0.05 / K quantile at once with a probability of at least 95 %.
    """
    abouts = [one["calibration"] for one in said]
    return {
        "group": " | ".join(dict.fromkeys(about["group"] for about in abouts)),
        "sources": list(dict.fromkeys(source for about in abouts for source in about["sources"])),
        "parts": max(about["parts"] for about in abouts),
        "documents": min(about["documents"] for about in abouts),
        "smallest_p_value": float(merge(np.array([[about["smallest_p_value"]] for about in abouts]))[0]),
        "false_alarm_rate_90": [0.0, min(1.0, sum(rates))],
        "segment_documents": min(about["segment_documents"] for about in abouts),
        "segment_documents_needed": documents_needed(m, alpha / merge.factor(len(said)), correction),
    }
