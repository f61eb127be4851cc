"""What each group of handcrafted features is worth: classifiers on features alone, with and without each group.

    python -m mvh.experiments.features --train monolingual_train.jsonl --test monolingual_dev.jsonl ood_choose_en.jsonl \
        --out results/features.json [--quick]

Texts are normalised and cut into pieces about as long as a segment; every piece is one training example, and a document's
score is the mean log-odds of its pieces. Trained on a balanced sample of the documents of role "train", as a detector with
the same seed would be; the dictionary and the register classifier are made from that sample too. Two classifiers, since
some statistics matter in combination only. "Worth" is the AUROC by document that is lost when the group is left out, with
a 95 % interval over resampled test documents (the training is not repeated). Writes OUT and the same as Markdown.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from mvh.baselines.reference import fit_length, read_rows, training_rows
from mvh.dataset_builder.sampling import balanced_sample, largest_balanced
from mvh.experiments.decision_page import table
from mvh.export import file_sha256, provenance
from mvh.features_mvh import FEATURES, GROUPS, compute_features
from mvh.fit_features import fit_feature_data, held_out
from mvh.metrics import auroc, tpr_at_fpr
from mvh.normalization_mvh import NORMALIZER_VERSION
from mvh.placing import place_report

logger = logging.getLogger(__name__)

PIECE = 1300  # characters: about 256 + 50 tokens of English
DOCUMENTS, QUICK_DOCUMENTS = 6000, 600
RESAMPLES = 300
MODELS: dict[str, Callable[[], Any]] = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    "gradient boosting": lambda: HistGradientBoostingClassifier(max_iter=200, learning_rate=0.1, random_state=0),
}


def pieces(text: str, size: int = PIECE) -> list[str]:
    """A text in pieces of at most `size` characters, cut at the last space of each where there is one."""
    parts, start = [], 0
    while len(text) - start > size:
        cut = text.rfind(" ", start + size // 2, start + size)
        cut = cut if cut > 0 else start + size
        parts.append(text[start:cut])
        start = cut
    return [*parts, text[start:]]


def piece_features(
    rows: Sequence[dict[str, Any]], data: dict[str, Any] | None, name: str, learnt: bool = False
) -> tuple[NDArray, NDArray]:
    """All features of all pieces, shape (pieces, F), and each piece's document number, shape (pieces,).

    Args:
        rows: Documents with their text "normalised".
        data: What `fit_feature_data` made.
        name: Shown beside the progress.
        learnt: Whether it was made of these documents.
    """
    parts = [part for row in rows for part in pieces(row["normalised"])]
    owners = [number for number, row in enumerate(rows) for _ in pieces(row["normalised"])]
    documents = [str(owner) for owner in owners]
    data_for = held_out(data, *((parts, documents) if learnt else ((), ())))
    shown = tqdm(zip(parts, documents, strict=True), desc=name, total=len(parts), mininterval=5)
    values = [compute_features(part, ["all"], data_for(document)) for part, document in shown]
    return np.array(values, dtype=np.float64), np.array(owners)


def document_scores(margins: NDArray, owners: NDArray) -> NDArray:
    """Mean margin of each document's pieces, shape (documents,)."""
    return np.bincount(owners, weights=margins) / np.bincount(owners)


def settings() -> dict[str, list[str]]:
    """Which groups each row of the ablation reads."""
    every = list(GROUPS)
    alone = {f"{group} alone": [group] for group in every}
    return {"all": every, **alone, **{f"all but {group}": [g for g in every if g != group] for group in every}}


def columns(groups: Sequence[str]) -> list[int]:
    """Places of the groups' features among all features."""
    return [place for place, name in enumerate(FEATURES) if any(name in GROUPS[group] for group in groups)]


def worth(labels: NDArray, full: NDArray, without: NDArray, resamples: int = RESAMPLES) -> dict[str, float]:
    """AUROC lost without a group, with its 95 % interval over resampled documents, the same for both scores."""
    rng = np.random.default_rng(0)
    lost = []
    for _ in range(resamples):
        rows = rng.integers(len(labels), size=len(labels))
        drawn = labels[rows]
        if 0 < drawn.sum() < len(drawn):
            lost.append(float(auroc(drawn, full[rows]) or 0.0) - float(auroc(drawn, without[rows]) or 0.0))
    low, high = np.quantile(lost, [0.025, 0.975])
    whole = float(auroc(labels, full) or 0.0) - float(auroc(labels, without) or 0.0)
    return {"lost": whole, "low": float(low), "high": float(high)}


