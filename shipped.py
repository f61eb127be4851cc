"""Names of detectors: the Hub's, and those that come with the sources: "mvh-mini-multi" -> its folder in checkpoints/."""

from __future__ import annotations

import re
from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
SHIPPED = CHECKPOINTS / "mvh-mini-en"  # the one that is meant where none is named


def resolved(name: str | Path) -> str | Path:
    """The folder of a shipped detector if that is its name; any other name, and that of a folder at hand, as it came."""
    folder = CHECKPOINTS / name
    bare = Path(name).name == str(name)
    return folder if bare and not Path(name).exists() and (folder / "config.json").is_file() else name
