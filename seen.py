"""Which texts a checkpoint has learnt from: hashes beside the weights, so that nobody is tested on what it knows.

    mvh seen runs/mini/model --dataset runs/data

A checkpoint folder carries `training_texts.npz` (the roles train and choose of its dataset) and, once calibrated,
`calibration_texts.npz`: sorted uint64 hashes under the key "hashes". The hash is the first 8 bytes of
`dataset_builder.build.fingerprint` of the normalised text, so case, spacing and punctuation do not hide a text; among
120,000 texts a foreign one is taken for a known one with probability 120,000 / 2^64. The texts cannot be read off it.
"""

from __future__ import annotations

import logging
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset
from tqdm import tqdm

from mvh.dataset_builder.build import fingerprint
from mvh.normalization_mvh import normalize
from mvh.placing import whole_file
from mvh.usage import documented

logger = logging.getLogger("mvh.seen")

USES = ("training", "calibration")
LEARNT_FROM = ("train", "choose")  # roles of a dataset folder that shape the weights or their choice


def text_hashes(texts: Iterable[str]) -> np.ndarray:
    """One uint64 per text, in their order."""
    return np.fromiter((int.from_bytes(fingerprint(normalize(text).text)[:8], "big") for text in texts), np.uint64)


def write_seen(folder: Path, texts: Iterable[str], use: str = "training") -> Path:
    """Write what a checkpoint has used; a file of that use is replaced.

    Args:
        folder: A checkpoint folder.
        texts: The texts, read once.
        use: "training" or "calibration".

    Returns:
        The file.

    Raises:
        ValueError: If `use` is unknown or there is no text.
    """
    return write_hashes(folder, text_hashes(texts), use)


def write_hashes(folder: Path, hashes: np.ndarray, use: str = "training", all_known: bool = True) -> Path:
    """As `write_seen`, from hashes; the file is whole or absent, and equal for equal texts in any order.

    Where not `all_known`, of an ensemble with a member that does not say, the file tells that there may be others.
    """
    file = _file(folder, use)
    if not len(hashes):
        raise ValueError(f"{file.name} of {folder.name} would hold no text.")
    with whole_file(file) as whole:
        arrays: dict[str, Any] = {"hashes": np.unique(np.asarray(hashes, dtype=np.uint64))}
        np.savez(whole, **arrays if all_known else arrays | {"others": np.array(True)})
    return file


def read_seen(folder: Path, use: str = "training") -> np.ndarray | None:
    """The sorted hashes of a checkpoint folder, shape (n,), uint64; None where it does not say.

    Raises:
        ValueError: If `use` is unknown or the file is damaged.
    """
    file = _file(folder, use)
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            hashes = arrays["hashes"]
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file.name} of {folder.name} is damaged: {type(error).__name__} {error}.") from error
    if hashes.dtype != np.uint64 or hashes.ndim != 1 or (hashes[1:] <= hashes[:-1]).any():
        raise ValueError(f"{file.name} of {folder.name} holds no ascending uint64 hashes, but {hashes.dtype}.")
    return hashes


def tells_of_others(folder: Path, use: str) -> bool:
    """Whether a checkpoint's file says that it does not hold all texts; False where there is none."""
    file = _file(folder, use)
    if not file.is_file():
        return False
    with np.load(file, allow_pickle=False) as arrays:
        return "others" in arrays


def seen_before(texts: Sequence[str], hashes: np.ndarray) -> list[int]:
    """Indices of the texts that are among the hashes."""
    return np.flatnonzero(np.isin(text_hashes(texts), hashes)).tolist()


def refuse_seen(folder: Path, texts: Sequence[str], purpose: str, uses: Sequence[str] = USES) -> list[str]:
    """Raise a ValueError where one of the texts served one of `uses` of the checkpoint.

    Args:
        folder: The checkpoint folder.
        texts: Texts that must be new to it.
        purpose: What they are wanted for, in the words of the sentence: "The human texts", "The calibration texts".
        uses: What they must not have served.

    Returns:
        A sentence for each use that the folder tells nothing of, or not all.
    """
    unknown = []
    mine = text_hashes(texts)
    for use in uses:
        known = read_seen(folder, use)
        if known is None:
            unknown.append(
                f"The checkpoint carries no {use}_texts.npz: whether {purpose[0].lower() + purpose[1:]} served its {use} "
                "could not be checked."
            )
            continue
        if len(found := np.flatnonzero(np.isin(mine, known))):
            raise ValueError(
                f"{purpose}: {len(found)} of {len(texts)} served the {use} of this checkpoint, the first is number "
                f"{found[0] + 1} ({' '.join(texts[found[0]].split())[:50]!r}); take them out."
            )
        if tells_of_others(folder, use):
            unknown.append(
                f"A member of the ensemble does not say which texts served its {use}: whether "
                f"{purpose[0].lower() + purpose[1:]} did could not be checked."
            )
    return unknown


def dataset_texts(folder: Path, roles: Sequence[str] = LEARNT_FROM) -> Iterator[str]:
    """The documents of some roles of a dataset folder made by mvh.dataset_builder, with the originals of rewritten ones.

    A detector that learnt from the translation of a text has seen the text.

    Raises:
        ValueError: If the folder is no such dataset or lacks a role.
    """
    for role in roles:
        rows = load_dataset(str(folder), "documents", split=role)
        yield from tqdm(rows["text"], desc=f"hashing {role}", unit=" texts", total=len(rows), disable=None)
        if "original" in rows.column_names:  # folders of older builds have none
            yield from (text for text in rows["original"] if text is not None)


def _file(folder: Path, use: str) -> Path:
    if use not in USES:
        raise ValueError(f"use must be one of {', '.join(USES)}, got {use!r}.")
    return Path(folder) / f"{use}_texts.npz"


def main(argv: Sequence[str] | None = None) -> Path:
    """Command line: see the module's docstring."""
    parser = documented("mvh seen", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint folder")
    parser.add_argument("--dataset", type=Path, required=True, help="folder made by mvh.dataset_builder")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if not (args.checkpoint / "config.json").is_file():
        raise ValueError(f"{args.checkpoint} is no checkpoint folder: it has no config.json.")
    if not (args.dataset / "manifest.json").is_file():
        raise ValueError(f"{args.dataset} is no dataset folder of mvh.dataset_builder: it has no manifest.json.")
    file = write_seen(args.checkpoint, dataset_texts(args.dataset))
    hashes = read_seen(args.checkpoint)
    logger.info("%s: %d texts.", file, 0 if hashes is None else len(hashes))
    return file


if __name__ == "__main__":
    main()
