"""An OpenDocument text (odt) -> paragraphs in order, without comments and tracked deletions.

Page numbers are those of the soft page breaks that the office program wrote when it laid out the file, and of the hard ones
that styles ask for between them; a file without soft ones was never laid out and knows none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mvh.documents.blocks import Block, paragraph
from mvh.documents.limits import LIMITS, Limits, refuse_long
from mvh.documents.packed import open_parts, parse, part_bytes
from mvh.documents.page_breaks import PageBreaks

TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
LEFT_OUT = {f"{OFFICE}annotation", f"{OFFICE}annotation-end", f"{TEXT}tracked-changes", f"{TEXT}note-citation"}
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
FAMILIES = {f"{TEXT}p": "paragraph", f"{TEXT}h": "paragraph", f"{TABLE}table": "table"}  # whose styles turn the page
PARAGRAPHS = (f"{TEXT}p", f"{TEXT}h")
MOST_SPACES = 1_000  # one element may ask for any number of spaces


def odt_blocks(path: Path, limits: Limits = LIMITS) -> tuple[list[Block], int | None]:
    """Paragraphs of an odt and the number of its pages, where they are known.

    Raises:
        ValueError: If the file is damaged, hostile or encrypted.
    """
    with open_parts(path, limits) as archive:
        if b"encryption-data" in (part_bytes(archive, "META-INF/manifest.xml") or b""):
            raise ValueError("is encrypted; save a copy without a password.")
        content, styles = part_bytes(archive, "content.xml"), part_bytes(archive, "styles.xml")
    if content is None:
        raise ValueError("is a zip archive without content.xml, so no OpenDocument text.")
    root = parse(content, "content.xml")
    common = [] if styles is None else [parse(styles, "styles.xml")]
    walk = _Walk(limits, PageBreaks([*common, root]))
    walk.over(root)
    if not walk.laid_out:
        return [replace(block, page=None) for block in walk.blocks], None
    return walk.blocks, walk.page


class _Walk:
    """Goes through the elements in order without recursion and collects paragraphs."""

    def __init__(self, limits: Limits, breaks: PageBreaks) -> None:
        self.limits, self.breaks, self.blocks, self.length = limits, breaks, list[Block](), 0
        self.page, self.laid_out = 1, False
        self.begun = self.turned = False  # whether there was anything yet, and whether the next paragraph begins a page
        self.open: list[list[tuple[int, str]]] = []  # (page, text) of the paragraphs that are open, inmost last

    def over(self, root: Any) -> None:
        from lxml import etree

        walk = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
        for event, element in walk:
            if event == "start" and element.tag in LEFT_OUT:
                walk.skip_subtree()
            elif event == "start":
                self.start(element)
            elif event == "end" and element.tag in FAMILIES:
                if element.tag in PARAGRAPHS:
                    self.blocks += paragraph(self.open.pop(), *_kind(element))
                self.turned = self.turned or _style(element) in self.breaks.after
            if event != "start":
                self.say(element.tail)

    def start(self, element: Any) -> None:
        tag = element.tag
        if tag in FAMILIES:
            turns = self.turned or _style(element) in self.breaks.before
            self.page += self.begun and turns
            self.begun, self.turned = True, False
        if tag in PARAGRAPHS:
            self.open.append([])
        elif tag == f"{TEXT}soft-page-break":
            self.page, self.laid_out = self.page + 1, True
        elif tag == f"{TEXT}s":
            count = element.get(f"{TEXT}c", "1")
            self.say(" " * (min(int(count), MOST_SPACES) if count.isdigit() and len(count) < 9 else 1))
        elif tag in (f"{TEXT}tab", f"{TEXT}line-break"):
            self.say("\t" if tag == f"{TEXT}tab" else "\n")
        self.say(element.text)

    def say(self, text: str | None) -> None:
        if text and self.open:
            self.length += len(text)
            refuse_long(self.length, self.limits)
            self.open[-1].append((self.page, text))


def _style(element: Any) -> tuple[str, str]:
    """Family and name of an element's style."""
    family = FAMILIES[element.tag]
    return family, element.get(f"{TABLE if family == 'table' else TEXT}style-name", "")


def _kind(element: Any) -> tuple[str, int | None]:
    if element.tag == f"{TEXT}h":
        level = element.get(f"{TEXT}outline-level", "")
        return "heading", int(level) if level.isdigit() else None
    return ("code" if "Preformatted" in element.get(f"{TEXT}style-name", "") else "body"), None
