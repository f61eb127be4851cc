"""An HTML page -> its running text: menus, advertisements and comments of readers are left out, as trafilatura tells them.

It tells them by the names of elements, too, and programs that make pages of documents (Sphinx, Quarto, pandoc) name a section
after its heading: "Related work" would be taken for links to related pages. Such names are taken away before. What is left
out nevertheless is found by comparing with the visible text (`visible.py`), counted, and said where it is much or a whole
paragraph.

Where a page holds so little that no main part can be told, the whole visible text is taken and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mvh.documents.blocks import Block
from mvh.documents.visible import left_out_lines, visible_lines

MENUS = "menus and other parts"  # how an account names what was left out
MUCH = 0.2  # share of the visible characters left out that is worth a sentence
SENTENCE = 80  # characters: a line this long is running text and no menu
PARAGRAPH = 300  # characters of such lines that are worth a sentence whatever their share
QUOTED = 60  # characters of the longest in that sentence
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
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
SECTIONS = ("section", "div", "article")
READERS = "comments"  # may be what readers wrote, also under that heading: left out, and said


def html_blocks(content: bytes) -> tuple[list[Block], int, list[str]]:
    """Paragraphs of a page, how many visible characters are not in them, and notes.

    Raises:
        ValueError: If there is no HTML in it.
    """
    import trafilatura
    from lxml import etree

    tree = trafilatura.load_html(content)
    if tree is not None:
        free_sections(tree)
        seen = list(visible_lines(tree))
        found = trafilatura.extract(
            tree, output_format="xml", include_comments=False, include_tables=True, favor_recall=True
        )
        if found:
            parser = etree.XMLParser(resolve_entities=False, no_network=True)
            body = etree.fromstring(found.encode(), parser).find("main")
            if blocks := [] if body is None else list(_blocks(body)):
                return blocks, *_account(seen, "".join(block.text for block in blocks))
    lines = visible_lines(_parsed(content), menus=False)
    return [Block(f"{line}\n") for line in lines], 0, ["No main part could be told; all visible text was taken."]


def free_sections(tree: Any) -> None:
    """Take away the names of headings, and of sections named after their heading, so that neither is judged by its name."""
    for heading in tree.iter(*HEADINGS):
        heading.attrib.pop("id", None)
        section = heading.getparent()
        name = "" if section is None or section.tag not in SECTIONS else _letters(section.get("id"))
        if name and name != READERS and name == _letters(_title(heading)):
            del section.attrib["id"]


def _title(heading: Any) -> str:
    """The words of a heading without its number and the link to itself, which such programs set as elements of their own."""
    extra = ".//*[contains(@class, 'section-number') or contains(@class, 'headerlink') or contains(@class, 'anchor')]"
    apart = {piece for element in heading.xpath(extra) for piece in element.iter()}
    pieces = [heading.text or ""]
    for element in heading.iterdescendants():
        pieces += ["" if element in apart else element.text or "", element.tail or ""]
    return "".join(pieces)


def _letters(name: str | None) -> str:
    return "".join(filter(str.isalnum, (name or "").casefold()))


def _account(seen: list[str], text: str) -> tuple[int, list[str]]:
    """How many visible characters are not in the text, and a sentence where that is much or a paragraph is among them."""
    lines = left_out_lines(seen, text)
    count, whole = sum(map(len, lines)), sum(map(len, seen))
    prose = [line for line in lines if len(line) >= SENTENCE]
    much = sum(map(len, prose)) >= PARAGRAPH
    if not much and count <= MUCH * whole:
        return count, []
    among = f", among them running text such as “{max(prose, key=len)[:QUOTED]}…”" if much else ""
    share = f"{count / whole:.0%} of the visible text"
    return count, [f"{share} was left out as menus, advertisements, comments or asides{among}: compare with the page."]


def _parsed(content: bytes) -> Any:
    from lxml import etree, html

    try:
        content.decode("utf-8")
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = None  # what the page says of itself
    try:
        return html.document_fromstring(content, html.HTMLParser(encoding=encoding, no_network=True))
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise ValueError("is named HTML and holds none that can be read.") from error


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
