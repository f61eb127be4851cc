"""The page: paste a text or upload a file, see which passages look machine-generated, take the report along.

    python space/assemble.py runs/space && MODEL=checkpoints/mvh-mini-en python runs/space/app.py

On the Hub the Space runs this file. The environment names the detector: MODEL (Hub name or folder) and REVISION (commit).
Texts stay in memory; an upload is deleted once it is read, a download after an hour; nothing is recorded.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FILES = Path(tempfile.mkdtemp(prefix="space-"))  # uploads and downloads, and nothing else
atexit.register(shutil.rmtree, FILES, ignore_errors=True)
os.environ["GRADIO_TEMP_DIR"] = str(FILES)  # read when gradio is imported
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(HERE), os.environ.get("PYTHONPATH")])
)  # of the reading process

import gradio as gr  # noqa: E402
import judge  # noqa: E402
from keeping import Keeper  # noqa: E402
from limits import BodyLimit  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

KINDS = [".txt", ".md", ".html", ".htm", ".pdf", ".docx", ".odt"]
AT_ONCE = 2  # requests at work: one may be read while another is judged
QUEUE = 32  # requests that may wait; the next is refused
KEPT_SECONDS = 3600  # downloads, and the text of an open page
FOLDER_BYTES = 2 * 2**30  # uploads and downloads; above it no upload is taken
PAGES_OPEN = 500  # visitors whose text is kept at the same time
AS_SHIPPED = ("as the detector was published", "")
CORRECTIONS = [
    AS_SHIPPED,
    ("Calibrated: in a human text, a passage is marked at most with probability alpha", "calibrated"),
    ("Benjamini-Hochberg: few of the marked segments are marked wrongly", "bh"),
    ("Benjamini-Yekutieli: the same, whatever their dependence", "by"),
    ("Holm: hardly any segment is marked wrongly", "holm"),
    ("Bonferroni: the same, stricter", "bonferroni"),
    ("None: every segment by itself", "none"),
]
VOTES = [
    AS_SHIPPED,
    ("Calibrated: the document as a whole, with a promised rate of false alarms", "calibrated"),
    ("Majority: most segments are flagged; nothing is promised", "majority"),
    ("Any: one flagged segment is enough; nothing is promised", "any"),
]
HEAD = """<header id="head"><h1>Human or machine?</h1><p>Paste a text or upload a file. The detector compares it with texts that
people are known to have written, says how rare such a text is among them, and marks the passages that stand out.
<b>A flag is a reason to look, never a proof.</b></p></header>"""
LIMITS_SAID = f"""<footer id="limits"><h2>What this page does not say</h2><ul>
<li>No number here is the probability that a person, or a machine, wrote the text.</li>
<li>The error rate holds for texts like those the detector was calibrated on. Other genres, languages, writers in a second
language, translations, edited or quoted text may be flagged, or missed, more often.</li>
<li>“Nothing unusual” certifies nothing, and “no verdict” does not mean “probably machine”.</li>
<li>Do not decide about a person on it. The report that you can download says how a verdict may be contested.</li></ul>
<p>At most {judge.CHARACTERS:,} characters, files of at most {judge.FILE_BYTES // 2**20} MiB; one text is judged at a time
and at most {QUEUE} wait. Texts are not recorded: an upload is deleted when it has been read, a download after an hour.</p>
</footer>"""
# the report follows the system's colours, so the page does too
FOLLOW_SYSTEM = """() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.body.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", follow);
  follow();
}"""
# what shows a verdict: cell, table's frame, table, downloads' frame, report, json
EMPTY = ["", gr.update(visible=False), "", gr.update(visible=False), None, None]


def said(sentence: str, problem: bool = False) -> str:
    """A sentence as the page shows it."""
    if not sentence:
        return ""
    role, kind = ("alert", "said problem") if problem else ("status", "said")
    return f'<p class="{kind}" role="{role}" dir="auto">{escape(sentence)}</p>'


def save(name: str, content: str) -> str:
    """A download under a name that nobody can guess; it is deleted after KEPT_SECONDS."""
    path = FILES / name.format(secrets.token_hex(8))
    path.write_text(content, encoding="utf-8", errors="replace", newline="")
    return str(path)


def build(detect: Any) -> gr.Blocks:
    """The page around a detector."""

    def verdict(read: judge.Read, alpha: float, correction: str, vote: str) -> tuple[Any, ...]:
        """What is said of a text, and its verdict; or the sentence on why there is none."""
        try:
            judged = judge.judge(detect, read, alpha, correction, vote)
        except ValueError as error:
            return (said(str(error), problem=True), *EMPTY)
        return (
            said(read.account),
            judged.cell,
            gr.update(visible=bool(judged.table)),
            judged.table,
            gr.update(visible=True),
            save("report-{}.html", judged.report),
            save("result-{}.json", judged.json),
        )

    def judge_text(text: str, read: judge.Read | None, *settings: Any) -> tuple[Any, ...]:
        """The text in the box: pasted, or as it was read of a file, with its pages, if nobody has changed it."""
        unchanged = read is not None and read.extracted.text == text
        return verdict(read if unchanged else judge.pasted(text or ""), *settings)

    def judge_file(path: str | None, *settings: Any) -> Iterator[tuple[Any, ...]]:
        """A file, in one event, so that text, account and verdict on the page are always those of one file.

        Yields first what was read (for the box, the state, the message and the emptied field), then its verdict.
        """
        if path is None:
            return
        try:
            read = judge.read_upload(Path(path))
        except ValueError as error:
            yield ("", None, None, said(str(error), problem=True), *EMPTY)
            return
        yield (read.extracted.text, read, None, said(read.account), *EMPTY)
        yield (gr.skip(), gr.skip(), gr.skip(), *verdict(read, *settings))

    def detect_one(
        text: str, alpha: float | None = None, correction: str | None = None, vote: str | None = None
    ) -> dict:
        """The result for one text, as the published pipeline gives it. Options left out are those of the detector."""
        try:
            return judge.detect_text(detect, text, alpha, correction, vote)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None

    config = detect.model.config
    page = gr.Blocks(title="Human or machine?", analytics_enabled=False)
    with page:
        gr.HTML(HEAD)
        text = gr.Textbox(
            label="Text", lines=10, max_lines=16, elem_id="text", placeholder="Paste a text of any language here."
        )
        file = gr.File(label="or a file: txt, md, html, pdf, docx, odt", file_types=KINDS, height=140, elem_id="file")
        document = gr.State(time_to_live=KEPT_SECONDS)
        examples = sorted((HERE / "examples").glob("*.txt"))
        if examples:
            names = [path.stem.split("-", 1)[-1].capitalize() for path in examples]
            texts = [[path.read_text(encoding="utf-8")] for path in examples]
            gr.Examples(texts, text, cache_examples=False, example_labels=names, api_visibility="private")
        with gr.Accordion("Settings", open=False):
            alpha = gr.Slider(
                0.001,
                0.2,
                config.alpha,
                step=0.001,
                label="alpha: the share of human texts flagged wrongly that is put up with",
                buttons=[],
            )
            correction = gr.Dropdown(
                CORRECTIONS, value="", label="Correction over the segments: which passages are marked"
            )
            vote = gr.Dropdown(VOTES, value="", label="Vote: what makes the verdict on the document")
        button = gr.Button("Judge this text", variant="primary", elem_id="judge")
        message = gr.HTML(elem_id="message", apply_default_css=False)
        cell = gr.HTML(elem_id="result", apply_default_css=False)
        with gr.Accordion("Passages as a table", open=False, visible=False, elem_id="table") as table_frame:
            table = gr.HTML(apply_default_css=False)
        with gr.Row(visible=False, elem_id="downloads") as downloads:
            report = gr.DownloadButton("Download the report (HTML)", elem_id="report")
            result = gr.DownloadButton("Download the result (JSON)", elem_id="json")
        gr.HTML(LIMITS_SAID)

        shown = [cell, table_frame, table, downloads, report, result]
        asked = [alpha, correction, vote]
        shared: dict[str, Any] = {"concurrency_id": "detector", "concurrency_limit": AT_ONCE}
        page_only: dict[str, Any] = {**shared, "show_progress_on": cell, "api_visibility": "private"}
        button.click(judge_text, [text, document, *asked], [message, *shown], **page_only)
        file.upload(
            judge_file, [file, *asked], [text, document, file, message, *shown], trigger_mode="always_last", **page_only
        )
        gr.api(detect_one, api_name="detect", **shared)
    return page.queue(max_size=QUEUE)


def theme() -> gr.themes.Base:
    """The report's colours and the visitor's own fonts: nothing is fetched from elsewhere."""
    base = gr.themes.Base(
        primary_hue="amber", neutral_hue="stone", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    return base.set(
        body_background_fill="#fcfbf8",
        body_background_fill_dark="#171614",
        button_primary_background_fill="#1b5583",
        button_primary_background_fill_hover="#123f63",
        button_primary_text_color="#ffffff",
        button_primary_background_fill_dark="#86bfec",
        button_primary_background_fill_hover_dark="#a9d2f3",
        button_primary_text_color_dark="#171614",
    )


def main() -> None:
    """Load the detector and serve the page."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # an end like any other: nobody's text stays behind
    try:
        detect = judge.load(os.environ, HERE / "model.json")
    except ValueError as error:
        sys.exit(str(error))
    build(detect).launch(
        theme=theme(),
        css_paths=HERE / "style.css",
        js=FOLLOW_SYSTEM,
        max_file_size=judge.FILE_BYTES,
        app_kwargs={
            "middleware": [
                Middleware(BodyLimit, limit=judge.FILE_BYTES + 2**20),
                Middleware(Keeper, folder=FILES, seconds=KEPT_SECONDS, most=FOLDER_BYTES),
            ]
        },
        state_session_capacity=PAGES_OPEN,
        footer_links=["api", "gradio"],
        run_history=False,
        ssr_mode=False,
    )


if __name__ == "__main__":
    main()
