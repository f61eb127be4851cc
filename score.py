"""One detector on labelled files: predictions.jsonl, metrics.json and a small table in metrics.md.

    mvh score checkpoints/mvh-mini-en --data dev.jsonl --data ood.jsonl --out runs/score_mini
    mvh score runs/toxic_bilstm --kind bilstm --data runs/toxic --out runs/score_bilstm
    mvh score USER/NAME --kind hub --positive-label AI --data dev.jsonl --out runs/score_other
    mvh score checkpoints/mvh-mini-en --unlabelled test.csv --submission raid --out runs/raid

Data are SemEval-shaped JSONL files or folders made by mvh.dataset_builder, of which the documents of "test" are read.
A saved baseline (`--kind`, see mvh.baselines.fit) has no p-values: its verdict is the sign of its margin. Whatever a
detector calls its labels, predictions and figures say "human" for its null class and "machine" for the other. So has a
text classifier of other people (`--kind hub`, see mvh.hub_classifier). `--submission` writes the predictions as shared
tasks take them; the texts of `--unlabelled` files get predictions and submissions, no figures (see mvh.submissions).

Texts stream through the detector in file order, one line of predictions.jsonl each. AUROC and `tpr_at_fpr` run over all
texts by margin; the decisions are the detector's verdicts at its alpha (or `--alpha`). "uncertain" stays in every
denominator as not flagged. A text the detector could not read is uncertain too, takes the lowest margin of its file (so
that it is flagged last) and is listed under "errors". A file of many sources is reported by family (`source_groups`).

Texts that the checkpoint folder says it has learnt from or was calibrated on (see mvh.seen) are scored and counted under
"used_before": figures on them flatter. `mvh push --results` refuses them.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from mvh.audit.statistics import count_limits, flag_counts, kinds_of_flags
from mvh.dataset_builder.semeval import read_semeval
from mvh.export import file_sha256, provenance
from mvh.hub_classifier import open_hub
from mvh.metrics import DECISIONS, HUMAN, detection_report, source_groups
from mvh.placing import whole_file
from mvh.pvalues_mvh import sigmoid
from mvh.results_mvh import judged
from mvh.seen import USES, read_seen, text_hashes
from mvh.shipped import resolved
from mvh.submissions import SUBMISSIONS, read_unlabelled, write_submissions
from mvh.usage import documented

logger = logging.getLogger(__name__)

Rows = Iterable[dict[str, Any]]
Scorer = Callable[[Iterator[str]], Iterator[dict[str, Any]]]

DECISION_NAMES = ("human", "machine")  # of the null class and the other, in predictions and figures
BASELINE_BATCH = 256  # texts a saved baseline is given at once
CALL_OPTIONS = ("alpha", "correction", "vote", "p_values", "confidence", "document_type", "precision", "batch_size")


def open_checkpoint(name: str, options: dict[str, Any]) -> tuple[Scorer, dict[str, Any]]:
    """The pipeline of a checkpoint as a scorer.

    Args:
        name: Checkpoint folder or Hub name.
        options: Options of the pipeline's call, and `revision`; those that are None are the checkpoint's own.

    Returns:
        A function from texts to dicts of `margin`, `score`, `p_value`, `decision` ("human", "machine" or "uncertain"),
        `segments` (their number), `group`, `group_documents` and `group_sources` (what the p-value was measured against),
        `holds` (whether it is promised to hold), `alpha`, `dtype` (what it was computed in) and `error`, one per text in
        order; and what is known of the detector: its name, its calibration's id, and on the Hub the commit it came from.

    Raises:
        ValueError: If there is no such checkpoint, it is no detector, or a part of it is missing or damaged.
    """
    from mvh.opening import open_pipeline

    options = dict(options)
    revision = options.pop("revision", None)
    if revision is not None and Path(name).is_dir():
        raise ValueError(f"The revision {revision!r} is of a Hub repository, and {name} is a folder.")
    detect = open_pipeline(name, trust_remote_code=True, **({} if revision is None else {"revision": revision}))
    config = detect.model.config
    names = {config.id2label[0]: "human", config.id2label[1]: "machine"}
    given = {key: value for key, value in options.items() if value is not None}

    def scorer(texts: Iterator[str]) -> Iterator[dict[str, Any]]:
        for result in detect(texts, **given):
            yield {
                **{key: result[key] for key in ("margin", "score", "p_value", "alpha")},
                "decision": names.get(result["label"], "uncertain"),
                "segments": len(result["segments"]),
                "group": (result["calibration"] or {}).get("group"),
                "group_documents": (result["calibration"] or {}).get("documents"),
                "group_sources": (result["calibration"] or {}).get("sources"),
                "holds": judged(result),
                "dtype": result["model"]["dtype"],
                "error": result.get("error"),
            }

    return scorer, {
        "name": config.name,
        "labels": [config.id2label[0], config.id2label[1]],
        "calibration": getattr(detect, "calibration_id", (config.calibration or {}).get("id")),
        "weights": getattr(detect, "fingerprint", None),
        "revision": getattr(detect, "revision", None),
    }


def open_baseline(module: str, name: str, options: dict[str, Any]) -> tuple[Scorer, dict[str, Any]]:
    """A saved baseline as a scorer; see `open_checkpoint`. Its verdict is class 1 where the margin is >= 0.

    Args:
        module: Module of the kind, with `load`.
        name: Folder of the baseline.
        options: Of them a baseline knows only `batch_size`.

    Raises:
        ValueError: If another option is given.
    """
    if unknown := [key for key, value in options.items() if value is not None and key != "batch_size"]:
        raise ValueError(f"A saved baseline decides by the sign of its margin and has no option {unknown[0]!r}.")
    model = import_module(module).load(Path(name))
    size = options.get("batch_size") or BASELINE_BATCH
    nothing = dict.fromkeys(("p_value", "alpha", "group", "group_documents", "group_sources"))

    def scorer(texts: Iterator[str]) -> Iterator[dict[str, Any]]:
        for batch in iter(lambda: list(islice(texts, size)), []):
            for text, margin in zip(batch, model.margins(batch).tolist(), strict=True):
                if text.strip():
                    decision = "machine" if margin >= 0 else "human"
                    found = {"margin": margin, "score": float(sigmoid(margin)), "decision": decision, "error": None}
                else:
                    error = {"type": "ValueError", "message": f"The text is blank: {len(text)} characters."}
                    found = {"margin": None, "score": None, "decision": "uncertain", "error": error}
                yield {**found, "segments": 1, **nothing}

    about = {"name": Path(name).name, "labels": list(model.labels), "calibration": None}
    if (shape := getattr(model, "shape", None)) is not None:  # of a BiLSTM, which reads the first words alone
        about["reads_words"] = shape.longest
    return scorer, about


DETECTORS: dict[str, Callable[[str, dict[str, Any]], tuple[Scorer, dict[str, Any]]]] = {
    "checkpoint": open_checkpoint,
    "naive_bayes": partial(open_baseline, "mvh.baselines.naive_bayes"),
    "bilstm": partial(open_baseline, "mvh.baselines.bilstm"),
    "hub": open_hub,
}


def predictions(rows: Rows, scorer: Scorer) -> Iterator[dict[str, Any]]:
    """Stream the rows through the scorer: `id`, `label`, `source`, `lang` of each beside what the scorer says of its text."""
    waiting: deque[dict[str, Any]] = deque()  # rows the scorer has read ahead of its results

    def texts() -> Iterator[str]:
        for row in rows:
            waiting.append({key: row[key] for key in ("id", "label", "source")} | {"lang": row.get("lang")})
            yield row["text"]

    for result in scorer(texts()):
        yield waiting.popleft() | result
    if waiting:
        raise ValueError(f"The detector returned {len(waiting)} results fewer than it was given texts.")


def summarise(predicted: Sequence[dict[str, Any]], confidence: float | None = None) -> dict[str, Any]:
    """`detection_report` of one file's predictions, with alpha, number types, the 99 % limit of the realised FPR, and errors.

    Raises:
        ValueError: If there is no prediction without an error.
    """
    margins = [row["margin"] for row in predicted if row["error"] is None]
    errors = [{"id": row["id"], **row["error"]} for row in predicted if row["error"] is not None]
    if not margins:
        first = errors[0]["message"] if errors else "there were none"
        raise ValueError(f"None of {len(predicted)} texts could be scored, the first because: {first}")
    alpha = next(row["alpha"] for row in predicted if row["error"] is None)
    humans = [row for row in predicted if row["label"] == HUMAN and row["group_documents"] and row["holds"]]
    limit = held = None
    if humans:
        held = {"human": len(humans), "rate": sum(row["p_value"] <= alpha for row in humans) / len(humans)}
        sizes = [row["group_documents"] for row in humans]
        kinds = kinds_of_flags(
            [row["group"] for row in humans], sizes, [row.get("group_sources") or [] for row in humans]
        )
        chances = flag_counts(alpha, *kinds, confidence)
        limit = count_limits(chances, 0.01, 0.99)[1]
    labels = [row["label"] for row in predicted]
    scores = [min(margins) if row["error"] is not None else row["margin"] for row in predicted]
    decisions = [DECISIONS[row["decision"]] for row in predicted]
    figures = detection_report(labels, scores, decisions, source_groups([row["source"] for row in predicted]))
    languages = [row["lang"] or "not said" for row in predicted]
    if len(set(languages)) > 1:
        figures["by_language"] = detection_report(labels, scores, decisions, languages)["by_source"]
    dtypes = sorted({row["dtype"] for row in predicted if row.get("dtype")})
    counts = {"documents": len(predicted), "alpha": alpha, "dtypes": dtypes, "fpr_limit_99": limit, "held": held}
    return {**counts, **figures, "errors": errors}


def score_file(
    path: Path,
    scorer: Scorer,
    limit: int | None,
    out: TextIO,
    labelled: bool = True,
    used: dict[str, np.ndarray] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, int]]:
    """Score one file or folder (its first `limit` valid rows), writing each prediction.

    Returns:
        The predictions; the bad rows; and how many of the texts the detector has used, by use, of the hashes `used`.
    """
    bad: list[dict[str, Any]] = []
    if not labelled:
        rows: Rows = read_unlabelled(path)
    else:
        rows = documents_of(path) if path.is_dir() else read_semeval(path, bad.append)
    predicted = []
    counts = dict.fromkeys(used or {}, 0)

    def counted() -> Rows:
        for row in islice(rows, limit):
            if used:
                mine = text_hashes([row["text"]])  # (1,)
                for use, hashes in used.items():
                    counts[use] += int(np.isin(mine, hashes).sum())
            yield row

    for row in tqdm(predictions(counted(), scorer), desc=path.name, unit=" documents"):
        out.write(json.dumps({"file": path.name, **row}, ensure_ascii=False) + "\n")
        predicted.append(row)
    if bad:
        logger.warning("%s: %d bad rows left out, the first: %s", path.name, len(bad), bad[0]["message"])
    if note := used_in_words(counts):
        logger.warning("%s: %s", path.name, note)
    return predicted, bad, counts


def used_in_words(counts: dict[str, int]) -> str:
    """A sentence on texts that the detector has used, by use; "" where there are none."""
    found = [f"{count:,} in its {use}" for use, count in counts.items() if count]
    return f"The detector has used these texts before: {' and '.join(found)}. Figures on them flatter." if found else ""


def documents_of(folder: Path) -> Rows:
    """The documents of the split "test" of a dataset folder.

    Raises:
        ValueError: If it is no dataset folder or has no such split.
    """
    from datasets import load_dataset

    if not (folder / "manifest.json").is_file():
        raise ValueError(f"The folder {folder} has no manifest.json: it was not made by mvh.dataset_builder.")
    splits: Any = load_dataset(str(folder), "documents")
    if "test" not in splits:
        raise ValueError(f"The dataset {folder} has the splits {', '.join(splits)} and no test.")
    return splits["test"]


def markdown(report: dict[str, Any]) -> str:
    """A table of the overall figures, a row per source and, of texts of several languages, a row per language, by file."""
    heads = [
        *report["detector"].get("labels", DECISION_NAMES),
        "AUROC",
        "F1",
        "TPR",
        "FPR",
        "FPR 95 % interval",
        "coverage",
    ]
    lines = [f"{report['detector']['name']}: `{report['command']}`", ""]
    for file, figures in report["files"].items():
        limit = figures["fpr_limit_99"]
        level = "verdicts by the sign of the margin" if figures["alpha"] is None else f"alpha {figures['alpha']}"
        calibrated = report["detector"].get("calibration") is not None
        note = "no human text of the kinds calibrated on" if calibrated else "no calibration"
        if limit is not None:
            note = f"99 % limit of the realised FPR {limit:.4f}"
        if (held := figures.get("held")) and held["human"] < figures["overall"]["human"]:
            note += f" ({held['human']} human texts whose p-values are promised to hold; theirs is {held['rate']:.4f})"
        left_out = f", {len(bad)} bad rows left out" if (bad := figures.get("bad_rows")) else ""
        lines += [f"## {file}", "", f"{level}, {note}, {len(figures['errors'])} errors{left_out}", ""]
        if said := used_in_words(figures.get("used_before") or {}):
            lines += [f"**{said}**", ""]
        for kind, rows in (
            ("source", {"all": figures["overall"], **figures["by_source"]}),
            ("language", figures.get("by_language", {})),
        ):
            lines += _table(kind, heads, rows)
    return "\n".join(lines)


def _table(kind: str, heads: Sequence[str], rows: dict[str, Any]) -> list[str]:
    """The lines of one table; none where there is no row."""
    if not rows:
        return []
    lines = [f"| {' | '.join([kind, *heads])} |", "|---" * (len(heads) + 1) + "|"]
    for name, row in rows.items():
        interval = "–" if row["fpr_interval_95"] is None else "{:.3f} to {:.3f}".format(*row["fpr_interval_95"])
        shown = [decimals(row[key]) for key in ("auroc", "f1", "recall", "fpr")]
        cells = [name, str(row["human"]), str(row["machine"]), *shown, interval, decimals(row["coverage"])]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def decimals(value: float | None) -> str:
    """Three decimals, or a dash where a figure is not defined."""
    return "–" if value is None else f"{value:.3f}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = documented("mvh score", __doc__)
    parser.add_argument("detector", help="checkpoint folder or Hub name, or folder of a saved baseline")
    parser.add_argument(
        "--data", type=Path, default=[], action="append", help="JSONL file or dataset folder; may be repeated"
    )
    parser.add_argument(
        "--unlabelled", type=Path, default=[], action="append", help="JSONL or CSV file without labels; may be repeated"
    )
    parser.add_argument("--submission", choices=SUBMISSIONS, nargs="+", default=[], help="files for shared tasks")
    parser.add_argument("--out", type=Path, required=True, help="folder for predictions and metrics")
    parser.add_argument("--kind", choices=DETECTORS, default="checkpoint", help="what the detector is")
    parser.add_argument("--revision", help="commit, tag or branch of a checkpoint on the Hub")
    parser.add_argument("--positive-label", help="of a hub classifier: the label that means machine")
    parser.add_argument("--alpha", type=float, help="level of the tests; the checkpoint's own by default, as the rest")
    parser.add_argument("--correction", help="none, bonferroni, holm, bh, by or calibrated")
    parser.add_argument("--vote", help="calibrated, majority or any")
    parser.add_argument("--p-values", help="conformal or softmax")
    parser.add_argument("--confidence", type=float, help="that the realised false-alarm rate is at most alpha")
    parser.add_argument("--document-type", help="of all texts, for a detector that reads it")
    parser.add_argument("--precision", help="auto, float32 or bfloat16")
    parser.add_argument("--batch-size", type=int, help="segments per batch")
    parser.add_argument("--limit", type=int, help="rows of each file, its first ones; all by default")
    return parser


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Score every file, write the three outputs, return the content of metrics.json."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    transformers_logging.disable_progress_bar()  # of loading weights: seconds at most
    files = [*options.data, *options.unlabelled]
    names = [path.stem if path.is_file() else path.name for path in files]  # submissions are named by the stem
    if not files:
        raise ValueError("There is nothing to score: name files by --data or --unlabelled.")
    if len(set(names)) < len(names):
        raise ValueError(f"Data files are told apart by name, but two of {names} are the same.")
    for path in files:
        if not path.exists():
            raise FileNotFoundError(f"There is no file or folder {path}.")
    call = {key: getattr(options, key) for key in (*CALL_OPTIONS, "revision")}
    if options.kind == "hub":
        call["positive_label"] = options.positive_label
    elif options.positive_label is not None:
        raise ValueError(f"--positive-label is of --kind hub, and the kind is {options.kind}: its labels are known.")
    scorer, detector = DETECTORS[options.kind](options.detector, call)
    used: dict[str, np.ndarray] = {}
    if options.kind == "checkpoint" and (folder := Path(resolved(options.detector))).is_dir():
        used = {use: hashes for use in USES if (hashes := read_seen(folder, use)) is not None}

    options.out.mkdir(parents=True, exist_ok=True)
    command = "python -m mvh.score " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    report: dict[str, Any] = {"detector": detector, "command": command, "options": call, **provenance(), "files": {}}
    with whole_file(options.out / "predictions.jsonl", "utf-8") as out:
        for path in files:
            labelled = path in options.data
            predicted, bad, counts = score_file(path, scorer, options.limit, out, labelled, used)
            write_submissions(options.submission, predicted, path.name, options.out)
            if not labelled:
                continue
            digest = file_sha256(path / "manifest.json" if path.is_dir() else path)
            about = {"sha256": digest, "bad_rows": bad, "used_before": counts or None}
            report["files"][path.name] = {**about, **summarise(predicted, call["confidence"])}
    for file, content in (("metrics.json", json.dumps(report, indent=2) + "\n"), ("metrics.md", markdown(report))):
        with whole_file(options.out / file, "utf-8") as whole:
            whole.write(content)
    for name, figures in report["files"].items():
        overall = figures["overall"]
        logger.info("%s: AUROC %s, FPR %s at alpha %s", name, overall["auroc"], overall["fpr"], figures["alpha"])
    return report


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
