"""A PDF -> lines in reading order with their pages: hyphens at line ends joined, running heads and feet marked.

What was filled into the fields of a form stands at the end of its page. Pages that hold no text, or an image and hardly any,
are named: what they show was not read.

pypdfium2 reads text without drawing a page, so images are never unpacked, and scripts in the file are never run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mvh.documents.blocks import Block, listed
from mvh.documents.columns import Box, reading_order, same_line
from mvh.documents.limits import LIMITS, Limits, refuse_long
from mvh.documents.pdf_forms import Form
from mvh.documents.pdf_images import image_share

PASSWORD_NEEDED = 4  # PDFium's FPDF_ERR_PASSWORD
EDGE_LINES = 2  # lines at either end of a page that may be a running head or foot
SOFT_HYPHEN = "\x02"  # what PDFium gives for a hyphen at the end of a line; also U+FFFE, and then the lines are one
HARDLY_ANY = 100  # characters: a page number, a stamp, a title
LOOKED_INTO = 1_000  # characters: a page with more, running heads among them, is no scan
SCANNED = 0.5  # share of a page that its images cover if it is one
LINE_END_HYPHEN = re.compile(r"(?<![^\W\d_])([^\W\d_]+)(?:\x02[ \t]*\n?|[-\u2010\u00ad][ \t]*\n)[ \t]*([^\W\d_]+)")


def pdf_blocks(path: Path, limits: Limits = LIMITS) -> tuple[list[Block], int, list[int], list[str]]:
    """Lines of a PDF, the number of its pages, the pages that are images with hardly any text, and notes.

    Raises:
        ValueError: If the file is encrypted, damaged, or has more pages or text than the limits allow.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == PASSWORD_NEEDED:
            raise ValueError("is encrypted and opens with a password only; save a copy without one.") from error
        raise ValueError("is damaged or truncated: no PDF reader can open it.") from error
    try:
        form = Form(document)
        if len(document) > limits.pages:
            raise ValueError(f"has {len(document):,} pages; at most {limits.pages:,} are read.")
        texts: list[str] = []
        broken, reordered, length, fields = [], [], 0, 0
        images: dict[int, float] = {}  # of pages with little text: the share that images cover
        for number in range(1, len(document) + 1):
            text, moved, values = "", False, list[str]()
            try:
                page = document[number - 1]
                text, moved = _page_text(page)
                values = [_clean(value) for value in form.filled_in(page)]
                if len(text.strip()) < LOOKED_INTO:
                    images[number] = image_share(page)
                page.close()
            except pypdfium2.PdfiumError:
                broken.append(number)
            fields += len(values)
            texts.append("\n".join([text, *values]) if values else text)
            length += len(texts[-1])
            refuse_long(length, limits)
            reordered += [number] if moved else []
        blocks = mark_running(lines_of(texts))
        scanned, without = _unread(texts, blocks, images)
        notes = _notes(path, texts, broken, reordered)
        if fields:
            notes.append(f"It is a form: what {_fields(fields)} holds was read and stands at the end of its page.")
        if form.unreadable:
            notes.append("It is a form of a kind whose fields cannot be read.")
        if without := [number for number in without if number not in broken]:
            pages = "page holds" if len(without) == 1 else "pages hold"
            notes.append(
                f"{len(without)} of {len(document)} {pages} no text (page {listed(without)}): blank, or drawn as letters in "
                "outlines are, and then not read."
            )
        return blocks, len(document), scanned, notes
    finally:
        document.close()


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"each of {count} fields"


def _unread(texts: Sequence[str], blocks: Sequence[Block], images: dict[int, float]) -> tuple[list[int], list[int]]:
    """Pages that are images with hardly any text beside running heads and feet, and other pages without text."""
    written: Counter[int | None] = Counter()
    for block in blocks:
        written[block.page] += 0 if block.kind == "running" else len(block.text.strip())
    scanned, without = [], []
    for number, text in enumerate(texts, start=1):
        empty, image = not text.strip(), images.get(number, 0.0)
        if image >= SCANNED and written[number] < HARDLY_ANY or empty and image > 0.0:
            scanned.append(number)
        elif empty:
            without.append(number)
    return scanned, without


