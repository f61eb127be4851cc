"""`mvh detect`: what a person, a script and a table get, and that nothing finished is lost."""

import contextlib
import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from fractions import Fraction

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from transformers import pipeline

from mvh.cli import __main__ as cli
from mvh.cli import run as running
from mvh.cli.terminal import bar, progress_console
from mvh.cli.words import plain, quote
from mvh.sole_use import sole_file

from .conftest import make_text, write_jsonl
from .test_documents import bare_docx, column, simple_pdf, write_pdf

HUMAN, MACHINE = make_text(0, 60, seed=1), make_text(1, 60, seed=2)


@pytest.fixture
def detect(detector, capsys):
    """Run the command on the toy detector: exit status, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(["detect", *map(str, words), "--model", str(detector)])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in (("human.txt", HUMAN), ("machine.md", MACHINE)):
        (folder / name).write_text(text)
    return folder


def flowing(shown: str) -> str:
    """What a terminal shows, without its line ends and frames."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", shown).split())


def lines(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_json_is_the_result_of_the_pipeline_with_the_file(detect, detector, texts):
    status, out, _ = detect(texts / "human.txt", texts / "machine.md", "--json", "--alpha", 0.1, "--correction", "holm")
    results = lines(out)
    expected = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)(
        [HUMAN, MACHINE], alpha=0.1, correction="holm"
    )
    assert status == 0 and [result["file"] for result in results] == [
        str(texts / n) for n in ("human.txt", "machine.md")
    ]
    for result, right in zip(results, expected, strict=True):
        assert {key for key in result if key not in right} == {"file", "read"}
        for key in right.keys() - {"segments", "passages", "margin", "score"}:
            assert result[key] == right[key], key
        assert result["margin"] == pytest.approx(right["margin"], abs=1e-4)
        assert [p["start"] for p in result["passages"]] == [p["start"] for p in right["passages"]]
    assert [result["label"] for result in results] == ["human", "machine"]


def test_a_person_reads_a_verdict_its_error_rate_and_pages(detect, tmp_path):
    words = MACHINE.split()[:30]
    pages = [column(60, [" ".join(words[at : at + 10]) for at in range(0, 30, 10)]) for _ in range(2)]
    status, out, err = detect(write_pdf(tmp_path / "essay.pdf", pages), "--vote", "calibrated")
    assert status == 0 and "essay.pdf" in out and "2 pages" in out and "MACHINE" in out
    said = flowing(out)
    assert "Looks machine-generated (p 0." in said and "in 100 human texts of this kind are flagged wrongly" in said
    assert "pages 1-2" in said and "A flag is a reason to look, never a proof." in said
    _, out, _ = detect(tmp_path / "essay.pdf", "--json", "--with-text")
    (result,) = lines(out)
    assert result["passages"][0]["pages"] == [1, 2] and result["read"]["pages"] == 2
    assert result["text"].split() == words * 2


def test_a_folder_is_judged_together_and_bad_files_cost_themselves_only(detect, texts, tmp_path):
    for index in range(20):
        (texts / f"more-{index}.txt").write_text(make_text(0, 30, seed=index))
    (texts / "binary.txt").write_bytes(bytes(range(256)))
    (texts / "broken.pdf").write_bytes(b"%PDF-1.4 and no more")
    bare_docx(texts / "bomb.docx", "a" * 50_000_000)
    status, out, err = detect(texts, "--prevalence", 0.2, "--html", tmp_path / "report.html")
    assert status == 1 and err.count("cannot be read") == 3 and "zip bombs" in err
    assert "of 22 documents" in out and "about 1.10 would be" in out and "would be innocent" in out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "more-19.txt" in page and "human.txt" in page
    status, out, err = detect(texts, "--json")
    results = lines(out)
    assert len(results) == 25 and sum("error" in result for result in results) == 3
    assert len({frozenset(result.keys() - {"error"}) for result in results}) == 1, "read is null where nothing was"
    assert "of 22 documents" in err and "Judged" not in out


