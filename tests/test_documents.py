"""Files in: what is read of each kind, in which order, and that no file can do harm."""

import io
import json
import os
import sys
import zipfile
import zlib
from pathlib import Path

import docx
import pyarrow.parquet as pq
import pytest
from docx.enum.text import WD_BREAK
from lxml import etree
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

from mvh.documents import web, word
from mvh.documents.blocks import Block, Extracted, assemble
from mvh.documents.body import body_of, is_references_title, mark_body
from mvh.documents.columns import reading_order
from mvh.documents.extract import extract
from mvh.documents.files import find_files
from mvh.documents.limits import Limits
from mvh.documents.pdf import lines_of
from mvh.documents.plain import decode, markdown_blocks
from mvh.documents.reader import Reader
from mvh.documents.tables import added_columns, names_beside, open_table, part_of

NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
LEFT = [f"Left {word} begins the long line of text" for word in NUMBERS]
RIGHT = [f"Right {word} begins the long line of text" for word in NUMBERS]


def write_pdf(path: Path, pages: list[list[tuple[float, float, str]]], **options) -> Path:
    """A PDF with strings at places."""
    sheet = canvas.Canvas(str(path), **options)
    for strings in pages:
        sheet.setFont("Helvetica", 9)
        for x, y, text in strings:
            sheet.drawString(x, y, text)
        sheet.showPage()
    sheet.save()
    return path


def column(x: float, lines: list[str]) -> list[tuple[float, float, str]]:
    return [(x, 760 - 14 * index, line) for index, line in enumerate(lines)]


def simple_pdf(path: Path, pages: int = 4, **options) -> Path:
    body = [
        [
            (70, 810, "Journal of Tests"),
            *column(70, [f"{line}, page {word}." for line in LEFT]),
            (300, 30, str(page + 1)),
        ]
        for page, word in zip(range(pages), NUMBERS, strict=False)
    ]
    return write_pdf(path, body, **options)


def write_zip(path: Path, parts: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def bare_docx(path: Path, body: str, prologue: str = "") -> Path:
    return write_zip(path, {"word/document.xml": f"{prologue}<w:document {W}><w:body>{body}</w:body></w:document>"})


ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
)


def write_odt(path: Path, body: str, manifest: str = "<m/>") -> Path:
    inner = f"<office:body><office:text>{body}</office:text></office:body>"
    content = f"<office:document-content {ODF}>{inner}</office:document-content>"
    kind = "application/vnd.oasis.opendocument.text"
    return write_zip(path, {"mimetype": kind, "content.xml": content, "META-INF/manifest.xml": manifest})


# --- the law of every extraction ---


def test_pages_tile_the_text_and_passages_find_theirs(tmp_path):
    extracted = extract(simple_pdf(tmp_path / "four.pdf"))
    assert [number for number, _, _ in extracted.pages] == [1, 2, 3, 4] and extracted.page_count == 4
    ends = [0, *(end for _, _, end in extracted.pages)]
    assert [start for _, start, _ in extracted.pages] == ends[:-1] and ends[-1] == len(extracted.text)
    at = extracted.text.index("page three")
    assert extracted.pages_of(at, at + 4) == (3, 3) and extracted.pages_of(0, at) == (1, 3)
    assert extract_text(tmp_path / "plain.txt", "no pages").pages_of(0, 2) is None


def extract_text(path: Path, text: str, body_only: bool = False) -> Extracted:
    path.write_text(text, encoding="utf-8", newline="")
    return extract(path, body_only)


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
@pytest.mark.parametrize(
    "text", ["# One\r\n\r\n    code\n\n```\nx\n```\ntwo\u2028three\x0cfour", "Привет\n\n世界 🦊\n", "x"]
)
def test_plain_text_is_the_file_to_the_character(tmp_path, name, text):
    assert extract_text(tmp_path / name, text).text == text


