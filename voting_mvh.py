"""Scores of one document -> segment labels -> verdict; and many documents at once.

`decide` is the whole decision: segment p-values, correction, document p-value, vote, and the reasons to abstain. Only
the document p-value carries a finite-sample guarantee (ranks among whole human documents exchangeable with this one, or,
of a document longer than all of them, the ranks of its parts: `parts_mvh`);
segment p-values are valid for a random segment of a new document, and corrections over one document are empirical.
`screen` is what a reader of many verdicts needs: which documents stay flagged when all are judged together, and how many
innocent ones to expect among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .corrections_mvh import adjust, benjamini_hochberg, documents_needed, known
from .languages_mvh import NAMES
from .parts_mvh import factor, majority, majority_p_value, majority_rate, parts_of
from .pvalues_mvh import P_VALUES, conformal_p_values, false_alarm_interval, softmax_p_values, with_confidence
from .references_mvh import POOLED, Calibration, Document
from .statistics_mvh import STATISTICS, document_margin

MOST_UNREAD = 0.05  # share of the characters: a long formula or key in a text is less
LEAST_OF_A_LANGUAGE = 5  # calibration documents; fewer are strays among those of other languages


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


SOFTMAX_WARNING = "Softmax p-values are the article's method and no valid p-values: no error rate follows from them."
UNCALIBRATED_WARNING = "This checkpoint carries no calibration: no false-alarm rate is known for this verdict."


def decide(
    document: Document,
    calibration: Calibration | None,
    alpha: float,
    correction: str,
    vote: str,
    p_values: str,
    confidence: float | None = None,
) -> dict[str, Any]:
    """Everything that is decided about one document.

    Args:
        document: Its segments' margins (m,), their tokens and its script.
        calibration: The checkpoint's, or None.
        alpha: Level of the tests, in (0, 1).
        correction: A key of CORRECTIONS.
        vote: A key of VOTES.
        p_values: "conformal" or "softmax", for the segments.
        confidence: None for the marginal document p-value; 1 - delta for one whose realised false-alarm rate is at most
            alpha with that confidence over the calibration draw.

    Returns:
        A dict of "label" (1 machine, 0 human, None uncertain), "margin", "p_value" (None without calibration),
        "segment_p_values", "segment_adjusted", "rejected" (arrays of shape (m,)), "calibration" (what the p-values rest
        on, None without), "doubts" (why the document p-value may not hold) and "warnings" (those and others).

    Raises:
        ValueError: If a margin is not finite, alpha is outside (0, 1), a choice is unknown, or a choice needs a
            calibration that is not there.
    """
    margins = document.margins
    if not np.isfinite(margins).all():
        raise ValueError(
            f"{int((~np.isfinite(margins)).sum())} of {len(margins)} segment scores are not finite numbers."
        )
    check_alpha(alpha)
    warnings: list[str] = []

    if known("p_values", p_values, P_VALUES) == "softmax":
        p_segments = softmax_p_values(margins)
        warnings.append(SOFTMAX_WARNING)
    elif calibration is None:
        raise ValueError("p_values='conformal' needs a calibration and this checkpoint carries none; run calibrate.py.")
    else:
        p_segments = calibration.segment_p_values(document)
    if correction == "calibrated" and calibration is not None and p_values == "conformal":
        adjusted = calibrated_by_parts(document, calibration)
    else:
        adjusted = adjust(p_segments, correction)
    rejected = adjusted <= alpha

    about, p_document = None, None
    doubts: list[str] = []
    reasons: list[str] = []  # to abstain, although the p-value holds
    if calibration is None:
        warnings.append(UNCALIBRATED_WARNING)
    else:
        p_document = document_p_value(document, calibration, confidence)
        about = _rests_on(document, calibration, alpha, correction, confidence)
        doubts = doubts_about(document, calibration)
        reasons = too_coarse(about, alpha, confidence)
        warnings += by_parts(document, calibration, about["parts"]) + rare_script(document, calibration)
        if correction == "calibrated" and p_values == "conformal" and about["parts"] > 1:
            warnings += too_many_parts(document, calibration, alpha)
        if p_values == "conformal" and about["segment_documents"] < about["segment_documents_needed"]:
            warnings.append(
                f"One lone flagged segment among {len(margins)} cannot be found: at alpha {alpha} with correction "
                f"'{correction}' that needs {about['segment_documents_needed']} calibration documents, and there are "
                f"{about['segment_documents']}."
            )
    label: int | None = int(VOTES[known("vote", vote, VOTES)](rejected, p_document, alpha))
    if calibration is not None and not label:
        reasons += too_short_to_tell(document, calibration)
    return {
        "label": None if (doubts or reasons) and vote == "calibrated" else label,
        "margin": document_margin(margins, document.core_tokens),
        "p_value": p_document,
        "segment_p_values": p_segments,
        "segment_adjusted": adjusted,
        "rejected": rejected,
        "calibration": about,
        "doubts": doubts,
        "warnings": doubts + reasons + warnings,
    }


def document_p_value(document: Document, calibration: Calibration, confidence: float | None = None) -> float:
    """The p-value of a document: its rank, P(p <= a | human) <= a; where it is longer than all, what `parts_mvh` makes."""
    return majority_p_value([_rank(part, calibration, confidence) for part in parts_of(document, calibration)])


def _rank(document: Document, calibration: Calibration, confidence: float | None) -> float:
    """The highest rank of a document's statistic among the human calibration documents of each kind it may be of."""
    rule = STATISTICS[calibration.statistic]
    statistic = rule(document.margins, document.core_tokens, calibration.segment_p_values(document))
    # calibration scores travel as float32: the same rounding keeps a document that is itself among them a tie
    score = np.array([np.float32(statistic)], dtype=np.float64)
    ranks = []
    for reference in (calibration.document[kind] for kind in _kinds(document, calibration)):
        p_value = conformal_p_values(score, reference.scores, reference.weights)
        if confidence is not None:
            p_value = with_confidence(p_value, reference.documents, confidence)
        ranks.append(float(p_value[0]))
    return max(ranks)


