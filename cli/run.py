"""One call of `mvh detect`: files and tables go through the detector, and every result comes out as soon as it is there."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from mvh.cli.terminal import progress, progress_console, show
from mvh.cli.words import held_sentence, plain, read_rows
from mvh.documents.blocks import Extracted
from mvh.documents.body import Body, body_of
from mvh.documents.files import Found
from mvh.documents.reader import Reader, check_file
from mvh.documents.tables import Row, added_columns, open_table, part_of
from mvh.documents.target import target
from mvh.report.words import NO_PROOF, Terms, batch_sentences, counted, shared_terms, terms
from mvh.results_mvh import judged
from mvh.sole_use import sole_file

HEAVY = ("segments", "passages", "warnings")  # of a result: not kept when it is printed


class Document(NamedTuple):
    """A text on its way through the detector: where it came from, and what was read."""

    name: str
    text: str | None
    extracted: Extracted | None = None  # of a file
    row: Row | None = None  # of a table
    body: Body | None = None  # of a row, where only that is judged


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line; `mvh detect --help` says what each is, `judged` goes to every call."""

    files: list[str]
    model: str
    revision: str | None
    judged: dict[str, Any]
    prevalence: float | None
    body_only: bool
    json: bool
    with_text: bool
    html: Path | None
    text_column: str
    out: Path | None
    batch_size: int | None