def test_the_documents_that_stay_flagged_are_named(detect, tmp_path):
    folder = tmp_path / "pile"
    folder.mkdir()
    for index in range(30):
        (folder / f"{index:02}.txt").write_text(make_text(1, 60, seed=index))
    status, out, _ = detect(folder, "--alpha", 0.3)
    assert status == 0
    ((cut, named),) = re.findall(r"Those with p at most (\S+) and no doubt: (.*)\n", out)
    (held,) = re.findall(r"Judged together, (\d+) stay", out)
    assert int(held) > 20 and named.count(".txt") == 20 and named.endswith(f" and {int(held) - 20} more.")
    _, out, err = detect(folder, "--alpha", 0.3, "--json")
    assert sum(result["p_value"] <= float(cut) for result in lines(out)) == int(held)
    assert f"Those with p at most {cut} and no doubt: {named}" in err
    table = write_jsonl(tmp_path / "a.jsonl", [{"text": make_text(label, 60, seed=label)} for label in (0, 1, 1)])
    assert re.search(
        r"Those with p at most \S+ and no doubt: \S*a\.jsonl row 2, \S*a\.jsonl row 3\.",
        detect(table, "--alpha", 0.3)[1],
    )


def test_a_blank_file_is_a_sentence_and_not_a_judged_document(detect, texts):
    (texts / "blank.txt").write_text("   ")
    status, out, err = detect(texts / "blank.txt")
    assert status == 1 and "This document could not be judged. The text is blank" in flowing(out)
    assert "ValueError" not in out and "never a proof" not in out and "of the documents" not in err
    status, out, err = detect(texts)
    assert status == 1 and "of 2 documents" in out and "1 of the documents could not be judged" in err


def test_a_report_tells_what_was_read_and_what_was_not(detect, texts, tmp_path):
    page = tmp_path / "report.html"
    (texts / "broken.pdf").write_bytes(b"%PDF-1.4 and no more")
    (texts / "odd.txt").write_bytes("naïve ".encode("latin-1") + HUMAN.encode())
    assert detect(texts, "--html", page, "--body-only")[0] == 1
    said = page.read_text("utf-8")
    assert "Not read: 1 file" in said and "no PDF reader can open it" in said and "broken.pdf" in said
    assert f"<dt>Read</dt><dd><bdi>md, {len(MACHINE):,} characters" in said and "<dt>Body only</dt><dd><bdi>yes" in said
    (result,) = lines(detect(texts / "odd.txt", "--json")[1])
    assert result["read"]["notes"] and all(f"<li>{note}</li>" in said for note in result["read"]["notes"])
    status, _, err = detect(texts / "broken.pdf", "--html", page)
    assert status == 1 and f"The report is in {page}" in err
    assert "Nothing could be judged" in page.read_text("utf-8") and "broken.pdf" in page.read_text("utf-8")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_plain_file_is_never_replaced_and_links_are_followed(detect, texts, tmp_path):
    for name in ("pipe", "b.mvh.jsonl", "c.html.part"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "round").symlink_to("round")
    table, human = write_jsonl(tmp_path / "b.jsonl", [{"text": HUMAN}]), texts / "human.txt"
    for name in ("pipe", "link", "round", "c.html"):
        for words in ((human, "--html"), (table, "--out")):
            status, _, err = detect(*words, tmp_path / name)
            assert status == 2 and re.search("no plain file|leads nowhere", flowing(err)), name
    status, _, err = detect(table)  # the name that it would choose
    assert status == 1 and "b.mvh.jsonl: exists and is no plain file" in err
    assert all(not (tmp_path / name).is_file() for name in ("pipe", "b.mvh.jsonl", "c.html.part"))
    (tmp_path / "kept").mkdir()
    for name, words in (("r.html", (human, "--html")), ("t.jsonl", (table, "--out"))):
        (tmp_path / name).symlink_to(tmp_path / "kept" / name)
        for _ in range(2):  # the file of the link is not there, and is
            assert detect(*words, tmp_path / name)[0] == 0
        assert (tmp_path / name).is_symlink() and (tmp_path / "kept" / name).stat().st_size > 100
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["r.html", "t.jsonl"]


