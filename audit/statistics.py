"""What an audit says: false alarms with intervals, power, groups, and the signs that something is wrong with the texts.

Pure functions over scored texts; `__main__.py` runs the detector, `page.py` shows the result. A realised false-alarm
rate is judged against the distribution that a valid conformal rule has over calibration draws (beta-binomial; Vovk 2012,
arXiv 1209.2673), not against alpha itself: with few calibration documents the rate of one draw varies widely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import betabinom, binom
from sklearn.metrics import roc_curve
from statsmodels.stats.proportion import proportion_confint

from mvh.metrics import HUMAN, MACHINE, UNCERTAIN, auroc, checked_scores, source_groups, tpr_at_fpr
from mvh.pvalues_mvh import with_confidence
from mvh.voting_mvh import screen

ALPHAS = tuple(round(0.01 * k, 2) for k in range(1, 21))
LENGTH_EDGES = (64, 128, 256, 512, 1024, 2048)  # tokens; a group holds the lengths from one edge up to the next
HISTOGRAM_BINS = 20
DOUBTFUL = 0.001  # one-sided p-value below which texts given as human are called into question


def suspicious(
    p_values: ArrayLike,
    alpha: float,
    groups: Sequence[str] = (),
    documents: Sequence[int] | None = None,
    confidence: float | None = None,
) -> str | None:
    """Whether more texts given as human are flagged than chance allows: machine texts may be among them.

    One-sided test of #{p <= alpha} against Binomial(n, alpha), or against the beta-binomial distribution it has with
    a calibration of so many documents (Vovk 2012), which is wider.

    Args:
        p_values: Document p-values of texts given as human, shape (n,); NaN counts as not flagged.
        alpha: Level, in (0, 1).
        groups: The calibration group of each text, where they are known.
        documents: The number of calibration documents behind each text.
        confidence: That of the p-values, None for marginal ones.

    Returns:
        A sentence where the test's p-value is below DOUBTFUL, else None.
    """
    values = np.asarray(p_values, dtype=np.float64)
    flagged, texts = int((values <= alpha).sum()), len(values)
    if not texts:
        return None
    chance = float(flag_counts(alpha, list(groups) or ["all"] * texts, documents, confidence)[flagged:].sum())
    if chance >= DOUBTFUL:
        return None
    return (
        f"{flagged} of {texts} texts given as human have a p-value of at most {alpha} where about {alpha * texts:.0f} are "
        f"expected (one-sided p {max(chance, 1e-12):.1g}): either machine texts are among them, or they are another "
        "population than the human texts of the calibration."
    )


def exchanged(area: float | None) -> str | None:
    """A sentence where machine texts score lower than human ones (AUROC below 0.5), else None."""
    if area is None or area >= 0.5:
        return None
    return (
        f"The machine texts score lower than the human ones (AUROC {area:.3f}): the two files are probably exchanged."
    )


def checked_margins(margins: ArrayLike) -> NDArray[np.float64]:
    """The margins as finite floats that differ.

    Raises:
        ValueError: If one is NaN or infinite, or all of several are equal.
    """
    scores = checked_scores(margins)
    if len(scores) > 1 and scores.min() == scores.max():
        raise ValueError(f"All {len(scores)} texts have the margin {scores[0]}: this detector cannot tell texts apart.")
    return scores


def flag_counts(
    alpha: float, groups: Sequence[str], documents: Sequence[int] | None, confidence: float | None = None
) -> NDArray[np.float64]:
    """Distribution of the number of flagged human texts under a valid conformal rule, over the calibration draw.

    Within a group of n calibration documents the count is beta-binomial with l = floor((n + 1) alpha) and n + 1 - l;
    groups are taken as independent. Without `documents` it is Binomial(texts, alpha).

    Args:
        alpha: Level, in (0, 1).
        groups: The calibration group of each text.
        documents: The number of calibration documents behind each text, the same within a group.
        confidence: That of the p-values, see `pvalues_mvh.with_confidence`; then l is the number of ranks it leaves.

    Returns:
        Probabilities of 0, 1, ..., n flags, shape (n + 1,).
    """
    if documents is None:
        return binom.pmf(np.arange(len(groups) + 1), len(groups), alpha)
    total = np.ones(1)
    for (_, n), texts in Counter(zip(groups, documents, strict=True)).items():
        rank, counts = int(np.floor((n + 1) * alpha + 1e-9)), np.arange(texts + 1)
        if confidence is not None:
            rank = int((with_confidence(np.arange(1, n + 1) / (n + 1), n, confidence) <= alpha).sum())
        if rank == 0:
            part = (counts == 0).astype(np.float64)  # no p-value can be as small as alpha
        else:
            part = betabinom.pmf(counts, texts, rank, n + 1 - rank)
        total = np.convolve(total, part)
    return total


def kinds_of_flags(
    groups: Sequence[str], documents: Sequence[int] | None, sources: Sequence[Sequence[str]]
) -> tuple[list[str], list[int] | None]:
    """What `flag_counts` is to take for groups, where p-values may be the largest among a group and several sources.

    Texts that were ranked in the same sources are one kind, of the fewest documents: which source each is like is not known,
    all may be like the same one, and none is flagged more often than its own source's p-value would flag it.

    Args:
        groups: The calibration group of each text.
        documents: The fewest calibration documents that each was compared with.
        sources: The sources each was compared with beside its group, none where the calibration tells none apart.
    """
    kinds = [f"each of: {', '.join(own)}" if own else group for group, own in zip(groups, sources, strict=True)]
    if documents is None:
        return kinds, None
    fewest: dict[str, int] = {}
    for kind, own, count in zip(kinds, sources, documents, strict=True):
        fewest[kind] = min(fewest.get(kind, count), count) if own else count
    return kinds, [fewest[kind] if own else n for kind, own, n in zip(kinds, sources, documents, strict=True)]


def count_limits(chances: NDArray[np.float64], low: float, high: float) -> list[float]:
    """The quantiles `low` and `high` of a count with these probabilities, as shares of its largest value."""
    below = np.cumsum(chances)
    most = max(len(chances) - 1, 1)
    return [min(int(np.searchsorted(below, level - 1e-12)), most) / most for level in (low, high)]


def share(hits: int, texts: int) -> dict[str, Any]:
    """A rate with its 95 % Clopper-Pearson interval; both None without texts."""
    if not texts:
        return {"rate": None, "interval_95": None}
    low, high = proportion_confint(hits, texts, alpha=0.05, method="beta")
    return {"rate": hits / texts, "interval_95": [float(low), float(high)]}


def figures(scored: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts and rates of some texts: false alarms of the human ones, power of the machine ones, coverage."""
    decisions = {label: [row["decision"] for row in scored if row["label"] == label] for label in (HUMAN, MACHINE)}
    result: dict[str, Any] = {}
    for label, kind, rate in ((HUMAN, "human", "false_alarms"), (MACHINE, "machine", "power")):
        flagged = decisions[label].count(MACHINE)
        result[kind] = len(decisions[label])
        result[rate] = {"flagged": flagged, **share(flagged, len(decisions[label]))}
    everyone = decisions[HUMAN] + decisions[MACHINE]
    result["coverage"] = 1 - everyone.count(UNCERTAIN) / len(everyone)
    return result