def test_what_is_skipped_and_what_is_kept_make_up_the_whole():
    blocks = [Block("a b\n"), Block("c\n", "code"), Block("d\n", "references"), Block("e\n")]
    short = assemble(blocks, "txt", body_only=True)
    assert short.text == "a b\ne\n" and short.skipped == {"code": 2, "references": 2} and short.skipped_share == 0.4
    assert assemble(blocks, "txt").text == "a b\nc\nd\ne\n" and assemble(blocks, "txt").skipped_share == 0.0


# --- PDF ---


@pytest.mark.parametrize("drawn", ["by column", "across"])
def test_two_columns_are_read_one_after_the_other(tmp_path, drawn):
    left, right = column(60, LEFT), column(320, RIGHT)
    across = [string for pair in zip(left, right, strict=True) for string in pair]
    extracted = extract(write_pdf(tmp_path / "two.pdf", [left + right if drawn == "by column" else across]))
    assert extracted.text.splitlines() == LEFT + RIGHT
    assert bool(extracted.notes) == (drawn == "across")


def test_one_column_and_contents_keep_the_order_of_the_file():
    rows = [(60.0, 700.0 - 12 * n, 300.0, 710.0 - 12 * n) for n in range(30)]
    assert reading_order(rows) is None
    numbers = [(400.0, bottom, 412.0, top) for _, bottom, _, top in rows]
    assert reading_order([box for pair in zip(rows, numbers, strict=True) for box in pair]) is None


def test_hyphens_at_line_ends_are_joined_unless_the_word_has_one():
    text = "A detec\x02\ntor of well-\nknown and exam-\nple texts; well-known, 1998-\n2001."
    joined = "".join(block.text for block in lines_of([text]))
    assert joined == "A detector of well-known and example texts; well-known, 1998-\n2001.\n"


def test_body_only_drops_running_heads_references_and_code_of_a_pdf(tmp_path):
    path = simple_pdf(tmp_path / "paper.pdf")
    whole, body = extract(path), extract(path, body_only=True)
    assert "Journal of Tests" in whole.text and "Journal of Tests" not in body.text
    assert set(body.skipped) == {"running heads and feet"} and body.text.count("begins") == whole.text.count("begins")


def test_a_truncated_pdf_is_read_or_refused_with_a_sentence(tmp_path):
    content = simple_pdf(tmp_path / "whole.pdf", invariant=True).read_bytes()
    for share in (0.3, 0.9, 0.99):
        path = tmp_path / f"{share}.pdf"
        path.write_bytes(content[: int(len(content) * share)])
        try:
            assert any("truncated" in note for note in extract(path).notes)
        except ValueError as error:
            assert "damaged or truncated" in str(error) or "holds no text" in str(error)


def test_an_encrypted_pdf_asks_for_a_copy_without_a_password(tmp_path):
    locked = simple_pdf(tmp_path / "locked.pdf", encrypt=StandardEncryption("user", "owner", strength=128))
    with pytest.raises(ValueError, match="is encrypted"):
        extract(locked)
    opened = simple_pdf(tmp_path / "opened.pdf", encrypt=StandardEncryption("", "owner", strength=128))
    assert "page two" in extract(opened).text


def test_scanned_pages_are_counted_or_refused(tmp_path):
    from PIL import Image

    picture = io.BytesIO()
    Image.new("L", (40, 40), 128).save(picture, "PNG")
    picture.seek(0)
    for name, with_text in (("scan.pdf", False), ("half.pdf", True)):
        sheet = canvas.Canvas(str(tmp_path / name))
        if with_text:
            sheet.drawString(70, 700, "A page of text.")
            sheet.showPage()
        sheet.drawImage(ImageReader(picture), 50, 50, 400, 700)
        sheet.showPage()
        sheet.save()
        picture.seek(0)
    with pytest.raises(ValueError, match=r"1 of its 1 pages are images \(scanned\)"):
        extract(tmp_path / "scan.pdf")
    half = extract(tmp_path / "half.pdf")
    assert half.scanned_pages == [2] and "1 of 2 pages" in half.notes[0] and half.text == "A page of text.\n"


