"""Decisions -> the result dict, plain JSON types only and the same keys always.

Keys: "label", "score", "margin", "p_value" of the document; "positive_share", the share of its characters in flagged
segments; "segments" that tile it and "passages" of flagged ones; the settings at work ("alpha", "correction", "vote",
"p_values", "confidence") and the "document_type" that was told (None where none was); "calibration", what the p-values
rest on; "doubts", why the document p-value may not hold, whatever the vote says, and "warnings", which hold them and others;
"members", what each member of an ensemble said (None for a single detector); and "model". An item that could not be read
has all of them and "error".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .identity_mvh import merges
from .merged_voting_mvh import decide_merged
from .pvalues_mvh import sigmoid
from .readings_mvh import Reading
from .references_mvh import Calibration, Document
from .statistics_mvh import document_margin
from .voting_mvh import decide, document_p_value, screen

SETTINGS = ("alpha", "correction", "vote", "p_values", "confidence")


def settings_of(config: Any, calibrated: bool, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings at work: those given for a call, else the config's, else what the calibration allows."""
    own = {name: getattr(config, name, None) for name in SETTINGS}
    own["vote"] = own["vote"] or ("calibrated" if calibrated else "majority")
    own["p_values"] = own["p_values"] or ("conformal" if calibrated else "softmax")
    return {name: own[name] if given.get(name) is None else given[name] for name in SETTINGS}


