"""One result as a terminal shows it: verdict, bar of the document, passages, notes; and progress while it is made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mvh.cli.words import place, plain, quote, read_sentence
from mvh.documents.blocks import Extracted
from mvh.report.words import counted, p_text, verdict

COLOURS = {"human": "green", "machine": "red", "uncertain": "yellow"}
MOST_PASSAGES = 20


def bar(result: dict[str, Any], width: int = 60) -> Text:
    """The document as a bar of `width` cells, red where a cell and a passage overlap, however short the passage."""
    length = result["segments"][-1]["end"]
    cells = Text()
    for cell in range(width):
        start, end = cell * length, (cell + 1) * length  # in characters times `width`, so that nothing is rounded
        flagged = any(
            passage["start"] * width < end and start < passage["end"] * width for passage in result["passages"]
        )
        cells.append("█" if flagged else "░", style="red" if flagged else "green")
    return cells


def show(console: Console, name: str, extracted: Extracted, result: dict[str, Any]) -> None:
    """Print one document's result."""
    segments = len(result["segments"])
    head = Text("\nstandard input" if name == "-" else f"\n{plain(name)}", style="bold")
    told = f"  {read_sentence(extracted)}, {segments} segment{'s' * (segments != 1)}"
    console.print(head + Text(told, style="not bold"), soft_wrap=True)
    said = verdict(result)
    if "error" in result:
        indented(console, Text(f"{said.headline}. {plain(said.meaning)}", style="yellow"))
        notes(console, extracted, result)
        return
    p_value = "" if result["p_value"] is None else f" (p {p_text(result['p_value'])}, alpha {result['alpha']:g})"
    label = Text(result["label"].upper(), style=f"bold {COLOURS.get(result['label'], 'white')}")
    indented(console, Text.assemble(label, f"  {said.headline}{p_value}."))
    for part in filter(None, (said.meaning, said.error_rate)):
        indented(console, Text(part))
    indented(console, bar(result))
    for passage in result["passages"][:MOST_PASSAGES]:
        where = f"{place(passage, extracted)}, adjusted p at most {p_text(passage['adjusted_p_value'])}: "
        quoted = f"“{quote(extracted.text, passage['start'], passage['end'])}”"
        indented(console, Text.assemble((where, "red"), quoted))
    if (more := len(result["passages"]) - MOST_PASSAGES) > 0:
        indented(console, Text(f"and {counted(more, 'more passage')}; --json and --html show all.", style="red"))
    notes(console, extracted, result)


def notes(console: Console, extracted: Extracted, result: dict[str, Any]) -> None:
    """Print what the reader and the detector have to say of a document."""
    for note in [*extracted.notes, *result["warnings"]]:
        indented(console, Text(f"note: {plain(note)}", style="yellow"))


def indented(console: Console, text: Text) -> None:
    """Print a paragraph two columns in, every line of it."""
    console.print(Padding(text, (0, 0, 0, 2), expand=False))


def progress_console(output: Console, json: bool) -> Console | None:
    """Where progress is shown: on the terminal that shows the results, else on stderr; None where nobody looks.

    JSON on a terminal is left alone: a line that moves would break its lines.
    """
    if output.is_terminal:
        return None if json else output
    return Console(stderr=True) if sys.stderr.isatty() else None


@contextmanager
def progress(detect: Any, total: int | None, console: Console | None) -> Iterator[Callable[[], None]]:
    """A line that tells how far the work is; call the yielded function after each document.

    Args:
        detect: The detector, with PyTorch or without; its `score` is wrapped, to count the segments of every batch.
        total: Documents there are, None where that is not known.
        console: Where the line is shown, None for nowhere.
    """
    if console is None:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("reading and scoring"), BarColumn(), MofNCompleteColumn(), TextColumn("documents,"))
    scored = TextColumn("{task.fields[segments]:,} windows of text scored")
    shown = Progress(
        *columns,
        scored,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # results go where they are sent, as they are
        redirect_stderr=sys.stderr.isatty(),
    )
    with shown as display:
        task = display.add_task("", total=total, segments=0)
        count = 0

        score = detect.score

        def score_and_tell(segments: Sequence[Any], **options: Any) -> Any:
            nonlocal count
            scored = score(segments, **options)
            count += len(segments)
            display.update(task, segments=count)
            return scored

        detect.score = score_and_tell
        try:
            yield lambda: display.advance(task)
        finally:
            del detect.score  # the class's own is back
