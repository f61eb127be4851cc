"""A dataset folder -> a dataset repository on the Hub, in one commit, so that `load_dataset("USER/NAME")` opens it.

    python -m mvh.dataset_builder.push data/semeval-2000 USER/NAME --private

The folder goes as it is: both configurations, the card that names their splits, manifest and rejected rows. Before anything
is sent its files are counted against the manifest and searched for local paths and tokens. The texts themselves are not
searched: whether they may be published is for whoever does it to know.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from huggingface_hub import DatasetCard
from rich.console import Console

from mvh.dataset_builder.writing import FEATURES
from mvh.hub import Uploaded, check_name, logged_in, upload_folder
from mvh.leaks import refuse_leaks

FILES = ("README.md", "manifest.json", "rejected.jsonl", *(f"{config}/*.parquet" for config in FEATURES))
STALE = ("*.parquet",)  # of an earlier build


def push_dataset(folder: str | Path, repo: str, private: bool = False) -> Uploaded:
    """Upload a dataset folder to the Hub as `repo` ("user/name").

    Args:
        folder: A folder made by `python -m mvh.dataset_builder`.
        repo: USER/NAME; made if there is none.
        private: Make the repository private.

    Returns:
        Where it went.

    Raises:
        ValueError: If the folder is incomplete or holds what must not leave this machine, or the Hub refuses.
        ConnectionError: If the connection broke; nothing is to be seen on the Hub then.
    """
    folder = Path(folder)
    check_name(repo)
    refuse_incomplete(folder)
    refuse_leaks(folder)
    return upload_folder(folder, repo, "Upload with mvh.dataset_builder", "dataset", private, STALE, FILES)


def refuse_incomplete(folder: Path) -> None:
    """Raise a ValueError where a folder is no dataset of ours, or its files do not hold the rows its manifest counts."""
    if not (folder / "manifest.json").is_file() or not (folder / "README.md").is_file():
        raise ValueError(
            f"{folder} is no dataset folder of mvh.dataset_builder: it has no manifest.json and README.md."
        )
    counts = json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get("counts", {})
    configs = DatasetCard.load(folder / "README.md").data.to_dict().get("configs")
    if not configs:
        raise ValueError(f"{folder}: README.md names no files (configs), so the Hub could not open it.")
    for config in configs:
        for part in config["data_files"]:
            if not (folder / part["path"]).is_file():
                raise ValueError(f"{folder}: README.md names {part['path']}, and there is no such file.")
            by_label = counts.get(config["config_name"], {}).get(part["split"])
            if by_label is None:
                raise ValueError(f"{folder}: manifest.json counts no rows for {part['path']}.")
            wanted = sum(sum(languages.values()) for languages in by_label.values())
            if (rows := pq.read_metadata(folder / part["path"]).num_rows) != wanted:
                raise ValueError(f"{folder}: {part['path']} holds {rows} rows, and manifest.json counts {wanted}.")


def refuse_push(repo: str) -> None:
    """Raise a ValueError where an upload cannot work, before a long build: the name is malformed, nobody is logged in."""
    check_name(repo)
    logged_in()


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.dataset_builder.push", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="folder made by mvh.dataset_builder")
    parser.add_argument("repo", metavar="USER/NAME", help="dataset repository; it is made if there is none")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    args = parser.parse_args(argv)
    done = push_dataset(args.folder, args.repo, args.private)
    Console(highlight=False, soft_wrap=True).print(how_to_use(args.repo, done), markup=False)
    return 0


def how_to_use(repo: str, done: Uploaded) -> str:
    """Where a dataset went, and the line that loads it."""
    seen = "private" if done.private else "public"
    return (
        f"Published as {done.url} ({seen}), commit {done.commit}.\n\n"
        f'load_dataset("{repo}", "documents", revision="{done.commit}")'
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
