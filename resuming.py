"""The output folder of a training: what a killed run left there, and that the run that goes on is the same training."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any

from mvh.export import file_sha256
from mvh.placing import UNFINISHED, whole_file
from mvh.recipe import DataArguments, ModelArguments, MvhTrainingArguments

logger = logging.getLogger("mvh.train")


def sweep(output_dir: str) -> None:
    """Remove what killed runs left unfinished; for the one process that has the folder for itself."""
    for left in Path(output_dir).glob(f"*{UNFINISHED}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    for folder in Path(output_dir).glob("checkpoint-*"):
        if not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)


def last_checkpoint(output_dir: str) -> str | None:
    """The last whole Trainer checkpoint of a killed run, or None; one killed while it was written is passed over."""
    folders = sorted(Path(output_dir).glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    for folder in reversed(folders):
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


BUILT = "sha256 of the dataset's manifest"
FILES = "sha256 of the files"
PROCESSES = "processes and devices"


def keep_recipe(
    model_args: ModelArguments, data_args: DataArguments, args: MvhTrainingArguments, resumed: bool
) -> None:
    """Write what is trained to `output_dir/recipe.json`; a run that goes on must be the same training.

    A field that did not exist when the run was begun counts as its default.

    Raises:
        ValueError: If a run is resumed with another value of a field than it was begun with.
    """
    path = Path(args.output_dir) / "recipe.json"
    now = {**asdict(model_args), **asdict(data_args), **json.loads(args.to_json_string())}
    now = {key: value for key, value in now.items() if not key.startswith(HARMLESS)}
    named = [] if data_args.dataset else [*data_args.train_file, *filter(None, [data_args.test_file])]
    now[FILES] = [
        file_sha256(Path(file)) for file in named if Path(file).is_file()
    ]  # the same path may hold other texts
    now[PROCESSES] = args.world_size * max(1, args.n_gpu)  # they share the batches of an epoch, and so make its steps
    if data_args.dataset and (manifest := Path(data_args.dataset) / "manifest.json").is_file():
        now[BUILT] = file_sha256(manifest)  # the same folder may have been built again, of other texts
    if resumed and path.exists():
        plain = type(args)(output_dir=args.output_dir)
        defaults = json.loads(plain.to_json_string())  # as transformers leaves them, not as the fields declare them
        defaults |= {field.name: _default(field) for kind in (model_args, data_args) for field in fields(kind)}
        unknown = {key: now.get(key) for key in (BUILT, FILES, PROCESSES)}  # to runs that were begun by older code
        begun = defaults | unknown | json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in now if begun.get(key) != now[key]]
        if changed:
            key = changed[0]
            raise ValueError(
                f"{args.output_dir} holds a training begun with {key} {begun.get(key)!r}, and now it is "
                f"{now[key]!r}; name another output_dir or remove that one."
            )
    elif args.process_index == 0:
        write_json(path, now)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of plain JSON types, whole or not at all; what JSON lacks is written as text."""
    with whole_file(path, "utf-8") as file:
        json.dump(content, file, indent=1, default=str)
