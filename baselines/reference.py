"""The plain detectors every figure stands beside: length, formatting and character n-grams, each a logistic regression.

A split on which text length or formatting alone separates the classes says little about a detector, and a transformer
that does not beat character n-grams by far has learned little. Each baseline is a `fit(texts, labels) -> scorer` in the
table `BASELINES`; a scorer maps texts to logit margins, higher = more machine-like. Fitted on normalised text, the same
function shows how much of a leak the normaliser leaves. Nothing is stored but the figures.

    python -m mvh.baselines --train train.jsonl --test dev.jsonl ood.jsonl --out results/baselines_en.json

The baselines see the documents of role "train" only, as a detector with the same seed does. Test files are used whole.
Beside the JSON a Markdown table of the same name is written.
"""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mvh.dataset_builder.build import fingerprint
from mvh.dataset_builder.sampling import assign_roles, merge_pairs
from mvh.dataset_builder.semeval import read_semeval
from mvh.export import file_sha256, provenance
from mvh.metrics import detection_report, source_groups
from mvh.normalization_mvh import NORMALIZER_VERSION, normalize
from mvh.placing import place_report

logger = logging.getLogger(__name__)

Scorer = Callable[[Sequence[str]], NDArray[np.float64]]
Fit = Callable[[Sequence[str], Sequence[int]], Scorer]

FORMATTING: dict[str, re.Pattern[str]] = {  # name -> what is counted, per 1,000 characters
    "hard_wraps": re.compile(r"(?<=[^\s])[ \t]*\r?\n[ \t]*(?=[^\s])"),
    "paragraph_breaks": re.compile(r"\n\s*\n"),
    "leading_or_double_spaces": re.compile(r"^ +|(?<=\S) {2,}", re.MULTILINE),
    "unusual_whitespace": re.compile(r"[\r\t\v\f\u00a0\u2000-\u200b\u202f\u3000\ufeff]"),
    "markdown_marks": re.compile(r"\*\*|__|`|^ *(?:#{1,6}|[-*+]|\d+\.) ", re.MULTILINE),
    "tokenised_punctuation": re.compile(r"(?<=\w) +[.,;:!?)'](?=\s|$)|``|''"),
    "curly_quotes": re.compile(r"[\u2018\u2019\u201c\u201d]"),
}


def length_counts(texts: Sequence[str]) -> NDArray[np.float64]:
    """Log of characters and of words, shape (texts, 2)."""
    return np.log1p([[len(text), len(text.split())] for text in texts])


def formatting_counts(texts: Sequence[str]) -> NDArray[np.float64]:
    """Log of each count of `FORMATTING` per 1,000 characters of the text as it stands, shape (texts, 7)."""
    counts = [[len(pattern.findall(text)) for pattern in FORMATTING.values()] for text in texts]
    characters = np.array([[max(len(text), 1)] for text in texts])
    return np.log1p(1000 * np.array(counts) / characters)


def fit_length(texts: Sequence[str], labels: Sequence[int]) -> Scorer:
    """Logistic regression on `length_counts`."""
    steps = FunctionTransformer(length_counts), StandardScaler(), LogisticRegression(max_iter=1000)
    return make_pipeline(*steps).fit(texts, labels).decision_function


def fit_formatting(texts: Sequence[str], labels: Sequence[int]) -> Scorer:
    """Logistic regression on `formatting_counts`."""
    steps = FunctionTransformer(formatting_counts), StandardScaler(), LogisticRegression(max_iter=1000)
    return make_pipeline(*steps).fit(texts, labels).decision_function


def fit_char_ngram(texts: Sequence[str], labels: Sequence[int]) -> Scorer:
    """Logistic regression on TF-IDF (sublinear) of character 2-, 3- and 4-grams that occur in at least three texts.

    At most the 250,000 commonest are kept. C = 10 did best among 1, 10 and 100 on the documents of role "choose".
    """
    grams = TfidfVectorizer(
        analyzer="char", ngram_range=(2, 4), min_df=3, max_features=250_000, sublinear_tf=True, dtype=np.float32
    )
    return make_pipeline(grams, LogisticRegression(C=10, max_iter=200)).fit(texts, labels).decision_function


BASELINES: dict[str, Fit] = {"length": fit_length, "formatting": fit_formatting, "char_ngram": fit_char_ngram}


