"""The folder of uploads and downloads: nothing in it grows older than a limit, and no upload is taken when it is full.

gradio deletes what it has listed; an upload that nobody had judged, and the empty file it makes for each, it does not list.
"""

from __future__ import annotations

import stat
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

SENTENCE = b"This page is too full of files to take another; try again in a few minutes."


def tidy(folder: Path, seconds: float) -> int:
    """Delete files last changed longer ago than `seconds`, and folders that are left empty; bytes that remain."""
    kept, now, found = 0, time.time(), []
    for path in folder.rglob("*"):
        with suppress(OSError):  # others delete here too
            found.append((path, path.lstat()))  # before anything is deleted: that makes a folder look new
    for path, told in sorted(found, reverse=True):  # what is in a folder before the folder
        old = now - told.st_mtime > seconds
        with suppress(OSError):
            if stat.S_ISDIR(told.st_mode):
                if old:
                    path.rmdir()  # fails where something is in it
            elif old:
                path.unlink()
            else:
                kept += told.st_size
    return kept


class Keeper:
    """An ASGI layer that refuses uploads while the folder holds more than `most` bytes, and tidies it every so often.

    Args:
        app: What is served.
        folder: Of uploads and downloads, and nothing else.
        seconds: How old a file may grow.
        most: Bytes above which no upload is taken.
        every: Seconds between two looks at the folder.
    """

    def __init__(self, app: Any, folder: Path, seconds: float, most: int, every: float = 10.0) -> None:
        self.app, self.folder, self.seconds, self.most, self.every = app, folder, seconds, most, every
        self.kept, self.ended = 0, Event()
        Thread(target=self._look, name="keeper", daemon=True).start()

    def _look(self) -> None:
        while not self.ended.wait(self.every):
            self.kept = tidy(self.folder, self.seconds)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One connection, as ASGI hands it over."""
        if scope["type"] == "http" and scope["path"].endswith("/upload") and self.kept > self.most:
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": SENTENCE})
            return
        await self.app(scope, receive, send)
