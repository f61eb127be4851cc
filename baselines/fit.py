"""Fit a baseline on the training documents of a dataset folder and save it, for `mvh.score` and for comparison.

    python -m mvh.baselines.fit naive_bayes --dataset runs/toxic --out runs/toxic_naive_bayes
    python -m mvh.baselines.fit bilstm --dataset runs/toxic --out runs/toxic_bilstm --corpus tweets.txt
    python -m mvh.score runs/toxic_bilstm --kind bilstm --data test.jsonl --out runs/score_bilstm

The folder is one made by mvh.dataset_builder; its documents of role "train" are used, and its labels are taken over.
`--corpus` is a UTF-8 file of one text per line to train Word2Vec on, the training documents by default. The BiLSTM is a
baseline for comments: it reads the first `--longest` words of a text, and says how many texts have more.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import load_dataset

from mvh.baselines import bilstm, naive_bayes
from mvh.dataset_builder.toxic import PREPROCESS
from mvh.export import provenance

logger = logging.getLogger("mvh.baselines.fit")


def training_documents(dataset: Path) -> tuple[list[str], list[int], tuple[str, str]]:
    """Texts and labels of role "train", and the names of the two labels.

    Raises:
        FileNotFoundError: If the folder is none of mvh.dataset_builder's.
        ValueError: If it has no document of role "train".
    """
    if not (dataset / "manifest.json").is_file():
        raise FileNotFoundError(f"{dataset} has no manifest.json; a dataset is made by python -m mvh.dataset_builder.")
    splits: Any = load_dataset(str(dataset), "documents")
    if "train" not in splits:
        raise ValueError(f"The dataset {dataset} has documents of the roles {', '.join(splits)}, and none to train on.")
    names = splits["train"].features["label"].names
    return list(splits["train"]["text"]), list(splits["train"]["label"]), (names[0], names[1])


def corpus_lines(path: Path) -> Iterator[str]:
    """The texts of a corpus, one per line.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from (line for line in file if line.strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 ({error.reason}).") from error


def fit_naive_bayes(options: argparse.Namespace, texts: list[str], labels: list[int], names: tuple[str, str]) -> dict:
    """Fit and save; returns what is known of the fit."""
    model = naive_bayes.fit(texts, labels, options.preprocess, names, seed=options.seed)
    naive_bayes.save(model, options.out)
    return model.about


def fit_bilstm(options: argparse.Namespace, texts: list[str], labels: list[int], names: tuple[str, str]) -> dict:
    """Fit and save; returns what is known of the fit."""
    model = bilstm.fit(
        texts,
        labels,
        corpus=corpus_lines(options.corpus) if options.corpus else None,
        preprocessing=options.preprocess,
        label_names=names,
        shape=replace(bilstm.Shape(), longest=options.longest),
        epochs=options.epochs,
        unfreeze_epoch=options.unfreeze_epoch,
        seed=options.seed,
    )
    bilstm.save(model, options.out)
    return model.about


FITTERS: dict[str, Callable[[argparse.Namespace, list[str], list[int], tuple[str, str]], dict]] = {
    naive_bayes.KIND: fit_naive_bayes,
    bilstm.KIND: fit_bilstm,
}


def main(argv: Sequence[str] | None = None) -> Path:
    """Command line: see the module's docstring. Returns the folder of the saved baseline."""
    parser = argparse.ArgumentParser(prog="python -m mvh.baselines.fit", description=__doc__.split("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in FITTERS:
        command = kinds.add_parser(kind)
        command.add_argument("--dataset", type=Path, required=True, help="folder made by mvh.dataset_builder")
        command.add_argument("--out", type=Path, required=True, help="folder to write")
        command.add_argument("--preprocess", choices=PREPROCESS, default="article", help="of every text")
        command.add_argument("--seed", type=int, default=0)
        if kind == bilstm.KIND:
            command.add_argument("--corpus", type=Path, help="texts for Word2Vec, one per line")
            command.add_argument("--longest", type=int, default=bilstm.LONGEST, help="words of a text that are read")
            command.add_argument("--epochs", type=int, default=10)
            command.add_argument("--unfreeze-epoch", type=int, help="epoch from which the word vectors are trained too")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("gensim").setLevel(logging.WARNING)
    about = FITTERS[options.kind](options, *training_documents(options.dataset))
    shown = {key: value for key, value in about.items() if not isinstance(value, (list, dict))}
    logger.info("%s: %s, commit %s", options.out, json.dumps(shown), provenance()["commit"])
    return options.out


if __name__ == "__main__":
    main()
