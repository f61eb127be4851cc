"""Finished runs of an experiment, one small JSON file each: the same command again goes on after the last of them.

A run is kept under a signature, the hash of what its experiment says could change its figures; with another signature it is
made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mvh.export import file_sha256
from mvh.placing import whole_file


def signature(parts: Iterable[str]) -> str:
    """A hash of what the caller names: data, settings, code of a run; 16 hex digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def identity(model: str) -> str:
    """What tells a model or backbone from another: hashes of a folder's files, or its name on the Hub.

    Weights in pickles and vocabularies in text files, as older folders have them, count where they are all there is.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    files = sorted(file for file in folder.iterdir() if file.is_file())
    kinds = {".safetensors", ".json", ".py", ".npz", ".skops"}
    kinds |= set() if any(file.suffix == ".safetensors" for file in files) else {".bin", ".pt"}
    kinds |= set() if (folder / "tokenizer.json").is_file() else {".txt", ".model"}
    return " ".join(file_sha256(file) for file in files if file.suffix in kinds)


def kept_run(path: Path, signed: str) -> dict[str, Any] | None:
    """Figures of a run that was finished before under this signature, or None."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return kept if kept and kept["signature"] == signed else None


def keep_run(path: Path, signed: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Write a finished run's figures, whole or not at all; returns them with the signature."""
    figures = {"signature": signed, **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, "utf-8") as file:
        file.write(json.dumps(figures, indent=1) + "\n")
    return figures
