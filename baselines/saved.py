"""What a saved baseline is: a folder of `detector.json` (kind, labels, preprocessing) and `detector.safetensors`.

Shared by the kinds (naive_bayes.py, bilstm.py): the preprocessing by name, the checks of training texts, and the two
files. Nothing is pickled, so a folder can be opened without trusting it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mvh.dataset_builder.toxic import PREPROCESS

SETTINGS, WEIGHTS = "detector.json", "detector.safetensors"
LABELS = ("human", "machine")


def check_training(texts: Sequence[str], labels: Sequence[int], least: int) -> None:
    """Raise a ValueError unless there are as many labels as texts, no blank text, and `least` texts of each class."""
    if len(texts) != len(labels):
        raise ValueError(f"There are {len(texts)} texts and {len(labels)} labels.")
    if blank := [index for index, text in enumerate(texts) if not text.strip()]:
        raise ValueError(f"{len(blank)} of {len(texts)} training texts are blank, the first is number {blank[0] + 1}.")
    counts = Counter(int(label) for label in labels)
    if set(counts) - {0, 1}:
        raise ValueError(f"Labels must be 0 or 1, got {sorted(counts)}.")
    if min(counts[0], counts[1]) < least:
        raise ValueError(f"Each class needs at least {least} texts, got {counts[0]} of class 0 and {counts[1]} of 1.")


def write_settings(folder: Path, kind: str, **settings: Any) -> None:
    """Write detector.json, making the folder.

    Raises:
        ValueError: If the folder holds something that is no saved baseline.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / SETTINGS).exists())):
        raise ValueError(f"{folder} exists and holds no saved baseline; name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"kind": kind, **settings}, ensure_ascii=False, indent=1)
    (folder / SETTINGS).write_text(content + "\n", encoding="utf-8")


def read_settings(folder: Path, kind: str) -> dict[str, Any]:
    """The content of detector.json.

    Raises:
        FileNotFoundError: If the folder lacks one of the two files.
        ValueError: If it holds another kind of detector, or names an unknown preprocessing.
    """
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}; a saved {kind} is made by python -m mvh.baselines.fit.")
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    if settings.get("kind") != kind:
        raise ValueError(f"{folder.name} holds a detector of kind {settings.get('kind')!r}, not {kind!r}.")
    if settings["preprocessing"] not in PREPROCESS:
        raise ValueError(f"{folder.name} wants the preprocessing {settings['preprocessing']!r}, which is unknown here.")
    return settings
