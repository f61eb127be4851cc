"""Opening a checkpoint, whether it holds one detector or an ensemble; what is wrong with it is one sentence.

`open_pipeline` gives the pipeline with the code that came with the checkpoint, `open_folder` model and tokenizer under
today's code. Where a folder's code is this package's own, byte for byte, `open_pipeline` imports it from here: transformers
would copy it to a cache and import it three times, a tenth of a second later. Otherwise nothing of this package's `*_mvh`
modules is imported, so that a first verdict waits for one set of them alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers import AutoTokenizer, pipeline
from transformers.utils import cached_file

from mvh.shipped import HUB_NAME, resolved
from mvh.starting import collection_paused

TASK = "mvh-detect"  # that of `pipeline_mvh`
KINDS = ("mvh", "mvh-ensemble")  # model types of our checkpoints
UNLOADABLE = "with any of the following classes"  # transformers' words, followed by the traceback of each class
MET = re.compile(r"\w+(?:Error|Exception): (.+)")
HERE = Path(__file__).parent
FROM_HUB = ("revision", "token", "cache_dir")  # options of a pipeline that say which config.json is meant


def refuse_unknown(name: str | Path) -> None:
    """Raise a ValueError if there is no folder of that name and the name is none of the Hub's or of a shipped detector."""
    name = resolved(name)
    if not Path(name).is_dir() and not HUB_NAME.fullmatch(str(name)):
        raise ValueError(f"There is no checkpoint folder {name}, and it is no USER/NAME of the Hub either.")


def name_and_revision(given: str) -> tuple[str, str | None]:
    """A checkpoint as a command of several names it: "USER/NAME@REVISION" -> name and revision, all else as it is."""
    name, at, revision = given.rpartition("@")
    return (
        (name, revision) if at and revision and HUB_NAME.fullmatch(name) and not Path(given).exists() else (given, None)
    )


def local_folder(name: str | Path, revision: str | None = None, **options: Any) -> Path:
    """The folder of a checkpoint, fetched first where it is named as on the Hub.

    Args:
        name: Checkpoint folder, Hub name, or bare name of a shipped detector.
        revision: Commit, tag or branch on the Hub; None for the newest.
        **options: Handed to `huggingface_hub.snapshot_download`, such as which files are wanted.

    Raises:
        ValueError: If there is no such folder and the name is none of the Hub's, or a folder is given a revision.
    """
    name = resolved(name)
    refuse_unknown(name)
    if not Path(name).is_dir():
        return Path(snapshot_download(str(name), revision=revision, **options))
    if revision is not None:
        raise ValueError(f"The revision {revision!r} is of a Hub repository, and {name} is a folder.")
    return Path(name)


@collection_paused()
def open_pipeline(name: str | Path, **options: Any) -> Any:
    """The pipeline of a checkpoint, with the code that came with it, or this package's where it is the same.

    Args:
        name: Checkpoint folder, Hub name, or bare name of a shipped detector.
        **options: Of `transformers.pipeline`, or of a call.

    Raises:
        ValueError: If there is no such checkpoint, it is no detector, or a part of it is missing or damaged.
    """
    name = resolved(name)
    refuse_unknown(name)
    try:
        refuse_other(str(name), {key: options[key] for key in FROM_HUB if key in options})
        if Path(name).is_dir() and not any(Path(name).glob("*.safetensors")):
            raise ValueError(f"{name} has no weights: there is no model.safetensors.")
        if Path(name).is_dir() and has_package_code(Path(name)) and leaves_loading_alone(options):
            return package_pipeline(Path(name), options)
        return pipeline(TASK, model=str(name), **options)  # type: ignore[call-overload]  # our own task
    except SafetensorError as error:
        raise ValueError(f"The weights in {name} are damaged or truncated ({error}).") from error
    except ValueError as error:
        raise ValueError(first_line(error)) from error
    except ImportError as error:
        raise ValueError(f"{name} needs a package that is not installed: {first_line(error)}") from error
    except Exception as error:  # its code and transformers raise whatever a damaged file leads them to
        kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
        raise ValueError(f"{name} cannot be opened: {kind}{first_line(error)}") from error


