"""Own texts are read from folders, text files, JSON Lines and CSV; whatever cannot be used is named by file and line."""

import csv
import logging

import datasets
import docx
import pytest

from mvh.dataset_builder.texts import read_own_rows

from .conftest import write_jsonl
from .test_documents import bare_docx, simple_pdf


def read_texts(path, **options):
    return [(row["id"], row["text"]) for row in read_own_rows(path, **options)]


def test_a_folder_is_read_in_the_order_of_its_paths_and_other_files_are_counted(tmp_path, caplog):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.TXT").write_text("first", encoding="utf-8")
    (tmp_path / "a.md").write_text("\ufeffzweiter Text: ä", encoding="utf-8")
    (tmp_path / "c.csv").write_bytes(b"text\n")
    (tmp_path / ".hidden.txt").write_bytes(b"\xff")
    with caplog.at_level(logging.WARNING):
        assert read_texts(tmp_path, label=0) == [("a.md", "zweiter Text: ä"), ("b/one.TXT", "first")]
    assert "2 files of other kinds are passed over" in caplog.text and "1 .csv" in caplog.text


def test_documents_of_all_kinds_are_read_as_detect_reads_them(tmp_path, caplog):
    document = docx.Document()
    document.add_paragraph("Words of a paragraph.")
    document.add_heading("References", 1)
    document.add_paragraph("Nobody (1900). A title.")
    document.save(tmp_path / "a.docx")
    simple_pdf(tmp_path / "b.pdf", pages=2)
    (tmp_path / "c.txt").write_bytes("Тихий вечер опустился на старый город, и фонари зажглись. ".encode("cp1251") * 3)
    whole, body = dict(read_texts(tmp_path)), dict(read_texts(tmp_path, body_only=True))
    assert list(whole) == ["a.docx", "b.pdf", "c.txt"] and "Nobody" in whole["a.docx"] and "page two" in whole["b.pdf"]
    assert body["a.docx"].strip() == "Words of a paragraph." and "c.txt: It is not UTF-8" in caplog.text
    assert read_texts(tmp_path / "b.pdf") == [("b.pdf", whole["b.pdf"])]


def test_every_bad_file_of_a_folder_is_named_at_once(tmp_path):
    (tmp_path / "a.txt").write_text("good")
    (tmp_path / "b.pdf").write_bytes(b"just words")
    bare_docx(tmp_path / "c.docx", "a" * 50_000_000)
    with pytest.raises(
        ValueError, match=r"2 of the 3 files in .* b\.pdf is named .pdf and is none.* c\.docx .*zip bombs"
    ):
        read_texts(tmp_path)
    for number in range(12):
        (tmp_path / f"{number:02}.odt").write_bytes(b"no archive \0")
    with pytest.raises(ValueError, match="14 of the 15 files .* And 4 more"):
        read_texts(tmp_path)


def test_one_file_is_one_text(tmp_path):
    (tmp_path / "x.txt").write_text("line\n\nline", encoding="utf-8")
    assert read_texts(tmp_path / "x.txt") == [("x.txt", "line\n\nline")]


def test_json_lines_and_csv_say_the_same(tmp_path):
    rows = [
        {"id": "a", "text": 'He said: "no",\nand left.', "label": 0, "source": "essays"},
        {"id": "b", "text": "long " * 40_000, "label": 0, "source": ""},
    ]
    json_lines = write_jsonl(tmp_path / "x.jsonl", rows)
    json_lines.write_bytes(b"\xef\xbb\xbf" + json_lines.read_bytes() + b"\n\n")
    before = csv.field_size_limit()
    with (tmp_path / "x.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text", "label", "source"])
        writer.writeheader()
        writer.writerows(rows)
    read = read_own_rows(tmp_path / "x.csv", label=0)
    assert read == read_own_rows(json_lines, label=0)
    assert [(row["id"], row["source"]) for row in read] == [("a", "essays"), ("b", None)]
    assert csv.field_size_limit() == before


