"""The Space in a real browser: paste, upload, faults, long and right-to-left text, injection, phone and desktop, programs.

Needs `pip install -e '.[space]'` and a Chromium (`apt install chromium`); Playwright drives it and brings none of its own.
"""

import http.client
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

import mvh

from .test_space import EVIL, MIXED, SHIPPED, assemble, judge

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed: pip install -e '.[space]'"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt install chromium"),
]
ARABIC = "كان الجو جميلاً في ذلك اليوم، وخرج الناس إلى الشوارع.\nوفي المساء عاد الجميع.\n" * 8
PATIENCE = 120_000  # milliseconds; machines differ
SCREENS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The temporary folder of the server."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def address(tmp_path_factory, files):
    """The assembled Space at work on the shipped detector."""
    space = assemble.assemble(tmp_path_factory.mktemp("space") / "space")
    environment = {**os.environ, "MODEL": str(SHIPPED), "TMPDIR": str(files)}
    log = files / "log"
    with log.open("w") as said:
        command = [sys.executable, "-u", str(space / "app.py")]
        server = subprocess.Popen(command, cwd="/", env=environment, stdout=said, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        yield found[0]
    finally:
        server.terminate()
        server.wait(20)
    assert not list(files.glob("space-*")), "texts of visitors outlived the server"


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visit(chromium, address, screen="desktop", colours="light"):
    """The open page; at its end nothing may have gone wrong in the browser, nothing been fetched from elsewhere."""
    context = chromium.new_context(viewport=SCREENS[screen], color_scheme=colours, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda line: line.type == "error" and wrong.append(f"console: {line.text}"))
    page.on("request", lambda r: r.url.startswith((address, "data:", "blob:")) or wrong.append(f"elsewhere: {r.url}"))
    page.goto(address)
    page.wait_for_selector("#text textarea")
    yield page
    context.close()
    assert not wrong


def paste(page, text):
    page.fill("#text textarea", text)
    page.click("#judge")


def send(page, path):
    page.set_input_files("#file input[type=file]", str(path))


def verdict(page):
    """The headline, once there is one and the page rests."""
    page.wait_for_selector("#result .headline")
    page.wait_for_selector("#downloads button >> nth=0")
    return page.inner_text("#result .headline").strip()


def message(page):
    page.wait_for_selector("#message .said")
    return page.inner_text("#message .said").strip()


def marked(page):
    """The text of each mark, without what the page adds."""
    return page.evaluate(
        """() => [...document.querySelectorAll("#result mark")].map(mark => {
            const copy = mark.cloneNode(true);
            copy.querySelectorAll(".tag, .note").forEach(added => added.remove());
            return copy.textContent; })"""
    )


def test_paste_mark_table_and_downloads(chromium, address, tmp_path):
    expected = mvh.load_detector(SHIPPED)(MIXED)
    (span,) = expected["passages"]
    with visit(chromium, address) as page:
        paste(page, MIXED)
        assert verdict(page) == "Looks machine-generated"
        assert "".join(marked(page)) == MIXED[span["start"] : span["end"]]
        assert "at most 5 in 100 human texts of this kind are flagged wrongly" in page.inner_text("#result")
        page.hover("#result mark >> nth=0")
        page.wait_for_selector("#result .note >> nth=0", state="visible")
        page.click("#table button")
        page.wait_for_selector("#table td >> nth=0", state="visible")
        assert f"{span['start']:,} to {span['end']:,}" in page.inner_text("#table")
        for button in ("report", "json"):
            with page.expect_download() as download:
                page.click(f"#{button}")
            download.value.save_as(tmp_path / button)
    told = json.loads((tmp_path / "json").read_text(encoding="utf-8"))
    assert {name: told[name] for name in ("label", "alpha", "vote")} == {
        n: expected[n] for n in ("label", "alpha", "vote")
    }
    assert told["margin"] == pytest.approx(expected["margin"], abs=1e-4) and told["text"] == MIXED
    report = (tmp_path / "report").read_text(encoding="utf-8")
    assert report.lstrip().startswith("<!doctype html>") and "Content-Security-Policy" in report


def test_settings_and_examples(chromium, address):
    with visit(chromium, address) as page:
        page.click("button.gallery-item:has-text('Machine')")
        page.wait_for_function("document.querySelector('#text textarea').value.length > 1000")
        page.click("#judge")
        verdict(page)
        page.evaluate("document.querySelector('#result .headline').dataset.seen = 'yes'")  # gone with this verdict
        page.click("button:has-text('Settings')")
        page.fill("input[type=number]", "0.01")
        page.wait_for_function("document.querySelector('input[type=range]').value === '0.01'")
        with page.expect_request(lambda request: "/queue/join" in request.url) as asked:
            page.click("#judge")
        assert 0.01 in asked.value.post_data_json["data"]
        page.wait_for_selector("#result .headline:not([data-seen])")
        page.click("#result summary:has-text('Settings and versions')")
        assert re.search(r"Alpha\s+0\.01\b", page.inner_text("#result dl"))


def test_upload_pages_and_deletion(chromium, address, files, tmp_path):
    canvas = pytest.importorskip("reportlab.pdfgen.canvas")
    drawn = canvas.Canvas(str(tmp_path / "two.pdf"))
    words = MIXED.split()
    for half in (words[: len(words) // 2], words[len(words) // 2 :]):
        for line in range(0, len(half), 12):
            drawn.drawString(50, 800 - 2 * line, " ".join(half[line : line + 12]))
        drawn.showPage()
    drawn.save()
    with visit(chromium, address) as page:
        send(page, tmp_path / "two.pdf")
        verdict(page)
        assert "Read “two.pdf”: pdf, 2 pages" in message(page)
        assert "page 2" in page.inner_text("#result .text").lower()
        page.click("#judge")  # the same text again: the pages are still known
        page.wait_for_timeout(500)
        verdict(page)
        assert "two.pdf" in page.inner_text("#result .kicker") and "two.pdf" in message(page)
    assert not list(files.rglob("*.pdf"))


def test_faults_are_sentences_and_no_old_verdict_stays(chromium, address, files, tmp_path):
    (tmp_path / "picture.pdf").write_bytes(b"\0\1\2\3" * 100)
    (tmp_path / "program.exe").write_bytes(b"MZ")
    (tmp_path / "huge.txt").write_bytes(b"a b " * 3_000_000)
    with visit(chromium, address) as page:
        page.click("#judge")
        assert message(page) == "There is no text to judge: paste one, or upload a file."
        paste(page, MIXED)
        verdict(page)
        paste(page, "word " * 50_000)
        page.wait_for_selector("#message .problem")
        assert message(page) == "The text has 250,000 characters and this page takes at most 200,000."
        assert not page.inner_text("#result").strip() and not page.is_visible("#downloads")
        send(page, tmp_path / "picture.pdf")
        page.wait_for_selector("#message .problem:has-text('picture')")
        assert message(page) == "“picture.pdf” is a binary file and none of txt, md, html, pdf, docx and odt."
        for name, said in (("program.exe", "Invalid file type"), ("huge.txt", "maximum allowed size")):
            send(page, tmp_path / name)
            page.wait_for_selector(f".toast-body:has-text('{said}')")
        assert not re.search(rf"{files}|/tmp/|Traceback|site-packages", page.inner_text("body"))


def test_a_long_document(chromium, address, tmp_path):
    text = (MIXED * 12)[:36_000]
    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    with visit(chromium, address) as page:
        send(page, tmp_path / "long.txt")
        assert "36,000 characters" in message(page)
        assert verdict(page).startswith("Nothing unusual as a whole, but ")  # by parts: half of it is by a machine
        shown = page.evaluate(
            """() => { const copy = document.querySelector("#result .text").cloneNode(true);
                copy.querySelectorAll(".tag, .note").forEach(added => added.remove()); return copy.textContent; }"""
        )
        assert "".join(shown.split()) == "".join(text.split())


def test_right_to_left_text_stands_at_the_right(chromium, address):
    with visit(chromium, address, screen="phone") as page:
        paste(page, ARABIC)
        assert verdict(page) == "No verdict on the text as a whole"
        for place in ("#result .block", "#text textarea"):
            assert page.evaluate(f"getComputedStyle(document.querySelector('{place}')).unicodeBidi") == "plaintext"
        gaps = page.evaluate(
            """() => { const block = document.querySelector("#result .block"), range = document.createRange();
                range.selectNodeContents(block);
                const all = [...range.getClientRects()].filter(box => box.width > 5);
                const edge = block.getBoundingClientRect();
                return [Math.max(...all.map(box => box.right)) - edge.right,
                        Math.min(...all.map(box => box.left)) - edge.left]; }"""
        )
        assert abs(gaps[0]) < 3 < gaps[1]


def test_no_text_and_no_file_name_becomes_markup_or_script(chromium, address, tmp_path):
    machine = MIXED.split("\n\n")[2:]
    text = "".join(f"{EVIL}{paragraph} {EVIL}{{{{#each value}}}}<svg onload=alert(3)>" for paragraph in machine * 2)
    evil = tmp_path / "<img src=x onerror=alert(9)>${alert(4)}.txt"
    evil.write_text(text, encoding="utf-8")
    with visit(chromium, address) as page:
        for give in (paste, send):
            give(page, text if give is paste else evil)
            if give is send:
                page.wait_for_selector("#message .said:has-text('onerror')")
            verdict(page)
            assert "<script>alert(1)</script>" in page.inner_text("#result .text")
            assert "{{7*7}}${alert(2)}" in page.inner_text("#result .text")
            for foreign in ("script", "img", "[onerror]", "[onload]", "iframe", "a[href^=javascript]"):
                assert not page.query_selector(f":is(#result, #message, #table) {foreign}"), foreign
            page.wait_for_timeout(300)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_the_page_fits_its_screen_and_its_colours_agree(chromium, address, screen, colours):
    with visit(chromium, address, screen, colours) as page:
        paste(page, MIXED.replace(" ", "", 400))  # one long word among others
        verdict(page)
        for summary in page.query_selector_all("#result summary"):
            summary.click()
        if page.is_visible("#table"):
            page.click("#table button")
        assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen]["width"]
        assert page.evaluate("document.body.scrollWidth") <= SCREENS[screen]["width"]
        grounds = [
            page.evaluate(f"getComputedStyle(document.querySelector('{place}')).backgroundColor")
            for place in ("body", "#result .mvh")
        ]
        assert grounds == [{"light": "rgb(252, 251, 248)", "dark": "rgb(23, 22, 20)"}[colours]] * 2


# --- without a browser: what a program may ask, and may not ---


def ask(address, path, body=None):
    """Status and text of a request."""
    request = urllib.request.Request(address + path, body, {"Content-Type": "application/json"} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE / 1000) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def detect(address, *data):
    """What the programs' endpoint answers: the event's name and its content."""
    _, event = ask(address, "/gradio_api/call/detect", json.dumps({"data": data}).encode())
    _, stream = ask(address, f"/gradio_api/call/detect/{json.loads(event)['event_id']}")
    name, content = re.search(r"event: (complete|error)\ndata: (.*)", stream).groups()
    return name, json.loads(content)


def test_a_program_gets_the_pipelines_result(address):
    name, (told,) = detect(address, MIXED, 0.01, "by", None)
    expected = mvh.load_detector(SHIPPED)(MIXED, alpha=0.01, correction="by")
    assert name == "complete" and told.keys() == expected.keys()
    assert told["p_value"] == expected["p_value"] and told["correction"] == "by" and told["alpha"] == 0.01
    for data, said in (
        (("", None, None, None), "no text to judge"),
        (("x" * 200_001, None, None, None), "200,001 characters"),
        (("Some words.", 7, None, None), "alpha must be"),
        (("Some words.", None, "magic", None), "must be one of"),
    ):
        name, told = detect(address, *data)
        assert name == "error" and said in told["error"]


def test_files_of_the_server_stay_there(address, files):
    (secret := files / "secret.txt").write_text("swordfish")
    for path in ("/etc/passwd", "app.py", str(secret), "../../etc/passwd", "//etc/passwd"):
        status, said = ask(address, f"/gradio_api/file={path}")
        assert status in (403, 404) and "swordfish" not in said and "root:" not in said
    config = json.loads(ask(address, "/config")[1])
    (upload,) = (d["id"] for d in config["dependencies"] if any(event == "upload" for _, event in d["targets"]))
    for path in (str(secret), "/etc/passwd", f"{address}/config", "http://169.254.169.254/"):
        given = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
        body = {"data": [given, 0.05, "", ""], "fn_index": upload, "session_hash": f"s{abs(hash(path))}"}
        ask(address, "/gradio_api/queue/join", json.dumps(body).encode())
        _, stream = ask(address, f"/gradio_api/queue/data?session_hash={body['session_hash']}")
        assert '"success":false' in stream and not re.search(r"swordfish|root:|Traceback|site-packages", stream)
    assert secret.exists()


def test_large_requests_are_refused(address):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE / 1000)
    connection.putrequest("POST", "/gradio_api/call/detect")
    connection.putheader("Content-Length", str(judge.FILE_BYTES + 2**20 + 1))
    connection.endheaders()  # refused by what it announces; none of it is sent
    response = connection.getresponse()
    assert response.status == 413 and b"too large" in response.read()


def test_who_sends_too_much_reads_why(address):
    """Announced and sent in full: the connection may not be reset before the answer is read."""
    assert ask(address, "/gradio_api/call/detect", b" " * (judge.FILE_BYTES + 2**20 + 1))[0] == 413


def test_two_visitors_may_send_the_same_file_at_once(chromium, address, tmp_path):
    (tmp_path / "same.txt").write_text(MIXED, encoding="utf-8")
    with visit(chromium, address) as one, visit(chromium, address) as other:
        for page in (one, other):
            send(page, tmp_path / "same.txt")
        assert [verdict(page) for page in (one, other)] == ["Looks machine-generated"] * 2