def judge(
    document: Document,
    readings: Sequence[Reading],
    calibration: Calibration | None,
    calibrations: Sequence[Calibration | None],
    config: Any,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The decision about one document: by its (combined) scores, or by its members' merged p-values.

    Args:
        document: The detector's scores of its segments.
        readings: What each member made of it.
        calibration: The detector's own, None where there is none or p-values are merged.
        calibrations: The members'.
        config: The detector's.
        settings: See `settings_of`.

    Returns:
        See `voting_mvh.decide`.
    """
    if not merges(config):
        return decide(document, calibration, **settings)
    names = [member["name"] for member in config.members]
    known = [own for own in calibrations if own is not None]
    whole = known if len(known) == len(calibrations) else None
    return decide_merged(document, readings, whole, names, config.combine, **settings)


def refuse_undecidable(
    calibration: Calibration | None,
    calibrations: Sequence[Calibration | None],
    config: Any,
    settings: Mapping[str, Any],
) -> None:
    """Try the settings on a made-up segment, so that what this detector cannot decide is said once, not for every text.

    Args:
        calibration: The detector's own, None where there is none or p-values are merged.
        calibrations: The members'.
        config: The detector's.
        settings: See `settings_of`.

    Raises:
        ValueError: If a setting needs a calibration that is not there.
    """
    document = Document(np.zeros(1), np.ones(1, dtype=int), "none")
    reading = Reading(document, np.array([[0, 1]]))
    judge(document, [reading] * len(calibrations), calibration, calibrations, config, settings)


def segment_results(
    spans: np.ndarray, margins: np.ndarray, decision: Mapping[str, Any], names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """One dict for each of m segments: its span (m, 2), label, score, margin (m,) and p-values."""
    rows = zip(
        spans.tolist(),
        margins,
        decision["rejected"],
        decision["segment_p_values"],
        decision["segment_adjusted"],
        strict=True,
    )
    return [
        {
            "start": start,
            "end": end,
            "label": names[int(rejected)],
            "score": float(sigmoid(margin)),
            "margin": float(margin),
            "p_value": float(p_value),
            "adjusted_p_value": float(adjusted),
        }
        for (start, end), margin, rejected, p_value, adjusted in rows
    ]


def member_results(
    readings: Sequence[Reading], calibrations: Sequence[Calibration | None], config: Any
) -> list[dict[str, Any]] | None:
    """What each member of an ensemble said of the document by itself; None for a single detector."""
    members = getattr(config, "members", None)
    if members is None:
        return None
    said = []
    for member, reading, calibration in zip(members, readings, calibrations, strict=True):
        document = reading.document
        margin, p_value = document_margin(document.margins, document.core_tokens), None
        if calibration is not None:
            p_value = document_p_value(document, calibration)
        scores = {"score": float(sigmoid(margin)), "margin": margin, "p_value": p_value}
        said.append({"name": member["name"], **scores, "segments": len(document.margins)})
    return said


def document_result(
    readings: Sequence[Reading],
    document: Document,
    calibration: Calibration | None,
    calibrations: Sequence[Calibration | None],
    config: Any,
    settings: Mapping[str, Any],
    doubts: Sequence[str] = (),
) -> dict[str, Any]:
    """The result of one document; its passages are still empty, and what is told of the detector too.

    Args:
        readings: What each member made of it.
        document: The detector's own scores of the segments, those of the first member's cutting.
        calibration: The detector's, None where there is none or p-values are merged.
        calibrations: The members'.
        config: The detector's.
        settings: See `settings_of`.
        doubts: Why the detector's p-values may not hold, whatever the document.
    """
    decision = judge(document, readings, calibration, calibrations, config, settings)
    if doubts and settings["vote"] == "calibrated":
        decision["label"] = None
    names = {index: config.id2label[index] for index in (0, 1)}
    segments = segment_results(readings[0].spans, document.margins, decision, names)
    flagged = sum(segment["end"] - segment["start"] for segment in segments if segment["label"] == names[1])
    return {
        "label": "uncertain" if decision["label"] is None else names[decision["label"]],
        "score": float(sigmoid(decision["margin"])),
        "margin": decision["margin"],
        "p_value": decision["p_value"],
        "positive_share": flagged / segments[-1]["end"],
        "segments": segments,
        "passages": [],
        **settings,
        "document_type": document.document_type or None,
        "calibration": decision["calibration"],
        "doubts": [*doubts, *decision["doubts"]],
        "warnings": [*doubts, *decision["warnings"]],
        "members": member_results(readings, calibrations, config),
        "model": {},
    }


def error_result(error: Exception, about: dict[str, Any]) -> dict[str, Any]:
    """The result of an item that could not be read: every key of a result, no verdict, and the error."""
    return {
        **dict.fromkeys(("label", "score", "margin", "p_value", "positive_share")),
        "segments": [],
        "passages": [],
        **dict.fromkeys((*SETTINGS, "document_type", "calibration")),
        "doubts": [],
        "warnings": [],
        "members": None,
        "model": about,
        "error": {"type": type(error).__name__, "message": str(error)},
    }


def screen_results(
    results: Sequence[Mapping[str, Any]], alpha: float | None, default: float, prevalence: float | None
) -> dict[str, Any]:
    """Judge many documents together: `voting_mvh.screen` on the p-values of some results.

    Args:
        results: Results of single documents; those without a p-value, or with a doubt whether theirs holds, count as not
            flagged (p = 1); those that could not be read do not count.
        alpha: Level; by default that of the results, and where they have none `default`.
        default: The detector's level.
        prevalence: Share of machine documents the reader believes in.

    Raises:
        TypeError: If something else than a list of results is given.
        ValueError: If the results were made at different alphas.
    """
    if isinstance(results, Mapping) or not all(isinstance(result, Mapping) for result in results):
        raise TypeError("Give the list of results that the detector returned, not texts and not a single result.")
    alphas = {result["alpha"] for result in results if result["alpha"] is not None}
    if alpha is None and len(alphas) > 1:
        raise ValueError(f"The results were made at different levels, {sorted(alphas)}; name one alpha.")
    level = alpha if alpha is not None else alphas.pop() if alphas else default
    read = [index for index, result in enumerate(results) if result.get("error") is None]
    sure = [judged(results[index]) for index in read]
    p_values = [results[index]["p_value"] if holds else 1.0 for index, holds in zip(read, sure, strict=True)]
    smallest = [result["calibration"]["smallest_p_value"] for result in results if result["calibration"]]
    report = screen(p_values, level, prevalence, min(smallest, default=None), sum(sure))
    adjusted = dict(zip(read, report["adjusted_p_values"], strict=True))
    report["adjusted_p_values"] = [adjusted.get(index) for index in range(len(results))]
    return report | {name: [read[index] for index in report[name]] for name in ("flagged_alone", "flagged_together")}


def judged(result: Mapping[str, Any]) -> bool:
    """Whether the p-value of a result may decide: there is one, and nothing speaks against it."""
    doubts = result.get("doubts", result["label"] == "uncertain")  # older code names no doubts
    return result["p_value"] is not None and result["label"] is not None and not doubts
