"""Checkpoint folder + figures -> its model card: README.md from the template model_card.md, nothing left half filled.

    python -m mvh.card checkpoints/mvh-mini-en --results runs/score-mini/metrics.json
    python -m mvh.card checkpoints/mvh-mini-en --figures my_figures.json

The figures file is JSON with "language", "license", "base_model", "datasets" (Hub names), "training" (words), "summary"
(words); "tables", a list of {"title", "command", "commit", "markdown"}; and "results", the rows of the model-index as
`measured_rows` makes them. A table or row with a "calibration" (its id) holds for that calibration only: it leaves the
card when the detector is calibrated anew. What is not known is left out, never shown as an empty field. The figures stay
in the folder as figures.json, so that a later calibration or publication writes them again.
"""

from __future__ import annotations

import argparse
import json
import re
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from mvh.calibration_mvh import Calibration, decode_calibration
from mvh.identity_mvh import calibration_id, merges
from mvh.languages_mvh import NAMES
from mvh.opening import open_folder
from mvh.pvalues_mvh import false_alarm_interval
from mvh.references_mvh import POOLED
from mvh.shipped import HUB_NAME
from mvh.voting_mvh import spoken_languages

TEMPLATE = Path(__file__).resolve().parent / "model_card.md"
REQUIREMENTS = ("torch", "transformers", "safetensors", "numpy", "scipy")
LICENSE = "apache-2.0"
OUTSIDE = re.compile(
    r"(?<![\w./:])(?:\.\./|/)[^\s'\"]*?([^\s/'\"]+)(?=['\"\s]|$)"
)  # a path that leads out of the project
RANKING = {"auroc": ("roc_auc", "AUROC"), "tpr_at_fpr": ("tpr_at_fpr_0.05", "TPR at FPR 5 %")}  # by margin alone
VERDICTS = {"f1": ("f1", "F1"), "recall": ("recall", "TPR of the verdicts"), "fpr": ("fpr", "FPR of the verdicts")}


def write_card(folder: Path, figures: dict[str, Any] | None = None) -> None:
    """Write README.md, figures.json and requirements.txt into a checkpoint folder.

    Args:
        folder: A folder with config.json.
        figures: See the module's docstring; those already in the folder if None.
    """
    figures = public_figures(read_figures(folder) if figures is None else figures)
    text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
    (folder / "figures.json").write_text(text, encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    current = calibration_id(SimpleNamespace(**config))

    def holds(row: dict[str, Any]) -> bool:
        return row.get("calibration", current) == current  # no rates of another calibration

    shown = {**figures, "tables": [table for table in figures.get("tables", []) if holds(table)]}
    labels = [config["id2label"][key] for key in ("0", "1")]
    origin = labels == ["human", "machine"]  # else another task in the same words
    named = figures.get("base_model") or []
    base = [name for name in ([named] if isinstance(named, str) else named) if HUB_NAME.fullmatch(name)]
    results = model_index([row for row in figures.get("results", []) if holds(row)])
    data = ModelCardData(
        license=figures.get("license", LICENSE),
        library_name="transformers",
        pipeline_tag="text-classification",
        language=figures.get("language"),
        base_model=base[0] if len(base) == 1 else base or None,
        base_model_relation="finetune" if base else None,
        datasets=figures.get("datasets"),
        metrics=sorted({result.metric_type for result in results} & {"roc_auc", "f1", "recall"}) or None,
        tags=["custom_code", "mvh", *(["machine-generated-text-detection"] if origin else [])],
        **({"model_name": config["name"], "eval_results": results} if results else {}),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        config=config,
        labels=labels,
        origin=origin,
        figures=shown,
        license=figures.get("license", LICENSE),
        calibrations=calibrations_of(config),
        merged=merges(SimpleNamespace(**config)),
        endpoint=(folder / "handler.py").is_file(),
    )
    (folder / "README.md").write_text(str(card).rstrip() + "\n", encoding="utf-8")
    lines = [f"{name}>={'.'.join(version(name).split('+')[0].split('.')[:2])}" for name in REQUIREMENTS]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_figures(folder: Path) -> dict[str, Any]:
    """The figures that a checkpoint folder carries; empty where it has none."""
    known = folder / "figures.json"
    return json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}


def public_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures as others may see them: of a path in a command that leads out of the project, only its last part."""
    tables = [
        {**table, "command": OUTSIDE.sub(r"\1", table["command"])} if table.get("command") else table
        for table in figures.get("tables", [])
    ]
    return {**figures, "tables": tables} if tables else figures


def measured_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What `mvh.score` has measured -> rows of the model-index: dataset, metric, name, value, and calibration if it matters.

    Args:
        report: The content of its metrics.json.
    """
    calibration, rows = report["detector"]["calibration"], []
    for file, figures in report["files"].items():
        overall = {**figures["overall"], "tpr_at_fpr": figures["overall"]["tpr_at_fpr"]["0.05"]}
        for names, tied in ((RANKING, {}), (VERDICTS, {"calibration": calibration})):
            for key, (metric, name) in names.items():
                if overall[key] is not None:  # undefined where a file holds one class only
                    row = {"dataset": Path(file).stem, "metric": metric, "name": name, "value": round(overall[key], 4)}
                    rows.append(row | tied)
    return rows


