"""Blocks of text in reading order -> one text, where its pages lie, and an account of what was read.

Every reader of a file kind yields blocks: a paragraph or a line with what it is and the page it stands on. The text is
the blocks joined as they are, so a block carries its own line ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BODY = "body"
SKIPPED_KINDS = {  # kinds of block that are not body, and how an account names them
    "heading": "headings",
    "references": "references",
    "code": "code",
    "running": "running heads and feet",
}
MUCH = 0.3  # share left out by `body_only` that is worth a sentence


@dataclass(frozen=True)
class Block:
    """A piece of a document: its text with the line ends that follow, its kind, page (from 1) and heading level."""

    text: str
    kind: str = BODY
    page: int | None = None
    level: int | None = None


def paragraph(pieces: Iterable[tuple[int, str]], kind: str, level: int | None = None) -> list[Block]:
    """A paragraph from its pieces, each with the page it stands on: one block, or one for each page it runs over."""
    runs: list[tuple[int, str]] = []
    for page, text in pieces:
        if runs and (runs[-1][0] == page or not text.strip()):
            runs[-1] = (runs[-1][0], runs[-1][1] + text)
        elif text.strip():
            runs.append((page, text))
    if not runs:
        return []
    runs[0] = (runs[0][0], runs[0][1].lstrip())
    runs[-1] = (runs[-1][0], runs[-1][1].rstrip() + "\n\n")
    return [Block(text, kind, page, level) for page, text in runs]


@dataclass(frozen=True)
class Extracted:
    """The text of a file, and what was read of it.

    Attributes:
        text: What the detector is given; all positions count its characters.
        kind: "txt", "md", "html", "pdf", "docx" or "odt".
        pages: (number, start, end) of each page that has text, in order; empty where the kind knows no pages.
        page_count: Pages of the file, those without text included; None where the kind knows none.
        scanned_pages: Pages that are an image with no text or hardly any: nobody read what it shows.
        skipped: Characters left out of `text`, by reason.
        notes: Sentences about what the reader met.
    """

    text: str
    kind: str
    pages: list[tuple[int, int, int]] = field(default_factory=list)
    page_count: int | None = None
    scanned_pages: list[int] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def skipped_share(self) -> float:
        """Share of the file's characters that was left out, in [0, 1]."""
        left_out = sum(self.skipped.values())
        return left_out / (left_out + len(self.text)) if left_out else 0.0

    def pages_of(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last page that characters start to end stand on; None where no pages are known."""
        numbers = [number for number, first, last in self.pages if first < end and start < last]
        return (numbers[0], numbers[-1]) if numbers else None

    def account(self) -> dict[str, Any]:
        """What was read, in plain JSON types."""
        return {
            "kind": self.kind,
            "characters": len(self.text),
            "pages": self.page_count,
            "scanned_pages": self.scanned_pages,
            "skipped": self.skipped,
            "skipped_share": self.skipped_share,
            "notes": self.notes,
        }


def assemble(
    blocks: Iterable[Block],
    kind: str,
    body_only: bool = False,
    page_count: int | None = None,
    scanned_pages: Iterable[int] = (),
    notes: Iterable[str] = (),
    unread: Mapping[str, int] | None = None,
) -> Extracted:
    """Join blocks to a text; with `body_only` those that are no body are counted and left out, with a note if they are many.

    Args:
        blocks: A document's blocks in order.
        kind: See `Extracted`.
        body_only: Keep blocks of kind "body" alone.
        page_count: See `Extracted`.
        scanned_pages: See `Extracted`.
        notes: Sentences of the reader.
        unread: Characters that the reader left out before, by reason.
    """
    kept: list[str] = []
    pages: list[tuple[int, int, int]] = []
    position = 0
    skipped: Counter[str] = Counter()
    for block in blocks:
        if body_only and block.kind != BODY:
            skipped[SKIPPED_KINDS.get(block.kind, block.kind)] += len(block.text)
            continue
        kept.append(block.text)
        end = position + len(block.text)
        if block.page is not None and block.text:
            if pages and pages[-1][0] == block.page:
                pages[-1] = (block.page, pages[-1][1], end)
            else:
                pages.append((block.page, position, end))
        position = end
    scanned, said = list(scanned_pages), list(notes)
    if scanned:
        images = "is an image" if len(scanned) == 1 else "are images"
        said.append(
            f"{len(scanned)} of {page_count} pages {images} with no text or hardly any (page {listed(scanned)}), and what the "
            "image shows was not read: run text recognition (OCR) on the file first."
        )
    text = "".join(kept)
    if (left_out := sum(skipped.values())) > MUCH * (left_out + len(text)):
        parts = ", ".join(f"{reason} {count / (left_out + len(text)):.0%}" for reason, count in skipped.most_common())
        said.append(
            f"{left_out / (left_out + len(text)):.0%} of the file was left out as no running text ({parts}); look whether this "
            "is so, or read the whole file."
        )
    return Extracted(text, kind, pages, page_count, scanned, {**(unread or {}), **skipped}, said)


def listed(pages: Sequence[int], most: int = 10) -> str:
    """Numbers of pages for a sentence, at most so many."""
    return ", ".join(map(str, pages[:most])) + (" …" if len(pages) > most else "")
