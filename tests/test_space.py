"""The Space without its page: what it is assembled of, its verdicts, reading of uploads, sentences, size of requests."""

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import mvh
from mvh.report import ReportDocument, render_cell

ROOT = Path(mvh.__file__).parent
SHIPPED = ROOT / "checkpoints" / "mvh-mini-en"
MIXED = (ROOT / "examples" / "3-mixed.txt").read_text(encoding="utf-8")
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}${alert(2)}</style></div> "


def own(name):
    """A file of space/ as a module."""
    spec = importlib.util.spec_from_file_location(f"space_{name}", ROOT / "space" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


judge, assemble, limits, keeping = own("judge"), own("assemble"), own("limits"), own("keeping")


@pytest.fixture(scope="module")
def detect():
    return judge.load({"MODEL": str(SHIPPED)}, Path("absent.json"))


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return assemble.assemble(tmp_path_factory.mktemp("space") / "space", "someone/detector", "abc123")


# --- what is uploaded ---


def test_the_assembled_space_stands_on_its_own(space):
    """Everything of ours that it imports lies in its folder, and what makes verdicts does not: that is the model's."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import judge
import mvh.documents.worker, mvh.documents.extract
assert "torch" not in sys.modules and "mvh.pipeline_mvh" not in sys.modules
print(*{module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in ("mvh", "judge")}, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", code, space], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.split()]
    assert len(files) > 10 and all(file.is_relative_to(space) for file in files)
    assert not {"pipeline_mvh.py", "modeling_mvh.py"} & {path.name for path in space.rglob("*.py")}
    assert {path.name for path in space.glob("examples/*")} == {path.name for path in ROOT.glob("examples/*.txt")}


def test_the_header_names_the_detector_and_versions_agree(space):
    header = yaml.safe_load((space / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert header["sdk"] == "gradio" and header["app_file"] == "app.py" and header["models"] == ["someone/detector"]
    assert json.loads((space / "model.json").read_text()) == {"model": "someone/detector", "revision": "abc123"}
    proven = set((ROOT / "constraints.txt").read_text().split())
    pins = [line for line in (space / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert f"gradio=={header['sdk_version']}" in pins
    assert all("==" in pin for pin in pins) and set(pins) <= proven, sorted(set(pins) - proven)


def test_the_readme_names_the_limits_at_work():
    said = (ROOT / "space" / "README.md").read_text(encoding="utf-8")
    queue = re.search(r"^QUEUE = (\d+)", (ROOT / "space" / "app.py").read_text(encoding="utf-8"), re.MULTILINE)[1]
    reading = judge.READING
    for limit in (f"{judge.CHARACTERS:,} characters", f"{judge.FILE_BYTES // 2**20} MiB", f"{reading.pages} pages"):
        assert limit in said
    assert f"{queue} may wait" in said and (reading.file_bytes, reading.characters) == (
        judge.FILE_BYTES,
        judge.CHARACTERS,
    )


def test_assembling_refuses_local_models_and_foreign_folders(tmp_path):
    with pytest.raises(ValueError, match="is a folder of this machine"):
        assemble.assemble(tmp_path / "space", str(SHIPPED))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("x")
    with pytest.raises(ValueError, match="no assembled Space"):
        assemble.assemble(tmp_path / "letters")
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]
    for _ in range(2):  # an older Space is replaced
        assemble.assemble(tmp_path / "space")
    assert not (tmp_path / "space" / "model.json").exists() and not (tmp_path / "space.part").exists()


def test_no_file_of_the_space_tells_of_this_machine(space):
    for path in space.rglob("*"):
        if path.is_file():
            assert str(ROOT) not in path.read_text(encoding="utf-8"), path


# --- verdicts ---


def test_a_verdict_is_the_published_pipelines(detect):
    read = judge.pasted(MIXED)
    judged = judge.judge(detect, read, None, "", "")
    told = json.loads(judged.json)
    expected = detect(MIXED)
    passages = told.pop("passages")
    assert (
        told.pop("text") == MIXED and told.pop("file") == "pasted text" and told.pop("read")["characters"] == len(MIXED)
    )
    assert told == {name: value for name, value in expected.items() if name != "passages"}
    assert [{**p, "pages": None} for p in expected["passages"]] == passages and passages
    assert judged.cell == render_cell(ReportDocument("pasted text", MIXED, expected), "result")
    assert "<!doctype html>" in judged.report and "If you wrote this text" in judged.report
    assert f"{passages[0]['start']:,} to {passages[0]['end']:,}" in judged.table


def test_settings_reach_the_detector(detect):
    told = json.loads(judge.judge(detect, judge.pasted(MIXED), 0.01, "by", "any").json)
    assert (told["alpha"], told["correction"], told["vote"]) == (0.01, "by", "any")


def test_every_setting_of_the_page_is_one_of_the_detector(detect):
    source = (ROOT / "space" / "app.py").read_text(encoding="utf-8")
    asked = dict(re.findall(r"^(CORRECTIONS|VOTES) = \[\n(.*?)^\]", source, flags=re.MULTILINE | re.DOTALL))
    for name, option in (("CORRECTIONS", "correction"), ("VOTES", "vote")):
        values = re.findall(r'", "(\w+)"\)', asked[name])
        assert len(values) >= 3
        for value in values:
            assert detect("A few plain words.", **{option: value})[option] == value


def test_nothing_of_a_text_becomes_markup(detect):
    text = "".join(f"{paragraph} {EVIL}" for paragraph in MIXED.split("\n\n"))
    judged = judge.judge(detect, judge.Read(EVIL, judge.pasted(text).extracted, EVIL), None, None, None)
    table = judge.passage_table(
        [{"start": 0, "end": 99, "pages": (1, 2), "adjusted_p_value": 0.01, "score": 0.9}], EVIL
    )
    for html in (judged.cell, judged.table, table, judged.report):
        assert not re.search(r"<(script|img|svg onload)", html) and "</style></div>" not in html
    assert "&lt;script&gt;" in table and ">1 to 2<" in table and "&lt;script&gt;" in judged.cell


@pytest.mark.parametrize("text", ["", " \n\t", None, 3, {"path": "/etc/passwd"}])
def test_no_text_is_a_sentence(text):
    with pytest.raises(ValueError, match="There is no text to judge"):
        judge.detect_text(None, text, None, None, None)


def test_the_detectors_own_sentences_come_through(detect):
    with pytest.raises(ValueError, match="200,000"):
        judge.detect_text(detect, "x" * 200_001, None, None, None)
    with pytest.raises(ValueError, match="alpha must be"):
        judge.detect_text(detect, "Some words.", 3, None, None)
    with pytest.raises(ValueError, match="correction must be one of"):
        judge.detect_text(detect, "Some words.", None, "magic", None)
    with pytest.raises(ValueError, match="correction must be one of") as caught:  # a path that the asker gave himself
        judge.detect_text(detect, "Some words.", None, "/etc/" + "x" * 9_999, None)
    assert len(str(caught.value)) <= judge.SENTENCE


@pytest.mark.parametrize("error", [RuntimeError("/srv/a/secret token"), ValueError("in /srv/a/secret"), MemoryError()])
def test_a_fault_of_the_program_is_a_number(error, caplog):
    def broken(text, **options):
        raise error

    broken._sanitize_parameters = lambda **options: None
    with pytest.raises(ValueError, match="a fault of its own") as caught:
        judge.detect_text(broken, "Some words.", None, None, None)
    number = re.search(r"number (\w+)\.", str(caught.value))[1]
    assert "secret" not in str(caught.value) and caught.value.__suppress_context__
    assert number in caplog.text and "Traceback" in caplog.text  # whoever runs the Space finds it


def test_which_detector_is_asked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("transformers.pipeline", lambda task, **options: asked.append((task, options)))
    (tmp_path / "model.json").write_text('{"model": "someone/detector", "revision": "abc"}')
    for environment in ({}, {"MODEL": "other/one"}, {"MODEL": "other/one", "REVISION": "def"}, {"REVISION": "def"}):
        judge.load(environment, tmp_path / "model.json")
    assert [(options["model"], options["revision"]) for _, options in asked] == [
        ("someone/detector", "abc"), ("other/one", None), ("other/one", "def"), ("someone/detector", "def"),
    ]  # fmt: skip
    assert all(task == "mvh-detect" and options["trust_remote_code"] for task, options in asked)
    with pytest.raises(ValueError, match="No detector is named"):
        judge.load({}, tmp_path / "absent.json")


# --- uploads ---


def upload(folder, name, content):
    """A file as gradio leaves it: in a folder of its own."""
    place = folder / "f00d"
    place.mkdir()
    (place / name).write_bytes(content)
    return place / name


def test_an_upload_is_read_and_deleted(tmp_path):
    path = upload(tmp_path, "مقال <b>.txt", MIXED.encode())
    read = judge.read_upload(path)
    assert read.extracted.text == MIXED and f"{len(MIXED):,} characters" in read.account and read.name == path.name
    assert not list(tmp_path.iterdir())


def test_pages_of_a_pdf_reach_the_verdict(tmp_path, detect):
    canvas = pytest.importorskip("reportlab.pdfgen.canvas")
    path = upload(tmp_path, "two.pdf", b"")
    drawn = canvas.Canvas(str(path))
    words = MIXED.split()
    for half in (words[: len(words) // 2], words[len(words) // 2 :]):
        for line in range(0, len(half), 12):
            drawn.drawString(50, 800 - 2 * line, " ".join(half[line : line + 12]))
        drawn.showPage()
    drawn.save()
    read = judge.read_upload(path)
    assert "pdf, 2 pages" in read.account
    judged = judge.judge(detect, read._replace(extracted=replace(read.extracted, notes=["A note."])), None, None, None)
    passages = json.loads(judged.json)["passages"]
    assert passages and passages[-1]["pages"][-1] == 2
    assert "<li>A note.</li>" in judged.report and "<dt>Read</dt><dd><bdi>pdf, 2 pages, " in judged.report


def bomb(folder):
    with zipfile.ZipFile(folder / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * 2_000_000)
    return (folder / "bomb").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.pdf", b"\0\1\2", "is a binary file"),
        ("a.pdf", b"%PDF-1.7 torn", "“a.pdf” "),
        ("a.docx", bomb, "“a.docx” "),
        ("a.txt", b"", "is empty"),
        ("a.txt", b"word " * 50_000, "more than 200,000 characters"),
    ],
)
def test_a_bad_upload_is_a_sentence_without_a_path(tmp_path, name, content, sentence):
    path = upload(tmp_path, name, content(tmp_path) if callable(content) else content)
    with pytest.raises(ValueError, match=sentence) as caught:
        judge.read_upload(path)
    assert str(tmp_path) not in str(caught.value) and "Traceback" not in str(caught.value)
    assert not path.exists()


def test_two_visitors_may_send_the_same_file(tmp_path):
    """gradio gives both one path, and the first reading deletes it."""
    path = upload(tmp_path, "same.txt", MIXED.encode())
    assert judge.read_upload(path) == judge.read_upload(path) and not list(tmp_path.iterdir())
    path = upload(tmp_path, "same.pdf", b"\0\1\2")
    said = []
    for _ in range(2):
        with pytest.raises(ValueError, match="is a binary file") as caught:
            judge.read_upload(path)
        said.append(str(caught.value))
    assert said[0] == said[1] and not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="“never.txt” could not be opened; please upload it again"):
        judge.read_upload(tmp_path / "f00d" / "never.txt")
    for number in range(judge.KEPT_READINGS):
        judge.read_upload(upload(tmp_path, f"{number}.txt", b"A few words."))
    with pytest.raises(ValueError, match="upload it again"):
        judge.read_upload(path)


def test_the_folder_of_files_is_kept_small(tmp_path):
    old, new = upload(tmp_path, "old.txt", b"old"), tmp_path / "report-1.html"
    new.write_bytes(b"new words")
    for path in (old, old.parent):
        os.utime(path, (1, 1))
    assert keeping.tidy(tmp_path, 3600) == 9 and [path.name for path in tmp_path.rglob("*")] == ["report-1.html"]

    async def app(scope, receive, send):
        await send({"status": 200})

    async def status(path):
        sent = []

        async def send(message):
            sent.append(message)

        await keeper({"type": "http", "path": path}, None, send)
        return sent[0]["status"]

    keeper = keeping.Keeper(app, tmp_path, 3600, most=8, every=0.01)
    try:
        while not keeper.kept:
            time.sleep(0.01)
        assert asyncio.run(status("/gradio_api/upload")) == 503 and asyncio.run(status("/config")) == 200
        new.unlink()
        while keeper.kept:
            time.sleep(0.01)
        assert asyncio.run(status("/gradio_api/upload")) == 200
    finally:
        keeper.ended.set()


# --- requests ---


def answer(pieces, announced=None, catches=False):
    """Status and body that a client gets who sends `pieces` to an app that reads them all, limited to 10 bytes."""
    sent, waiting = [], list(pieces)

    async def app(scope, receive, send):
        try:
            while (await receive()).get("more_body"):
                pass
            status = 200
        except Exception:
            if not catches:
                raise
            status = 400
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": b"read"})

    async def talk():
        async def receive():
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        async def send(message):
            sent.append(message)

        headers = [] if announced is None else [(b"content-length", str(announced).encode())]
        await limits.BodyLimit(app, 10)({"type": "http", "headers": headers}, receive, send)

    asyncio.run(talk())
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    assert not any(message["body"] for message in sent[2:]) and not waiting, (
        "what a refused client sends is thrown away"
    )
    return sent[0]["status"], sent[1]["body"].decode()


def test_large_requests_are_refused_announced_or_not():
    assert answer([b"x" * 10], 10) == answer([b"x" * 4, b"x" * 6]) == (200, "read")
    for refused in (answer([b"x"], 11), answer([b"x" * 6] * 2), answer([b"x" * 6] * 2, catches=True)):
        assert refused == (413, "The request is too large: at most 10 bytes are taken.")