def ablate(train: list[dict[str, Any]], tests: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Every setting with every model on every test file; see the module's docstring."""
    parts = [(part, row["source"]) for row in train for part in pieces(row["normalised"])]
    begun = time.perf_counter()
    data = fit_feature_data(["all"], [part for part, _ in parts], [source for _, source in parts])
    assert data is not None
    logger.info("dictionary and register classifier: %.0f s", time.perf_counter() - begun)
    begun = time.perf_counter()
    x, owners = piece_features(train, data, "training pieces", learnt=True)
    y = np.array([train[owner]["label"] for owner in owners])
    milliseconds = 1000 * (time.perf_counter() - begun) / len(x)
    held = {file: piece_features(rows, data, file) for file, rows in tests.items()}
    labels = {file: np.array([row["label"] for row in rows]) for file, rows in tests.items()}
    rows: list[dict[str, Any]] = []
    for model, make in MODELS.items():
        full: dict[str, NDArray] = {}
        for name, groups in tqdm(settings().items(), desc=model, mininterval=5):
            chosen = columns(groups)
            fitted = make().fit(x[:, chosen], y)
            row: dict[str, Any] = {"model": model, "setting": name, "features": len(chosen), "tests": {}}
            for file, (values, whose) in held.items():
                scores = document_scores(fitted.decision_function(values[:, chosen]), whose)
                full.setdefault(file, scores)
                figures = {
                    "auroc": auroc(labels[file], scores),
                    "tpr_at_fpr_0.05": tpr_at_fpr(labels[file], scores, 0.05),
                }
                if name.startswith("all but"):
                    figures["worth"] = worth(labels[file], full[file], scores)
                row["tests"][file] = figures
            rows.append(row)
    scorer = fit_length([row["normalised"] for row in train], [row["label"] for row in train])
    length: dict[str, Any] = {}
    for file, test in tests.items():
        scores = scorer([row["normalised"] for row in test])
        length[file] = {"auroc": auroc(labels[file], scores), "tpr_at_fpr_0.05": tpr_at_fpr(labels[file], scores, 0.05)}
    rows.append({"model": "logistic regression", "setting": "length of the document", "features": 2, "tests": length})
    lexicon = {key: value for key, value in data["lexicon"].items() if key != "data"}
    return {
        "pieces": len(x),
        "milliseconds_per_piece": round(milliseconds, 2),
        "feature_data_bytes": len(json.dumps(data)),
        "lexicon": lexicon,
        "registers": data["register"]["classes"],
        "rows": rows,
    }


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# What each group of handcrafted features is worth", ""]
    lines += [f"`{report['command']}`, commit {(report['commit'] or 'unknown')[:12]}.", ""]
    lines += [
        f"Trained on {report['train']['documents']} balanced documents ({report['pieces']} pieces) of "
        f"{report['train']['file']}, role train. Features alone, no encoder. AUROC and TPR at FPR 5 % by document; lost: AUROC "
        "lost without the group, with a 95 % interval over test documents. "
        f"Dictionary: {report['lexicon']['stems']} stems of {', '.join(report['lexicon']['languages'])}.",
        "",
    ]
    for file, about in report["tests"].items():
        lines += [f"## {file} ({about['human']} human, {about['machine']} machine)", ""]
        body = []
        for row in report["rows"]:
            figures = row["tests"][file]
            loss = figures.get("worth")
            lost = f"{loss['lost']:+.3f} ({loss['low']:+.3f} to {loss['high']:+.3f})" if loss else ""
            body.append(
                [row["model"], row["setting"], row["features"], figures["auroc"], figures["tpr_at_fpr_0.05"], lost]
            )
        lines += table(["model", "groups", "features", "AUROC", "TPR at FPR 5 %", "lost"], body)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m mvh.experiments.features", description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=Path, required=True, help="JSONL file; its documents of role train are used")
    parser.add_argument("--test", type=Path, required=True, nargs="+", help="JSONL files, used whole")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write; a .md file is written beside it")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="balanced training documents, at most")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DOCUMENTS} training and test documents at most")
    parser.add_argument("--seed", type=int, default=0, help="seed of the roles, the one the detector is trained with")
    options = parser.parse_args(arguments)

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    begun = time.perf_counter()
    most = min(options.documents, QUICK_DOCUMENTS) if options.quick else options.documents
    tests = {path.name: read_rows(path) for path in options.test}
    pool = training_rows(read_rows(options.train), [row for rows in tests.values() for row in rows], options.seed)
    train = [dict(row) for row in balanced_sample(pool, min(most // 2 * 2, largest_balanced(pool)), options.seed)]
    if options.quick:
        tests = {
            file: [
                dict(row) for row in balanced_sample(rows, min(QUICK_DOCUMENTS, largest_balanced(rows)), options.seed)
            ]
            for file, rows in tests.items()
        }
    measured = ablate(train, tests)
    files = [options.train, *options.test]
    about = {
        "command": "python -m mvh.experiments.features " + shlex.join(sys.argv[1:] if arguments is None else arguments),
        **provenance(),
        "sha256": {path.name: file_sha256(path) for path in files},
        "normalizer": NORMALIZER_VERSION,
        "train": {"file": options.train.name, "role": "train", "seed": options.seed, "documents": len(train)},
        "tests": {
            file: {"human": sum(r["label"] == 0 for r in rows), "machine": sum(r["label"] == 1 for r in rows)}
            for file, rows in tests.items()
        },
        "groups": {group: list(names) for group, names in GROUPS.items()},
        "seconds": round(time.perf_counter() - begun, 1),
    }
    report = {**about, **measured}
    place_report(options.out, report, page(report))
    return report


if __name__ == "__main__":
    main()