def test_page_bombs_and_long_texts_meet_the_limits(tmp_path):
    path = simple_pdf(tmp_path / "four.pdf")
    for limits, said in (
        (Limits(pages=3), "has 4 pages; at most 3"),
        (Limits(characters=100), "more than 100 characters"),
        (Limits(file_bytes=10), "at most 10 are read"),
    ):
        with pytest.raises(ValueError, match=said):
            extract(path, limits=limits)


def raw_pdf(path: Path, content: bytes, count: int = 1, image: bytes = b"", catalog: bytes = b"") -> Path:
    """A PDF written by hand, as an attacker would."""
    stream = b"<<%s/Length %d>>stream\n%s\nendstream"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        b"<</Type/Pages/Count %d/Kids[3 0 R]>>" % count,
        page + b"/Resources<</Font<</F 5 0 R>>/XObject<</I 6 0 R>>>>>>",
        stream % (b"/Filter/FlateDecode", len(packed := zlib.compress(content, 9)), packed),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        stream % (b"/Type/XObject/Subtype/Image/ColorSpace/DeviceGray/BitsPerComponent 8" + image, 0, b""),
    ]
    numbered = [b"%d 0 obj\n%s\nendobj\n" % (number, body) for number, body in enumerate(objects, start=1)]
    path.write_bytes(b"%PDF-1.4\n" + b"".join(numbered) + b"trailer<</Root 1 0 R/Size 7>>\n%%EOF\n")
    return path


WORDS = b"BT /F 12 Tf 50 700 Td (Words on a page.) Tj ET "


def test_huge_images_and_scripts_are_neither_unpacked_nor_run(tmp_path):
    content = WORDS + b"q 500 0 0 500 0 0 cm /I Do Q"
    script = b"/OpenAction<</S/JavaScript/JS(while\\(1\\){})>>"
    path = raw_pdf(tmp_path / "a.pdf", content, image=b"/Width 900000/Height 900000", catalog=script)
    assert extract(path).text == "Words on a page.\n"


def test_a_lie_about_pages_is_not_believed_and_a_bomb_of_text_costs_a_process_only(tmp_path):
    lie = raw_pdf(tmp_path / "pages.pdf", WORDS, count=2_000_000_000)
    bomb = raw_pdf(tmp_path / "bomb.pdf", b"BT /F 12 Tf " + b"(Words on a page.) Tj 0 -1 Td " * 3_000_000 + b"ET")
    assert bomb.stat().st_size < 300_000
    with Reader(limits=Limits(memory_bytes=400 * 2**20, seconds=20, characters=100_000)) as reader:
        with pytest.raises(ValueError, match="want of memory|more than 100,000|longer than"):
            reader.read(bomb)
        assert reader.read(lie).page_count == 1


# --- Word and OpenDocument ---


def test_docx_in_order_with_tables_pages_and_headings(tmp_path):
    document = docx.Document()
    document.add_heading("Methods", 1)
    first = document.add_paragraph("Before the break. ")
    first.add_run().add_break(WD_BREAK.PAGE)
    after = first.add_run("After the break.")
    after._r.insert(0, after._r.makeelement(f"{word.W}lastRenderedPageBreak"))  # as Word notes it
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "cell one", "cell two"
    document.add_paragraph("Last.")
    document.add_heading("References", 1)
    document.add_paragraph("Nobody (1900). A title.")
    document.save(tmp_path / "a.docx")
    whole, body = extract(tmp_path / "a.docx"), extract(tmp_path / "a.docx", body_only=True)
    order = ["Methods", "Before", "After", "cell one", "cell two", "Last.", "References", "Nobody"]
    assert [word for word in order if word in whole.text] == sorted(order, key=whole.text.index) == order
    assert whole.page_count == 2
    assert whole.pages_of(whole.text.index("Before"), whole.text.index("After") + 3) == (1, 2)
    assert "Last." in body.text and not {"Methods", "References", "Nobody"} & set(body.text.replace(".", " ").split())
    assert set(body.skipped) == {"headings", "references"}


