"""What a reader does not take from a file is said: parts of a page, scans, outlines, form fields, page numbers nobody knows."""

import csv
import io
import json
import random
from pathlib import Path

import docx
import pytest
from docx.enum.text import WD_BREAK
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

from mvh.documents.blocks import Extracted
from mvh.documents.extract import extract
from mvh.documents.visible import left_out_lines, visible_lines

from .test_documents import NUMBERS, bare_docx, copy_table, raw_pdf, write_zip

WORDS = "rain street bus late walk home nothing old man corner paper black umbrella child river ask town light window".split()


def prose(seed: int, sentences: int = 10) -> str:
    """Sentences that no other seed gives."""
    draw = random.Random(seed)
    return " ".join(" ".join(draw.choices(WORDS, k=9)).capitalize() + "." for _ in range(sentences))


# --- HTML ---

NAMES = (
    "related-work social-effects sharing-economy navigation-at-sea newsletters hidden-costs premium-wages tags banner-ads "
    "author-notes footer-notes cookie-law menus sidebars share-prices"
).split()
MADE_BY = {
    "Sphinx": '<section id="{0}"><h2><span class="section-number">2. </span>{1}<a class="headerlink" href="#{0}">¶</a></h2>',
    "older Sphinx": '<div class="section" id="{0}"><h2>{1}<a class="headerlink" href="#{0}">¶</a></h2>',
    "Quarto": '<section id="{0}" class="level2"><h2 class="anchored" data-anchor-id="{0}">{1}</h2>',
    "pandoc": '<section id="{0}" class="level2" data-number="2"><h2>'
    '<span class="header-section-number">2</span> {1}</h2>',
}