def test_an_absent_table_is_named_once(detect, tmp_path):
    status, out, err = detect(tmp_path / "absent.csv", "--json")
    assert status == 1 and err.count("absent.csv") == 1 and "There is no such file" in err
    (result,) = lines(out)
    assert result["row"] is None and result["read"] is None and result["error"]["type"] == "ReadError"


def test_body_only_says_what_it_left_out(detect, tmp_path):
    document = docx.Document()
    document.add_paragraph(HUMAN)
    document.add_heading("References", 1)
    for year in range(2001, 2009):
        document.add_paragraph(f"Smith, J. ({year}). Of rain, dogs and streets. Journal of Weather, 12(3), 45-67.")
    document.save(tmp_path / "a.docx")
    status, out, _ = detect(tmp_path / "a.docx", "--body-only", "--json", "--with-text")
    (result,) = lines(out)
    assert status == 0 and result["text"].strip() == HUMAN and result["read"]["skipped_share"] > 0.4
    assert "left out (references" in detect(tmp_path / "a.docx", "--body-only")[1]


def test_body_only_judges_the_body_of_a_row_and_places_passages_in_the_row(detect, tmp_path):
    code = "import os\nimport re\nx = os.name\n"
    write_jsonl(tmp_path / "a.jsonl", [{"text": code + MACHINE}, {"text": code}])
    status, _, err = detect(tmp_path / "a.jsonl", "--body-only")
    first, second = lines((tmp_path / "a.mvh.jsonl").read_text())
    assert status == 1 and "1 row judged, 1 row not" in err and "blank" in second["error"]
    assert first["label"] == "machine" and first["passages"][-1]["end"] == len(code + MACHINE)
    assert first["passages"][0]["start"] >= len(code)


def test_body_only_accounts_for_what_it_left_out_of_each_row(detect, tmp_path):
    code, title = "import os\nimport re\nx = os.name\n", "METHODS\n"
    texts = [code + MACHINE, title + HUMAN, HUMAN, code]
    table = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts] + [{"text": None}])
    status, out, err = detect(table, "--body-only", "--json", "--with-text")
    rows = lines(out)
    assert status == 1 and [row["row"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["text"] for row in rows] == [*texts, None] and [row["body"] for row in rows][-1] is None
    for row, text in zip(rows[:4], texts, strict=True):
        read = row["read"]
        assert read["kind"] == "row" and len(text) == len(row["body"]) + sum(read["skipped"].values())
        assert read["skipped_share"] == pytest.approx(1 - len(row["body"]) / len(text))
    assert [row["read"] and row["read"]["skipped"] for row in rows] == [
        {"code": len(code)}, {"headings": len(title)}, {}, {"code": len(code)}, None
    ]  # fmt: skip
    judged = [passage for row in rows for passage in row["passages"]]
    assert judged and all(passage["end"] <= len(code + MACHINE) for passage in judged)
    skipped, whole = 2 * len(code) + len(title), sum(map(len, texts))
    assert f"by --body-only {skipped / whole:.1%} left out (code {2 * len(code) / whole:.1%}, headings" in err
    _, out, err = detect(table, "--json", "--with-text")
    assert [row["text"] for row in lines(out)] == [*texts, None] and "left out" not in err
    assert all(row["read"]["skipped_share"] == 0 and "body" not in row for row in lines(out)[:4])
    _, out, err = detect(write_jsonl(tmp_path / "b.jsonl", [{"text": HUMAN}]), "--body-only")
    assert "by --body-only nothing left out" in err


def test_standard_input(detect, tmp_path, monkeypatch):
    with simple_pdf(tmp_path / "a.pdf").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        status, out, _ = detect("-", "--json")
    (result,) = lines(out)
    assert status == 0 and result["file"] == "-" and result["read"]["kind"] == "pdf"


def test_an_address_and_an_absent_file_are_refused_beside_good_ones(detect, texts):
    status, out, err = detect("https://example.org/a.pdf", texts / "human.txt", texts / "absent.txt")
    assert status == 1 and "HUMAN" in out
    assert "is an address, and only files are read" in err and "no such file" in err.lower()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name at least one file"),
        (["a.txt", "--alpha", "1.5"], "between 0 and 1"),
        (["a.txt", "--document-type", "poem"], "must be one of academic, reference"),
        (["a.txt", "--correction", "sidak"], "must be one of none, bonferroni, holm"),
        (["a.txt", "--html", "absent/report.html"], "cannot be written"),
        (["a.csv", "--html", "report.html"], "a table gets columns"),
        (["a.txt", "--out", "b.csv"], "names the copy of one table"),
        (["-", "-"], "read once"),
        (["a.txt", "--with-text"], "belongs to --json"),
        (["a.txt", "--batch-size", "0"], "--batch-size"),
    ],
)
def test_wrong_usage_is_status_2_before_anything_is_loaded(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["detect", *words]) == 2 and said in flowing(capsys.readouterr().err)