def test_docx_keeps_insertions_controls_and_boxes_and_drops_deletions(tmp_path):
    def run(word: str, tag: str = "t") -> str:
        return f"<w:r><w:{tag}>{word}</w:{tag}></w:r>"

    body = (
        f"<w:p>{run('kept ')}<w:ins>{run('inserted ')}</w:ins><w:del>{run('gone', 'delText')}</w:del></w:p>"
        f"<w:sdt><w:sdtContent><w:p>{run('controlled')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p>{run('host')}<w:r><w:txbxContent><w:p>{run('boxed')}</w:p></w:txbxContent></w:r></w:p>"
    )
    extracted = extract(bare_docx(tmp_path / "changes.docx", body))
    assert extracted.text == "kept inserted\n\ncontrolled\n\nhost\n\nboxed\n\n" and extracted.page_count is None


def test_odt_in_order_without_comments_and_deletions(tmp_path):
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="1">Title</text:h>'
        '<text:p>One<text:s text:c="3"/>two<text:line-break/><text:span>three</text:span>'
        "<office:annotation><text:p>comment</text:p></office:annotation> four</text:p>"
        "<text:p>on page one <text:soft-page-break/>on page two</text:p>"
    )
    extracted = extract(write_odt(tmp_path / "a.odt", body))
    assert extracted.text == "Title\n\nOne   two\nthree four\n\non page one on page two\n\n"
    at = extracted.text.index("on page two")
    assert extracted.page_count == 2 and extracted.pages_of(at, at + 2) == (2, 2) and extracted.pages_of(0, 2) == (1, 1)
    assert extract(tmp_path / "a.odt", body_only=True).skipped == {"headings": 7}
    with pytest.raises(ValueError, match="is encrypted"):
        extract(write_odt(tmp_path / "locked.odt", body, "<m><encryption-data/></m>"))


def test_a_zip_bomb_stays_shut(tmp_path):
    bomb = bare_docx(tmp_path / "bomb.docx", "<w:p><w:r><w:t>" + "a" * 50_000_000 + "</w:t></w:r></w:p>")
    assert bomb.stat().st_size < 100_000
    with pytest.raises(ValueError, match="as zip bombs do"):
        extract(bomb)
    with pytest.raises(ValueError, match="at most 1,000 are unpacked"):
        extract(bomb, limits=Limits(unpacked_bytes=1_000))


@pytest.mark.parametrize(
    "entity",
    ['<!ENTITY secret SYSTEM "{file}">', '<!ENTITY a "ha"><!ENTITY secret "&a;&a;&a;&a;&a;&a;">'],
    ids=["file", "laughs"],
)
def test_entities_are_refused(tmp_path, entity):
    (tmp_path / "secret.txt").write_text("the password")
    prologue = f"<!DOCTYPE w [{entity.format(file=(tmp_path / 'secret.txt').as_uri())}]>"
    path = bare_docx(tmp_path / "entities.docx", "<w:p><w:r><w:t>&secret;</w:t></w:r></w:p>", prologue)
    with pytest.raises(ValueError, match="declares a document type"):
        extract(path)


# --- HTML, Markdown, text ---

PAGE = """<!DOCTYPE html><html><head><title>T</title><script>alert(1)</script></head><body>
<nav><a href="/">Menu entry</a></nav><article><h2>Rain</h2><p>{0}</p><pre><code>x = 1
y = 2</code></pre><p>{1}</p></article><footer>Imprint and more</footer></body></html>"""