def page(path: Path, *parts: str) -> Extracted:
    path.write_text(f"<!doctype html><html><body><main>{''.join(parts)}</main></body></html>", encoding="utf-8")
    return extract(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("program", MADE_BY)
def test_a_section_named_after_its_heading_is_read(tmp_path, program, name):
    begun = MADE_BY[program].format(name, name.replace("-", " ").capitalize())
    end = "</div>" if begun.startswith("<div") else "</section>"
    opening = f'<section id="opening"><h1>Opening</h1><p>{prose(1)}</p></section>'
    read = page(tmp_path / "a.html", opening, begun, f"<p>{prose(2)}</p><p>{prose(3)}</p>", end)
    assert all(prose(seed) in read.text for seed in (1, 2, 3)) and read.notes == []


@pytest.mark.parametrize(
    "part",
    [
        "<aside>{}</aside>",
        "<footer>{}</footer>",
        '<section id="related"><h2>Earlier studies</h2>{}</section>',
        '<div class="comments"><h2>Comments</h2>{}</div>',
        '<section id="comments"><h2>Comments</h2>{}</section>',
    ],
)
def test_running_text_that_is_left_out_is_counted_and_said(tmp_path, part):
    """Also where it is a small share of the page; what is short and small is counted only."""
    opening = "".join(f"<p>{prose(seed)}</p>" for seed in range(30))
    lost = page(tmp_path / "a.html", "<h1>Opening</h1>", opening, part.format(f"<p>{prose(100, 4)}</p>" * 3))
    assert prose(100, 4) not in lost.text and lost.skipped["menus and other parts"] >= 3 * len(prose(100, 4))
    assert lost.skipped_share < 0.2 and "of the visible text was left out" in lost.notes[0]
    assert prose(100, 4)[:40] in lost.notes[0]
    menu = page(tmp_path / "b.html", "<h1>Opening</h1>", opening, part.format("<a href='/'>Imprint of zebras</a>"))
    assert menu.notes == [] and menu.skipped.get("menus and other parts", 0) < 60


def test_what_is_read_and_what_is_left_out_make_up_what_is_seen(tmp_path):
    """Lists, tables, quotes and code are kept; what the markup hides is neither read nor counted."""
    parts = (
        f"<nav><a href='/'>Zebras</a> <a href='/b'>Quaggas</a></nav><h1>Opening</h1><p>{prose(1)}</p><ul><li>{prose(2)}"
        f"<li>{prose(3)}</ul><table><tr><td>{prose(4)}<td>{prose(5)}</table><blockquote>{prose(6)}</blockquote>"
        f"<p hidden>{prose(7)}</p><p style='display: none'>{prose(8)}</p><script>quagga()</script>"
    )
    read = page(tmp_path / "a.html", parts)
    assert all(prose(seed) in read.text for seed in range(1, 7)) and read.notes == []
    assert read.skipped == {"menus and other parts": len("Zebras Quaggas")}


def test_lines_are_what_a_reader_sees():
    from lxml import html

    tree = html.fromstring("<div>a <b>bold</b>ly<!-- no --> so<p>b\n c</p>d<p>e</p><script>f</script>g</div>")
    assert list(visible_lines(tree)) == ["a boldly so", "b c", "d", "e", "g"]
    text = "Rain on the street, and the bus was late.\nWe walked."
    assert left_out_lines(["Rain on the street, and the bus", "We walked.", "Nobody saw the fox"], text) == [
        "Nobody saw the fox"
    ]
    assert left_out_lines(["…", ""], "") == []


# --- PDF ---


def picture() -> ImageReader:
    made = io.BytesIO()
    Image.new("L", (40, 40), 128).save(made, "PNG")
    made.seek(0)
    return ImageReader(made)


def text_page(sheet: canvas.Canvas) -> None:
    for index, number in enumerate(NUMBERS):
        sheet.drawString(70, 700 - 14 * index, f"Line {number} of a page that is text and not an image.")


@pytest.mark.parametrize("stamp", ["", "4", "Received by the office, page 4", "A head that stands on every page " * 5])
def test_a_scan_with_a_stamp_is_a_scan(tmp_path, stamp):
    """Whether it is one image or strips of it, and whatever stands on every page."""
    sheet = canvas.Canvas(str(tmp_path / "a.pdf"))
    for strips in (1, 10, 3):
        for strip in range(strips):
            sheet.drawImage(picture(), 20, 20 + strip * 800 / strips, 550, 800 / strips)
        sheet.drawString(20, 820, stamp)
        sheet.showPage()
    text_page(sheet)
    sheet.drawImage(picture(), 20, 20, 550, 800)
    sheet.showPage()
    text_page(sheet)
    sheet.showPage()
    sheet.drawString(70, 700, "A short page with a small image.")
    sheet.drawImage(picture(), 20, 20, 200, 100)
    sheet.showPage()
    sheet.save()
    read = extract(tmp_path / "a.pdf")
    assert read.scanned_pages == [1, 2, 3]
    assert "3 of 6 pages are images with no text or hardly any (page 1, 2, 3)" in " ".join(read.notes)


def test_pages_without_text_are_named(tmp_path):
    """Outlines and a blank page; a file of nothing else is refused with the reason."""
    for name, with_text in (("a.pdf", True), ("b.pdf", False)):
        sheet = canvas.Canvas(str(tmp_path / name))
        if with_text:
            text_page(sheet)
            sheet.showPage()
        for x in range(70, 500, 10):
            sheet.line(x, 700, x + 5, 710)
        sheet.showPage()
        sheet.showPage()
        sheet.save()
    read = extract(tmp_path / "a.pdf")
    assert read.scanned_pages == [] and "2 of 3 pages hold no text (page 2, 3)" in read.notes[0]
    with pytest.raises(ValueError, match="holds no text: its pages are blank or drawn"):
        extract(tmp_path / "b.pdf")


def test_what_was_filled_into_a_form_is_read_on_its_page(tmp_path):
    sheet = canvas.Canvas(str(tmp_path / "a.pdf"))
    text_page(sheet)
    sheet.acroForm.textfield(
        name="essay", value=f"My essay: {prose(1)}", x=70, y=300, width=400, height=100, maxlen=9000
    )
    sheet.acroForm.textfield(name="empty", value="", x=70, y=200)
    sheet.acroForm.checkbox(name="box", checked=True, x=70, y=150)
    sheet.showPage()
    text_page(sheet)
    sheet.acroForm.choice(name="where", value="Zebra", options=["Zebra", "Quagga"], x=70, y=300)
    sheet.acroForm.textfield(name="essay", value=f"My essay: {prose(1)}", x=70, y=250, maxlen=9000)
    sheet.showPage()
    sheet.save()
    read = extract(tmp_path / "a.pdf")
    essay, place = read.text.index(f"My essay: {prose(1)}"), read.text.index("Zebra")
    assert read.pages_of(essay, essay + 9) == (1, 1) and read.pages_of(place, place + 5) == (2, 2)
    assert read.text.count("My essay") == 1 and "Quagga" not in read.text  # one field in two places
    assert "It is a form: what each of 2 fields holds was read" in read.notes[0]


def test_fields_that_cannot_be_read_are_named(tmp_path):
    form = b"/AcroForm<</Fields[]/XFA(<xdp/>)>>"
    read = extract(raw_pdf(tmp_path / "a.pdf", b"BT /F 12 Tf 50 700 Td (Words on a page.) Tj ET", catalog=form))
    assert read.notes == ["It is a form of a kind whose fields cannot be read."]


# --- page numbers ---


def test_breaks_of_the_author_alone_are_no_pages_of_a_docx(tmp_path):
    document = docx.Document()
    for number in range(3):
        document.add_paragraph(prose(number))
        document.add_paragraph().add_run().add_break(WD_BREAK.PAGE)
    document.save(tmp_path / "a.docx")
    read = extract(tmp_path / "a.docx")
    assert read.page_count is None and read.pages == []
    noted = (
        "<w:p><w:r><w:t>one</w:t></w:r></w:p><w:p><w:r><w:br w:type='page'/></w:r></w:p>"
        "<w:p><w:r><w:lastRenderedPageBreak/><w:t>two</w:t></w:r></w:p>"
        "<w:p><w:r><w:lastRenderedPageBreak/><w:t>three</w:t></w:r></w:p>"
    )
    assert extract(bare_docx(tmp_path / "b.docx", noted)).page_count == 3


SPACES = " ".join(
    f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for short, name in (
        ("office", "office"),
        ("text", "text"),
        ("style", "style"),
        ("table", "table"),
        ("fo", "xsl-fo-compatible"),
    )
)


def style(name: str, properties: str = "", parent: str = "", more: str = "", family: str = "paragraph") -> str:
    inside = f"<style:{family}-properties {properties}/>"
    return (
        f'<style:style style:name="{name}" style:family="{family}" style:parent-style-name="{parent}" {more}>{inside}'
        "</style:style>"
    )


def styled_odt(path: Path, body: str) -> Path:
    common = style("Heading", 'fo:break-before="page"') + style("Plain")
    automatic = (
        style("First", more='style:master-page-name="Standard"')
        + style("Under", parent="Heading")
        + style("Not", 'fo:break-before="auto"', parent="Heading")
        + style("Ends", 'fo:break-after="page"', parent="Plain")
        + style("Rows", 'fo:break-before="page"', family="table")
        + style("Round", parent="Round")
    )
    content = (
        f"<office:document-content {SPACES}><office:automatic-styles>{automatic}</office:automatic-styles>"
        f"<office:body><office:text>{body}</office:text></office:body></office:document-content>"
    )
    styles = f"<office:document-styles {SPACES}><office:styles>{common}</office:styles></office:document-styles>"
    kind = "application/vnd.oasis.opendocument.text"
    return write_zip(path, {"mimetype": kind, "content.xml": content, "styles.xml": styles})


def test_hard_breaks_of_an_odt_count_beside_those_of_its_layout(tmp_path):
    def p(name: str, text: str) -> str:
        return f'<text:p text:style-name="{name}">{text}</text:p>'

    body = (
        p("First", "one")
        + p("Round", "goes on <text:soft-page-break/>two")
        + f'<text:h text:style-name="Heading">three</text:h>{p("Not", "still three")}{p("Ends", "ends three")}'
        + f'{p("Plain", "four")}{p("Under", "five")}<table:table table:style-name="Rows"><table:table-row><table:table-cell>'
        + f"{p('Plain', 'six')}</table:table-cell></table:table-row></table:table>{p('Plain', 'still six')}"
    )
    read = extract(styled_odt(tmp_path / "a.odt", body))
    places = {
        "one": 1,
        "two": 2,
        "three": 3,
        "still three": 3,
        "ends three": 3,
        "four": 4,
        "five": 5,
        "six": 6,
        "still six": 6,
    }
    for text, number in places.items():
        at = read.text.index(text)
        assert read.pages_of(at, at + len(text)) == (number, number), text
    assert read.page_count == 6
    unlaid = extract(styled_odt(tmp_path / "b.odt", body.replace("<text:soft-page-break/>", "")))
    assert unlaid.page_count is None and unlaid.pages == []


# --- tables ---


def test_no_cell_of_a_bad_row_is_lost(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,good\n2,Hello, my dear world\n3\n4,good\n")
    with copy_table(path).open(newline="") as file:
        header, *rows = csv.reader(file)
    assert rows[1][:2] == ["2", "Hello"] and rows[1][len(header) :] == [" my dear world"]
    assert [row[:2] for row in rows] == [["1", "good"], ["2", "Hello"], ["3", ""], ["4", "good"]]
    assert [len(row) == len(header) for row in rows] == [True, False, True, True]


def test_no_line_that_is_no_object_is_lost(tmp_path):
    path = tmp_path / "in.jsonl"
    bad = [b"nonsense, my dear", b'["a", 1]', b"caf\xe9", b'"text"']
    path.write_bytes(b'{"text": "a", "line": 1}\n' + b"\n".join(bad) + b'\n{"text": "b"}')
    first, *rows, last = [json.loads(line) for line in copy_table(path).read_text().splitlines()]
    assert [row["mvh_line"] for row in rows] == [line.decode(errors="backslashreplace") for line in bad]
    assert first["line"] == 1 and "mvh_line" not in first and "mvh_line" not in last
