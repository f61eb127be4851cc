"""The command `mvh`: one word for every task, each in a module of its own that is imported on use.

mvh COMMAND ...        python -m mvh.cli COMMAND ...        mvh COMMAND --help
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from mvh import __version__
from mvh.cli.faults import INTERRUPTED, OK, failed
from mvh.starting import collection_paused

ASKED = "Was this written by a machine?"
RELIED_ON = "Can I rely on it for my texts?"
MANY = "Millions of texts"
MADE = "Make, measure and publish a detector"


class Command(NamedTuple):
    """A command of `mvh`: the module whose `main(argv)` runs it, what it is wanted for, what it does."""

    module: str
    aim: str
    does: str


COMMANDS: dict[str, Command] = {
    "detect": Command("mvh.cli.detect", ASKED, "Verdicts with their passages: files, folders, standard input, tables."),
    "demo": Command("mvh.cli.demo", ASKED, "The same for the example documents."),
    "calibrate": Command("mvh.calibrate", RELIED_ON, "Compare with human texts of your own kind: a detector for them."),
    "audit": Command("mvh.audit.__main__", RELIED_ON, "Its false-alarm rate on texts of your own, with an interval."),
    "compare": Command("mvh.compare", RELIED_ON, "Where two detectors differ on the same texts."),
    "scan": Command("mvh.scan.__main__", MANY, "A corpus in shards: columns added, or human text kept; resumable."),
    "dataset": Command("mvh.dataset_builder.__main__", MADE, "Published files cut into segments, ready to train on."),
    "score": Command("mvh.score", MADE, "A detector on labelled files: predictions and figures."),
    "seen": Command("mvh.seen", MADE, "Write down which texts a detector has learnt from."),
    "ensemble": Command("mvh.ensemble", MADE, "Several detectors joined to one, with one calibration."),
    "push": Command("mvh.push", MADE, "Publish a detector on the Hub, tried in a fresh process first."),
}
GUIDE = """
[bold]Human or machine?[/bold] Documents of any length, passage by passage.

mvh demo                                   what a verdict looks like
mvh detect thesis.pdf                      verdict, passages, page numbers
mvh detect essays/ --html report.html      a folder, and a report to read
mvh calibrate --model CKPT --human mine/ --out MY-CKPT
"""
LAST = """
A flag is a reason to look, never a proof: docs/verdict.md.

Exit status: 0 all was read, 1 something failed (of a scan: it is not complete), 2 wrong usage, 130 interrupted; never the
verdict.
"""


class PassedOn(TyperCommand):
    """A command whose words, --help among them, go to its module as they are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep every word."""
        ctx.args = list(args)
        return ctx.args


app = typer.Typer(
    help=GUIDE, epilog=LAST, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False
)


def run(context: typer.Context) -> None:
    """Run the module of the command that was named.

    Raises:
        typer.Exit: Always, with the exit status.
    """
    try:
        with collection_paused():
            module = import_module(COMMANDS[str(context.info_name)].module)
        result = module.main(context.args)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(result if isinstance(result, int) else OK)


for name, command in COMMANDS.items():
    app.command(name, cls=PassedOn, help=command.does, rich_help_panel=command.aim)(run)


def say_version(asked: bool) -> None:
    """Show the version and end, if that was asked for."""
    if asked:
        print(f"mvh {__version__}")
        raise typer.Exit(OK)


Version = typer.Option("--version", callback=say_version, is_eager=True, metavar="", help="Show the version and exit.")


@app.callback()
def options(version: Annotated[bool, Version] = False) -> None:
    """Options of `mvh` itself."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a fault in what it was given is one sentence on stderr.

    Returns:
        Exit status: 0, 1 where the command failed, 2 for an unknown command or wrong usage, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] == "help":
        words = [*words[1:], "--help"]
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)  # its retries; the sentence follows
    try:
        app(words, prog_name="mvh")
    except SystemExit as ended:  # what typer and argparse end with, after they have said why
        return ended.code if isinstance(ended.code, int) else OK
    except (ValueError, OSError, ModuleNotFoundError) as error:
        return failed(error)
    return OK


if __name__ == "__main__":
    sys.exit(main())