def test_html_without_menus_and_scripts(tmp_path):
    texts = [" ".join(["It rained again on the street and the bus was late."] * 6), " ".join(["We walked home."] * 9)]
    path = tmp_path / "page.html"
    path.write_text(PAGE.format(*texts))
    extracted = extract(path)
    assert extracted.kind == "html" and all(text in extracted.text for text in texts)
    assert "Menu" not in extracted.text and "alert" not in extracted.text
    assert "y = 2" in extracted.text and "y = 2" not in extract(path, body_only=True).text
    (tmp_path / "short.html").write_text("<p>Only <b>this</b>.")
    assert extract(tmp_path / "short.html").text.strip() == "Only this."


def test_markdown_knows_headings_and_code():
    text = "Title\n=====\n\npara\n\n```py\n# no heading\n```\n\n    indented()\n\n- item\n    - nested item\n\n## Next\nmore\n"
    kinds = {block.text.strip(): block.kind for block in markdown_blocks(text) if block.text.strip()}
    assert {line for line, kind in kinds.items() if kind == "heading"} == {"Title", "=====", "## Next"}
    assert {line for line, kind in kinds.items() if kind == "code"} == {"```py", "# no heading", "```", "indented()"}


def test_references_end_where_the_next_section_begins():
    text = "# A\nbody\n\n## References\n\n- X (1990)\n\n# Appendix\nmore body\n"
    marked = mark_body(markdown_blocks(text), by_looks=False)
    assert "".join(block.text for block in marked if block.kind == "body").split() == ["body", "more", "body"]


def test_references_and_code_by_their_looks_and_prose_is_left_alone(tmp_path):
    prose = "The references were good; and so were these lines;\nof law; of poetry; of prose;\nI said (twice);\n" * 3
    code = "import os\nfor x in range(3):\n    y = f(x)\nprint(y)\n"
    references = "\n7. References\n[1] Somebody. A title. 1999.\n[2] Another. A title. 2001.\n"
    appendix = "\nAppendix A\nHere it goes on.\n"
    body = extract_text(tmp_path / "a.txt", prose + code + references + appendix, body_only=True)
    assert body.text.startswith(prose) and body.text.endswith(appendix.lstrip("\n"))
    assert "import" not in body.text and "Somebody" not in body.text
    assert extract_text(tmp_path / "b.txt", prose + "\nReferences\nare what I lack.\n" * 3, True).skipped == {}
    for title in (
        "References",
        "8 REFERENCES:",
        "## Bibliography",
        "Список литературы",
        "IV. Literaturverzeichnis",
        "参考文献",
    ):
        assert is_references_title(title), title


def test_the_body_of_a_row_knows_its_place_in_the_row():
    pieces = ["First prose line.\n", "\nREFERENCES\n[1] A. 1999.\n[2] B. 2001.\n", "Appendix A\n", "Last words."]
    text = "".join(pieces)
    body = body_of(text)
    assert "First" in body.text and "Last" in body.text and "1999" not in body.text
    ends = [{"start": 0, "end": 5}, {"start": body.text.index("Last"), "end": len(body.text)}]
    across = [{"start": body.text.index("line"), "end": len(body.text)}]
    placed = body.back({"label": "human", "segments": ends, "passages": across})
    assert [text[span["start"] : span["end"]] for span in placed["segments"]] == ["First", "Last words."]
    (span,) = placed["passages"]
    assert text[span["start"] :].startswith("line.") and span["end"] == len(text) and placed["label"] == "human"
    plain = body_of("Nothing to leave out.\nAt all.")
    assert plain.text == "Nothing to leave out.\nAt all." and plain.origins == [0]


def test_encodings_are_told_or_refused():
    russian = "Тихий вечер опустился на старый город, и фонари зажглись. " * 5
    for encoding in ("utf-8-sig", "utf-16", "cp1251"):
        text, notes = decode(russian.encode(encoding))
        assert text == russian and bool(notes) == (encoding == "cp1251")
    with pytest.raises(ValueError, match="too few to tell"):
        decode(b"caf\xe9")


