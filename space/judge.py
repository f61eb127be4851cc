"""A text or an uploaded file -> what the page shows, or a sentence on why there is nothing to show.

The verdict comes from the published pipeline alone. How it looks and how files are read is the package's own `mvh.report`
and `mvh.documents`, which travel with the Space (see assemble.py). Nothing here knows of the page; app.py lays it out.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from html import escape
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from mvh.cli.words import read_rows, read_sentence
from mvh.documents.blocks import Extracted
from mvh.documents.limits import MIB, Limits
from mvh.documents.reader import Reader
from mvh.report import ReportDocument, render, render_cell
from mvh.report.words import p_text

CHARACTERS = 200_000  # of one text: some hundred pages
FILE_BYTES = 10 * MIB
READING = Limits(FILE_BYTES, CHARACTERS, pages=500, unpacked_bytes=100 * MIB, seconds=20.0, memory_bytes=1024 * MIB)
KEPT_READINGS = 32  # as many as may wait
SENTENCE = 300  # characters of a sentence about an option: it repeats what was given
BEGINNING = 80  # characters of a passage in the table

# A verdict takes every core there is, so one is made at a time. Always by the same thread: each thread that ever computed
# would keep threads of OpenMP and memory of its own.
WORKER = ThreadPoolExecutor(1, thread_name_prefix="judge")

log = logging.getLogger("space")


class Read(NamedTuple):
    """A text to judge: what readers know it by, the text with its pages, and what is said of how it was read."""

    name: str
    extracted: Extracted
    account: str


_READINGS = Lock()
_just_read: OrderedDict[Path, Read | str] = OrderedDict()  # what was read of an upload, or why nothing could be


class Judged(NamedTuple):
    """One verdict, ready to be shown: `cell`, `table` (empty without passages) and `report` are HTML."""

    cell: str
    table: str
    report: str
    json: str


def load(environment: Mapping[str, str], settings: Path) -> Any:
    """The published detector.

    Args:
        environment: MODEL and REVISION win over the settings.
        settings: JSON file with "model", a Hub name, and "revision", a commit or None; it may be absent.

    Raises:
        ValueError: If neither names a model.
    """
    known = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    model = environment.get("MODEL") or known.get("model")
    revision = environment.get("REVISION") or (None if environment.get("MODEL") else known.get("revision"))
    if not model:
        raise ValueError(
            f"No detector is named: set MODEL=USER/NAME, or assemble the Space with one ({settings.name})."
        )
    if revision is None and not Path(model).is_dir():
        log.warning("The code of %s runs at its newest revision; set REVISION to a commit to pin it.", model)
    from transformers import pipeline

    return pipeline("mvh-detect", model=model, revision=revision, trust_remote_code=True)


def pasted(text: str) -> Read:
    """A text without a file."""
    return Read("pasted text", Extracted(text, "text"), "")


def read_upload(path: Path) -> Read:
    """The text of an uploaded file and an account of what was read; the file is deleted, read or not.

    gradio names an upload by its content, so two visitors who send the same file have one path, and the first reading
    deletes it. What was read of a path is therefore kept in memory until KEPT_READINGS others have been read.

    Raises:
        ValueError: If it cannot be read; the sentence names the file, never where it lies.
    """
    found = _read_file(path)
    with _READINGS:
        if found is None:  # somebody else with the same file was first
            found = _just_read.get(path)
        else:
            _just_read[path] = found
            _just_read.move_to_end(path)
            if len(_just_read) > KEPT_READINGS:
                _just_read.popitem(last=False)
    path.unlink(missing_ok=True)  # only now: whoever does not find it finds what was read
    with suppress(OSError):
        path.parent.rmdir()  # gradio makes a folder for every upload
    if found is None:
        raise ValueError(f"“{path.name}” could not be opened; please upload it again.")
    if isinstance(found, str):
        raise ValueError(found)
    return found


def _read_file(path: Path) -> Read | str | None:
    """What was read, or the sentence on why nothing could be; None if the file is not there."""
    try:
        with Reader(limits=READING) as reader:
            extracted = reader.read(path)
    except ValueError as error:
        if not path.exists():  # deleted while the reading process started
            return None
        return f"“{path.name}” {str(error).replace(str(path), 'the file').replace(str(path.parent), '')}"
    except OSError as error:
        log.warning("an upload could not be opened: %s", error.strerror)
        return None
    account = " ".join([f"Read “{path.name}”: {read_sentence(extracted)}.", *extracted.notes])
    return Read(path.name, extracted, account)


def detect_text(
    detect: Any, text: str, alpha: float | None, correction: str | None, vote: str | None
) -> dict[str, Any]:
    """The published pipeline's result for one text.

    Raises:
        ValueError: If the text or an option cannot be used. What went wrong inside the program is logged under a number,
            and the sentence says no more than that number.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError("There is no text to judge: paste one, or upload a file.")
    if len(text) > CHARACTERS:
        raise ValueError(f"The text has {len(text):,} characters and this page takes at most {CHARACTERS:,}.")
    asked = {"alpha": alpha, "correction": correction or None, "vote": vote or None}
    options = {name: value for name, value in asked.items() if value is not None}
    try:
        detect._sanitize_parameters(**options)
    except (ValueError, TypeError) as error:  # sentences about the values given
        raise ValueError(str(error)[:SENTENCE]) from None
    try:
        return WORKER.submit(detect, text, **options).result()
    except (ValueError, TypeError) as error:  # what the pipeline says of a text
        if os.sep in str(error):
            raise ValueError(_fault()) from None
        raise ValueError(str(error)) from None
    except Exception:
        raise ValueError(_fault()) from None