def length_group(tokens: int) -> str:
    """The length group of a text: "1-63", "64-127", ..., "2048+" tokens."""
    edges = (1, *LENGTH_EDGES)
    index = int(np.searchsorted(edges, tokens, side="right"))
    return f"{edges[index - 1]}+" if index == len(edges) else f"{edges[index - 1]}-{edges[index] - 1}"


def by_group(scored: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`figures` by script, by length and, where rows name one, by source."""
    names: dict[str, list[str]] = {
        "script": [row["script"] or "unreadable" for row in scored],
        "tokens": [length_group(row["tokens"]) if row["tokens"] else "unreadable" for row in scored],
    }
    if any(row["source"] for row in scored):
        names["source"] = source_groups([row["source"] or "unnamed" for row in scored])
    order = {name: index for index, name in enumerate(map(length_group, (1, *LENGTH_EDGES)))}
    return {
        kind: {
            name: figures([row for row, own in zip(scored, groups, strict=True) if own == name])
            for name in sorted(set(groups), key=lambda name: (order.get(name, -1), name))
        }
        for kind, groups in names.items()
    }


def audit_report(
    scored: Sequence[dict[str, Any]], alpha: float, prevalence: float | None = None, confidence: float | None = None
) -> dict[str, Any]:
    """Everything an audit says, from scored texts, as plain JSON types.

    What is held against a limit are the p-values that are promised to hold: those of texts outside the calibration (their
    script, language, length) say nothing of it, and such texts get no verdict by default.

    Args:
        scored: One dict per text: "id", "label" (0 or 1), "source", "margin", "p_value", "decision" (-1, 0, 1), "tokens",
            "script", "group", "documents" and "sources" (of `calibration` of its result, None without), "holds"
            (whether its p-value is promised to hold) and "error" (None, or a sentence; such a text takes the lowest margin
            and is uncertain).
        alpha: Level of the verdicts.
        prevalence: Share of machine texts the reader believes in; gives the share of flagged texts that are innocent, and
            its range over the 95 % interval of the false-alarm rate.
        confidence: That of the p-values, None for marginal ones.

    Returns:
        The figures, with "warnings": sentences to be said loudly.

    Raises:
        ValueError: If no text could be scored, or the scores are constant or not finite.
    """
    read = [row for row in scored if row["error"] is None]
    errors = [{"id": row["id"], "error": row["error"]} for row in scored if row["error"] is not None]
    if not read:
        raise ValueError(f"None of {len(scored)} texts could be scored, the first because: {errors[0]['error']}")
    lowest = float(checked_margins([row["margin"] for row in read]).min())
    labels = np.array([row["label"] for row in scored])
    margins = np.array([lowest if row["error"] is not None else row["margin"] for row in scored])
    human = [row for row in read if row["label"] == HUMAN]
    calibrated = [row for row in human if row["p_value"] is not None and row["holds"]]
    p_values = np.array([row["p_value"] for row in calibrated])
    area = auroc(labels, margins)

    warnings = [exchanged(area)]
    report: dict[str, Any] = {"alpha": alpha, "texts": len(scored), **figures(scored), "auroc": area}
    report["tpr_at_fpr"] = {str(fpr): tpr_at_fpr(labels, margins, fpr) for fpr in (0.05, 0.01)}
    report |= dict.fromkeys(
        ("false_alarm_limit_99", "within_limit", "held", "fpr_by_alpha", "p_value_histogram", "batch")
    )
    if len(p_values):
        groups, sizes = kinds_of_flags(
            [row["group"] or "all" for row in calibrated],
            _sizes(calibrated),
            [row.get("sources") or [] for row in calibrated],
        )
        from_above = any(row.get("sources") for row in calibrated)  # then a p-value may be larger than its text's own
        limit = count_limits(flag_counts(alpha, groups, sizes, confidence), 0.01, 0.99)[1]
        held = float((p_values <= alpha).mean())
        report["false_alarm_limit_99"], report["within_limit"] = limit, held <= limit
        report["held"] = {"human": len(p_values), "rate": held}
        report["calibration_documents"] = sizes and dict(sorted(zip(groups, sizes, strict=True)))
        report["fpr_by_alpha"] = [
            {"alpha": level, "fpr": float((p_values <= level).mean()), "band_99": [0.0 if from_above else low, high]}
            for level in ALPHAS
            for low, high in [count_limits(flag_counts(level, groups, sizes, confidence), 0.005, 0.995)]
        ]
        counts, edges = np.histogram(p_values, bins=HISTOGRAM_BINS, range=(0, 1))
        report["p_value_histogram"] = {"edges": edges.round(6).tolist(), "texts": counts.tolist()}
        report["batch"] = batch(scored, alpha)
        if not report["within_limit"]:
            warnings.append(
                f"The realised false-alarm rate {held:.3f} of {len(p_values)} human texts is above {limit:.3f}, which a "
                "detector calibrated on texts of this kind exceeds once in a hundred: for such texts calibrate on your own."
            )
        warnings.append(suspicious(p_values, alpha, groups, sizes, confidence))
    elif any(row["p_value"] is not None for row in human):
        warnings.append("No human text is of the kinds that were calibrated on: no rate was promised for any of them.")
    else:
        warnings.append(
            "The checkpoint carries no calibration: no rate was promised, and there are no p-values to check."
        )
    if errors:
        warnings.append(f"{len(errors)} texts could not be scored, the first because: {errors[0]['error']}")
    report |= dict.fromkeys(("prevalence", "innocent_share", "innocent_share_95", "roc"))
    if prevalence is not None:  # without machine texts the power is taken for 1, and the shares are lower bounds
        power, alarms = report["power"]["rate"] if report["machine"] else 1.0, report["false_alarms"]
        report["prevalence"] = prevalence
        report["innocent_share"] = innocent_share(alarms["rate"], power, prevalence)
        report["innocent_share_95"] = innocent_range(alarms["interval_95"], power, prevalence)
    if area is not None:
        fpr, tpr, _ = roc_curve(labels, margins)
        report["roc"] = {"fpr": fpr.tolist(), "tpr": tpr.tolist()}
    report["groups"] = by_group(scored)
    report["flagged_human"] = [
        {key: row[key] for key in ("id", "margin", "p_value")} for row in human if row["decision"] == MACHINE
    ]
    report["errors"] = errors
    report["warnings"] = [warning for warning in warnings if warning]
    return report


def _sizes(calibrated: Sequence[dict[str, Any]]) -> list[int] | None:
    """Calibration documents behind each p-value; None where a checkpoint of an older version does not say."""
    sizes = [row["documents"] for row in calibrated]
    return None if None in sizes else sizes


def batch(rows: Sequence[dict[str, Any]], alpha: float) -> dict[str, Any]:
    """All texts judged together (`screen`), in counts: flagged one by one and together, the human ones among them.

    As in the pipeline's own `screen`, a text whose p-value may not hold counts as not flagged (p = 1), and one that could
    not be read does not count.
    """
    rows = [row for row in rows if row["error"] is None]
    p_values = [row["p_value"] if row["p_value"] is not None and row["holds"] else 1.0 for row in rows]
    screened = screen(p_values, alpha)
    humans = [row for row in rows if row["label"] == HUMAN]
    held = sum(row["p_value"] is not None and row["holds"] for row in humans)
    result: dict[str, Any] = {"texts": len(rows), "human": len(humans), "human_held": held}
    result["expected_false_alarms"] = held * alpha
    for how in ("flagged_alone", "flagged_together"):
        result[how] = len(screened[how])
        result[f"human_{how}"] = sum(rows[index]["label"] == HUMAN for index in screened[how])
    return result


def innocent_share(false_alarms: float, power: float, prevalence: float) -> float | None:
    """Share of flagged texts that are human, where `prevalence` of all texts are machine-written (Bayes' rule).

    Args:
        false_alarms: Share of human texts that are flagged, in [0, 1].
        power: Share of machine texts that are flagged, in [0, 1].
        prevalence: In [0, 1].

    Returns:
        A share in [0, 1]; None where nothing is flagged.

    Raises:
        ValueError: If the prevalence is outside its range.
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence must lie in [0, 1], got {prevalence!r}.")
    innocent, guilty = (1 - prevalence) * false_alarms, prevalence * power
    return innocent / (innocent + guilty) if innocent + guilty > 0 else None


def innocent_range(false_alarms: Sequence[float], power: float, prevalence: float) -> list[float] | None:
    """`innocent_share` at both ends of an interval of the false-alarm rate; None where nothing is flagged at either.

    Args:
        false_alarms: Lower and upper end, in [0, 1].
        power: See `innocent_share`.
        prevalence: See `innocent_share`.
    """
    low, high = (innocent_share(rate, power, prevalence) for rate in false_alarms)
    if high is None:
        return None
    return [high if low is None else low, high]  # without power or machine texts every flagged text is innocent