def model_index(rows: list[dict[str, Any]]) -> list[EvalResult]:
    """Rows of the figures as the Hub's model-index wants them."""
    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=re.sub(r"[^a-z0-9_.-]+", "_", row["dataset"].lower()),
            dataset_name=row["dataset"],
            metric_type=row["metric"],
            metric_name=row["name"],
            metric_value=row["value"],
        )
        for row in rows
    ]


def calibrations_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    """What the card says of the calibration, or of each member's where an ensemble merges their p-values; [] without."""
    if calibration_id(SimpleNamespace(**config)) is None:
        return []
    if merges(SimpleNamespace(**config)):
        return [
            {"member": m["name"], **calibration_facts(m["calibration"], config["alpha"])} for m in config["members"]
        ]
    return [{"member": None, **calibration_facts(config["calibration"], config["alpha"])}]


def calibration_facts(packed: dict[str, Any], alpha: float) -> dict[str, Any]:
    """Population, documents, statistic and limits of a packed calibration, and a row per group."""
    calibration = decode_calibration(packed)
    rows = [(group.name, calibration.document[index].documents) for index, group in enumerate(calibration.groups)]
    if n := calibration.document[POOLED].documents:
        rows.append(("other scripts" if calibration.groups else "all", n))
    rows += [
        (
            f"{source.name.replace('|', '/')}, {source.script}, of any length",
            calibration.document[len(calibration.groups) + index].documents,
        )
        for index, source in enumerate(calibration.sources)
    ]
    intervals = [false_alarm_interval(n, alpha) for _, n in rows]
    if calibration.sources:  # of several p-values the largest counts, so a rate is known from above only
        intervals = [(0.0, high) for _, high in intervals]
    return {
        "id": packed["id"],
        "population": packed["about"]["population"],
        "doubt": packed["about"].get("doubt"),
        "segment_documents": calibration.segment_documents,
        "documents": calibration.documents,
        "statistic": calibration.statistic.replace("_", " "),
        "tellable_tokens": calibration.tellable_tokens,
        "shortest_tokens": calibration.shortest_tokens,
        "longest": longest_in_words(calibration),
        "scripts": ", ".join(sorted(calibration.scripts)),
        "languages": ", ".join(NAMES[name] for name in spoken_languages(calibration)),
        "sources": ", ".join(dict.fromkeys(source.name for source in calibration.sources)),
        "groups": [(name, n, *interval) for (name, n), interval in zip(rows, intervals, strict=True)],
    }


def longest_in_words(calibration: Calibration) -> str:
    """Tokens of the longest calibration document, of each script where there are several."""
    by_script = {script: tokens for script, tokens in calibration.longest_by_script.items() if tokens}
    if len(by_script) < 2:
        return f"{calibration.longest_tokens:,}"
    return ", ".join(f"{tokens:,} ({script})" for script, tokens in sorted(by_script.items()))


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.card", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--figures", type=Path, help="JSON; replaces those of the folder")
    parser.add_argument("--results", type=Path, help="metrics.json of mvh.score: fills the model-index")
    args = parser.parse_args(argv)
    figures = json.loads(args.figures.read_text(encoding="utf-8")) if args.figures else read_figures(args.checkpoint)
    if args.results:
        figures["results"] = read_results(args.results, args.checkpoint)
    write_card(args.checkpoint, figures)


def read_results(file: Path, checkpoint: Path) -> list[dict[str, Any]]:
    """The model-index rows of a metrics.json of `mvh.score`, or of a results file that holds one under "score".

    AUROC and TPR at a FPR are the weights': they are taken of the same weights only, in files without a note of these (of older
    versions) of the same calibration only, which holds for one set of weights.

    Raises:
        ValueError: If the file is none, another detector was measured, or texts were measured on that it has learnt from.
    """
    report = json.loads(file.read_text(encoding="utf-8"))
    report = report.get("score", report)
    if not {"detector", "files"} <= report.keys():
        raise ValueError(f"{file} is no metrics.json of mvh.score: it has no 'detector' and 'files'.")
    name = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["name"]
    if (measured := report["detector"]["name"]) != name:
        raise ValueError(f"{file} holds figures of the detector {measured!r}, and {checkpoint} is {name!r}.")
    model, _ = open_folder(checkpoint)
    weights, calibration = report["detector"].get("weights"), report["detector"]["calibration"]
    if weights is None and (calibration is None or calibration != calibration_id(model.config)):
        raise ValueError(
            f"{file} does not say which weights were measured, and its calibration {calibration} is not that of {checkpoint}, "
            f"{calibration_id(model.config)}: score again."
        )
    if weights is not None and weights != model.fingerprint():
        raise ValueError(f"{file} holds figures of the weights {weights}, and {checkpoint} has {model.fingerprint()}.")
    for name, figures in report["files"].items():
        if used := {use: count for use, count in (figures.get("used_before") or {}).items() if count}:
            raise ValueError(
                f"Of {name} the detector has used texts before, by use {used}: figures on them are no test."
            )
    return measured_rows(report)


if __name__ == "__main__":
    main()
