"""One process at a time works in a folder, or writes a file: a second one is told of the first.

The system holds the lock and lets go when its process ends, however it ends: a killed run leaves no lock behind, only a file
with the number of a process that is gone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"  # file in the folder; it stays there, as removing it would let a third process lock another of that name


@contextmanager
def sole_use(folder: Path, work: str) -> Iterator[None]:
    """Keep a second process away from a folder, which is made if needed; where locks do not exist (Windows), do nothing.

    Args:
        folder: Where one process works at a time.
        work: What it does there, such as "scan".

    Raises:
        ValueError: If another process is at work there.
        OSError: If the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    with (folder / LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            number = lock.read().strip() or "of unknown number"
            raise ValueError(
                f"Another {work} (process {number}) is at work in {folder}; wait for it or name another folder."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def sole_file(file: Path, work: str) -> Iterator[None]:
    """Keep a second process from writing a file, which is made if needed; where locks do not exist (Windows), do nothing.

    The lock is on what has the name now: the block writes to that and makes no other of the name, and a rename takes the lock
    along.

    Args:
        file: To write.
        work: What writes it, such as "mvh detect".

    Raises:
        OSError: If another process is writing it, or it cannot be opened.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    with file.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = file.exists() and os.path.samestat(os.fstat(lock.fileno()), file.stat())  # or it was just renamed
        except BlockingIOError:
            mine = False
        if not mine:
            raise OSError(errno.EBUSY, f"is being written by another {work}", str(file))
        yield
