"""What only a terminal says: what was read, where a passage stands, text from outside made harmless.

What a verdict means is said by `report/words.py`, for the terminal and the page alike.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from mvh.documents.blocks import Extracted


def read_sentence(extracted: Extracted) -> str:
    """What was read of a file: kind, pages, characters, and the share left out."""
    parts = [extracted.kind]
    if extracted.page_count is not None:
        parts.append(f"{extracted.page_count:,} page{'s' * (extracted.page_count != 1)}")
    parts.append(f"{len(extracted.text):,} characters")
    if extracted.skipped:
        parts.append(left_out(len(extracted.text), extracted.skipped))
    return ", ".join(parts)


def left_out(characters: int, skipped: Mapping[str, int]) -> str:
    """The share of one or many texts that was left out, with its reasons.

    Args:
        characters: Those that were read.
        skipped: Those that were not, by reason.
    """
    count = sum(skipped.values())
    if not count:
        return "nothing left out"
    total = characters + count
    reasons = ", ".join(f"{reason} {number / total:.1%}" for reason, number in skipped.items())
    return f"{count / total:.1%} left out ({reasons})"


def read_rows(extracted: Extracted, body_only: bool = False) -> list[tuple[str, str]]:
    """What was read of a file, for the settings of a report: `ReportDocument.read`."""
    return [("Read", read_sentence(extracted)), ("Body only", "yes" if body_only else "no")]


def held_sentence(names: Sequence[str], p_values: Sequence[float], most: int = 20) -> str:
    """Which documents stay flagged together, in their order: the cut-off that picks them out, and at most `most` names.

    Args:
        names: Those that stay flagged, at least one.
        p_values: Their document p-values.
        most: Names shown.
    """
    cut = math.ceil(max(p_values) * 1e6) / 1e6  # rounded up, so that all of them lie at or below it
    more = len(names) - most
    shown = ", ".join(map(plain, names[:most])) + (f" and {more:,} more" if more > 0 else "")
    return f"Those with p at most {cut:g} and no doubt: {shown}."


def place(passage: dict[str, Any], extracted: Extracted | None) -> str:
    """Where a passage stands: its pages where they are known, and its characters."""
    characters = f"characters {passage['start']:,}-{passage['end']:,}"
    pages = extracted.pages_of(passage["start"], passage["end"]) if extracted else None
    if pages is None:
        return characters
    return f"page {pages[0]}, {characters}" if pages[0] == pages[1] else f"pages {pages[0]}-{pages[1]}, {characters}"


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
