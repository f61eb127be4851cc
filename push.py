"""A checkpoint -> a complete folder, proven in a fresh process, on the Hub in one commit.

    mvh push checkpoints/mvh-mini-en USER/NAME --dry-run --out runs/to-publish     # look at it first
    mvh push checkpoints/mvh-mini-en USER/NAME --private

The folder holds weights, config, tokenizers, all code, requirements.txt, handler.py for Inference Endpoints, licence and
model card. Before anything is sent it is loaded in a process of its own, where this project cannot be imported, and must
give the verdicts that the checkpoint gives here; and it is searched for local paths, tokens and half-filled fields.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from tokenizers import Tokenizer
from transformers.utils import logging

from mvh.card import LICENSE, read_figures, read_results, write_card
from mvh.export import ROOT, clean_json
from mvh.hub import Uploaded, check_name, logged_in, upload_folder
from mvh.leaks import refuse_leaks
from mvh.opening import read_config
from mvh.proof import example_texts, prove
from mvh.usage import documented

KINDS = (".safetensors", ".json", ".npz", ".txt", ".model")  # copied as they are; code and card are made anew
LEFT_BEHIND = re.compile(r"\.|__pycache__$|checkpoint-\d+$|runs$|logs$")  # folders and files that training leaves about
STALE = [f"*{kind}" for kind in (*KINDS, ".py")]  # of an earlier upload: old weights beside new ones would be loaded
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def assemble(checkpoint: Path, folder: Path, repo: str, results: Path | None = None) -> list[str]:
    """Write the complete folder of a checkpoint.

    Args:
        checkpoint: A folder with config.json and weights, of whatever layout below.
        folder: An empty folder to write into.
        repo: USER/NAME, for the card.
        results: metrics.json of mvh.score for the model-index; what the checkpoint's figures hold by default.

    Returns:
        Names of files and folders of the checkpoint that were left behind.

    Raises:
        ValueError: If the folder is no detector or lacks a part, or its code is not that of this project.
    """
    refuse_incomplete(checkpoint)
    left = copy_known(checkpoint, folder)
    for file in folder.rglob("*.json"):
        if file.name in ("config.json", "tokenizer_config.json"):
            clean_json(file)
        elif file.name == "tokenizer.json":
            forget_truncation(file)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name in travelling_files(config):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copyfile(ROOT / "handler.py", folder / "handler.py")
    figures = {**read_figures(checkpoint), "repo_id": repo}
    if results is not None:
        figures["results"] = read_results(results, checkpoint)
    if figures.get("license", LICENSE) == LICENSE:
        shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    elif (checkpoint / "LICENSE").is_file():  # weights under terms of their own
        shutil.copyfile(checkpoint / "LICENSE", folder / "LICENSE")
    write_card(folder, figures)
    return left


def refuse_incomplete(checkpoint: Path) -> None:
    """Raise a ValueError where a folder is no checkpoint of a detector that could be published."""
    if not checkpoint.is_dir():
        raise ValueError(f"There is no folder {checkpoint}.")
    config = read_config(checkpoint)
    if not any((checkpoint / name).is_file() for name in WEIGHTS):
        raise ValueError(f"{checkpoint} has no weights: there is neither {' nor '.join(WEIGHTS)}.")
    if not (checkpoint / "tokenizer.json").is_file():
        raise ValueError(f"{checkpoint} has no tokenizer: there is no tokenizer.json.")
    if not config.get("custom_pipelines"):
        raise ValueError(
            f"{checkpoint} names no pipeline in its config.json: it is a checkpoint of a training. "
            "Publish the folder that mvh.train, mvh.export or mvh calibrate wrote."
        )


def copy_known(checkpoint: Path, folder: Path) -> list[str]:
    """Copy the files of known kinds, in folders as they are; returns what was left behind."""
    left = []
    for file in sorted(checkpoint.iterdir()):
        if LEFT_BEHIND.match(file.name) or not (file.is_dir() or file.suffix in KINDS):
            left += [] if file.suffix in (".py", ".md") or file.name == "LICENSE" else [file.name]
        elif file.is_dir():
            (folder / file.name).mkdir()
            left += [f"{file.name}/{name}" for name in copy_known(file, folder / file.name)]
        else:
            shutil.copyfile(file, folder / file.name)  # what a link points to, not the link
    return left


def forget_truncation(file: Path) -> None:
    """Reset a tokenizer's truncation and padding: it is saved with the last ones it was asked for."""
    tokenizer = Tokenizer.from_file(str(file))
    if tokenizer.truncation or tokenizer.padding:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.save(str(file))