def test_a_model_that_is_none_is_one_sentence(capsys, texts):
    assert cli.main(["detect", str(texts), "--model", "./absent"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: There is no checkpoint folder") and said.count("\n") == 1


def test_a_document_type_that_nothing_reads_is_refused(detect, texts):
    status, out, said = detect(texts / "human.txt", "--document-type", "academic")
    assert (status, out) == (1, "") and "no feature of the groups 'document_type' and 'register' to read it" in said


# --- tables ---


def test_tables_get_columns(detect, tmp_path):
    rows = [{"n": 1, "body": HUMAN}, {"n": 2, "body": MACHINE}, {"n": 3, "body": " "}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["n", "body"])
        writer.writeheader()
        writer.writerows(rows)
    names = [tmp_path / f"a.{suffix}" for suffix in ("jsonl", "parquet", "csv")]
    status, out, err = detect(*names, "--text-column", "body")
    assert status == 1 and err.count("2 rows judged, 1 row not (") == 3 and "of 6 documents" in out
    assert not list(tmp_path.glob("*.part"))
    for found in (
        lines((tmp_path / "a.mvh.jsonl").read_text()),
        pq.read_table(tmp_path / "a.mvh.parquet").to_pylist(),
        list(csv.DictReader((tmp_path / "a.mvh.csv").open(newline=""))),
    ):
        assert [row["label"] or None for row in found] == ["human", "machine", None]
        assert [str(row["n"]) for row in found] == ["1", "2", "3"] and found[2]["error"].startswith("The text is blank")
        passages = found[1]["passages"] if isinstance(found[1]["passages"], list) else json.loads(found[1]["passages"])
        assert passages and passages[0]["end"] <= len(MACHINE)


def test_what_is_read_is_not_written_over(detect, texts, tmp_path):
    """Under another name, through a link, or as the other file of the call."""
    table, page = write_jsonl(tmp_path / "a.jsonl", [{"text": HUMAN}]), texts / "human.html"
    page.write_text(f"<p>{HUMAN}</p>")
    (tmp_path / "link.jsonl").symlink_to(table)
    for option, file, out in (
        ("--out", table, table),
        ("--out", table, tmp_path / "texts" / ".." / "a.jsonl"),
        ("--out", table, tmp_path / "link.jsonl"),
        ("--out", tmp_path / "link.jsonl", table),
        ("--html", page, page),
    ):
        before = file.read_bytes()
        status, _, err = detect(file, option, out)
        assert status == 2 and "is read, so it is not written over" in flowing(err) and file.read_bytes() == before
    assert detect(table, "--out", tmp_path / "b.jsonl")[0] == 0


def test_an_interrupted_table_keeps_the_rows_it_finished(detect, tmp_path, monkeypatch, interruptible):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": HUMAN, "n": n} for n in range(5)])
    real, calls = running.added_columns, iter([False, False, True])

    def interrupted(result):
        if next(calls):
            signal.raise_signal(signal.SIGINT)
        return real(result)

    monkeypatch.setattr(running, "added_columns", interrupted)
    status, _, err = detect(path)
    assert status == 130 and "The 2 rows that were finished" in err
    assert [row["n"] for row in lines((tmp_path / "a.mvh.jsonl.part").read_text())] == [0, 1]
    assert not (tmp_path / "a.mvh.jsonl").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_two_commands_do_not_write_one_table(detect, tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": HUMAN}])
    part = tmp_path / "a.mvh.jsonl.part"
    with sole_file(part, "mvh detect"):
        status, _, err = detect(path)
        assert status == 1 and "a.mvh.jsonl.part: is being written by another mvh detect" in err
        assert part.read_bytes() == b"" and "finished" not in err
    assert detect(path)[0] == 0 and not part.exists()


def test_a_revision_is_the_hubs(detect, texts, tmp_path):
    status, _, err = detect(texts / "human.txt", "--model", tmp_path, "--revision", "v1")
    assert status == 2 and "is of a Hub repository" in flowing(err)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_full_disk_is_a_sentence(detect, texts, tmp_path):
    import resource

    assert detect(texts / "human.txt")[0] == 0  # whatever is cached on first use is there
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": HUMAN, "n": n} for n in range(60)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, before[1]))
    try:
        status, _, err = detect(path, "--out", tmp_path / "out.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 1 and "error: " in err and "File too large" in err and "out.jsonl.part" in err
    assert not (tmp_path / "out.jsonl").exists() and (tmp_path / "out.jsonl.part").stat().st_size == 16_384
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, before[1]))
    try:
        status, out, err = detect(texts, "--html", tmp_path / "report.html")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 1 and "report.html: File too large" in err and "HUMAN" in out and "MACHINE" in out
    assert not list(tmp_path.glob("report.html*"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_status_1(detect, texts):
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:
        with contextlib.redirect_stdout(full):
            status, _, err = detect(texts, "--json")
        assert status == 1 and "No space left on device" in err


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no folder here that refuses everybody")
def test_a_report_that_may_not_be_written_costs_the_report_only(detect, texts):
    status, out, err = detect(texts, "--html", "/proc/report.html")
    assert status == 1 and err.startswith("error: /proc/report.html") and "HUMAN" in out and "MACHINE" in out


def forbidden() -> str | None:
    """A file that not even root may read, as some settings of the Linux kernel are."""
    for path in ("/proc/sys/vm/compact_memory", "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/route/flush"):
        try:
            open(path, "rb").close()
        except PermissionError:
            return path
        except OSError:
            continue
    return None


@pytest.mark.skipif(forbidden() is None, reason="no file here that this user may not read")
def test_no_permission_is_a_sentence_and_costs_the_file_only(detect, texts):
    status, out, err = detect(forbidden(), texts / "human.txt", "--json")
    refused, read = lines(out)
    assert status == 1 and "cannot be read: Permission denied." in err
    assert refused["error"]["message"] == "Permission denied." and read["label"] == "human"


@pytest.mark.slow
def test_ten_thousand_files_with_three_bad_ones(detect, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(10_000):
        (folder / f"{index:05}.txt").write_text(make_text(0, 12, seed=index))
    (folder / "00007.txt").write_bytes(b"")
    (folder / "05000.txt").write_bytes(bytes(range(256)))
    (folder / "09998.pdf").write_bytes(b"%PDF-1.4 and no more")
    status, out, err = detect(folder, "--json")
    results = lines(out)
    assert status == 1 and len(results) == 10_001 and sum("error" in result for result in results) == 3
    assert err.count("cannot be read") == 3 and "3 of the documents could not be judged" in err
    assert results[-1]["file"].endswith("09999.txt") and results[-1]["label"]


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, even where the tests were started in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class InterruptedReader(io.StringIO):
    """Standard output whose reader presses Ctrl-C when the first line has come."""

    def write(self, text: str) -> int:
        size = super().write(text)
        if text == "\n" and self.getvalue().count("\n") == 1:
            signal.raise_signal(signal.SIGINT)
        return size


class FullDisk(io.StringIO):
    """Standard output that holds one line."""

    def write(self, text: str) -> int:
        if self.getvalue().count("\n") == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


@pytest.mark.parametrize(
    ("output", "ends", "why", "files"),
    [(InterruptedReader, 130, "the run was interrupted", "2 files"), (FullDisk, 1, "the run failed", "1 file")],
)
def test_a_run_that_ends_early_keeps_what_it_printed_and_its_report_says_that_it_is_partial(
    detect, tmp_path, interruptible, output, ends, why, files
):
    essays, page = tmp_path / "essays", tmp_path / "report.html"
    essays.mkdir()
    for index in range(3):
        (essays / f"{index}.txt").write_text(
            make_text(index % 2, 20_000, seed=index)
        )  # each fills a window of segments
    page.write_text("of an earlier run")
    with contextlib.redirect_stdout(output()) as out:
        status, _, err = detect(essays, "--json", "--html", page)
    (result,) = lines(out.getvalue())
    assert status == ends and result["segments"]
    assert ends == 1 or "Interrupted; 1 document was finished" in err
    said = (tmp_path / "report.partial.html").read_text(encoding="utf-8")
    assert f"{why.capitalize()} and did not reach {files}." in said and "0.txt" in said
    assert f"<bdi>{essays / '2.txt'}</bdi>: was not reached: {why}." in said
    assert f"Partial report: {3 - int(files[0])} of 3 documents" in said
    assert page.read_text() == "of an earlier run" and f"{page} is of an earlier run" in err
    status, _, err = detect(tmp_path / "report.partial.html", "--html", page)
    assert status == 2 and "is read, so it is not written over" in flowing(err)
    assert detect(essays / "0.txt", "--html", page)[0] == 0 and "artial" not in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_ctrl_c_of_a_process(detector, tmp_path):
    for index in range(20):
        (tmp_path / f"{index:02}.txt").write_text(make_text(index % 2, 20_000, seed=index))
    simple_pdf(tmp_path / "a.pdf")  # so that the process that reads runs as well
    process = subprocess.Popen(
        [sys.executable, "-m", "mvh.cli", "detect", str(tmp_path), "--json", "--model", str(detector)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Interrupted" in err and "Traceback" not in err
    assert all(result["segments"] for result in lines(first + rest)) and len(lines(first + rest)) < 21


def test_progress_shows_where_somebody_looks_and_never_in_json():
    terminal, pipe = Console(force_terminal=True, file=io.StringIO()), Console(file=io.StringIO())
    assert progress_console(terminal, json=False) is terminal
    assert progress_console(terminal, json=True) is None
    assert progress_console(pipe, json=False) is None, "stderr of a test is no terminal"


# --- words ---


@given(
    st.integers(1, 100_000).flatmap(
        lambda length: st.tuples(
            st.just(length), st.lists(st.integers(0, length), min_size=2, max_size=8, unique=True).map(sorted)
        )
    )
)
def test_a_cell_of_the_bar_is_red_where_it_overlaps_a_passage(drawn):
    length, cuts = drawn
    passages = [{"start": start, "end": end} for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
    shown = bar({"segments": [{"end": length}], "passages": passages})
    red = {cell for cell, sign in enumerate(shown.plain) if sign == "█"}
    assert len(shown) == 60 and red == {
        cell
        for passage in passages
        for cell in range(60)
        if max(passage["start"], Fraction(cell * length, 60)) < min(passage["end"], Fraction((cell + 1) * length, 60))
    }
    assert all(red & set(range(p["start"] * 60 // length, -(-p["end"] * 60 // length))) for p in passages)


def test_a_short_passage_of_a_long_text_is_seen():
    for start in range(0, 89_000, 50):
        shown = bar({"segments": [{"end": 90_000}], "passages": [{"start": start, "end": start + 650}]})
        assert 1 <= shown.plain.count("█") <= 2


def test_words_from_outside_cannot_steer_a_terminal():
    assert "\x1b" not in plain("a\x1b[31mred\u202e") and plain("наука 中文 é\n") == "наука 中文 é "
    assert (
        quote("a" * 30 + " " + "b" * 1000, 0, 1031).startswith("a" * 30) and len(quote("x y " * 9999, 0, 39996)) < 110
    )
