"""`mvh detect` on the example documents.

    python -m mvh.cli.demo [FILE ...] [options of mvh detect]

The examples are a page of 1839, a machine's essay, and a page of 1854 that a machine goes on from: examples/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mvh.cli import detect


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring."""
    return detect.main(argv, prog="mvh demo", examples=sorted((detect.ROOT / "examples").glob("*.txt")))


if __name__ == "__main__":
    sys.exit(main())