class Run:
    """One call of the command: what was asked for, and what has come of it so far."""

    def __init__(self, detect: Any, asked: Request) -> None:
        self.detect = detect
        self.asked, self.failures, self.finished, self.written = asked, 0, 0, 0
        self.slim: list[dict[str, Any]] = []  # what judging documents together needs of each that was judged
        self.names: list[str] = []  # theirs
        self.terms: set[Terms] = set()  # what the results' classes are called
        self.kept: list[tuple[str, Extracted, dict[str, Any]]] = []  # whole results, where a report is asked for
        self.unread: list[tuple[str, str]] = []  # files that could not be read, and why
        self.console = Console(width=None if os.isatty(1) else 120, highlight=False)
        self.watched = progress_console(self.console, asked.json)

    # --- reading ---

    def fail(self, name: str, why: str, table: bool = False) -> None:
        """Say on stderr that something was not read, and in JSON as well where that is asked for."""
        self.failures += 1
        self.unread.append((name, why))
        print(f"{plain(name)} cannot be read: {plain(why)}", file=sys.stderr)
        if self.asked.json:
            (nothing,) = self.detect([None])  # a result without a verdict, every key there
            read: dict[str, Any] = {"row": None} if table else {"read": None}
            text = {"text": None} if self.asked.with_text else {}
            error = {"type": "ReadError", "message": why}
            print(json.dumps({"file": name, **nothing, **read, **text, "error": error}), flush=True)

    def read(self, files: Sequence[Found], reader: Reader) -> Iterator[Document]:
        """Documents of the files that can be read."""
        for found in files:
            try:
                if found.problem:
                    self.fail(found.name, found.problem)
                else:
                    extracted = reader.read(found.path)
                    yield Document(found.name, extracted.text, extracted)
            except OSError as error:
                self.fail(found.name, f"{error.strerror or error}.")
            except ValueError as error:
                self.fail(found.name, str(error))

    def row(self, name: str, row: Row) -> Document:
        """A row of a table; its body where only that is asked for."""
        if row.text is None or not self.asked.body_only:
            return Document(name, row.text, row=row)
        body = body_of(row.text)
        return Document(name, body.text, row=row, body=body)

    def judge(self, documents: Iterator[Document]) -> Iterator[tuple[Document, dict[str, Any]]]:
        """Each document with its result, in order."""
        waiting: deque[Document] = deque()

        def texts() -> Iterator[str | None]:
            for document in documents:
                waiting.append(document)
                yield document.text

        for result in self.detect(texts(), batch_size=self.asked.batch_size, **self.asked.judged):
            document = waiting.popleft()
            if document.row and document.row.problem:
                result["error"]["message"] = document.row.problem
            if document.body:
                result = document.body.back(result)
            if "error" in result:
                self.failures += 1
            else:
                self.finished += 1
                self.terms.add(terms(result))
                self.slim.append({key: value for key, value in result.items() if key not in HEAVY})
                self.names.append(f"{document.name} row {document.row.number}" if document.row else document.name)
            yield document, result

    # --- what comes out ---

    def files(self, files: Sequence[Found]) -> None:
        """Judge files and print or keep each result as it comes."""
        with Reader(self.asked.body_only) as reader, progress(self.detect, len(files), self.watched) as advance:
            for document, result in self.judge(self.read(files, reader)):
                advance()
                extracted = document.extracted
                assert extracted is not None  # a file, not a row
                if self.asked.html:
                    self.kept.append((document.name, extracted, result))
                if self.asked.json:
                    print(json.dumps(as_json(document.name, extracted, result, self.asked.with_text)), flush=True)
                else:
                    show(self.console, document.name, extracted, result)

    def table(self, found: Found) -> None:
        """Judge the rows of a table and write it with the columns added."""
        out = self.asked.out or found.path.with_name(f"{found.path.stem}.mvh{found.path.suffix}")
        real = target(out)
        part, failed = part_of(real), self.failures
        self.written = 0
        with ExitStack() as stack:
            try:
                check_file(found.path)
                table = open_table(found.path, self.asked.text_column)
            except OSError as error:
                self.fail(found.name, f"{error.strerror or error}.", table=True)
                return
            except ValueError as error:
                self.fail(found.name, str(error), table=True)
                return
            stack.callback(table.close)
            stack.enter_context(sole_file(part, "mvh detect"))
            stack.callback(self._say_part, part)
            rows = (self.row(found.name, row) for row in table.rows())
            try:
                table.start(part)
                with progress(self.detect, None, self.watched) as advance:
                    for document, result in self.judge(rows):
                        assert document.row is not None  # a row, not a file
                        advance()
                        table.write(document.row, added_columns(result))
                        self.written += 1
                        if self.asked.json:
                            print(json.dumps({"file": found.name, "row": document.row.number, **result}), flush=True)
                table.close()
                part.replace(real)
            except BrokenPipeError:
                raise
            except OSError as error:  # a full disk does not say which file it was
                raise OSError(error.errno, error.strerror, error.filename or str(part)) from error
            except ValueError as error:  # the table is damaged further down
                self.fail(found.name, str(error), table=True)
                return
        bad = self.failures - failed
        said = f", {counted(bad, 'row')} not (the column 'error' says why)" if bad else ""
        print(f"{plain(found.name)}: {counted(self.written - bad, 'row')} judged{said}; see {out}.", file=sys.stderr)

    def _say_part(self, part: Path) -> None:
        if part.exists():
            rows = "row that was finished is" if self.written == 1 else f"{self.written:,} rows that were finished are"
            print(f"The {rows} in {part}.", file=sys.stderr)

    def report(self) -> None:
        """Write the report of what was judged."""
        if not self.asked.html:
            return
        if not self.kept and not self.unread:
            print("No report was written: no document was reached.", file=sys.stderr)
            return
        from mvh.report import ReportDocument, write_report

        documents = [
            ReportDocument(
                name,
                extracted.text,
                result,
                extracted.pages,
                extracted.notes,
                read_rows(extracted, self.asked.body_only),
            )
            for name, extracted, result in self.kept
        ]
        write_report(self.asked.html, documents, self.asked.prevalence, self.unread)
        print(f"The report is in {self.asked.html}.", file=sys.stderr)

    def close(self) -> None:
        """Say what the verdicts mean together."""
        stream = sys.stderr if self.asked.json else sys.stdout
        if len(self.slim) > 1 and any(slim["p_value"] is not None for slim in self.slim):
            batch = self.detect.screen(self.slim, self.asked.judged["alpha"], self.asked.prevalence)
            unread = sum(not judged(slim) for slim in self.slim)
            print("\n" + " ".join(batch_sentences(batch, unread, shared_terms(self.terms))), file=stream)
            if held := batch["flagged_together"]:
                names, p_values = zip(
                    *((self.names[index], self.slim[index]["p_value"]) for index in held), strict=True
                )
                print(held_sentence(names, p_values), file=stream)
        if self.finished and not self.asked.json:
            print("\n" + NO_PROOF, file=stream)
        stream.flush()


def as_json(name: str, extracted: Extracted, result: dict[str, Any], with_text: bool) -> dict[str, Any]:
    """A result with the file's name, the pages of its passages and an account of what was read."""
    passages = [
        {**passage, "pages": extracted.pages_of(passage["start"], passage["end"])} for passage in result["passages"]
    ]
    text = {"text": extracted.text} if with_text else {}
    return {"file": name, **result, "passages": passages, "read": extracted.account(), **text}
