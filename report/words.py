"""A result -> words that a reader without statistics understands, always with how often the verdict errs.

The sentences say what docs/verdict.md promises and no more: the label speaks of human texts *like those of the
calibration*, no number is the probability that somebody used a machine, and "uncertain" is no softer "machine".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

NO_PROOF = "A flag is a reason to look, never a proof."
VOTES_WITHOUT_PROMISE = {
    "majority": "most of its segments were flagged",
    "any": "at least one of its segments was flagged",
}


@dataclass(frozen=True)
class Terms:
    """What the classes are called: human and machine, or those of another task.

    Attributes:
        machines: Whether the task is to find machine-generated text.
        text: A text of the null class.
        texts: Several of them.
        known: How the texts compared with are known to be of it.
        alike: What is said of those that score at least as high.
        not_flagged: What a missing flag does not mean.
        no_proof: What a p-value is not.
    """

    machines: bool
    text: str
    texts: str
    known: str
    alike: str
    not_flagged: str
    no_proof: str


MACHINES = Terms(
    True,
    "human text",
    "human texts",
    "that people are known to have written",
    "look at least as machine-like to the program as this one",
    "That does not certify that a person wrote it.",
    "It is not the probability that the author used a machine.",
)
OTHER_TASK = Terms(
    False,
    "ordinary text",
    "ordinary texts",
    "known to be ordinary, which here means of the class that is not looked for",
    "stand out to the program at least as much as this one",
    "That certifies nothing.",
    "It is not the probability that the label is right.",
)


def terms(result: dict[str, Any]) -> Terms:
    """The terms of the task a result is about, told by its labels; a result without labels counts as our own task."""
    labels = {result["label"], *(segment["label"] for segment in result["segments"])} - {None, "uncertain"}
    return MACHINES if labels <= {"human", "machine"} else OTHER_TASK


def shared_terms(found: Iterable[Terms]) -> Terms:
    """The terms of many results: those of another task as soon as one is about it."""
    return OTHER_TASK if OTHER_TASK in found else MACHINES


@dataclass(frozen=True)
class Verdict:
    """One document's verdict in words.

    Attributes:
        kind: "flagged", "clear", "uncertain" or "error"; decides colour and sign.
        headline: The verdict, a few words.
        meaning: What it rests on, one to three sentences.
        error_rate: How often such a verdict is wrong, in sentences; empty where nothing was judged.
        dots: (filled, of): so many of 100 or 1,000 human texts look as machine-like; None where that is not known.
    """

    kind: str
    headline: str
    meaning: str
    error_rate: str = ""
    dots: tuple[int, int] | None = field(default=None)


def natural_frequency(share: float, tolerance: float = 0.1, up: bool = False) -> tuple[int, int]:
    """A share as whole numbers: 0.0274 -> (3, 100), 0.0015 -> (15, 10,000), 0 -> (0, 100).

    Args:
        share: In [0, 1].
        tolerance: Relative error allowed to the rounding; a larger denominator is taken until it is kept.
        up: Round up, never down: what is said to be at most these numbers then is.
    """
    for of in (100, 1_000, 10_000, 100_000):
        count = _up(share * of) if up else round(share * of)
        if abs(count - share * of) <= tolerance * share * of:
            return count, of
    return count, of


def in_words(share: float, tolerance: float = 0.1, up: bool = False) -> str:
    """A share in words: "3 in 100"; see `natural_frequency`."""
    count, of = natural_frequency(share, tolerance, up)
    return f"{count:,} in {of:,}"


def p_in_words(p_value: float) -> str:
    """A p-value in words: rounded up, as it may be a bound, and as one above alpha must not read as alpha."""
    return in_words(p_value, up=True)


def at_most_in_words(alpha: float) -> str:
    """A level in words, of which "at most" is said: close to it and never below it."""
    return in_words(alpha, tolerance=0.005, up=True)


def p_text(p_value: float | None) -> str:
    """A p-value for a table: four decimals, rounded up as in words, or "< 0.0001"."""
    if p_value is None:
        return "–"
    return "< 0.0001" if p_value < 0.0001 else f"{_up(p_value * 10_000) / 10_000:.4f}"


def _up(count: float) -> int:
    """The next whole number, but for what floating point adds to a whole one: 0.07 * 100 -> 7."""
    return math.ceil(count * (1 - 1e-12))


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 passage", "2 passages"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def is_flagged(result: dict[str, Any]) -> bool:
    """Whether the label is the flagged class, whatever that is called in this checkpoint's config."""
    if result["label"] in (None, "uncertain"):
        return False
    if result["vote"] == "calibrated":
        return result["p_value"] is not None and result["p_value"] <= result["alpha"]
    return any(s["label"] == result["label"] and s["adjusted_p_value"] <= result["alpha"] for s in result["segments"])


