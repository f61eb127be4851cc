"""A Word document (docx) -> paragraphs in order, with tables, text boxes, insertions and footnotes, without deletions.

Page numbers are those Word noted when it last laid out the file; a file that no Word has opened knows none, even if its
author set page breaks: nobody knows how many pages lie between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mvh.documents.blocks import Block
from mvh.documents.blocks import paragraph as as_paragraph
from mvh.documents.limits import LIMITS, Limits, refuse_long
from mvh.documents.packed import open_parts, parse, part_bytes

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # says a text box a second time
LEFT_OUT = {f"{W}del", f"{W}moveFrom", f"{W}instrText", FALLBACK, f"{W}pPr", f"{W}rPr"}
NOTE_PARTS = ("word/footnotes.xml", "word/endnotes.xml")
CODE_STYLES = ("code", "source", "preformatted", "listing", "macro text")


def word_blocks(path: Path, limits: Limits = LIMITS) -> tuple[list[Block], int | None]:
    """Paragraphs of a docx and the number of its pages, where they are known.

    Raises:
        ValueError: If the file is damaged, hostile or encrypted.
    """
    with open_parts(path, limits) as archive:
        content = part_bytes(archive, "word/document.xml")
        if content is None:
            raise ValueError("is a zip archive without word/document.xml, so no Word document.")
        styles = _styles(part_bytes(archive, "word/styles.xml"))
        reader = _Pages()
        blocks = list(_paragraphs(_root(content, "word/document.xml"), styles, reader, limits))
        notes = []
        for name in NOTE_PARTS:
            if (content := part_bytes(archive, name)) is not None:
                notes += list(_paragraphs(_root(content, name), styles, _Pages(), limits))
    if not reader.seen:
        return [replace(block, page=None) for block in blocks + notes], None
    return blocks + [replace(block, page=None) for block in notes], reader.number


class _Pages:
    """Counts pages while a document is walked; `seen` says whether Word noted any, and with that whether the count holds."""

    def __init__(self) -> None:
        self.number, self.seen, self.fresh = 1, False, False

    def turn(self, noted_by_word: bool) -> None:
        """A page begins; the break its author set and the one Word noted for it are the same."""
        if not (noted_by_word and self.fresh):
            self.number += 1
        self.seen, self.fresh = self.seen or noted_by_word, not noted_by_word


def _root(content: bytes, name: str) -> Any:
    return parse(content.replace(STRICT.encode(), W[1:-1].encode()), name)


def _styles(content: bytes | None) -> dict[str, str]:
    """Style id -> its name in English, as Word keeps it in every language: "heading 1"."""
    if content is None:
        return {}
    found = _root(content, "word/styles.xml").iter(f"{W}style")
    return {
        style.get(f"{W}styleId", ""): name.get(f"{W}val", "").lower()
        for style in found
        if (name := style.find(f"{W}name")) is not None
    }


def _paragraphs(root: Any, styles: dict[str, str], pages: _Pages, limits: Limits) -> Iterator[Block]:
    length = 0
    for paragraph in root.iter(f"{W}p"):
        if _inside(paragraph, LEFT_OUT):
            continue
        pieces = [(pages.number, piece) for piece in _pieces(paragraph, pages)]
        length += sum(len(piece) for _, piece in pieces)
        refuse_long(length, limits)
        yield from as_paragraph(pieces, *_kind(paragraph, styles))


def _pieces(element: Any, pages: _Pages) -> Iterator[str]:
    """The text of a paragraph, without the paragraphs of text boxes inside it: those come by themselves."""
    stack = [iter(element)]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
            continue
        tag = child.tag
        if tag in LEFT_OUT or tag == f"{W}p":
            continue
        if tag == f"{W}t":
            pages.fresh = False
            yield child.text or ""
        elif tag == f"{W}tab":
            yield "\t"
        elif tag in (f"{W}noBreakHyphen", f"{W}softHyphen"):
            yield "-" if tag == f"{W}noBreakHyphen" else ""
        elif tag == f"{W}lastRenderedPageBreak":
            pages.turn(noted_by_word=True)
        elif tag in (f"{W}br", f"{W}cr"):
            if child.get(f"{W}type") == "page":
                pages.turn(noted_by_word=False)
            yield "\n"
        else:
            stack.append(iter(child))


def _kind(paragraph: Any, styles: dict[str, str]) -> tuple[str, int | None]:
    style = paragraph.find(f"{W}pPr/{W}pStyle")
    name = "" if style is None else styles.get(style.get(f"{W}val", ""), style.get(f"{W}val", "").lower())
    if name.startswith("heading") and name.split()[-1].isdigit():
        return "heading", int(name.split()[-1])
    if name in ("title", "subtitle") or name.startswith("toc"):
        return "heading", 1 if name == "title" else None
    return ("code", None) if any(word in name for word in CODE_STYLES) else ("body", None)


def _inside(element: Any, tags: set[str]) -> bool:
    return any(ancestor.tag in tags for ancestor in element.iterancestors())
