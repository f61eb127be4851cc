"""Verdicts with their passages for files, folders, standard input and tables: GUIDE below is what `--help` shows.

mvh detect FILE ... [--html REPORT] [--json]
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mvh.cli.faults import FAILED, INTERRUPTED, OK, failed, sentence
from mvh.cli.run import Request, Run, partial_of
from mvh.cli.words import plain
from mvh.corrections_mvh import CORRECTIONS
from mvh.documents.files import ADDRESS, Found, find_files
from mvh.documents.target import target
from mvh.features_mvh import REGISTERS
from mvh.inputs_mvh import PRECISIONS
from mvh.report.words import counted
from mvh.shipped import SHIPPED, resolved
from mvh.starting import collection_paused
from mvh.voting_mvh import VOTES

GUIDE = """
Verdicts with their passages for files, folders, standard input and tables.

mvh detect thesis.pdf
mvh detect submissions/ --alpha 0.01 --html report.html
mvh detect notes.docx - --json < page.html
mvh detect posts.csv --text-column body   (writes posts.mvh.csv)

Reads txt, md, html, pdf, docx and odt. The rows of csv, tsv, jsonl and parquet are documents, and come back with columns.

Exit status: 0 all was read, 1 something failed, 2 wrong usage, 130 interrupted. It never tells the verdict.
"""
LIGHT = "light.json"  # what a folder of `mvh.export_onnx` holds; its module is imported only then
JUDGED, SHOWN, WORK = "How it is judged", "What comes out", "How it works"

app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


def probability(value: float | None) -> float | None:
    """A number between 0 and 1 from the command line."""
    if value is not None and not 0.0 < value < 1.0:
        raise typer.BadParameter(f"must be a number between 0 and 1, got {value}")
    return value


def option(panel: str, says: str, *names: str, **how: Any) -> Any:
    """An option of the command in a panel of its help."""
    return typer.Option(*names, rich_help_panel=panel, help=says, **how)


def share(says: str) -> Any:
    """An option that takes a number between 0 and 1."""
    return option(JUDGED, says, metavar="SHARE", callback=probability)


def choice(names: Collection[str], says: str, panel: str = JUDGED) -> Any:
    """An option that takes one of some names."""

    def known(value: str | None) -> str | None:
        if value is not None and value not in names:
            raise typer.BadParameter(f"must be one of {', '.join(names)}, got {value}")
        return value

    return option(panel, says, metavar="|".join(names), callback=known)


def flag(name: str, panel: str, says: str) -> Any:
    """An option that takes no value."""
    return option(panel, says, name, metavar="")


Files = Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Files and folders; - is standard input.")]
Model = Annotated[
    str, typer.Option(metavar="CKPT", help="Checkpoint folder or Hub name.", show_default="the shipped one")
]
Revision = Annotated[
    str | None, typer.Option(metavar="COMMIT", help="Of a Hub repository: the commit, tag or branch to take.")
]
Alpha = Annotated[float | None, share("Share of human texts that may be flagged (default: the model's).")]
Correction = Annotated[str | None, choice(CORRECTIONS, "Of the segments' p-values within a document.")]
Vote = Annotated[str | None, choice(VOTES, "How a document's segments make its label.")]
Confidence = Annotated[float | None, share("Keep alpha with this confidence, not on average only.")]
Prevalence = Annotated[float | None, share("Share of machine documents you believe in.")]
DocumentType = Annotated[
    str | None, choice(REGISTERS, "What the texts are, for a detector that has learnt to be told.")
]
BodyOnly = Annotated[
    bool,
    flag("--body-only", JUDGED, "Leave out headings, running heads, references, code; in rows too."),
]
Json = Annotated[bool, flag("--json", SHOWN, "One JSON object a line on standard output.")]
WithText = Annotated[bool, flag("--with-text", SHOWN, "The text in each JSON object; of a row its body as well.")]
Html = Annotated[Path | None, option(SHOWN, "Write a report to look at and print.", metavar="REPORT")]
TextColumn = Annotated[str, option(SHOWN, "Where a table has its texts.", metavar="NAME")]
Out = Annotated[Path | None, option(SHOWN, "The table with columns (default: NAME.mvh.csv beside it).", metavar="FILE")]
BatchSize = Annotated[int | None, option(WORK, "Segments per batch.", min=1, metavar="N")]
Precision = Annotated[str | None, choice(PRECISIONS, "auto (default): bfloat16 where it is quick and proven.", WORK)]


@app.command()
def command(
    context: typer.Context,
    files: Files = None,
    model: Model = str(SHIPPED),
    revision: Revision = None,
    alpha: Alpha = None,
    correction: Correction = None,
    vote: Vote = None,
    confidence: Confidence = None,
    prevalence: Prevalence = None,
    document_type: DocumentType = None,
    body_only: BodyOnly = False,
    json: Json = False,
    with_text: WithText = False,
    html: Html = None,
    text_column: TextColumn = "text",
    out: Out = None,
    batch_size: BatchSize = None,
    precision: Precision = None,
) -> None:
    """The words of the command line -> a checked Request -> `detect`."""
    files = files or [str(path) for path in context.obj]
    if not files:
        raise typer.BadParameter("name at least one file or folder.", param_hint="FILE")
    judged = {
        "alpha": alpha,
        "correction": correction,
        "vote": vote,
        "confidence": confidence,
        "precision": precision,
        "document_type": document_type,
    }
    model = str(resolved(model))
    asked = Request(
        files, model, revision, judged, prevalence, body_only, json, with_text, html, text_column, out, batch_size
    )
    check(asked)
    raise typer.Exit(detect(asked))


def check(asked: Request) -> None:
    """Refuse what cannot be done before anything is loaded.

    Raises:
        typer.BadParameter: Names the option.
    """
    tables = sum(Found(name, Path(name)).is_table for name in asked.files if not ADDRESS.match(name))
    for wrong, option, why in (
        (asked.html and tables, "--html", "shows documents, and a table gets columns instead; leave one of them out."),
        (asked.out and tables != 1, "--out", f"names the copy of one table, and {tables} are given."),
        (asked.with_text and not asked.json, "--with-text", "belongs to --json."),
        (
            asked.revision and Path(asked.model).is_dir(),
            "--revision",
            f"is of a Hub repository, and {asked.model} is a folder.",
        ),
        (asked.files.count("-") > 1, "-", "(standard input) can be read once only."),
    ):
        if wrong:
            raise typer.BadParameter(why, param_hint=option)
    partial = partial_of(asked.html) if asked.html else None
    for option, path in (("--html", asked.html), ("--html", partial), ("--out", asked.out)):
        if path is None:
            continue
        try:
            folder = target(path).parent
            is_read = path.exists() and any(Path(name).exists() and path.samefile(name) for name in asked.files)
        except OSError as error:
            raise typer.BadParameter(sentence(error), param_hint=option) from error
        if is_read:
            why = f"{path} is read, so it is not written over: name another file."
            raise typer.BadParameter(why, param_hint=option)
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            why = f"{path} cannot be written: its folder must exist and be writable."
            raise typer.BadParameter(why, param_hint=option)


@collection_paused(to_stay=True)
def load(model: str, revision: str | None = None) -> Any:
    """The detector's pipeline, or where `model` is an ONNX export the same without PyTorch.

    Raises:
        ValueError: If there is none of that name.
        ImportError: If it is an ONNX export and ONNX Runtime is not installed.
    """
    if (Path(model) / LIGHT).is_file():
        from mvh.light import load_light

        return load_light(model)
    if Path(model).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a folder needs nothing from the Hub
    from transformers.utils import logging

    from mvh.detector import load_detector

    logging.disable_progress_bar()
    return load_detector(model, **({"revision": revision} if revision else {})).pipeline


def detect(asked: Request) -> int:
    """Judge what was asked for and print it; the exit status."""
    try:
        run = Run(load(asked.model, asked.revision), asked)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        return failed(error)
    status, ended = None, ""
    try:
        with tempfile.TemporaryDirectory(prefix="mvh-") as scratch:
            found = list(find_files(asked.files, Path(scratch), lambda said: print(plain(said), file=sys.stderr)))
            run.files([file for file in found if not file.is_table])
            for table in (file for file in found if file.is_table):
                run.table(table)
    except KeyboardInterrupt:
        status, ended = INTERRUPTED, "the run was interrupted"
        finished = f"{counted(run.finished, 'document')} {'was' if run.finished == 1 else 'were'}"
        print(f"\nInterrupted; {finished} finished.", file=sys.stderr)
    except (ValueError, OSError) as error:
        status, ended = failed(error), "the run failed"
    try:
        run.close()
        run.report(ended)
    except (ValueError, OSError) as error:
        status = status or failed(error)
    if run.failures and run.finished + run.failures > 1:
        print(f"{run.failures:,} of the documents could not be judged.", file=sys.stderr)
    return status if status is not None else FAILED if run.failures else OK


def main(
    argv: Sequence[str] | None = None, prog: str = "mvh detect", examples: Sequence[Path] = (), guide: str = GUIDE
) -> int:
    """Command line: see the module's docstring.

    Args:
        argv: The words after the command; those of the process by default.
        prog: What the command is called.
        examples: Files to judge where none is named.
        guide: What `--help` says of the command.

    Returns:
        Exit status: 0 all was read, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    try:
        asked = typer.main.get_command(app)
        asked.help = guide.strip()
        asked(list(sys.argv[1:] if argv is None else argv), prog_name=prog, obj=examples)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    return OK


if __name__ == "__main__":
    sys.exit(main())