def judge(detect: Any, read: Read, alpha: float | None, correction: str | None, vote: str | None) -> Judged:
    """Judge a text and make everything the page shows of it.

    Raises:
        ValueError: As `detect_text`.
    """
    name, extracted, _ = read
    result = detect_text(detect, extracted.text, alpha, correction, vote)
    read_of = read_rows(extracted) if read.account else []  # nothing is read of a text that was pasted
    document = ReportDocument(name, extracted.text, result, extracted.pages, extracted.notes, read_of)
    passages = [{**span, "pages": extracted.pages_of(span["start"], span["end"])} for span in result["passages"]]
    # the same keys as a line of `mvh detect --json --with-text`
    told = {"file": name, **result, "passages": passages, "read": extracted.account(), "text": extracted.text}
    return Judged(
        cell=render_cell(document, "result"),
        table=passage_table(passages, extracted.text),
        report=render([document], made=date.today()),
        json=json.dumps(told, indent=1),
    )


def passage_table(passages: Sequence[Mapping[str, Any]], text: str) -> str:
    """Passages as a table of HTML in the report's style, every text escaped; empty where there are none."""
    if not passages:
        return ""
    names = ("Passage", "Pages", "Characters", "Adjusted p at most", "Score", "Begins with")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = []
    for number, span in enumerate(passages, 1):
        pages = " to ".join(str(page) for page in dict.fromkeys(span["pages"] or ())) or "–"
        place = f"{span['start']:,} to {span['end']:,}"
        numbers = (str(number), pages, place, p_text(span["adjusted_p_value"]), f"{span['score']:.2f}")
        beginning = " ".join(text[span["start"] : span["end"]][: 2 * BEGINNING].split())[:BEGINNING]
        cells = "".join(f'<td class="num">{escape(value)}</td>' for value in numbers)
        rows.append(f'<tr>{cells}<td dir="auto" lang="">{escape(beginning)}</td></tr>')
    body = "".join(rows)
    return f'<div class="mvh"><div class="scroll"><table class="small"><tr>{head}</tr>{body}</table></div></div>'


def _fault() -> str:
    """Log the error at hand under a number and say so."""
    number = secrets.token_hex(4)
    log.exception("fault %s", number)
    return (
        f"The program met a fault of its own and could not judge this text. If you report it, name the number {number}."
    )
