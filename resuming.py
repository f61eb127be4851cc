"""The output folder of a training: what a killed run left there, and that the run that goes on is the same training."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any

from mvh.export import file_sha256, provenance
from mvh.placing import UNFINISHED, whole_file
from mvh.recipe import DataArguments, ModelArguments, MvhTrainingArguments

logger = logging.getLogger("mvh.train")

RECIPE = "recipe.json"  # in output_dir: what is trained there, and by which code


def sweep(output_dir: str, checkpoints: bool) -> None:
    """Remove what killed runs left unfinished; for the one process that has the folder for itself.

    Args:
        output_dir: A folder, which need not exist.
        checkpoints: Whether it is a training's, so that a checkpoint without its end was left there by a killed run.
    """
    torn = [folder for folder in checkpoint_folders(output_dir) if not is_whole(folder)] if checkpoints else []
    for left in [*Path(output_dir).glob(f"*{UNFINISHED}*"), *torn]:
        logger.info(f"Removing {left}, which a killed run left unfinished.")
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def checkpoint_folders(output_dir: str) -> list[Path]:
    """The folders that the Trainer calls checkpoint-STEP, by their step; nothing else is taken for a checkpoint."""
    steps = {path: re.fullmatch(r"checkpoint-([0-9]+)", path.name) for path in Path(output_dir).glob("checkpoint-*")}
    found = [(int(step[1]), path) for path, step in steps.items() if step and path.is_dir()]
    return [path for _, path in sorted(found)]


def last_checkpoint(output_dir: str) -> str | None:
    """The last whole Trainer checkpoint of a killed run, or None; one killed while it was written is passed over."""
    for folder in reversed(checkpoint_folders(output_dir)):
        if is_whole(folder):
            logger.info(f"Going on from {folder}.")
            return str(folder)
    return None


def is_whole(checkpoint: Path) -> bool:
    """Whether a Trainer checkpoint was written to its end, and nothing of it is gone yet: its state is written last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


# fields that may change between a killed run and the one that goes on: they do not touch the weights
HARMLESS = (
    "output_dir",
    "run_name",
    "log",
    "disable_tqdm",
    "report_to",
    "save",
    "eval",
    "hub",
    "push_to_hub",
    "trackio",
    "rewrites",
)
CHOOSING = ("eval_strategy", "eval_steps", "eval_delay", "save_strategy", "save_steps")  # with load_best_model_at_end

BUILT = "sha256 of the dataset's manifest"
FILES = "sha256 of the files"
BACKBONE = "sha256 of the backbone's files"
PROCESSES = "processes and devices"
BEGUN_BY, RESUMED_BY = "begun by", "resumed by"  # in recipe.json, and not compared
MAKERS = ("commit", "uncommitted_changes", "versions", "python")  # of a provenance: what may make other weights


def keep_recipe(
    model_args: ModelArguments, data_args: DataArguments, args: MvhTrainingArguments, resumed: bool
) -> None:
    """Write what is trained, and by which code, to `output_dir/recipe.json`; a run that goes on must be the same training.

    A field that did not exist when the run was begun counts as its default. The code may be other code, see `makers`.

    Raises:
        ValueError: If a run is resumed with another value of a field than it was begun with.
    """
    path = Path(args.output_dir) / RECIPE
    now = {**asdict(model_args), **asdict(data_args), **json.loads(args.to_json_string())}
    choosing = CHOOSING if args.load_best_model_at_end else ()  # they decide which weights are exported
    now = {key: value for key, value in now.items() if key in choosing or not key.startswith(HARMLESS)}
    named = [] if data_args.dataset else [*data_args.train_file, *filter(None, [data_args.test_file])]
    now[FILES] = [
        file_sha256(Path(file)) for file in named if Path(file).is_file()
    ]  # the same path may hold other texts
    now[PROCESSES] = args.world_size * max(1, args.n_gpu)  # they share the batches of an epoch, and so make its steps
    if data_args.dataset and (manifest := Path(data_args.dataset) / "manifest.json").is_file():
        now[BUILT] = file_sha256(manifest)  # the same folder may have been built again, of other texts
    if (backbone := Path(model_args.backbone)).is_dir():
        now[BACKBONE] = backbone_sha256(backbone)  # the same folder may have been made again, with other weights
    if resumed and path.exists():
        plain = type(args)(output_dir=args.output_dir)
        defaults = json.loads(plain.to_json_string())  # as transformers leaves them, not as the fields declare them
        defaults |= {field.name: _default(field) for kind in (model_args, data_args) for field in fields(kind)}
        older = (BUILT, FILES, BACKBONE, PROCESSES, *choosing)  # unknown to runs that were begun by older code
        unknown = {key: now.get(key) for key in older}
        begun = defaults | unknown | json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in now if begun.get(key) != now[key]]
        if changed:
            key = changed[0]
            raise ValueError(
                f"{args.output_dir} holds a training begun with {key} {begun.get(key)!r}, and now it is "
                f"{now[key]!r}; name another output_dir or remove that one."
            )
    elif args.process_index == 0:
        write_json(path, {**now, BEGUN_BY: provenance()})


def backbone_sha256(folder: Path) -> str:
    """SHA-256 over names and contents of a backbone's config and weights; its tokenizer is the dataset's matter."""
    kinds = (".safetensors", ".bin")
    files = sorted(path for path in folder.iterdir() if path.name == "config.json" or path.suffix in kinds)
    lines = [f"{path.name} {file_sha256(path)}\n" for path in files if path.is_file()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def makers(output_dir: str) -> dict[str, Any]:
    """Which code trains here: the provenance of the run's beginning and, as "resumed_at", of other code that went on.

    To be called after `keep_recipe`, by the one process that has the folder for itself and is about to train: `recipe.json`
    is told of code that is new to it.
    """
    path, now = Path(output_dir) / RECIPE, provenance()
    recipe = json.loads(path.read_text(encoding="utf-8"))
    begun, others = recipe.get(BEGUN_BY), recipe.get(RESUMED_BY, [])
    if begun is None:
        logger.warning(
            f"{path} was written by older code and does not say by which; training.json will name that of now."
        )
        return now
    maker = {key: now[key] for key in MAKERS}
    if maker != {key: begun.get(key) for key in MAKERS}:
        was, is_now = ({**code, **code["versions"]} for code in (begun, maker))
        changed = [name for name in is_now if name != "versions" and was.get(name) != is_now[name]]
        told = "; ".join(f"{name} was {was.get(name)} and is {is_now[name]}" for name in changed)
        logger.warning(f"{output_dir} holds a training begun by other code than goes on now: {told}.")
        if maker not in others:
            others = [*others, maker]
            write_json(path, {**recipe, RESUMED_BY: others})
    return {**begun, "resumed_at": others} if others else begun


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of plain JSON types, whole or not at all; what JSON lacks is written as text."""
    with whole_file(path, "utf-8") as file:
        json.dump(content, file, indent=1, default=str)