def lines_of(pages: Sequence[str]) -> list[Block]:
    """Lines of page texts, with hyphens at line ends joined."""
    joined = "\f".join(pages)
    words = Counter(re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", joined.lower()))

    def join(match: re.Match[str]) -> str:
        first, second = match[1], match[2]
        kept = words[f"{first}-{second}".lower()] > words[f"{first}{second}".lower()]  # spelt with a hyphen elsewhere
        return f"{first}{'-' if kept else ''}{second}"

    blocks = []
    for number, page in enumerate(joined.split("\f"), start=1):
        text = LINE_END_HYPHEN.sub(join, page).replace(SOFT_HYPHEN, "-")
        blocks += [Block(f"{line.rstrip()}\n", page=number) for line in text.split("\n") if line.strip()]
    return blocks


def mark_running(blocks: Sequence[Block]) -> list[Block]:
    """Mark heads and feet: lines at the edge of a page that stand, figures aside, on three pages and a fifth of all."""
    by_page: dict[int | None, list[int]] = {}
    for index, block in enumerate(blocks):
        by_page.setdefault(block.page, []).append(index)
    edges = [index for lines in by_page.values() for index in {*lines[:EDGE_LINES], *lines[-EDGE_LINES:]}]
    seen = Counter((blocks[index].page, _shape(blocks[index].text)) for index in edges)
    pages = Counter(shape for _, shape in seen)
    least = max(3, len(by_page) / 5)
    running = {index for index in edges if pages[_shape(blocks[index].text)] >= least}
    return [replace(block, kind="running") if index in running else block for index, block in enumerate(blocks)]


def _shape(line: str) -> str:
    """A line with figures and roman page numbers made equal."""
    bare = " ".join(line.split()).casefold()
    return "#" if re.fullmatch(r"[-–— ]*[ivxlc]+[-–— ]*", bare) else re.sub(r"\d+", "#", bare)


def _page_text(page: Any) -> tuple[str, bool]:
    """The text of a page, lines ended by newlines, and whether its order was made anew."""
    textpage = page.get_textpage()
    try:
        text = _clean(textpage.get_text_range())
        count = textpage.count_rects()
        boxes: list[Box] = [textpage.get_rect(index) for index in range(min(count, 5_000))]
        order = reading_order(boxes) if count <= 5_000 else None
        if order is None:
            return text, False
        parts = [""]
        for before, index in zip([None, *order], order, strict=False):
            gap = "" if before is None else " " if same_line(boxes[before], boxes[index]) else "\n"
            parts.append(gap + _clean(textpage.get_text_bounded(*boxes[index])).strip("\n"))
        return "".join(parts), True
    finally:
        textpage.close()


def _clean(text: str) -> str:
    """Line ends as newlines; no form feeds (ours separate pages), nulls or lone surrogates."""
    text = (
        text.replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("\f", "\n")
        .replace("\0", "")
        .replace("\ufffe", SOFT_HYPHEN)
    )
    return re.sub("[\ud800-\udfff\uffff]", "\ufffd", text)


def _notes(path: Path, texts: Sequence[str], broken: list[int], reordered: list[int]) -> list[str]:
    notes = []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2048))
        if b"%%EOF" not in file.read():
            notes.append("The end of the file is missing, so it may be truncated; what is left was read.")
    if broken:
        pages = "1 page is damaged and was" if len(broken) == 1 else f"{len(broken)} pages are damaged and were"
        notes.append(f"{pages} not read whole (the first is page {broken[0]}).")
    if reordered:
        pages = "1 page is" if len(reordered) == 1 else f"{len(reordered)} pages are"
        notes.append(f"{pages} written across two columns; the lines were put into reading order.")
    text = "".join(texts)
    odd = len(re.findall(r"[\x01\x03-\x08\x0e-\x1f\ufffd\ue000-\uf8ff]", text))
    if odd * 10 > len(text):
        notes.append(
            f"{odd / len(text):.0%} of the characters stand for no letter: the file's fonts do not say which, and the text "
            "read is not what a reader sees."
        )
    return notes
