"""What a user names on the command line -> the files to read: files, folders, standard input; addresses are refused."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mvh.documents.kinds import SUFFIXES
from mvh.documents.limits import LIMITS, Limits
from mvh.documents.tables import TABLE_SUFFIXES

STDIN = "-"
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A file to read: where it lies, what to call it; or, with `problem`, a sentence on why there is none."""

    name: str
    path: Path
    problem: str | None = None

    @property
    def is_table(self) -> bool:
        """Whether its rows are the documents."""
        return self.problem is None and self.path.suffix.lower() in TABLE_SUFFIXES


def find_files(named: Sequence[str], scratch: Path, say: Callable[[str], None]) -> Iterator[Found]:
    """The files that arguments name, in order; those of folders sorted by path.

    Args:
        named: Files, folders, or "-" for standard input.
        scratch: Folder in which standard input is kept while it is read.
        say: Called with a sentence where files of a folder are passed over.
    """
    for name in named:
        path = Path(name)
        if ADDRESS.match(name):
            yield Found(name, path, "is an address, and only files are read: download it and name the file.")
        elif name == STDIN:
            yield _standard_input(scratch / "stdin")
        elif path.is_dir():
            yield from _folder(path, say)
        else:
            yield Found(name, path)


def spool(stream: BinaryIO, path: Path, limits: Limits = LIMITS) -> None:
    """Write a stream to a file, one byte more than may be read at most."""
    with path.open("wb") as file:
        left = limits.file_bytes + 1
        while left > 0 and (piece := stream.read(min(left, 2**20))):
            file.write(piece)
            left -= len(piece)


def _standard_input(path: Path) -> Found:
    try:
        spool(sys.stdin.buffer, path)
    except OSError as error:
        return Found(STDIN, path, f"could not be read ({error.strerror}).")
    return Found(STDIN, path)


def _folder(folder: Path, say: Callable[[str], None]) -> Iterator[Found]:
    passed: Counter[str] = Counter()
    problems: list[OSError] = []
    count = 0
    for place, folders, files in os.walk(folder, onerror=problems.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES or not _regular(path):
                passed[path.suffix.lower() or "without a suffix"] += 1
                continue
            count += 1
            yield Found(str(path), path)
    for error in problems:
        yield Found(str(error.filename), Path(str(error.filename)), f"cannot be opened ({error.strerror}).")
    if passed:
        kinds = ", ".join(f"{number} {kind}" for kind, number in passed.most_common(5))
        documents = f"{count} document{'s' * (count != 1)}"
        others = "1 file of another kind is" if passed.total() == 1 else f"{passed.total()} files of other kinds are"
        say(f"{folder}: {documents}; {others} passed over ({kinds}).")
    if not count and not problems:
        yield Found(str(folder), folder, f"holds no document; documents end in {', '.join(SUFFIXES)}.")


def _regular(path: Path) -> bool:
    """Whether this is a file or a link to one, and no pipe or device; what cannot be asked is tried and reported later."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True