def calibrated_by_parts(document: Document, calibration: Calibration) -> np.ndarray:
    """Adjusted p-values (m,) of correction "calibrated"; those of each of K parts times K, so that the promise stays.

    The promise is that a human document gets any flag with probability at most alpha (`corrections_mvh.calibrated`): it
    holds for each part at alpha / K, so for the whole at alpha.
    """
    parts, adjusted = parts_of(document, calibration), []
    for part in parts:
        p_values = calibration.segment_p_values(part)
        kinds = [adjust(p_values, "calibrated", calibration.simes[kind]) for kind in _kinds(part, calibration)]
        adjusted.append(np.max(kinds, axis=0))
    return np.minimum(np.concatenate(adjusted) * len(parts), 1.0)


def too_many_parts(document: Document, calibration: Calibration, alpha: float) -> list[str]:
    """Where no segment of a document judged by parts can be flagged with correction "calibrated"."""
    parts = parts_of(document, calibration)
    most = max(min(_sizes(part, calibration)) for part in parts)
    if len(parts) <= alpha * (most + 1):
        return []
    return [
        f"No segment can be flagged at alpha {alpha} with correction 'calibrated': {len(parts)} parts share alpha, which needs "
        f"{int(np.ceil(len(parts) / alpha - 1 - 1e-9))} calibration documents of their length; there are {most}."
    ]


def too_coarse(about: Mapping[str, Any], alpha: float, confidence: float | None = None) -> list[str]:
    """Where no document of a group can be flagged: the smallest p-value of what `_rests_on` tells lies above alpha."""
    if about["smallest_p_value"] <= alpha:
        return []
    return [
        f"No document can be flagged at alpha {alpha}"
        + (f" with confidence {confidence}" if confidence is not None else "")
        + f": the smallest p-value that {about['documents']} calibration documents allow is larger."
    ]


def doubts_about(document: Document, calibration: Calibration) -> list[str]:
    """Where a document lies outside what was calibrated on: its script, language, told type or length."""
    reasons, tokens = [], document.tokens
    if document.script not in calibration.scripts:
        written = "has no letters" if document.script == "none" else f"is in {document.script} script"
        reasons.append(
            f"The text {written}, and the calibration saw only {', '.join(sorted(calibration.scripts))}: how often the "
            "detector errs on it is not known."
        )
    if unseen := [script for script in document.beside if script not in calibration.scripts]:
        reasons.append(
            f"A good part of the text is in {' and '.join(unseen)} script, and the calibration saw only "
            f"{', '.join(sorted(calibration.scripts))}: how often the detector errs on it is not known."
        )
    if document.unread > MOST_UNREAD:
        reasons.append(
            f"{document.unread:.0%} of the text are runs of characters that the detector does not know and cannot read: the "
            "verdict would be about the rest."
        )
    spoken = spoken_languages(calibration)
    if document.language and spoken and document.language not in spoken:
        reasons.append(
            f"The text is in {NAMES[document.language]}, and the calibration saw only "
            f"{', '.join(NAMES[name] for name in spoken)}: how often the detector errs on it is not known."
        )
    if spoken and (unspoken := [NAMES[name] for name in document.other_languages if name not in spoken]):
        reasons.append(
            f"A good part of the text is in {' and '.join(unspoken)}, and the calibration saw only "
            f"{', '.join(NAMES[name] for name in spoken)}: how often the detector errs on it is not known."
        )
    if document.document_type not in calibration.document_types:
        told = f"was said to be {document.document_type!r}" if document.document_type else "came without a type"
        seen = " and ".join(
            f"{name!r} texts" if name else "texts without a type" for name in calibration.document_types
        )
        reasons.append(
            f"The text {told}, which the detector takes into account, and it was calibrated on {seen}: how often it errs on "
            "this one is not known."
        )
    if tokens < calibration.shortest_tokens:
        reasons.append(
            f"The text has {tokens} tokens, too short to tell: the shortest calibration document has "
            f"{calibration.shortest_tokens}."
        )
    longest = calibration.longest(document.script)
    if tokens > longest and len(parts_of(document, calibration)) == 1:
        reasons.append(
            f"The document has {tokens} tokens and the longest calibration document{_in_script(document, calibration)} "
            f"{longest}, too few for parts of two segments: its p-value says nothing about the whole; the segments and "
            "passages are still reported."
        )
    return reasons


