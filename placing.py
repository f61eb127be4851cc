"""Folders and files that take their name when they are whole: checkpoints, datasets, figures.

Until then they grow beside their name as NAME.unfinished-XXXXXXXX, which no other process shares. A fault removes that; a
kill leaves it, nothing ever reads it, and it may be deleted. Then it takes its name, or changes places with what had it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

logger = logging.getLogger("mvh.placing")

UNFINISHED = ".unfinished-"
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: fcntl.h and stdio.h
NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)  # what systems say that cannot do it
FROM_RUST = re.compile(r"\(os error (\d+)\)")  # how tokenizers and safetensors say that a file cannot be written
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


@contextmanager
def unfinished_folder(out: Path, refuse: Callable[[Path], None]) -> Iterator[Path]:
    """A new folder beside `out` that takes its place when the block ends, and vanishes when the block fails.

    Of several processes that write to one `out` each has a folder of its own, and the last one's stays, whole.

    Args:
        out: The name; its parent is made if needed, a link is followed.
        refuse: Is called with `out` and raises where what stands there must stay: before the block, and again at its end,
            as others may have been there.

    Raises:
        OSError: If the folder cannot be made, or cannot take its place.
    """
    out = out.resolve()
    refuse(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f"{out.name}{UNFINISHED}*"):
        logger.warning(f"{left} was left by a killed run, or another process is writing it now; else delete it.")
    folder = _beside(out)
    folder.mkdir()
    try:
        yield folder
        put_in_place(folder, out, refuse)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)  # also so that a full disk is not made fuller
        if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
            raise OSError(
                error.args[0][0][2]
            ) from error  # of a copied folder: a fault for each file; the first says it
        if not isinstance(error, OSError) and (found := FROM_RUST.search(str(error))):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(out)) from error
        raise


@contextmanager
def whole_file(out: Path, encoding: str | None = None) -> Iterator[IO[Any]]:
    """A new file beside `out` that replaces it when the block ends, and vanishes when the block fails.

    Args:
        out: The name; a plain file or nothing.
        encoding: Of a text file; a binary one without.

    Raises:
        OSError: If it cannot be written; the error names `out`, as a full disk names no file.
    """
    part = _beside(out)
    try:
        with part.open("x" if encoding else "xb", encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno is None or error.filename not in (None, str(part)):
            raise  # of what is read meanwhile, or of a server: it has its own words
        raise OSError(error.errno, error.strerror, str(out)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def place_report(out: Path, report: Mapping[str, Any], page: str) -> None:
    """Write a report as JSON, and its page beside it as .md; the folder is made if needed.

    Args:
        out: The name of the JSON file.
        report: What the page was made of.
        page: Markdown.

    Raises:
        OSError: If one of them cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in (
        (out, json.dumps(report, indent=1, ensure_ascii=False)),
        (out.with_suffix(".md"), page.rstrip()),
    ):
        with whole_file(path, "utf-8") as file:
            file.write(text + "\n")


def refuse_existing(out: Path) -> None:
    """Raise a FileExistsError where something has the name."""
    if out.exists():
        raise FileExistsError(f"{out} is there already; name a folder that is not.")


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}{UNFINISHED}{secrets.token_hex(4)}")


def put_in_place(folder: Path, out: Path, refuse: Callable[[Path], None]) -> None:
    """Give a whole folder the name `out`; what has it is deleted afterwards. See `unfinished_folder`."""
    for file in folder.rglob("*"):  # a name must not outlive its content in a power cut
        if file.is_file():
            with file.open("rb") as content:
                os.fsync(content.fileno())
    refuse(out)
    try:
        folder.rename(out)  # nothing has the name, or an empty folder
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        refuse(out)  # it may have come meanwhile
        exchange(folder, out)
        shutil.rmtree(folder, ignore_errors=True)


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system change places.

    In one step on Linux, so that at every moment each name stands for one of them. Elsewhere in three: a kill between the
    first two leaves `other` without its name, whole beside it as NAME.unfinished-XXXXXXXX.replaced.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "renameat2"):
        libc = ctypes.CDLL(None, use_errno=True)
        if not libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
            return
        if (number := ctypes.get_errno()) not in NO_EXCHANGE:
            raise OSError(number, os.strerror(number), str(other))
    away = one.with_name(f"{one.name}.replaced")
    other.rename(away)
    one.rename(other)
    away.rename(one)
