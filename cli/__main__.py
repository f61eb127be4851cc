"""The command `mvh`: one word for every task, each in a module of its own that is imported on use.

mvh COMMAND ...        python -m mvh.cli COMMAND ...        mvh COMMAND --help
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS: dict[str, tuple[str, str]] = {  # name -> (module whose main(argv) runs, what it does)
    "detect": ("mvh.cli.detect", "verdicts with their passages: files, folders, standard input, tables"),
    "demo": ("mvh.cli.demo", "the same for the example documents"),
    "calibrate": ("mvh.calibrate", "a copy of a detector calibrated on human texts, such as your own"),
    "audit": ("mvh.audit.__main__", "a detector on your own texts: its false-alarm rate there, with intervals"),
    "dataset": ("mvh.dataset_builder.__main__", "published files cut into segments, ready to train on"),
    "score": ("mvh.score", "a detector on labelled files: predictions and figures"),
    "seen": ("mvh.seen", "write down which texts a detector has learnt from"),
}
GUIDE = {  # what somebody wants to do -> the commands for it
    "Was this written by a machine?": ("detect", "demo"),
    "Can I rely on it for my texts?": ("calibrate", "audit"),
    "Make and measure a detector": ("dataset", "score", "seen"),
}
START = """  mvh detect thesis.pdf                        one document: verdict, passages, page numbers
  mvh detect submissions/ --html report.html   a folder, judged together, with a report to read
  mvh calibrate --model CKPT --human my_texts/ --out CKPT2"""


def usage() -> str:
    """The commands by what they are for, and how to begin."""
    width = max(map(len, COMMANDS))
    lines = ["usage: mvh COMMAND ...", "", "Human or machine? Documents of any length, passage by passage.", ""]
    for aim, names in GUIDE.items():
        lines += [aim, *(f"  {name:<{width}}  {COMMANDS[name][1]}" for name in names), ""]
    return "\n".join(
        [*lines, "To begin", START, "", "mvh COMMAND --help tells more. A flag is no proof: docs/verdict.md."]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a fault in what it was given is one sentence on stderr.

    Returns:
        Exit status: 0, 1 where the command failed, 2 for an unknown command or wrong usage, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] not in COMMANDS:
        print(f"There is no command {words[0]!r}.\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        result = import_module(COMMANDS[words[0]][0]).main(words[1:])
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
