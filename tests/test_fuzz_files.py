"""Hostile files: whatever the bytes, a reader gives rows, texts or a sentence, and what is written reads back the same."""

import csv
import io
import json
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import strategies as st

import mvh.recipe
from mvh.dataset_builder.rewrite_cache import RewriteCache
from mvh.dataset_builder.semeval import BadRow, numbered_rows, parse_row
from mvh.dataset_builder.texts import read_own_rows
from mvh.documents.extract import extract
from mvh.documents.limits import Limits
from mvh.documents.tables import open_table
from mvh.recipe import DataArguments, ModelArguments, parse_recipe

from .conftest import SENTENCES
from .fuzz import fuzz, hostile, mutated, tries
from .test_documents import simple_pdf, write_odt

GOOD = {
    "id": 1,
    "label": 0,
    "text": "Rain on the street.",
    "model": "human",
    "source": "reddit",
    "pair": "a",
    "lang": "en",
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
ROWS = st.dictionaries(st.sampled_from([*GOOD, "document_type"]), VALUES, max_size=4).map(lambda new: GOOD | new)
LINES = st.one_of(
    ROWS.map(lambda row: json.dumps(row).encode()),
    mutated(json.dumps(GOOD, ensure_ascii=False).encode()),
    st.binary(max_size=60),
    st.sampled_from(
        [b"", b"\xef\xbb\xbf", b"[" * 3000, b'{"id": ' + b"[" * 990 + b"]" * 990 + b"}", b"1" * 5000, b"NaN"]
    ),
)
TEXT = {"id": str, "text": str, "label": int, "model": str, "source": str, "lang": str, "pair": str}


# --- SemEval files and one's own texts ---


@tries(60, 5000)
def test_every_line_of_a_semeval_file_is_a_row_or_a_record(examples, tmp_path):
    @fuzz(examples, st.lists(LINES, max_size=6), st.booleans())
    def check(lines, ended):
        path, bad = tmp_path / "rows.jsonl", []
        path.write_bytes(b"\n".join(lines) + b"\n" * ended)
        rows = list(numbered_rows(path, bad.append))
        for _, row in rows:
            assert {name: type(row[name]) for name in TEXT} == TEXT and row["label"] in (0, 1) and row["text"].strip()
            json.dumps(row, ensure_ascii=False).encode()
        assert all(record["message"].startswith("rows.jsonl, line ") and len(record["message"]) < 600 for record in bad)
        numbers = [number for number, _ in rows] + [record["line"] for record in bad]
        assert len(set(numbers)) == len(numbers)
        whole = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        assert len(numbers) == sum(bool(line.strip()) for line in whole.split(b"\n"))


@pytest.mark.parametrize("depth", range(955, 1005))
def test_no_depth_of_a_row_is_a_crash(depth):
    """Between what Python reads and what it writes of nested JSON lies a gap of a few levels."""
    line = b'{"label": 1, "text": "x", "model": "a", "source": "reddit", "id": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(BadRow):
        parse_row(line, "train")


@tries(40, 2000)
def test_ones_own_texts_are_read_or_refused_with_a_sentence(examples, tmp_path):
    table = b'text,label\n"Rain, on\nthe street.",0\nFurthermore delve.,1\n'

    @fuzz(
        examples,
        st.one_of(mutated(table), mutated(json.dumps(GOOD).encode()), LINES),
        st.sampled_from(["csv", "jsonl"]),
    )
    def check(content, suffix):
        path = tmp_path / f"own.{suffix}"
        path.write_bytes(content)
        try:
            texts = list(read_own_rows(path))
        except ValueError as error:
            assert len(str(error)) > 10
            return
        assert all(isinstance(text, str) and text.strip() for text in (row["text"] for row in texts))


# --- tables: what `mvh detect` writes beside the rows ---

ADDED = {"label": "human", "p_value": 0.5, "margin": -1.0, "passages": [], "doubts": None, "error": None}


def judged(path, column="text"):
    """The table with the columns of a verdict added, as a new file."""
    out = path.with_name("out" + path.suffix)
    table = open_table(path, column)
    table.start(out)
    try:
        for row in table.rows():
            table.write(row, ADDED)
    finally:
        table.close()
    return out


cells = st.text(st.characters(codec="utf-8"), max_size=12) | hostile.map(lambda t: t.encode(errors="replace").decode())


@tries(60, 4000)
def test_cells_of_a_csv_come_back_as_they_were(examples, tmp_path):
    @fuzz(
        examples,
        st.lists(st.tuples(cells, cells), max_size=5),
        st.sampled_from([",", ";", "\t"]),
        st.sampled_from(["\n", "\r\n"]),
    )
    def check(rows, mark, end):
        path = tmp_path / "in.csv"
        made = io.StringIO()
        writer = csv.writer(made, delimiter=mark, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "text"), *rows])
        path.write_bytes(made.getvalue().encode())
        with judged(path).open(encoding="utf-8", newline="") as file:
            header, *found = csv.reader(file, delimiter=mark, strict=True)
        assert header[:2] == ["id", "text"] and [tuple(row[:2]) for row in found] == rows
        assert all(len(row) == 2 + len(ADDED) for row in found)


