"""Files -> extracted texts, with hostile ones held in a process of their own that is killed at its limits.

with Reader() as reader:
extracted = reader.read(Path("thesis.pdf"))
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mvh.documents.blocks import Extracted
from mvh.documents.extract import IN_PROCESS, extract
from mvh.documents.kinds import kind_of
from mvh.documents.limits import LIMITS, Limits

FILES_PER_WORKER = 200  # then a fresh process: what a library leaks is given back


def check_file(path: Path) -> None:
    """Refuse what is no file before it is opened: a pipe would be waited for.

    Raises:
        ValueError: If it is neither a file nor a folder; the sentence begins after its name.
        FileNotFoundError: If it is not there.
    """
    if path.exists() and not path.is_file():
        raise ValueError("is a folder." if path.is_dir() else "is neither a file nor a folder.")
    if not path.exists():
        raise FileNotFoundError(2, "There is no such file or folder", str(path))


class Reader:
    """Reads files one after another; plain text here, everything else in a worker process that starts on use."""

    def __init__(self, body_only: bool = False, limits: Limits = LIMITS) -> None:
        self.body_only, self.limits = body_only, limits
        self._worker: subprocess.Popen[bytes] | None = None
        self._read = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self, path: Path) -> Extracted:
        """The text of a file.

        Raises:
            ValueError: If it cannot be read for what is in it; the sentence begins after the file's name.
            OSError: If it cannot be opened.
        """
        check_file(path)
        if path.stat().st_size <= self.limits.file_bytes and kind_of(path) in IN_PROCESS:
            return extract(path, self.body_only, self.limits)
        return self._in_worker(path)

    def close(self) -> None:
        """End the worker process."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
        self._worker = None

    def _in_worker(self, path: Path) -> Extracted:
        if self._worker is None or self._read >= FILES_PER_WORKER:
            self.close()
            command = [sys.executable, "-m", "mvh.documents.worker", str(self.limits.memory_bytes)]
            self._worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._read = 0
        self._read += 1
        request = {"path": str(path.absolute()), "body_only": self.body_only, "limits": asdict(self.limits)}
        answer = self._ask(self._worker, json.dumps(request).encode() + b"\n")
        if "extracted" in answer:
            fields = answer["extracted"]
            return Extracted(**{**fields, "pages": [tuple(page) for page in fields["pages"]]})
        self.close()  # a file that failed may have left the process in a bad state
        raise ValueError(answer["message"])

    def _ask(self, worker: subprocess.Popen[bytes], request: bytes) -> dict[str, Any]:
        late = threading.Event()

        def stop() -> None:
            late.set()
            worker.kill()

        timer = threading.Timer(self.limits.seconds, stop)
        timer.start()
        try:
            assert worker.stdin is not None and worker.stdout is not None  # pipes, as asked for
            worker.stdin.write(request)
            worker.stdin.flush()
            line = worker.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        if late.is_set():
            return {"message": f"took longer than {self.limits.seconds:g} seconds to read and was given up."}
        return {
            "message": f"broke the process that read it (exit status {worker.wait()}), most often for want of memory; at most "
            f"{self.limits.memory_bytes:,} bytes are allowed."
        }
