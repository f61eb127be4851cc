"""Bytes of a text or Markdown file -> text, one block a line; joined, the blocks are the file's text to the character."""

from __future__ import annotations

import codecs
import re

from mvh.documents.blocks import Block

LEAST_GUESSED = 64  # bytes: below, a guess of the encoding is no better than chance
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decode(content: bytes) -> tuple[str, list[str]]:
    """The text of some bytes, and a sentence where its encoding had to be guessed.

    Raises:
        ValueError: If the bytes are no text in any encoding that can be told.
    """
    for mark, encoding in BOMS.items():
        if content.startswith(mark):
            try:
                return content.decode(encoding), []
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"begins like {encoding} and is not ({error.reason} at byte {error.start})."
                ) from error
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError as error:
        if len(content) < LEAST_GUESSED:
            raise ValueError(
                f"is not UTF-8 ({error.reason} at byte {error.start}), and {len(content)} bytes are too few to tell its "
                "encoding."
            ) from error
    from charset_normalizer import from_bytes

    best = from_bytes(content).best()
    if best is None:
        raise ValueError("is not UTF-8, and no other encoding fits.")
    return str(best), [f"It is not UTF-8 and was read as {best.encoding}, which is a guess."]


def text_blocks(text: str) -> list[Block]:
    """Lines of plain text."""
    return [Block(line) for line in text.splitlines(keepends=True)]


def markdown_blocks(text: str) -> list[Block]:
    """Lines of Markdown: fenced and indented code and headings are told apart."""
    blocks: list[Block] = []
    fence: str | None = None
    blank_before = True
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        following = lines[index + 1].strip() if index + 1 < len(lines) else ""
        mark = re.match(r" {0,3}(```+|~~~+)", line)
        kind, level = "body", None
        if fence is not None or mark:
            kind = "code"
            if fence is None and mark:
                fence = mark[1]
            elif mark and fence and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
        elif heading := re.match(r" {0,3}(#{1,6})\s", line):
            kind, level = "heading", len(heading[1])
        elif line.strip() and re.fullmatch(r"=+|-{3,}", following) and blank_before:
            kind, level = "heading", 1 if following[0] == "=" else 2
        elif blocks and blocks[-1].kind == "heading" and re.fullmatch(r"=+|-{3,}", line.strip()):
            kind, level = "heading", blocks[-1].level
        elif re.match(r"(?: {4}|\t)\S", line) and (blank_before or (blocks and blocks[-1].kind == "code")):
            kind = "code" if not re.match(r"\s+(?:[-*+]|\d+[.)])\s", line) else "body"
        blocks.append(Block(line, kind, level=level))
        blank_before = not line.strip()
    return blocks