def travelling_files(config: dict[str, Any]) -> list[str]:
    """Names of the code files that a config's classes need: their own and, in turn, all they import.

    Raises:
        ValueError: If a class is of a file that this project does not have.
    """
    from transformers.dynamic_module_utils import get_relative_import_files

    classes = [*config["auto_map"].values(), *(task["impl"] for task in config["custom_pipelines"].values())]
    modules = [name.split("--")[-1].split(".")[0] for name in classes]  # "USER/NAME--module.Class" after a download
    entries = {f"{module}.py" for module in modules}
    if unknown := sorted(name for name in entries if not (ROOT / name).is_file()):
        raise ValueError(f"The config.json needs the code file {unknown[0]}, which this version of mvh does not have.")
    needed = {Path(file).name for name in entries for file in get_relative_import_files(str(ROOT / name))}
    return sorted(entries | needed)


def how_to_use(repo: str, done: Uploaded) -> str:
    """The lines that load what was published."""
    login = "\n# private: log in first, `hf auth login`" if done.private else ""
    return f"""{login}
from transformers import pipeline

detect = pipeline("mvh-detect", model="{repo}", revision="{done.commit}", trust_remote_code=True)
detect("Your text ...")

mvh detect FILE --model {repo}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring. A fault is a ValueError or OSError whose sentence says it."""
    parser = documented("mvh push", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint folder")
    parser.add_argument("repo", metavar="USER/NAME", help="repository on the Hub; it is made if there is none")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--dry-run", action="store_true", help="make and prove the folder, send nothing")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="keep the folder that is published (default: temporary)"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="metrics.json of mvh score, for the model-index")
    args = parser.parse_args(argv)
    logging.disable_progress_bar()  # of loading weights: seconds at most
    console = Console(highlight=False, soft_wrap=True)

    check_name(args.repo)
    refuse_incomplete(args.checkpoint)
    if not args.dry_run:
        console.print(f"Logged in as {logged_in()}.", markup=False)
    if args.out and args.out.exists():
        raise FileExistsError(f"{args.out} exists already; name a folder that does not.")
    with tempfile.TemporaryDirectory(prefix="mvh-push-") as temporary:
        folder = Path(temporary) / "folder"
        folder.mkdir()
        left = assemble(args.checkpoint, folder, args.repo, args.results)
        if left:
            console.print(f"Left behind: {', '.join(left)}.", markup=False)
        refuse_leaks(folder)
        texts = example_texts()
        prove(args.checkpoint, folder, texts)
        files = [file for file in folder.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files) / 1e6
        console.print(
            f"{len(files)} files, {size:.1f} MB; in a fresh process the folder gives the same {len(texts)} verdicts.",
            markup=False,
        )
        if args.out:
            shutil.copytree(folder, args.out)
            console.print(f"The folder is {args.out}.", markup=False)
        if args.dry_run:
            console.print("Nothing was sent.", markup=False)
            return 0
        done = upload_folder(
            folder, args.repo, f"Upload {args.repo.split('/')[1]} with mvh", "model", args.private, STALE
        )
    seen = "private" if done.private else "public"
    console.print(
        f"Published as {done.url} ({seen}), commit {done.commit}.\n{how_to_use(args.repo, done)}", markup=False
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
