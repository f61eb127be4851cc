"""One call of `mvh detect`: files and tables go through the detector, and every result comes out as soon as it is there."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from mvh.cli.terminal import progress, progress_console, show
from mvh.cli.words import held_sentence, left_out, plain, read_rows
from mvh.documents.blocks import Extracted, assemble
from mvh.documents.body import Body, body_from, marked_lines
from mvh.documents.files import Found
from mvh.documents.reader import Reader, check_file
from mvh.documents.tables import Row, added_columns, open_table, part_of
from mvh.documents.target import target
from mvh.report.words import (
    NO_PROOF,
    Terms,
    batch_sentences,
    counted,
    flagged_by_vote,
    is_flagged,
    shared_terms,
    terms,
)
from mvh.results_mvh import judged
from mvh.sole_use import sole_file

HEAVY = ("segments", "passages", "warnings")  # of a result: not kept when it is printed
ROW = "row"  # what a text of a table is read as, where others are read as "pdf" or "txt"


class Document(NamedTuple):
    """A text on its way through the detector: where it came from, and what was read."""

    name: str
    extracted: Extracted | None  # None where there is no text
    row: Row | None = None  # of a table
    body: Body | None = None  # of a row, where only that is judged

    @property
    def text(self) -> str | None:
        """What the detector is given."""
        return self.extracted.text if self.extracted else None


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
        self.asked, self.failures, self.finished, self.flagged, self.written = asked, 0, 0, 0, 0
        self.slim: list[dict[str, Any]] = []  # what judging documents together needs of each that was judged
        self.names: list[str] = []  # theirs
        self.terms: set[Terms] = set()  # what the results' classes are called
        self.kept: list[tuple[str, Extracted, dict[str, Any]]] = []  # whole results, where a report is asked for
        self.unread: list[tuple[str, str]] = []  # files that could not be read, and why
        self.wanted: list[str] = []  # files to be judged
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
            as_json = row_json if table else file_json
            error = {"type": "ReadError", "message": why}
            print(json.dumps(as_json(Document(name, None), nothing | {"error": error}, self.asked)), flush=True)

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

    def row(self, name: str, row: Row) -> Document:
        """A row of a table; its body where only that is asked for, and an account of what was left out."""
        if row.text is None:
            return Document(name, None, row)
        if not self.asked.body_only:
            return Document(name, Extracted(row.text, ROW), row)
        blocks = marked_lines(row.text)
        return Document(name, assemble(blocks, ROW, body_only=True), row, body_from(blocks))

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
                self.flagged += is_flagged(result)
                self.terms.add(terms(result))
                self.slim.append({key: value for key, value in result.items() if key not in HEAVY})
                self.names.append(f"{document.name} row {document.row.number}" if document.row else document.name)
            yield document, result

    # --- what comes out ---

    def files(self, files: Sequence[Found]) -> None:
        """Judge files and print or keep each result as it comes."""
        self.wanted = [found.name for found in files]
        with Reader(self.asked.body_only) as reader, progress(self.detect, len(files), self.watched) as advance:
            for document, result in self.judge(self.read(files, reader)):
                advance()
                extracted = document.extracted
                assert extracted is not None  # a file, not a row
                if self.asked.html:
                    self.kept.append((document.name, extracted, result))
                if self.asked.json:
                    print(json.dumps(file_json(document, result, self.asked)), flush=True)
                else:
                    show(self.console, document.name, extracted, result)

    def table(self, found: Found) -> None:
        """Judge the rows of a table and write it with the columns added."""
        out = self.asked.out or found.path.with_name(f"{found.path.stem}.mvh{found.path.suffix}")
        real = target(out)
        part, failed = part_of(real), self.failures
        self.written, characters, skipped = 0, 0, Counter[str]()
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
                        if document.extracted:
                            characters += len(document.extracted.text)
                            skipped.update(document.extracted.skipped)
                        if self.asked.json:
                            print(json.dumps(row_json(document, result, self.asked)), flush=True)
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
        said += f"; by --body-only {left_out(characters, skipped)}" if self.asked.body_only else ""
        print(f"{plain(found.name)}: {counted(self.written - bad, 'row')} judged{said}; see {out}.", file=sys.stderr)

    def _say_part(self, part: Path) -> None:
        if part.exists():
            rows = "row that was finished is" if self.written == 1 else f"{self.written:,} rows that were finished are"
            print(f"The {rows} in {part}.", file=sys.stderr)

    def report(self, ended: str = "") -> None:
        """Write the report of what was judged.

        Args:
            ended: What kept the run from judging all, such as "the run was interrupted". Where files were not reached, the
                report says so and is written as NAME.partial.html: a file of the name that was asked for is whole.
        """
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
        left = self.not_reached()
        if not left:
            write_report(self.asked.html, documents, self.asked.prevalence, self.unread)
            print(f"The report is in {self.asked.html}.", file=sys.stderr)
            return
        out = partial_of(self.asked.html)
        why = (
            f"{ended.capitalize()} and did not reach {counted(len(left), 'file')}. What is said of the documents together is "
            "said of those that were judged, not of all that were to be."
        )
        unread = [*self.unread, *((name, f"was not reached: {ended}.") for name in left)]
        write_report(out, documents, self.asked.prevalence, unread, why)
        earlier = f"; {self.asked.html} is of an earlier run" if self.asked.html.exists() else ""
        print(f"A partial report is in {out}{earlier}.", file=sys.stderr)

    def not_reached(self) -> list[str]:
        """Names of the files that have neither a result in the report nor a reason why not, in their order."""
        reached = Counter([*(name for name, _, _ in self.kept), *(name for name, _ in self.unread)])
        return list((Counter(self.wanted) - reached).elements())

    def close(self) -> None:
        """Say what the verdicts mean together."""
        stream = sys.stderr if self.asked.json else sys.stdout
        if len(self.slim) > 1 and any(slim["p_value"] is not None for slim in self.slim):
            batch = self.detect.screen(self.slim, self.asked.judged["alpha"], self.asked.prevalence)
            unread = sum(not judged(slim) for slim in self.slim)
            voted = flagged_by_vote((slim["vote"] for slim in self.slim), self.flagged)
            print("\n" + " ".join(batch_sentences(batch, unread, shared_terms(self.terms), voted)), file=stream)
            if held := batch["flagged_together"]:
                names, p_values = zip(
                    *((self.names[index], self.slim[index]["p_value"]) for index in held), strict=True
                )
                print(held_sentence(names, p_values), file=stream)
        if self.finished and not self.asked.json:
            print("\n" + NO_PROOF, file=stream)
        stream.flush()


def partial_of(html: Path) -> Path:
    """Where a report goes that is not of all that was asked for."""
    return html.with_name(f"{html.stem}.partial{html.suffix}")


def file_json(document: Document, result: dict[str, Any], asked: Request) -> dict[str, Any]:
    """A result with the file's name, the pages of its passages and an account of what was read."""
    read = document.extracted
    passages = [
        {**passage, "pages": read and read.pages_of(passage["start"], passage["end"])} for passage in result["passages"]
    ]
    text = {"text": document.text} if asked.with_text else {}
    return {"file": document.name, **result, "passages": passages, "read": read and read.account(), **text}


def row_json(document: Document, result: dict[str, Any], asked: Request) -> dict[str, Any]:
    """A result with the table's name, the row's number and an account of what was read of the row.

    Positions count the characters of "text", the whole row's; where only its body was judged, "body" is what that was.
    """
    row, read = document.row, document.extracted
    texts = {}
    if asked.with_text:
        texts["text"] = row.text if row else None
    if asked.with_text and asked.body_only:
        texts["body"] = document.text
    return {"file": document.name, "row": row and row.number, **result, "read": read and read.account(), **texts}