def by_parts(document: Document, calibration: Calibration, parts: int) -> list[str]:
    """How a document was judged that is longer than any calibration document."""
    if parts == 1:
        return []
    return [
        f"The document has {document.tokens} tokens and the longest calibration document{_in_script(document, calibration)} "
        f"{calibration.longest(document.script)}: its p-value is made of those of {parts} parts, of which {majority(parts)} "
        "must stand out. It holds if parts of long human texts score no higher than the calibration's whole ones."
    ]


def _in_script(document: Document, calibration: Calibration) -> str:
    """Of which script the longest calibration document is, in words, where the calibration tells scripts apart."""
    return f" in {document.script} script" if document.script in calibration.longest_by_script else ""


def spoken_languages(calibration: Calibration) -> list[str]:
    """The languages a calibration speaks for; none where nobody looked, and then every language is judged."""
    return [name for name, count in calibration.languages.items() if count >= LEAST_OF_A_LANGUAGE]


def too_short_to_tell(document: Document, calibration: Calibration) -> list[str]:
    """Where "not flagged" says little of a document, because most of the texts of its length are not found."""
    tokens = max(part.tokens for part in parts_of(document, calibration))
    if tokens >= calibration.tellable_tokens:
        return []
    return [
        f"The text has {tokens} tokens, too short to tell: below {calibration.tellable_tokens} the detector "
        f"found fewer than half of the texts it looks for (measured at alpha {calibration.tellable_alpha}), so that it was "
        "not flagged says little."
    ]


def rare_script(document: Document, calibration: Calibration) -> list[str]:
    """Where a document is compared with human ones of all rare scripts together."""
    rare = _kinds(document, calibration) == [POOLED] and document.script in calibration.scripts
    if not rare or len(calibration.scripts) < 2:
        return []
    return [
        f"Only {calibration.scripts[document.script]} calibration documents are in {document.script} script: this "
        "text is compared with those of all rare scripts together, and the rate for its own is not known."
    ]


def screen(
    p_values: Sequence[float],
    alpha: float = 0.05,
    prevalence: float | None = None,
    smallest: float | None = None,
    judged: int | None = None,
) -> dict[str, Any]:
    """Judge many documents together: Benjamini-Hochberg across their p-values, and the innocent to expect.

    Args:
        p_values: Document p-values, shape (n,).
        alpha: Level; one by one it is each human document's chance to be flagged, together the share of flagged
            documents that are human (FDR, for documents independent of each other).
        prevalence: Share of machine documents the reader believes in, in [0, 1].
        smallest: The smallest p-value the detector can give: with few calibration documents it is so large that many
            documents must reach it before any stays flagged together.
        judged: How many of the documents could be flagged at all, the others counting as p = 1; all where None.

    Returns:
        "documents", "judged", "flagged_alone" and "flagged_together" (indices), "adjusted_p_values",
        "expected_false_alarms" (of flagging one by one, if all that could be judged were human), and with a prevalence
        "innocent_share": the share of the documents flagged one by one that would be human, (1 - prevalence) judged alpha /
        flagged, at most 1. With `smallest` also "needed_together": how many documents must reach it before any stays
        flagged, and a "warning" where that silenced all of them.

    Raises:
        ValueError: If a p-value, alpha or the prevalence is outside its range.
    """
    check_alpha(alpha)
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"Document p-values must be a list of numbers in [0, 1], got {values[:5]} ...")
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence must lie in [0, 1], got {prevalence!r}.")
    judged = len(values) if judged is None else judged
    adjusted = benjamini_hochberg(values) if len(values) else values
    alone = np.flatnonzero(values <= alpha)
    report: dict[str, Any] = {
        "documents": len(values),
        "judged": judged,
        "alpha": alpha,
        "flagged_alone": alone.tolist(),
        "flagged_together": np.flatnonzero(adjusted <= alpha).tolist(),
        "adjusted_p_values": adjusted.tolist(),
        "expected_false_alarms": judged * alpha,
    }
    if smallest is not None:
        needed = max(1, int(np.ceil(len(values) * smallest / alpha - 1e-9)))
        report["needed_together"] = needed
        if needed > 1 and len(alone) and not report["flagged_together"]:
            report["warning"] = (
                f"Together none of {len(values)} documents can stay flagged unless {needed} reach {smallest:.4f}, the smallest "
                "p-value that the calibration allows; calibrate on more documents."
            )
    if prevalence is not None:
        innocent = (1 - prevalence) * judged * alpha
        report |= {"prevalence": prevalence, "innocent_share": min(1.0, innocent / len(alone)) if len(alone) else None}
    return report


