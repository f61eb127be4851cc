"""A server in a process of its own: started, waited for, its memory noted while it works, ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
PATIENCE = 300.0  # seconds until a server must have said its address
MIB = 2**20


class Served(NamedTuple):
    """A server at work: where it listens, its process, and the file of what it says."""

    address: str
    process: subprocess.Popen
    log: Path

    def resident(self) -> float:
        """Resident memory of the server's own process in MiB; processes it started (readers of files) not counted."""
        return psutil.Process(self.process.pid).memory_info().rss / MIB


@contextmanager
def served(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run a server that prints its address, until the block ends.

    Args:
        command: What starts it.
        log: File for what it prints, made new.
        environment: Variables beside those of this process.

    Raises:
        RuntimeError: If it ends, or says no address within PATIENCE seconds.
    """
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
    try:
        end = time.monotonic() + PATIENCE
        while (found := ADDRESS.search(log.read_text(encoding="utf-8", errors="replace"))) is None:
            if process.poll() is not None or time.monotonic() > end:
                told = log.read_text(encoding="utf-8", errors="replace")[-1500:]
                raise RuntimeError(f"{command[1:3]} said no address (status {process.poll()}): {told}")
            time.sleep(0.1)
        yield Served(found[0], process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