# --- kinds, limits, the reading process ---


def test_the_content_decides_and_not_the_name(tmp_path):
    simple_pdf(tmp_path / "a.txt")
    extracted = extract(tmp_path / "a.txt")
    assert extracted.kind == "pdf" and extracted.notes == ["It is named .txt, is pdf, and was read as such."]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "old Word document"),
        ("a.txt", bytes(range(256)), "binary file"),
        ("a.pdf", b"just words", "named .pdf and is none"),
        ("a.rtf", b"{\\rtf1 hello}", "rich text"),
        ("a.odt", b"PK\x03\x04 broken", "damaged or truncated archive"),
        ("a.txt", b"", "is empty"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        extract(tmp_path / name)


def test_the_reader_survives_hostile_files(tmp_path):
    good = simple_pdf(tmp_path / "good.pdf")
    bomb = bare_docx(tmp_path / "bomb.docx", "a" * 50_000_000)
    with Reader() as reader:
        assert reader.read(good) == extract(good)
        with pytest.raises(ValueError, match="zip bombs"):
            reader.read(bomb)
        assert reader.read(good).page_count == 4
        for path in (tmp_path / "absent.pdf", tmp_path):
            with pytest.raises((FileNotFoundError, ValueError), match="no such file|is a folder"):
                reader.read(path)


def test_the_reader_gives_up_on_time(tmp_path):
    with Reader(limits=Limits(seconds=0.01)) as reader, pytest.raises(ValueError, match="longer than 0.01 seconds"):
        reader.read(simple_pdf(tmp_path / "a.pdf"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_the_reader_gives_up_on_memory(tmp_path):
    body = "".join(f"<w:p><w:r><w:t>{number}</w:t></w:r></w:p>" for number in range(200_000))
    path = bare_docx(tmp_path / "many.docx", body)
    with Reader(limits=Limits(memory_bytes=120 * 2**20)) as reader, pytest.raises(ValueError, match="memory"):
        reader.read(path)


def test_found_files_are_sorted_and_the_rest_is_said(tmp_path):
    for name in ("b.txt", "a.pdf", ".hidden.txt", "sub/c.MD", "table.csv", "photo.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    said: list[str] = []
    found = list(find_files([str(tmp_path), "https://a.org/b.pdf", "absent.txt"], tmp_path, said.append))
    assert [Path(file.name).name for file in found] == ["a.pdf", "b.txt", "c.MD", "b.pdf", "absent.txt"]
    assert "is an address" in found[3].problem and [file.problem for file in found[:3]] == [None] * 3
    assert "3 files of other kinds" in said[0]
    (tmp_path / "empty").mkdir()
    (nothing,) = find_files([str(tmp_path / "empty")], tmp_path, said.append)
    assert "holds no document" in nothing.problem


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_what_may_not_be_read_is_named(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "locked.txt").write_text("x")
    (tmp_path / "locked.txt").chmod(0)
    (problem,) = find_files([str(tmp_path / "locked")], tmp_path, print)
    assert "cannot be opened" in problem.problem
    with Reader() as reader, pytest.raises(PermissionError):
        reader.read(tmp_path / "locked.txt")


# --- tables ---

RESULT = {"label": "human", "p_value": 0.5, "margin": -1.5, "passages": [], "doubts": []}
FLAGGED = {
    "label": "machine", "p_value": None, "margin": 2.0, "doubts": ["Too long.", "In verse."],
    "passages": [{"start": 0, "end": 3, "score": 0.9, "adjusted_p_value": 0.01}],
}  # fmt: skip


def copy_table(path: Path, column: str = "text") -> Path:
    table, out = open_table(path, column), path.with_name("out" + path.suffix)
    table.start(part_of(out))
    for row in table.rows():
        table.write(row, added_columns(FLAGGED if row.number == 2 else RESULT))
    table.close()
    part_of(out).replace(out)
    return out


@pytest.mark.parametrize(("mark", "end"), [(",", "\n"), (";", "\r\n"), ("\t", "\n")])
def test_csv_comes_back_with_columns(tmp_path, mark, end):
    path = tmp_path / "in.csv"
    rows = [["id", "text", "label"], ["1", '"a\nb"', "x"], ["2", '"it said ""no"""', "y"]]
    path.write_text("\ufeff" + end.join(mark.join(row) for row in rows) + end, newline="")
    header, rest = copy_table(path).read_bytes().decode().split(end, 1)
    assert header.split(mark) == [
        "id",
        "text",
        "label",
        "mvh_label",
        "p_value",
        "margin",
        "passages",
        "doubts",
        "error",
    ]
    assert rest.startswith(mark.join(["1", '"a\nb"', "x", "human", "0.5", "-1.5", ""]))
    assert f'{end}2{mark}"it said ""no"""{mark}y{mark}machine{mark}{mark}2.0' in rest


def test_jsonl_comes_back_with_columns_and_bad_lines_with_their_error(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "ä", "n": 1}\n\n{"text": null}\nnonsense\n[1]\n', encoding="utf-8")
    rows = list(open_table(path, "text").rows())
    assert [row.text for row in rows] == ["ä", None, None, None]
    assert [bool(row.problem) for row in rows] == [False, True, True, True] and "is no JSON" in rows[2].problem
    out = [json.loads(line) for line in copy_table(path).read_text(encoding="utf-8").splitlines()]
    assert out[0] == {"text": "ä", "n": 1, **RESULT, "doubts": None, "error": None}
    assert out[1]["passages"] == FLAGGED["passages"] and out[1]["doubts"] == "Too long. In verse."


def test_parquet_keeps_its_types(tmp_path):
    import pyarrow as pa

    table = pa.table({"when": pa.array([1, 2, 3], pa.timestamp("ms")), "body": ["a", None, "c"], "margin": [1, 2, 3]})
    pq.write_table(table, tmp_path / "in.parquet")
    out = pq.read_table(copy_table(tmp_path / "in.parquet", "body"))
    assert out.select(table.column_names).equals(table)
    assert out["label"].to_pylist() == ["human", "machine", "human"] and out["mvh_margin"].to_pylist() == [
        -1.5,
        2.0,
        -1.5,
    ]
    assert out["passages"].to_pylist() == [[], FLAGGED["passages"], []]


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet"])
def test_a_table_without_the_column_names_those_it_has(tmp_path, name):
    import pyarrow as pa

    path = tmp_path / name
    if name == "in.parquet":
        pq.write_table(pa.table({"body": ["a"]}), path)
    else:
        path.write_text('{"body": "a"}\n' if name == "in.jsonl" else "body,n\na,1\n")
    with pytest.raises(ValueError, match="no column 'text' and has .*body"):
        open_table(path, "text")
    path.write_bytes(b"\xff\xfe\x00 no table")
    with pytest.raises(ValueError):
        open_table(path, "text")


def test_no_text_of_a_page_is_lost_or_glued_together():
    found = etree.fromstring(
        "<main>Before all. <p>One <hi>bold</hi>ly <code>f</code>(), <quote>so</quote>.</p>"
        "Between two. <list>Head <item>a<list><item>b</item></list></item>"
        "<item>c</item></list><quote><p>d</p>e</quote><table><row><cell>f</cell><cell>g</cell></row></table>After all.</main>"
    )
    texts = [block.text.strip() for block in web._blocks(found)]
    assert texts == ["Before all.", "One boldly f(), so.", "Between two.", "Head\na b\nc", "d e", "f g", "After all."]


def test_added_columns_leave_those_of_an_earlier_run():
    assert names_beside(["text", "label", "mvh_label"])["label"] == "mvh_label_2"
    assert names_beside(["text", "label", "mvh_label", "mvh_label_2"])["label"] == "mvh_label_3"
