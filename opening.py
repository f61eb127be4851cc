"""A checkpoint folder -> its model and tokenizer under today's code, whether it holds one detector or an ensemble."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers import AutoTokenizer, PreTrainedModel

from mvh.card import HUB_NAME
from mvh.ensemble_mvh import MvhEnsembleForSequenceClassification
from mvh.modeling_mvh import MvhForSequenceClassification

MODELS: dict[str, type[PreTrainedModel]] = {
    "mvh": MvhForSequenceClassification,
    "mvh-ensemble": MvhEnsembleForSequenceClassification,
}


def local_folder(name: str | Path) -> Path:
    """The folder of a checkpoint, fetched first where it is named as on the Hub.

    Raises:
        ValueError: If there is no such folder and the name is none of the Hub's.
    """
    if Path(name).is_dir():
        return Path(name)
    if not HUB_NAME.fullmatch(str(name)):
        raise ValueError(f"There is no checkpoint folder {name}, and it is no USER/NAME of the Hub either.")
    return Path(snapshot_download(str(name)))


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a checkpoint folder.

    Raises:
        ValueError: If there is none, it cannot be read, or it is not one of ours.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} is no checkpoint folder: it has no config.json.") from None
    except ValueError as error:
        raise ValueError(f"{folder}/config.json is damaged: {error}.") from error
    if not isinstance(config, dict) or config.get("model_type") not in MODELS:
        kind = config.get("model_type") if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"{folder} holds a model of type {kind!r} and no detector of mvh.")
    return config


def open_folder(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a checkpoint folder; an ensemble's model brings the other members' tokenizers.

    Raises:
        ValueError: If it is no checkpoint of ours, or its weights or tokenizer are missing or damaged.
    """
    kind = MODELS[read_config(folder)["model_type"]]
    try:
        model = kind.from_pretrained(folder, use_safetensors=True)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    except Exception as error:  # a truncated file raises the Rust library's own kind of error
        raise ValueError(f"The weights of {folder} cannot be read: {type(error).__name__}: {error}") from error
    try:
        return model, AutoTokenizer.from_pretrained(folder, config=model.config)
    except Exception as error:  # as above
        raise ValueError(f"The tokenizer of {folder} cannot be read: {type(error).__name__}: {error}") from error
