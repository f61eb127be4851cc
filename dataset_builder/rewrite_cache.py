"""Rewritten pieces of text, kept by key in one SQLite file: a killed run goes on, a failing back-end loses nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TABLE = "CREATE TABLE IF NOT EXISTS rewrites (key TEXT PRIMARY KEY, backend TEXT, answer TEXT) WITHOUT ROWID"


def default_cache() -> Path:
    """Where pieces are kept unless a file is named: mvh/rewrites.sqlite in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mvh" / "rewrites.sqlite"


class RewriteCache:
    """Finished answers by key; several processes may use one file.

    Raises:
        ValueError: By the constructor and both methods, if the file cannot be used.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._sentences():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(self.path, timeout=60)
            with self.connection:
                self.connection.execute(TABLE)

    def get(self, key: str) -> str | None:
        """The answer, or None."""
        with self._sentences():
            found = self.connection.execute("SELECT answer FROM rewrites WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def put(self, backend: str, answers: Mapping[str, str]) -> None:
        """Keep answers by key: all of them once this returns, or none if the process dies before."""
        rows: Iterable[tuple[str, str, str]] = [(key, backend, answer) for key, answer in answers.items()]
        with self._sentences(), self.connection:
            self.connection.executemany("INSERT OR REPLACE INTO rewrites VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeEncodeError) as error:  # the last: a lone surrogate
            raise ValueError(f"The file of finished rewrites {self.path} cannot be used: {error}.") from error
