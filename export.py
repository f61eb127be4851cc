"""A model and a tokenizer -> a complete checkpoint folder: weights, config, tokenizer, all code, card, requirements.

The folder loads by `pipeline("mvh-detect", model=FOLDER, trust_remote_code=True)` on a machine that has never seen this
project. It is written beside its final name and moved there when it is whole: a killed export leaves nothing half done.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from mvh.card import write_card
from mvh.pipeline_mvh import MvhDetectPipeline

ROOT = Path(__file__).resolve().parent
STORE_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def export_checkpoint(
    model: PreTrainedModel,
    tokenizer: Any,
    folder: Path,
    store_dtype: str = "float32",
    base_model: str | None = None,
    figures: dict[str, Any] | None = None,
) -> Path:
    """Write a complete checkpoint folder; an older one of that name is replaced.

    Args:
        model: A `MvhForSequenceClassification`, merged if it was trained with LoRA.
        tokenizer: Its fast tokenizer.
        folder: Where to; its parent is made if needed.
        store_dtype: dtype of the stored weights; float16 halves the file. They load as float32 all the same.
        base_model: Name of the backbone for the card; a local folder is named by its last part.
        figures: What the card says of training and measurements; see mvh.card.

    Returns:
        `folder`.

    Raises:
        ValueError: If a weight is not finite or `store_dtype` is unknown.
    """
    if store_dtype not in STORE_DTYPES:
        raise ValueError(f"store_dtype must be one of {sorted(STORE_DTYPES)}, got {store_dtype!r}.")
    if bad := [name for name, value in model.state_dict().items() if not torch.isfinite(value.float()).all()]:
        raise ValueError(f"{len(bad)} weights are not finite, among them {bad[0]}: this model cannot be exported.")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    for config in (model.config, model.config.backbone_config):
        config._name_or_path = ""  # a local path must not leave the machine
    pipe = MvhDetectPipeline(model=model.to("cpu"), tokenizer=tokenizer, device="cpu")
    pipe.model.to(STORE_DTYPES[store_dtype])
    pipe.save_pretrained(part)
    _clean_json(part / "config.json", drop=("_name_or_path",), fields={"dtype": "float32"})
    _clean_json(part / "tokenizer_config.json", drop=("is_local", "local_files_only", "max_length", "name_or_path"))
    write_card(part, {"base_model": Path(base_model).name if base_model else None, **(figures or {})})
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def provenance() -> dict[str, Any]:
    """What a figure needs to be made again: commit, versions, machine."""
    packages = {}
    for name in ("mvh", "torch", "transformers", "datasets", "tokenizers", "scikit-learn", "numpy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "commit": git.stdout.strip() or None,
        "versions": packages,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def _clean_json(path: Path, drop: tuple[str, ...], fields: dict[str, Any] | None = None) -> None:
    """Remove keys that tell of this machine and set others, at the top and in the nested backbone config."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for level in (content, content.get("backbone_config", {})):
        for key in drop:
            level.pop(key, None)
        if fields and (level is content or "dtype" in level):
            level.update(fields)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
