"""Verdicts with their passages for files, folders, standard input and tables.

    mvh detect thesis.pdf
    mvh detect submissions/ --alpha 0.01 --prevalence 0.1 --html report.html
    mvh detect notes.docx - --json < page.html
    mvh detect posts.csv --text-column body            # writes posts.mvh.csv

Reads txt, md, html, pdf, docx and odt; the rows of csv, tsv, jsonl and parquet are documents, and come back with columns.
Exit status: 0 all was read, 1 something failed, 2 wrong usage, 130 interrupted. It never tells the verdict.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mvh.cli.run import Run, sentence
from mvh.cli.words import plain
from mvh.corrections_mvh import CORRECTIONS
from mvh.documents.files import ADDRESS, Found, find_files
from mvh.voting_mvh import VOTES

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "checkpoints" / "mvh-mini-en"
OK, FAILED, INTERRUPTED = 0, 1, 130


def probability(word: str) -> float:
    """A number between 0 and 1 from the command line."""
    value = float(word)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, got {word}")
    return value


def arguments(argv: Sequence[str] | None, prog: str, examples: Sequence[Path]) -> argparse.Namespace:
    """The parsed command line, checked before anything is loaded; wrong usage ends the process with status 2."""
    words, *guide = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog=prog,
        description=words,
        epilog="examples:\n" + guide[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    many: Any = {"nargs": "*", "default": [str(path) for path in examples]} if examples else {"nargs": "+"}
    parser.add_argument("files", metavar="FILE", help="file or folder; - is standard input", **many)
    parser.add_argument("--model", default=str(SHIPPED), metavar="CKPT", help="checkpoint folder or Hub name")
    judged = parser.add_argument_group("how it is judged")
    judged.add_argument(
        "--alpha", type=probability, help="share of human texts that may be flagged (default: the model's)"
    )
    judged.add_argument("--correction", choices=tuple(CORRECTIONS), help="of the segments' p-values within a document")
    judged.add_argument("--vote", choices=tuple(VOTES), help="how a document's segments make its label")
    judged.add_argument("--confidence", type=probability, help="keep alpha with this confidence, not on average only")
    judged.add_argument("--prevalence", type=probability, help="share of machine documents you believe in")
    judged.add_argument("--body-only", action="store_true", help="leave out headings, running heads, references, code")
    shown = parser.add_argument_group("what comes out")
    shown.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    shown.add_argument("--with-text", action="store_true", help="the text that was read in each JSON object")
    shown.add_argument("--html", type=Path, metavar="REPORT", help="write a report to look at and print")
    shown.add_argument("--text-column", default="text", metavar="NAME", help="of tables (default: text)")
    shown.add_argument(
        "--out", type=Path, metavar="FILE", help="the table with columns (default: NAME.mvh.csv beside it)"
    )
    work = parser.add_argument_group("how it works")
    work.add_argument("--batch-size", type=int, help="segments per batch")
    work.add_argument("--precision", choices=("float32", "bfloat16"), help="bfloat16 is faster where the CPU has it")
    args = parser.parse_args(argv)
    tables = sum(Found(name, Path(name)).is_table for name in args.files if not ADDRESS.match(name))
    if args.html and tables:
        parser.error("--html shows documents, and a table gets columns instead; leave one of them out")
    if args.out and tables != 1:
        parser.error(f"--out names the copy of one table, and {tables} are given")
    if args.with_text and not args.json:
        parser.error("--with-text belongs to --json")
    if args.files.count("-") > 1:
        parser.error("- (standard input) can be read once only")
    for path in filter(None, (args.html, args.out)):
        if path.is_dir() or not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            parser.error(f"{path} cannot be written: its folder must exist and be writable, and it must be no folder")
    if args.batch_size is not None and args.batch_size < 1:
        parser.error(f"--batch-size must be at least 1, got {args.batch_size}")
    return args


def load(model: str) -> Any:
    """The detector.

    Raises:
        ValueError: If there is none of that name.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1" if Path(model).is_dir() else "0")
    if not Path(model).is_dir() and (model.count("/") != 1 or model.startswith((".", "/", "~"))):
        raise ValueError(f"There is no checkpoint folder {model}, and it is no USER/NAME of the Hub either.")
    from transformers import pipeline
    from transformers.utils import logging

    from mvh.pipeline_mvh import TASK

    logging.disable_progress_bar()
    return pipeline(TASK, model=model, trust_remote_code=True)  # type: ignore[call-overload]  # our own task


def main(argv: Sequence[str] | None = None, prog: str = "mvh detect", examples: Sequence[Path] = ()) -> int:
    """Command line: see the module's docstring.

    Args:
        argv: The words after the command; those of the process by default.
        prog: What the command is called.
        examples: Files to judge where none is named.

    Returns:
        Exit status: 0 all was read, 1 something failed, 130 interrupted.
    """
    args = arguments(argv, prog, examples)
    try:
        run = Run(load(args.model), args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, OSError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return FAILED
    status = None
    try:
        with tempfile.TemporaryDirectory(prefix="mvh-") as scratch:
            found = list(find_files(args.files, Path(scratch), lambda said: print(plain(said), file=sys.stderr)))
            run.files([file for file in found if not file.is_table])
            for table in (file for file in found if file.is_table):
                run.table(table)
    except KeyboardInterrupt:
        status = INTERRUPTED
        print(f"\nInterrupted; {run.finished} documents were finished.", file=sys.stderr)
    except (ValueError, OSError) as error:
        status = failed(error)
    try:
        run.close()
        run.report()
    except (ValueError, OSError) as error:
        status = status or failed(error)
    if run.failures and run.finished + run.failures > 1:
        print(f"{run.failures} of the documents could not be judged.", file=sys.stderr)
    return status if status is not None else FAILED if run.failures else OK


def failed(error: Exception) -> int:
    """Say on stderr what ended the work."""
    if isinstance(error, BrokenPipeError):  # nobody reads on, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    else:
        print(f"error: {sentence(error)}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