def test_a_text_without_an_id_is_named_by_its_line(tmp_path):
    file = write_jsonl(tmp_path / "x.jsonl", [{"text": "a"}, {"text": "b", "id": 7}])
    assert read_texts(file) == [("line 1", "a"), ("7", "b")]


@pytest.mark.parametrize("label", [0, "0", "human", " Human "])
def test_labels_are_understood_as_files_spell_them(tmp_path, label):
    file = write_jsonl(tmp_path / "x.jsonl", [{"text": "a", "label": label}])
    assert read_texts(file, label=0) == [("line 1", "a")]
    with pytest.raises(ValueError, match=r"x\.jsonl, line 1: only machine texts are taken here, and the label is"):
        read_texts(file, label=1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"text": "a", "label": 1}\n', r"line 1: only human texts .* the label is 1\."),
        ("x.jsonl", b'{"text": "a", "label": true}\n', "the label is True"),
        ("x.jsonl", b'{"text": "a", "label": null}\n', "the label is None"),
        ("x.jsonl", b'{"body": "no text"}\n', "line 1: needs a JSON object with a 'text' that is not blank"),
        ("x.jsonl", b'{"text": "a"}\n[1]\n', "line 2: needs a JSON object"),
        ("x.jsonl", b'{"text": "a"}\n{"text": "b\n', "line 2: is no JSON"),
        ("x.jsonl", b'{"text": "\xff"}\n', "line 1: is no JSON"),
        ("x.jsonl", b'{"text": "a \\ud800 b"}\n', "line 1: the text holds a lone surrogate"),
        ("x.jsonl", b"\n\n", "x.jsonl: holds no text"),
        ("x.csv", b"id;texts\n1;a\n", r"line 1: needs a column 'text', and has \['id', 'texts'\]"),
        ("x.csv", b"", "line 1: needs a column 'text', and has none"),
        ("x.csv", b'id,text\n1,a\n2,"b\n3,c\n', "is no CSV"),
        ("x.csv", b"id,text\n1,a\n2\n", "line 3: has 1 cells and the header 2"),
        ("x.csv", b"id,text\n1,\n", "line 2: needs a 'text' that is not blank"),
        (
            "x.csv",
            b"text\nIn the beginning, there was a word\n",
            "line 2: has 2 cells and the header 1; .* stands in quotes",
        ),
        ("x.csv", b"id;text\n1;one; two\n", "line 2: has 3 cells and the header 2"),
        ("x.csv", b"id,text\n1,\xff\n", "is not UTF-8"),
        ("x.csv", b"text,label\na,1\n", "line 2: only human texts"),
        ("x.txt", b"good\nb\xe4d\n", r"x\.txt is not UTF-8"),
        ("x.txt", b" \n", r"x\.txt holds no text"),
        ("x.docx", b"PK\x03\x04", r"x\.docx is a damaged or truncated archive"),
        ("x.xlsx", b"PK", r"texts are read from a folder, \.txt, .*\.jsonl, .*\.parquet, and this is \.xlsx"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_texts(tmp_path / name, label=0)


def test_an_empty_folder_and_a_missing_one_are_said(tmp_path):
    with pytest.raises(ValueError, match="holds no document"):
        read_texts(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        read_texts(tmp_path / "absent")


def test_a_table_of_any_kind_has_its_texts_where_one_says(tmp_path):
    rows = [{"id": "a", "body": "one, two", "label": 0}, {"id": "b", "body": "three", "label": 0}]
    write_jsonl(tmp_path / "x.jsonl", rows)
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "x.parquet")
    for name, mark in (("x.csv", ","), ("semicolons.csv", ";"), ("x.tsv", "\t")):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["id", "body", "label"], delimiter=mark)
            writer.writeheader()
            writer.writerows(rows)
    for file in sorted(tmp_path.iterdir()):
        assert read_texts(file, label=0, text_column="body") == [("a", "one, two"), ("b", "three")]
        with pytest.raises(ValueError, match=rf"{file.name}.*needs .*'text'"):
            read_texts(file)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match=r"x\.parquet is damaged after row 0"):
        read_texts(tmp_path / "x.parquet")