def check_alpha(alpha: float, name: str = "alpha") -> None:
    """Raise a ValueError unless alpha (or another probability of that name) is a number between 0 and 1."""
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0.0 < alpha < 1.0:
        raise ValueError(f"{name} must be a number between 0 and 1, got {alpha!r}.")


def _kinds(document: Document, calibration: Calibration) -> list[int]:
    """Keys of the references that a document or a part of one is ranked in, that of its group first."""
    return calibration.kinds_of(document.script, document.tokens)


def _sizes(document: Document, calibration: Calibration) -> list[int]:
    """How many human documents each of those has."""
    return [calibration.document[kind].documents for kind in _kinds(document, calibration)]


def _smallest_and_interval(n: int, level: float, confidence: float | None) -> tuple[float, tuple[float, float]]:
    """The smallest p-value that n human documents allow, and where the realised rate of p-values up to a level lies."""
    smallest = 1.0 / (n + 1)
    if confidence is not None:  # the level at which the marginal rule flags the same documents
        level = int((with_confidence(np.arange(1, n + 1) / (n + 1), n, confidence) <= level).sum()) / (n + 1)
        smallest = float(with_confidence(np.array([smallest]), n, confidence)[0])
    return smallest, false_alarm_interval(n, level)


def highest_rate(document: Document, calibration: Calibration, alpha: float, level: float) -> float:
    """Below what the realised rate of "p <= alpha" lies for documents like one, with probability (1 + level) / 2."""
    parts = parts_of(document, calibration)
    sizes = [_sizes(part, calibration) for part in parts]
    highest = {n: false_alarm_interval(n, alpha / factor(len(parts)), level)[1] for n in set().union(*sizes)}
    return majority_rate([max(highest[n] for n in own) for own in sizes])


def _rests_on(
    document: Document, calibration: Calibration, alpha: float, correction: str, confidence: float | None
) -> dict[str, Any]:
    """What a verdict's p-values rest on: group and sources, their documents, and where the realised false-alarm rate lies.

    Of several kinds, the number is that of the one with the fewest documents, and the rate is known from above only, for a text
    of any of them. So it is of a document judged by parts; of these the part with the fewest documents gives the name.
    """
    parts = parts_of(document, calibration)
    sizes = [_sizes(part, calibration) for part in parts]
    found = {n: _smallest_and_interval(n, alpha / factor(len(parts)), confidence) for n in set().union(*sizes)}
    low, high = found[sizes[0][0]][1]
    if len(parts) > 1 or len(sizes[0]) > 1:
        low, high = 0.0, majority_rate([max(found[n][1][1] for n in own) for own in sizes])
    if correction == "calibrated":
        most = max(parts, key=lambda part: len(part.margins))
        m, level = len(most.margins), alpha / len(parts)
        simes = [calibration.simes[kind] for kind in _kinds(most, calibration)]
        needed = max(documents_needed(m, level, correction, own) for own in simes)
    else:
        needed = documents_needed(len(document.margins), alpha, correction)
    fewest = min(range(len(parts)), key=lambda index: min(sizes[index]))
    group = _kinds(parts[fewest], calibration)[0]
    name = ("other scripts" if calibration.groups else "all") if group == POOLED else calibration.groups[group].name
    return {
        "group": name,
        "sources": [source.name for source in calibration.sources if source.script == document.script],
        "parts": len(parts),
        "documents": min(sizes[fewest]),
        "smallest_p_value": majority_p_value([max(found[n][0] for n in own) for own in sizes]),
        "false_alarm_rate_90": [low, high],
        "segment_documents": calibration.segment_reference(document.script).documents,
        "segment_documents_needed": needed,
    }
