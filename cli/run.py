"""One call of `mvh detect`: files and tables go through the detector, and every result comes out as soon as it is there."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from mvh.cli.terminal import progress, progress_console, show
from mvh.cli.words import CLOSING, plain, together
from mvh.documents.blocks import Extracted
from mvh.documents.files import Found
from mvh.documents.reader import Reader
from mvh.documents.tables import Row, added_columns, open_table, part_of

HEAVY = ("segments", "passages", "warnings")  # of a result: not kept when it is printed


class Document(NamedTuple):
    """A text on its way through the detector: where it came from, and what was read."""

    name: str
    extracted: Extracted | None
    row: Row | None = None

    @property
    def text(self) -> str | None:
        """What the detector is given."""
        return self.row.text if self.row else self.extracted.text if self.extracted else None


class Run:
    """One call of the command: what was asked for, and what has come of it so far."""

    def __init__(self, detect: Any, args: argparse.Namespace) -> None:
        self.detect = detect
        self.args, self.failures, self.finished, self.written = args, 0, 0, 0
        self.slim: list[dict[str, Any]] = []  # what judging documents together needs of each
        self.kept: list[tuple[str, Extracted, dict[str, Any]]] = []  # whole results, where a report is asked for
        self.console = Console(width=None if os.isatty(1) else 120, highlight=False)
        self.watched = progress_console(self.console, args.json)
        self.options = {
            name: getattr(args, name) for name in ("alpha", "correction", "vote", "confidence", "precision")
        }

    # --- reading ---

    def fail(self, name: str, why: str) -> None:
        """Say on stderr that something was not read, and in JSON as well where that is asked for."""
        self.failures += 1
        print(f"{plain(name)} cannot be read: {plain(why)}", file=sys.stderr)
        if self.args.json:
            (nothing,) = self.detect([None])  # a result without a verdict, every key there
            print(json.dumps({"file": name, **nothing, "error": {"type": "ReadError", "message": why}}), flush=True)

    def read(self, files: Sequence[Found], reader: Reader) -> Iterator[Document]:
        """Documents of the files that can be read."""
        for found in files:
            try:
                if found.problem:
                    self.fail(found.name, found.problem)
                else:
                    yield Document(found.name, reader.read(found.path))
            except OSError as error:
                self.fail(found.name, f"{error.strerror or error}.")
            except ValueError as error:
                self.fail(found.name, str(error))

    def judge(self, documents: Iterator[Document]) -> Iterator[tuple[Document, dict[str, Any]]]:
        """Each document with its result, in order."""
        waiting: deque[Document] = deque()

        def texts() -> Iterator[str | None]:
            for document in documents:
                waiting.append(document)
                yield document.text

        for result in self.detect(texts(), batch_size=self.args.batch_size, **self.options):
            document = waiting.popleft()
            if document.row and document.row.problem:
                result["error"]["message"] = document.row.problem
            self.finished += 1
            self.failures += "error" in result
            self.slim.append({key: value for key, value in result.items() if key not in HEAVY})
            yield document, result

    # --- what comes out ---

    def files(self, files: Sequence[Found]) -> None:
        """Judge files and print or keep each result as it comes."""
        with Reader(self.args.body_only) as reader, progress(self.detect, len(files), self.watched) as advance:
            for document, result in self.judge(self.read(files, reader)):
                advance()
                extracted = document.extracted
                assert extracted is not None  # a file, not a row
                if self.args.html:
                    self.kept.append((document.name, extracted, result))
                if self.args.json:
                    print(json.dumps(as_json(document.name, extracted, result, self.args.with_text)), flush=True)
                else:
                    show(self.console, document.name, extracted, result)

    def table(self, found: Found) -> None:
        """Judge the rows of a table and write it with the columns added."""
        out = self.args.out or found.path.with_name(f"{found.path.stem}.mvh{found.path.suffix}")
        part, failed = part_of(out), self.failures
        self.written = 0
        with ExitStack() as stack:
            try:
                table = open_table(found.path, self.args.text_column)
            except (ValueError, OSError) as error:
                self.fail(found.name, sentence(error))
                return
            stack.callback(self._say_part, part)
            stack.callback(table.close)
            rows = (Document(found.name, None, row) for row in table.rows())
            try:
                table.start(part)
                with progress(self.detect, None, self.watched) as advance:
                    for document, result in self.judge(rows):
                        assert document.row is not None  # a row, not a file
                        advance()
                        table.write(document.row, added_columns(result))
                        self.written += 1
                        if self.args.json:
                            print(json.dumps({"file": found.name, "row": document.row.number, **result}), flush=True)
                table.close()
                part.replace(out)
            except BrokenPipeError:
                raise
            except OSError as error:  # a full disk does not say which file it was
                raise OSError(error.errno, error.strerror, error.filename or str(part)) from error
            except ValueError as error:  # the table is damaged further down
                self.fail(found.name, str(error))
                return
            stack.pop_all()
        bad = self.failures - failed
        said = f" ({bad} of them without a text; the column 'error' says why)" if bad else ""
        print(f"{plain(found.name)}: {self.written} rows judged{said}; see {out}.", file=sys.stderr)

    def _say_part(self, part: Path) -> None:
        if part.exists():
            print(f"The {self.written} rows that were finished are in {part}.", file=sys.stderr)

    def report(self) -> None:
        """Write the report of what was judged."""
        if not self.args.html:
            return
        if not self.kept:
            print("No report was written: nothing could be judged.", file=sys.stderr)
            return
        from mvh.report import ReportDocument, write_report

        documents = [
            ReportDocument(name=name, text=extracted.text, result=result, pages=extracted.pages)
            for name, extracted, result in self.kept
        ]
        write_report(self.args.html, documents, self.args.prevalence)
        print(f"The report is in {self.args.html}.", file=sys.stderr)

    def close(self) -> None:
        """Say what the verdicts mean together."""
        stream = sys.stderr if self.args.json else sys.stdout
        if len(self.slim) > 1 and any(slim["p_value"] is not None for slim in self.slim):
            batch = self.detect.screen(self.slim, self.args.alpha, self.args.prevalence)
            print("\n" + together(batch), file=stream)
        if self.finished and not self.args.json:
            print("\n" + CLOSING, file=stream)
        stream.flush()


def as_json(name: str, extracted: Extracted, result: dict[str, Any], with_text: bool) -> dict[str, Any]:
    """A result with the file's name, the pages of its passages and an account of what was read."""
    passages = [
        {**passage, "pages": extracted.pages_of(passage["start"], passage["end"])} for passage in result["passages"]
    ]
    text = {"text": extracted.text} if with_text else {}
    return {"file": name, **result, "passages": passages, "read": extracted.account(), **text}


def sentence(error: Exception) -> str:
    """What an error says, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return str(error)
