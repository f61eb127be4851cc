"""`mvh detect` on the example documents.

    python -m mvh.cli.demo [FILE ...] [options of mvh detect]

The examples are a page of 1839, a machine's essay, and a page of 1854 that a machine goes on from: examples/README.md. GUIDE
below is what `--help` shows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mvh.cli import detect

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GUIDE = """
What a verdict looks like: `mvh detect` on the example documents.

mvh demo
mvh demo --html report.html

The three examples: a page of Charles Darwin's from 1839, an essay by a machine,
a page of H. D. Thoreau's from 1854 that a machine goes on from.

Files that you name are judged in their place. Every option is one of mvh detect.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring."""
    here = Path.cwd()
    found = sorted(EXAMPLES.glob("*.txt"))
    examples = [path.relative_to(here) if path.is_relative_to(here) else path for path in found]
    return detect.main(argv, prog="mvh demo", examples=examples, guide=GUIDE)


if __name__ == "__main__":
    sys.exit(main())
