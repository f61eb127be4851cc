"""A model and a tokenizer -> a complete checkpoint folder: weights, config, tokenizer, all code, card, requirements.

    python -m mvh.export CHECKPOINT --out FOLDER [--store-dtype float16]     # an old checkpoint with today's code

The folder loads by `pipeline("mvh-detect", model=FOLDER, trust_remote_code=True)` on a machine that has never seen this
project. It takes its name when it is whole (placing.py): a killed export leaves nothing half done.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from mvh.calibration_mvh import decode_calibration
from mvh.card import read_figures, write_card
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.placing import unfinished_folder
from mvh.recipe import STORE_DTYPES
from mvh.seen import USES, read_seen, write_hashes
from mvh.shipped import HUB_NAME
from mvh.storing import cast, stored_dtype

ROOT = Path(__file__).resolve().parent
DONOR = "donor.json"  # in a backbone folder: the encoder whose layers it keeps
LOCAL_KEYS = ("_name_or_path", "name_or_path", "is_local", "local_files_only", "max_length")  # of config and tokenizer


def export_checkpoint(
    model: PreTrainedModel,
    tokenizer: Any,
    folder: Path,
    store_dtype: str = "float32",
    base_model: str | None = None,
    figures: dict[str, Any] | None = None,
    seen: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write a complete checkpoint folder; an older checkpoint of that name is replaced.

    The model itself is moved to the CPU and cast; do not go on training it.

    Args:
        model: A `MvhForSequenceClassification`, merged if it was trained with LoRA.
        tokenizer: Its fast tokenizer.
        folder: Where to; its parent is made if needed.
        store_dtype: dtype of the stored weights, see mvh.storing; float16 halves the file. They load as float32 all the same.
        base_model: Name of the backbone for the card; a local folder is named by its last part.
        figures: What the card says of training and measurements; see mvh.card.
        seen: Hashes of the texts it has used, by use; see mvh.seen.

    Returns:
        `folder`.

    Raises:
        ValueError: If a weight is not finite as it would be stored, `store_dtype` is unknown, the model is wrapped, or
            the folder holds something else.
    """
    if not isinstance(model, MvhForSequenceClassification):
        raise ValueError(f"Only a merged MvhForSequenceClassification can be exported, not a {type(model).__name__}.")
    refuse_foreign(folder)
    pipe = MvhDetectPipeline(model=model.to("cpu"), tokenizer=tokenizer, device="cpu")
    cast(pipe.model, store_dtype)
    with unfinished_folder(folder, refuse_foreign) as part:
        pipe.save_pretrained(part)
        clean_json(part / "config.json", fields={"dtype": "float32"})
        for file in part.rglob("tokenizer_config.json"):  # an ensemble has several
            clean_json(file)
        for use, hashes in (seen or {}).items():
            write_hashes(part, hashes, use)
        write_card(part, {**({"base_model": public_name(base_model)} if base_model else {}), **(figures or {})})
    return folder


def refresh(checkpoint: Path, out: Path, store_dtype: str | None = None) -> Path:
    """Write a checkpoint again with the code of this commit: same weights, config, calibration and card figures.

    Args:
        checkpoint: Its folder.
        out: Folder to write.
        store_dtype: Number type of the weights; None keeps theirs. Another one rounds them, and a calibration made with the
            old ones then says in every result that it wants to be made again.
    """
    model, tokenizer = open_folder(checkpoint)
    model.config.calibration = readable(model.config.calibration)
    for member in getattr(model.config, "members", []):
        member["calibration"] = readable(member["calibration"])
    for part in getattr(model, "members", []):
        part.config.calibration = readable(part.config.calibration)
    seen = {use: hashes for use in USES if (hashes := read_seen(checkpoint, use)) is not None}
    kept = store_dtype or stored_dtype(checkpoint)
    return export_checkpoint(model, tokenizer, out, kept, figures=read_figures(checkpoint), seen=seen)


def readable(packed: dict[str, Any] | None) -> dict[str, Any] | None:
    """A packed calibration, or None where it is of an older version or damaged: it must be made anew."""
    try:
        decode_calibration(packed or {"version": None})
    except ValueError:
        return None
    return packed


def refuse_foreign(folder: Path) -> None:
    """Raise a ValueError where a folder to be replaced holds anything but a checkpoint of ours."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or none that can be read
        config = None
    if not isinstance(config, dict) or not is_detector(config):
        raise ValueError(f"{folder} exists and is no mvh checkpoint; name another folder.")


def is_detector(config: dict[str, Any]) -> bool:
    """Whether a config.json is that of a detector of ours, single or an ensemble."""
    return str(config.get("model_type")).split("-")[0] == "mvh"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance() -> dict[str, Any]:
    """What a figure needs to be made again: commit (and whether the tree had changes beyond it), versions, machine."""
    packages = {}
    for name in ("mvh", "torch", "transformers", "datasets", "tokenizers", "scikit-learn", "numpy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return {
        "commit": git("rev-parse", "HEAD") or None,
        "uncommitted_changes": bool(git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.yaml")),
        "versions": packages,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def public_name(backbone: str) -> str:
    """What a backbone may be called where others read it: a Hub name as it is, a local folder by its last part.

    A folder that vocabulary_transfer.py made has the name of the encoder it was made of: `runs/mpnet-2` says nothing to others.
    """
    folder = Path(backbone)
    if not folder.exists():
        return backbone if HUB_NAME.fullmatch(backbone) else folder.name
    donor = folder / DONOR
    return str(json.loads(donor.read_text(encoding="utf-8"))["donor"]) if donor.is_file() else folder.name


def clean_json(path: Path, fields: dict[str, Any] | None = None) -> None:
    """Remove keys that tell of this machine from a config and set others: at the top, in members and nested backbones."""
    content = json.loads(path.read_text(encoding="utf-8"))
    levels = [content, *content.get("members", [])]
    for level in [*levels, *(level.get("backbone_config", {}) for level in levels)]:
        for key in LOCAL_KEYS:
            level.pop(key, None)
        if fields and (level is content or "dtype" in level):
            level.update(fields)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.export", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store-dtype", choices=STORE_DTYPES, help="default: as it is stored")
    args = parser.parse_args(argv)
    refresh(args.checkpoint, args.out, args.store_dtype)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