@tries(40, 3000)
def test_rows_of_json_lines_come_back_as_they_were(examples, tmp_path):
    @fuzz(examples, st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=5))
    def check(rows):
        path = tmp_path / "in.jsonl"
        lines = [json.dumps(row | {"text": "rain"}) for row in rows]
        path.write_text("".join(f"{line}\n" for line in [*lines, '{"text": 1}']))
        found = [json.loads(line) for line in judged(path).read_text(encoding="utf-8").split("\n") if line]
        for row, new in zip(rows, found, strict=False):
            kept = {name: new[name] for name in row | {"text": "rain"}}
            assert json.dumps(kept) == json.dumps(row | {"text": "rain"})
        assert len(found) == len(rows) + 1


def parquet():
    made = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(40)), "text": [f"Rain {n} on the street." for n in range(40)]}), made)
    return made.getvalue()


@tries(60, 4000)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_damaged_table_is_read_or_refused_with_a_sentence(suffix, examples, tmp_path):
    lines = "".join(json.dumps({"id": n, "text": f"Rain {n}"}) + "\n" for n in range(9)).encode()
    whole = {"csv": b'id,text\n1,"Rain, on\nthe street."\n2,x\n', "jsonl": lines, "parquet": parquet()}[suffix]

    @fuzz(examples, mutated(whole))
    def check(content):
        path = tmp_path / f"in.{suffix}"
        path.write_bytes(content)
        try:
            judged(path)
        except ValueError as error:
            assert str(error)

    check_whole = tmp_path / f"in.{suffix}"
    check_whole.write_bytes(whole)
    assert judged(check_whole).stat().st_size > 0


# --- documents ---


def document(kind: str, path: Path) -> bytes:
    """A small real document."""
    if kind == "pdf":
        simple_pdf(path, pages=2)
    elif kind == "docx":
        import docx

        made = docx.Document()
        made.add_heading("Rain")
        for sentence in SENTENCES:
            made.add_paragraph(sentence)
        made.add_table(1, 2).cell(0, 0).text = "cell"
        made.save(path)
        return repacked(path)
    elif kind == "odt":
        write_odt(path, "".join(f"<text:p>{sentence}</text:p>" for sentence in SENTENCES))
        return repacked(path)
    elif kind == "html":
        body = "".join(f"<h2>Rain</h2><p class='a'>{sentence * 4}</p><script>1</script>" for sentence in SENTENCES)
        path.write_text(f"<!doctype html><html><head><title>x</title></head><body>{body}</body></html>")
    else:
        path.write_text("# Rain\n\n" + "\n\n".join(SENTENCES) + "\n```\ncode\n```\n")
    return path.read_bytes()