def has_package_code(folder: Path) -> bool:
    """Whether the code that a folder names and holds is this package's, byte for byte."""
    files = {file.stem: file for file in folder.glob("*.py")}
    ours = {name: HERE / file.name for name, file in files.items()}
    if not all(own.is_file() and own.read_bytes() == files[name].read_bytes() for name, own in ours.items()):
        return False
    config = read_json(folder)
    named = [config["custom_pipelines"][TASK].get("impl"), *config.get("auto_map", {}).values()]  # "module.Class"
    tokenizer = folder / "tokenizer_config.json"
    return all(str(name).rpartition(".")[0] in files for name in named) and (
        not tokenizer.is_file() or "auto_map" not in tokenizer.read_text(encoding="utf-8")
    )


def leaves_loading_alone(options: dict[str, Any]) -> bool:
    """Whether options let code run and beyond that say a device, or what a call says: nothing of how weights are loaded."""
    from mvh.inputs_mvh import CHOICES, PROBABILITIES

    return options.get("trust_remote_code") is True and set(options) <= {
        "trust_remote_code", "device", *CHOICES, *PROBABILITIES
    }  # fmt: skip


def package_pipeline(folder: Path, options: dict[str, Any]) -> Any:
    """The pipeline of a folder under this package's code; raises as `open_pipeline`."""
    from mvh.pipeline_mvh import MvhDetectPipeline

    model, tokenizer = open_folder(folder)
    rest = {key: value for key, value in options.items() if key != "trust_remote_code"}
    return MvhDetectPipeline(model=model, tokenizer=tokenizer, task=TASK, **rest)


def refuse_other(name: str, where: dict[str, Any]) -> None:
    """Raise a ValueError if the config.json of a folder or of a repository on the Hub is not a detector's."""
    config = read_json(
        Path(name) if Path(name).is_dir() else Path(str(cached_file(name, "config.json", **where))).parent
    )
    tasks = config.get("custom_pipelines") if isinstance(config, dict) else None
    if TASK not in (tasks or {}):
        raise ValueError(f"{name} is no detector of mvh: its config.json names no pipeline.")


def first_line(error: Exception) -> str:
    """What an error says, without what follows: advice, and other errors with their tracebacks.

    Where transformers says that no class could load a model, the error that the last class met is what there is to say.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    met = [found[1] for line in lines[1:] if (found := MET.match(line))] if UNLOADABLE in lines[0] else []
    return met[-1] if met else lines[0]


def read_json(folder: Path) -> Any:
    """What the config.json of a folder holds, whatever it is.

    Raises:
        ValueError: If there is none or it cannot be read.
    """
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} is no checkpoint folder: it has no config.json.") from None
    except ValueError as error:
        raise ValueError(f"{folder}/config.json is damaged: {error}.") from error


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a checkpoint folder.

    Raises:
        ValueError: If there is none, it cannot be read, or it is not one of ours.
    """
    config = read_json(folder)
    if not isinstance(config, dict) or config.get("model_type") not in KINDS:
        kind = config.get("model_type") if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"{folder} holds a model of type {kind!r} and no detector of mvh.")
    return config


def open_folder(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a checkpoint folder; an ensemble's model brings the other members' tokenizers.

    Raises:
        ValueError: If it is no checkpoint of ours, or its weights or tokenizer are missing or damaged.
    """
    from mvh.ensemble_mvh import MvhEnsembleForSequenceClassification
    from mvh.modeling_mvh import MvhForSequenceClassification

    ensemble = read_config(folder)["model_type"] == "mvh-ensemble"
    kind = MvhEnsembleForSequenceClassification if ensemble else MvhForSequenceClassification
    try:
        model: Any = kind.from_pretrained(folder, use_safetensors=True)
    except SafetensorError as error:
        raise ValueError(f"The weights in {folder} are damaged or truncated ({error}).") from error
    except ImportError as error:
        raise ValueError(f"{folder} needs a package that is not installed: {first_line(error)}") from error
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    except Exception as error:  # a damaged file may lead transformers to any
        raise ValueError(f"The weights of {folder} cannot be read: {type(error).__name__}: {error}") from error
    try:
        return model, AutoTokenizer.from_pretrained(folder, config=model.config)
    except ImportError as error:
        raise ValueError(f"{folder} needs a package that is not installed: {first_line(error)}") from error
    except Exception as error:  # the same, and the Rust library's own kind
        raise ValueError(f"The tokenizer of {folder} cannot be read: {type(error).__name__}: {error}") from error
