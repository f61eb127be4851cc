"""Where a file that takes its name when it is complete may go: over a plain file or nothing, through links, never on a device.

Such a file grows as NAME.part and is renamed at its end; a rename would put a plain file in the place of a device, a pipe
or a link, so these are told apart before anything is written.
"""

from __future__ import annotations

import errno
from pathlib import Path

from mvh.documents.tables import part_of

NO_PLAIN_FILE = "exists and is no plain file, so it is not overwritten"


def target(path: Path) -> Path:
    """The file that writing to `path` shall replace: `path` itself, or what a link stands for.

    Raises:
        OSError: If a folder, device, pipe or socket is there, also behind a link or under the name of the unfinished file;
            the error names it.
    """
    refuse(path)
    try:
        real = path.resolve()
    except RuntimeError as error:  # links that lead to each other, on older Pythons
        raise OSError(errno.ELOOP, "is a link that leads nowhere", str(path)) from error
    part = part_of(real)
    refuse(part)
    if part.is_symlink():
        raise FileExistsError(errno.EEXIST, NO_PLAIN_FILE, str(part))
    return real


def refuse(path: Path) -> None:
    """Raise an OSError that names the path where something that is no plain file, nor a link to one, has it."""
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, NO_PLAIN_FILE, str(path))
