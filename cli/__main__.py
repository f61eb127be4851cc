"""The command `mvh`: one word for every task, each in a module of its own that is imported on use.

mvh COMMAND ...        python -m mvh.cli COMMAND ...        mvh COMMAND --help
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS: dict[str, tuple[str, str]] = {  # name -> (module whose main(argv) runs, what it does)
    "demo": ("mvh.cli.demo", "verdicts with their passages for text files, or for the examples"),
    "score": ("mvh.score", "a detector on labelled files: predictions and figures"),
    "audit": ("mvh.audit", "a detector on your own texts: its false-alarm rate there, with intervals"),
    "calibrate": ("mvh.calibrate", "a copy of a detector calibrated on human texts, such as your own"),
    "seen": ("mvh.seen", "write down which texts a detector has learnt from"),
    "dataset": ("mvh.dataset_builder.__main__", "published files cut into segments, ready to train on"),
}


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {says}" for name, (_, says) in COMMANDS.items()]
    return "\n".join(["usage: mvh COMMAND ...", "", *lines, "", "mvh COMMAND --help tells more."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a fault in what it was given is one sentence on stderr.

    Returns:
        Exit status: 0, 1 where the command failed, 2 for an unknown command.
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
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