def repacked(path: Path) -> bytes:
    """The archive stored without compression, so that changed bytes reach the XML and not only zlib."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist() if name.endswith((".xml", "mimetype"))}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return made.getvalue()


@tries(40, 400)
@pytest.mark.parametrize("kind", ["pdf", "docx", "odt", "html", "md"])
def test_a_damaged_document_is_read_or_refused_with_a_sentence(kind, examples, tmp_path):
    """By `extract` itself: what it raises beside ValueError and OSError is a fault of a library, which `worker` words."""
    whole = document(kind, tmp_path / f"whole.{kind}")
    strange: list[str] = []

    @fuzz(examples, mutated(whole), st.booleans())
    def check(content, body_only):
        path = tmp_path / f"damaged.{kind}"
        path.write_bytes(content)
        try:
            extracted = extract(path, body_only, Limits(characters=1_000_000, pages=50))
        except ValueError as error:
            assert str(error)
            return
        except (AssertionError, TypeError, KeyError, IndexError, AttributeError) as error:
            strange.append(f"{type(error).__name__}: {error}")
            return
        ends = [0, *(place for _, start, end in extracted.pages for place in (start, end)), len(extracted.text)]
        assert ends == sorted(ends)
        json.dumps(extracted.account())

    assert not strange, strange[:5]


# --- recipes ---

OWN = [f.name for kind in (ModelArguments, DataArguments) for f in fields(kind)]
COMMON = [
    "output_dir",
    "num_train_epochs",
    "learning_rate",
    "seed",
    "weight_decay",
    "save_steps",
    "bf16",
    "frozen_epochs",
]
NAMES = st.sampled_from([*OWN, *COMMON, "lr_milestones", "lr_gamma"]) | st.text(max_size=6)
EXTREME = st.sampled_from(
    ["", "x", "1e-4", "none", "cls", "length", -1, 0, 3, 10**400, 0.5, 1e400, True, [], [1], ["x"], {}]
)


@tries(60, 500)
def test_a_recipe_is_read_or_refused_with_a_sentence(examples, tmp_path):
    path = tmp_path / "recipe.yaml"

    def parsed(content):
        path.write_bytes(content)
        try:
            model, data, args = parse_recipe([str(path)])
        except ValueError as error:
            assert str(error)
            return
        assert isinstance(model.core_tokens, int) and isinstance(data.train_file, list) and isinstance(args.seed, int)

    whole = (Path(mvh.recipe.__file__).parent / "recipes" / "mvh-mini-en.yaml").read_bytes()
    fuzz(examples, mutated(b"train_file: x\n" + whole))(parsed)
    values = st.dictionaries(NAMES, EXTREME | VALUES, max_size=3)
    fuzz(examples, values.map(lambda own: yaml.safe_dump({"train_file": "x"} | own).encode(errors="replace")))(parsed)


# --- finished rewrites ---


@tries(60, 1000)
def test_rewrites_come_back_or_are_refused_with_a_sentence(examples, tmp_path):
    with closing(RewriteCache(tmp_path / "rewrites.sqlite")) as cache:

        @fuzz(examples, hostile, hostile)
        def check(key, answer):
            try:
                cache.put("marian", {key: answer})
            except ValueError as error:
                assert "cannot be used" in str(error) and any("\ud800" <= c <= "\udfff" for c in key + answer)
                return
            assert cache.get(key) == answer


@tries(40, 1000)
def test_a_damaged_file_of_rewrites_is_said(examples, tmp_path):
    whole = tmp_path / "whole.sqlite"
    with closing(RewriteCache(whole)) as cache:
        cache.put("marian", {f"key {number}": "answer " * 20 for number in range(60)})

    @fuzz(examples, mutated(whole.read_bytes()))
    def check(content):
        path = tmp_path / "damaged.sqlite"
        path.write_bytes(content)
        try:
            cache = RewriteCache(path)
        except ValueError as error:
            assert "cannot be used" in str(error)
            return
        try:
            for number in range(60):
                assert isinstance(cache.get(f"key {number}"), (str, type(None)))
            cache.put("marian", {"new": "answer"})
        except ValueError as error:
            assert "cannot be used" in str(error)
        finally:
            cache.close()
