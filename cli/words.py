"""What results mean, in sentences for people who read no statistics."""

from __future__ import annotations

import unicodedata
from typing import Any

from mvh.documents.blocks import Extracted

RULES = {
    "calibrated": "called machine where p <= {alpha}",
    "majority": "called machine where most segments are",
    "any": "called machine where any segment is",
}
CLOSING = "A flag is no proof: it says how rare such a score is among the human texts of the calibration."


def verdict_sentence(result: dict[str, Any]) -> str:
    """What the label rests on, in plain words."""
    p_value = result["p_value"]
    if p_value is None:
        return "without calibration: how often this verdict errs is not known."
    if result["label"] == "uncertain":
        return "no verdict on the document as a whole."
    rare = (
        f"about {p_value:.1%} or fewer of human texts like those of the calibration score as high (p = {p_value:.4f})"
    )
    return f"{rare}; {RULES[result['vote']].format(alpha=result['alpha'])}."


def error_rate_sentence(result: dict[str, Any]) -> str | None:
    """How often a verdict of this kind accuses a human author; None where no rate is promised."""
    if result["label"] in (None, "uncertain") or result["p_value"] is None or result["vote"] != "calibrated":
        return None
    share = f"{result['alpha'] * 100:g} in 100 human texts of this kind by mistake"
    basis, confidence = result["calibration"], result["confidence"]
    if confidence is not None:
        return f"Set so, it flags at most {share}, with confidence {confidence:.0%}."
    low, high = basis["false_alarm_rate_90"]
    return (
        f"Set so, it flags about {share}; with {basis['documents']} human texts to compare with, the true rate lies nine times "
        f"out of ten between {low:.1%} and {high:.1%}."
    )


def read_sentence(extracted: Extracted) -> str:
    """What was read of a file: kind, pages, characters, and the share left out."""
    parts = [extracted.kind]
    if extracted.page_count is not None:
        parts.append(f"{extracted.page_count:,} page{'s' * (extracted.page_count != 1)}")
    parts.append(f"{len(extracted.text):,} characters")
    if extracted.skipped:
        total = len(extracted.text) + sum(extracted.skipped.values())
        reasons = ", ".join(f"{reason} {count / total:.1%}" for reason, count in extracted.skipped.items())
        parts.append(f"{extracted.skipped_share:.1%} left out ({reasons})")
    return ", ".join(parts)


def place(passage: dict[str, Any], extracted: Extracted | None) -> str:
    """Where a passage stands: its pages where they are known, and its characters."""
    characters = f"characters {passage['start']:,}-{passage['end']:,}"
    pages = extracted.pages_of(passage["start"], passage["end"]) if extracted else None
    if pages is None:
        return characters
    return f"page {pages[0]}, {characters}" if pages[0] == pages[1] else f"pages {pages[0]}-{pages[1]}, {characters}"


def together(batch: dict[str, Any]) -> str:
    """What many verdicts mean together, in plain words."""
    n, alone, held = batch["documents"], len(batch["flagged_alone"]), len(batch["flagged_together"])
    sentence = (
        f"Together: {alone} of {n} documents are flagged one by one, where {batch['expected_false_alarms']:.1f} would be by "
        f"chance if all were human; judged together (Benjamini-Hochberg across documents) {held} stay flagged."
    )
    if batch.get("innocent_share") is not None:
        sentence += (
            f" If {batch['prevalence']:.0%} of such documents are machine-made, about {batch['innocent_share']:.0%} of those "
            "flagged one by one are innocent."
        )
    return " ".join([sentence, batch["warning"]]) if "warning" in batch else sentence


def plain(text: str) -> str:
    """Text from outside as a terminal may show it: no escape sequences, no marks that turn the direction of writing."""
    kept = "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "\ufffd" for c in text)
    return kept.replace("\n", " ").replace("\t", " ")


def quote(text: str, start: int, end: int) -> str:
    """The beginning and the end of a passage."""
    words = " ".join(text[start : min(end, start + 400)].split())
    last = " ".join(text[max(start, end - 200) : end].split())
    whole = " ".join(text[start:end].split()) if end - start <= 400 else ""
    return plain(whole if whole and len(whole) <= 100 else f"{words[:60]} ... {last[-35:]}")
