"""An HTML page -> its running text: menus, advertisements and comments of readers are left out, as trafilatura tells them.

Where a page holds so little that no main part can be told, the whole visible text is taken and a note says so.
"""

from __future__ import annotations

from mvh.documents.blocks import Block

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
        blocks = [] if body is None else [_block(element) for element in body if _text(element)]
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


def _block(element: object) -> Block:
    tag = str(element.tag)  # type: ignore[attr-defined]  # an lxml element
    kind = {"head": "heading", "code": "code"}.get(tag, "body")
    rendering = element.get("rend") or ""  # type: ignore[attr-defined]
    level = int(rendering[1:]) if kind == "heading" and rendering[1:].isdigit() else None
    return Block(_text(element) + "\n\n", kind, level=level)


def _text(element: object) -> str:
    """The text of an element; items of lists and rows of tables on lines of their own."""
    rows = element.xpath("./item | ./row")  # type: ignore[attr-defined]
    if rows:
        return "\n".join(" ".join("".join(row.itertext()).split()) for row in rows)
    text = "".join(element.itertext())  # type: ignore[attr-defined]
    return text.strip("\n") if element.tag == "code" else " ".join(text.split())  # type: ignore[attr-defined]