def verdict(result: dict[str, Any]) -> Verdict:
    """The verdict of a result in words; see the module's docstring for what it may say."""
    if "error" in result:
        return Verdict("error", "This document could not be judged", result["error"]["message"])
    standing_out = len(result["passages"])
    stand = f"{counted(standing_out, 'passage')} {'stands' if standing_out == 1 else 'stand'} out"
    if result["label"] == "uncertain":
        parts = f" {stand}; that speaks of the marked parts alone." if standing_out else ""
        means = "That does not mean “probably machine”." if terms(result).machines else "That is no softer flag."
        meaning = f"The program declines to judge this text as a whole. {means}{parts}"
        return Verdict("uncertain", "No verdict on the text as a whole", meaning)

    flagged, p_value, words = is_flagged(result), result["p_value"], terms(result)
    if flagged and result["label"] == "machine":
        headline = "Looks machine-generated"
    elif flagged:
        headline = f"Flagged as “{result['label']}”"
    elif standing_out:
        headline = f"Nothing unusual as a whole, but {stand}"
    else:
        headline = "Nothing unusual found"
    if p_value is None:
        return Verdict("flagged" if flagged else "clear", headline, _rule(result), _error_rate(result))
    about = "Presumably no more than" if is_bounded(result) else "About"
    meaning = f"{about} {p_in_words(p_value)} {words.texts} of the same kind {words.alike}."
    if result["vote"] != "calibrated":
        meaning += " " + _rule(result)
    if not flagged:
        meaning += " " + words.not_flagged
    elif not standing_out:
        meaning += " No single passage stands out from the rest."
    dots = natural_frequency(p_value, up=True)
    return Verdict(
        "flagged" if flagged else "clear",
        headline,
        meaning,
        _error_rate(result),
        dots if dots[0] and dots[1] <= 1_000 and not (is_bounded(result) and p_value == 1) else None,
    )


def _rule(result: dict[str, Any]) -> str:
    """Which rule made the label."""
    if result["vote"] not in VOTES_WITHOUT_PROMISE:
        return ""
    return f"The rule at work, “{result['vote']}”, flags a text where {VOTES_WITHOUT_PROMISE[result['vote']]}."


def _parts(result: dict[str, Any]) -> int:
    """How many parts a text was judged by: one unless it is longer than any of the calibration; older code does not say."""
    return (result["calibration"] or {}).get("parts", 1)  # type: ignore[no-any-return]


def is_bounded(result: dict[str, Any]) -> bool:
    """Whether the p-value of a text is known from above only: with a confidence, of its parts, or the largest of several."""
    return result["confidence"] is not None or _parts(result) > 1 or bool(_sources(result))


def _sources(result: dict[str, Any]) -> list[str]:
    """The sources that a text was compared with beside its group; older code names none."""
    return (result["calibration"] or {}).get("sources") or []


def _compared(result: dict[str, Any]) -> str:
    """How many texts of which kinds a text was compared with."""
    about, words, sources = result["calibration"], terms(result), _sources(result)
    if not sources:
        return f"{about['documents']:,} texts {words.known} (group: {about['group']})"
    return (
        f"at least {about['documents']:,} texts {words.known} of each of these kinds (group: {about['group']}; sources: "
        f"{', '.join(sources)}), and the kind in which the most look like it counts"
    )


def _error_rate(result: dict[str, Any]) -> str:
    """How often texts of the null class are flagged by the rule of this result, and what that is known from."""
    about, words = result["calibration"], terms(result)
    if about is None:
        return "This detector carries no calibration: how often it flags texts wrongly is not known."
    if result["vote"] != "calibrated":
        return (
            f"For the rule “{result['vote']}” no false-alarm rate is promised. The program compared this text with "
            f"{_compared(result)}."
        )
    low, high = about["false_alarm_rate_90"]
    rate = at_most_in_words(result["alpha"])
    if result["confidence"] is None:
        promise = f"On average, at most {rate} {words.texts} of this kind are flagged wrongly"
    else:
        sure = f"With confidence {result['confidence']:.0%}"
        promise = f"{sure}, at most {rate} {words.texts} of this kind are flagged wrongly"
    parts, what = _parts(result), "this text"
    if parts > 1:
        promise += ", if parts of long ones score like whole ones"
        what = f"{parts:,} parts of this text, each by itself,"
    return (
        f"{promise}. The program compared {what} with {_compared(result)}; with so many, the share really flagged lies "
        f"between {low * 100:.1f} and {high * 100:.1f} in 100, nine times out of ten."
    )


def passages_promise(result: dict[str, Any]) -> str:
    """What the marked passages of a result rest on."""
    words = terms(result)
    if result["correction"] == "calibrated" and result["p_values"] == "conformal":
        rate, kind = at_most_in_words(result["alpha"]), "human" if words.machines else "ordinary"
        promise = (
            f"In a text that is {kind} throughout, the chance that anything is marked is at most {rate}, for texts like "
            f"those of the calibration{', if parts of long ones score like whole ones' if _parts(result) > 1 else ''}."
        )
    else:
        promise = f"How often {words.text} gets marked passages is measured, not promised."
    return promise + " Where a passage begins and ends is an estimate."


