"""An HTML page -> its running text: menus, advertisements and comments of readers are left out, as trafilatura tells them.

Where a page holds so little that no main part can be told, the whole visible text is taken and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mvh.documents.blocks import Block

APART = (
    "p",
    "head",
    "list",
    "item",
    "table",
    "row",
    "cell",
    "lb",
)  # tags of trafilatura; code and quote stand in lines, too
UNSEEN = "//script | //style | //noscript | //template | //head | //nav | //svg"


def html_blocks(content: bytes) -> tuple[list[Block], list[str]]:
    """Paragraphs of a page, and notes.

    Raises:
        ValueError: If there is no HTML in it.
    """
    import trafilatura
    from lxml import etree, html

    found = trafilatura.extract(
        content, output_format="xml", include_comments=False, include_tables=True, favor_recall=True
    )
    if found:
        body = etree.fromstring(found.encode(), etree.XMLParser(resolve_entities=False, no_network=True)).find("main")
        blocks = [] if body is None else list(_blocks(body))
        if blocks:
            return blocks, []
    try:
        content.decode("utf-8")
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = None  # what the page says of itself
    try:
        tree = html.document_fromstring(content, html.HTMLParser(encoding=encoding, no_network=True))
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise ValueError("is named HTML and holds none that can be read.") from error
    for element in tree.xpath(UNSEEN):
        element.drop_tree()
    lines = (" ".join(line.split()) for line in tree.text_content().splitlines())
    return [Block(f"{line}\n") for line in lines if line], ["No main part could be told; all visible text was taken."]


def _blocks(body: Any) -> Iterator[Block]:
    """The blocks of what trafilatura found, an lxml element; loose text between them is a paragraph, too."""
    if loose := _one_line(body.text):
        yield Block(loose + "\n\n")
    for element in body:
        kind = {"head": "heading", "code": "code"}.get(str(element.tag), "body")
        rendering = element.get("rend") or ""
        level = int(rendering[1:]) if kind == "heading" and rendering[1:].isdigit() else None
        if text := _text(element):
            yield Block(text + "\n\n", kind, level=level)
        if loose := _one_line(element.tail):
            yield Block(loose + "\n\n")


def _text(element: Any) -> str:
    """The text of an element; items of lists and rows of tables on lines of their own."""
    if element.tag == "code":
        return "".join(element.itertext()).strip("\n")
    if element.tag not in ("list", "table"):
        return _one_line("".join(_pieces(element)))
    lines = [_one_line(element.text)]
    for child in element:
        lines += [_one_line("".join(_pieces(child))), _one_line(child.tail)]
    return "\n".join(line for line in lines if line)


def _pieces(element: Any) -> Iterator[str]:
    """The text of an element piece by piece, with a space around what a page shows apart."""
    yield element.text or ""
    for child in element:
        space = " " if child.tag in APART else ""
        yield space
        yield from _pieces(child)
        yield space + (child.tail or "")


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