def training_rows(train: Sequence[dict[str, Any]], tests: Sequence[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The rows of role "train", without those whose pair or text a test file holds.

    Roles are given as `dataset_builder.build` gives them: to groups of pairs that share a text, from the same seed.
    """
    groups = merge_pairs((row["pair"], fingerprint(row["normalised"])) for rows in (train, tests) for row in rows)
    roles = assign_roles(groups.values(), seed)
    tested = {groups[row["pair"]] for row in tests}
    return [row for row in train if groups[row["pair"]] not in tested and roles[groups[row["pair"]]] == "train"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The valid rows of a SemEval-shaped file, each as published (`raw`) and as a detector sees it (`normalised`)."""
    bad: list[dict[str, Any]] = []
    rows = [
        row | {"raw": row["text"], "normalised": normalize(row["text"]).text} for row in read_semeval(path, bad.append)
    ]
    if bad:
        logger.warning("%s: %d bad rows left out, the first: %s", path.name, len(bad), bad[0]["message"])
    if not rows:
        raise ValueError(f"{path.name} holds no valid row.")
    return rows


def measure(train: Sequence[dict[str, Any]], tests: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Fit every baseline on raw and on normalised text; report each on every test file, overall and by source."""
    labels = [row["label"] for row in train]
    results: dict[str, Any] = {}
    for name, fit in BASELINES.items():
        for text in ("raw", "normalised"):
            begun = time.perf_counter()
            scorer = fit([row[text] for row in train], labels)
            entry: dict[str, Any] = {"fit_seconds": round(time.perf_counter() - begun, 2), "tests": {}}
            for file, rows in tests.items():
                begun = time.perf_counter()
                scores = scorer([row[text] for row in rows])
                report = detection_report(
                    [row["label"] for row in rows], scores, groups=source_groups([row["source"] for row in rows])
                )
                entry["tests"][file] = {"score_seconds": round(time.perf_counter() - begun, 2), **report}
                logger.info("%s, %s text, %s: AUROC %s", name, text, file, report["overall"]["auroc"])
            results[f"{name} ({text})"] = entry
    return results


def markdown(results: dict[str, Any]) -> str:
    """One table per test file: a row per baseline with the overall figures, then AUROC by source."""
    lines = []
    for file, first in next(iter(results.values()))["tests"].items():
        sources = list(first["by_source"])
        heads = ["AUROC", "TPR at FPR 5 %", "TPR at FPR 1 %", "accuracy", "macro-F1"]
        heads += [f"AUROC {source}" for source in sources]
        lines += [f"## {file}", "", f"| baseline | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for name, entry in results.items():
            overall, by_source = entry["tests"][file]["overall"], entry["tests"][file]["by_source"]
            cells = [overall["auroc"], *overall["tpr_at_fpr"].values(), overall["accuracy"], overall["f1_macro"]]
            cells += [by_source[source]["auroc"] for source in sources]
            lines.append(f"| {name} | {' | '.join('–' if cell is None else f'{cell:.3f}' for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Fit on the training documents of one file, report on others, write JSON and Markdown."""
    parser = argparse.ArgumentParser(prog="python -m mvh.baselines", description="Figures of the plain baselines.")
    parser.add_argument("--train", type=Path, required=True, help="JSONL file; its documents of role train are used")
    parser.add_argument("--test", type=Path, required=True, nargs="+", help="JSONL files, used whole")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write; a .md file is written beside it")
    parser.add_argument("--seed", type=int, default=0, help="seed of the roles, the one the detector is trained with")
    options = parser.parse_args(arguments)

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    begun = time.perf_counter()
    tests = {path.name: read_rows(path) for path in options.test}
    train = training_rows(read_rows(options.train), [row for rows in tests.values() for row in rows], options.seed)
    results = measure(train, tests)
    command = "python -m mvh.baselines " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    about = {
        "command": command,
        "train": {
            "file": options.train.name,
            "role": "train",
            "seed": options.seed,
            "documents": len(train),
            "human": sum(row["label"] == 0 for row in train),
        },
        "normalizer": NORMALIZER_VERSION,
        "sha256": {path.name: file_sha256(path) for path in (options.train, *options.test)},
        **provenance(),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    head = f"Trained on {len(train)} documents of {options.train.name} (role train) by `{command}`.\n\n"
    place_report(options.out, {**about, "results": results}, head + markdown(results))
    return results


if __name__ == "__main__":
    main()