def flagged_by_vote(votes: Iterable[str | None], flagged: int) -> int | None:
    """How many of many documents their votes flagged, where one was no `calibrated` vote; None where p-values decide alone.

    Args:
        votes: Of each document's result; None of one that could not be read.
        flagged: How many of the results are flagged, see `is_flagged`.
    """
    return None if set(votes) <= {"calibrated", None} else flagged


def batch_sentences(batch: dict[str, Any], unread: int, words: Terms, voted: int | None = None) -> list[str]:
    """What many verdicts mean together, in sentences.

    Args:
        batch: What `voting_mvh.screen` returned: it counts p-values, whatever the vote says.
        unread: Of so many documents no p-value holds.
        words: What the classes are called.
        voted: See `flagged_by_vote`.
    """
    n, alone, held = batch["documents"], len(batch["flagged_alone"]), len(batch["flagged_together"])
    expected, sure = batch["expected_false_alarms"], batch.get("judged", n)  # code of older checkpoints counts all
    those = f"all {n:,}" if sure == n else f"the {sure:,} whose p-value holds"
    by = "" if voted is None else " by their p-values"
    said = [
        f"Judged one by one{by}, {alone:,} of {n:,} documents {'is' if alone == 1 else 'are'} flagged. If {those} were "
        f"{words.texts}, about {expected:,.{0 if expected >= 10 else 2}f} would be flagged all the same.",
        f"Judged together{by}, {held:,} {'stays' if held == 1 else 'stay'} flagged: of documents flagged in this way, at most "
        f"{at_most_in_words(batch['alpha'])} are expected to be {words.texts}. Start with them."
        if held
        else f"Judged together{by}, none stays flagged.",
    ]
    if batch.get("innocent_share") is not None:
        said.append(
            f"If {in_words(1 - batch['prevalence'], 0.005)} such documents are {words.texts}, about "
            f"{in_words(batch['innocent_share'])} of those flagged one by one{by} would be innocent."
        )
    if voted is not None:
        said.append(
            f"The labels are made by another rule, which flagged {voted:,} of {n:,}: how many of those to expect among "
            f"{words.texts}, and which share of them, is not known."
        )
    if unread:
        said.append(
            f"{counted(unread, 'document')} without a p-value that holds {'counts' if unread == 1 else 'count'} as not flagged."
        )
    if "warning" in batch:
        said.append(batch["warning"])
    return said


def letter(result: dict[str, Any]) -> str:
    """What to tell the author of a flagged text: the words of docs/verdict.md with this result's numbers."""
    about, p_value = result["calibration"], result["p_value"]
    if about is None or p_value is None or result["vote"] != "calibrated" or not terms(result).machines:
        return ""
    sources = _sources(result)
    at_most = "at most " if sources or result["confidence"] is not None else ""
    parts, known = _parts(result), f"{about['documents']:,} texts that people wrote"
    if sources:
        known = f"at least {known} of each of {1 + len(sources)} kinds"
    if sources:
        share = f"In none of them do more than {p_in_words(p_value)}"
    else:
        share = f"{'About' if result['confidence'] is None else 'No more than'} {p_in_words(p_value)} of those"
    compared = (
        f"Your text was compared with {known}. {share} look at least as machine-like to the program as yours does."
        if parts == 1
        else f"Your text is longer than those it could be compared with, so {parts:,} parts of it were, each by itself, with "
        f"{known}. If parts of long texts look like whole ones, presumably no more than {p_in_words(p_value)} human texts "
        "look at least as machine-like to the program as yours does."
    )
    return (
        f"{compared} The program is set so that {at_most or 'about '}"
        f"{at_most_in_words(result['alpha'])} people who wrote their texts themselves are flagged all the same, if their texts "
        "are of that kind. It does not know how your text came about, and its result is not a finding against you. We would "
        "like to hear from you how you wrote it."
    )


def settings(result: dict[str, Any], characters: int, versions: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Everything needed to repeat a verdict: (name, value) pairs, as text."""
    about = result["calibration"] or {}
    rows: list[tuple[str, Any]] = [
        ("Label", result["label"]),
        ("Score (0 to 1)", result["score"]),
        ("Margin (logits)", result["margin"]),
        ("Document p-value", result["p_value"]),
        ("Alpha", result["alpha"]),
        ("Correction over segments", result["correction"]),
        ("Vote", result["vote"]),
        ("Segment p-values", result["p_values"]),
        ("Confidence", result["confidence"] if result["confidence"] is not None else "on average"),
        ("Document type, as told", result.get("document_type")),
        ("Compared with", about.get("group")),
        ("And with each of the sources", ", ".join(_sources(result)) or None),
        ("Documents compared, of the smallest of these", about.get("documents")),
        ("Documents behind the segments", about.get("segment_documents")),
        ("Length", f"{characters:,} characters, {counted(len(result['segments']), 'segment')}"),
        *((f"p-value of member {one['name']}", one["p_value"]) for one in result.get("members") or []),
        *((f"Model: {name}", value) for name, value in result["model"].items()),
        *versions,
    ]
    return [(name, _plain(value)) for name, value in rows if value is not None]


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
