"""The figures of a shipped detector beside the reference baselines: results/NAME.json, results/NAME.md, and its card.

    python -m mvh.experiments.shipped checkpoints/mvh-mini-en --score runs/score_mini/metrics.json \
        --baselines results/baselines_en.json --training runs/mvh-mini-en/training.json

It measures nothing itself: it joins what `mvh.score` and `mvh.baselines` have measured, keeps the commands, commits and
file hashes that made the figures, writes the training log as a small file, and fills the model card of the checkpoint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mvh.card import read_results, write_card
from mvh.experiments.attacks import shown
from mvh.export import file_sha256
from mvh.score import decimals
from mvh.score import markdown as score_tables

ROOT = Path(__file__).resolve().parents[1]


def comparison(score: dict[str, Any], baselines: dict[str, Any]) -> str:
    """Markdown: AUROC and TPR at 5 % and 1 % FPR of the detector and of every baseline, per file both have measured."""
    lines = []
    for file, figures in score["files"].items():
        rows = {score["detector"]["name"]: figures["overall"]}
        for name, measured in baselines["results"].items():
            if file in measured["tests"]:
                rows[name] = measured["tests"][file]["overall"]
        if len(rows) == 1:
            continue
        lines += [f"**{file}**", "", "| detector | AUROC | TPR at FPR 5 % | TPR at FPR 1 % |", "|---|---|---|---|"]
        for name, row in rows.items():
            tpr = row["tpr_at_fpr"]
            lines.append(f"| {name} | {decimals(row['auroc'])} | {decimals(tpr['0.05'])} | {decimals(tpr['0.01'])} |")
        lines.append("")
    return "\n".join(lines).strip()


def training_summary(log: dict[str, Any]) -> dict[str, Any]:
    """What a reader needs of a training log: recipe, evaluations by epoch, losses, what came of it, versions, commit."""
    recipe = {**log["model"], **{k: v for k, v in log["data"].items() if v is not None}}
    keys = (
        "num_train_epochs",
        "learning_rate",
        "lr_scheduler_type",
        "lr_milestones",
        "frozen_epochs",
        "weight_decay",
        "label_smoothing_factor",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "bf16",
        "seed",
        "masked_epochs",
        "masked_share",
        "masked_learning_rate",
    )
    recipe |= {key: log["training"][key] for key in keys if key in log["training"]}
    # a Hub name stays, local paths lose their folders
    recipe["backbone"] = "/".join(Path(recipe["backbone"]).parts[-2:])
    recipe["train_file"] = shown(recipe.get("train_file", []))
    evaluations = [entry for entry in log["history"] if "eval_loss" in entry]
    parts: dict[str, Any] = {}
    for history, prefix in (("masked_history", "masked_"), ("history", "")):  # in the order they were trained
        entries = log.get(history, [])
        parts[f"{prefix}losses"] = [[entry["step"], entry["loss"]] for entry in entries if "loss" in entry]
        runtimes = (entry["train_runtime"] for entry in entries if "train_runtime" in entry)
        parts[f"{prefix}train_seconds"] = next(runtimes, None)
    told = ("metrics", "commit", "versions", "python", "resumed_at", "threads", "world_size")
    kept: dict[str, Any] = {key: log[key] for key in told if key in log}
    return {"recipe": recipe, "evaluations": evaluations, **parts, **kept}


def refuse_other_training(log: Path, checkpoint: Path) -> None:
    """Raise a ValueError unless the weights that a training left beside its log are those of the checkpoint."""
    made, shipped = (folder / "model.safetensors" for folder in (log.parent / "model", checkpoint))
    if not made.is_file():
        raise ValueError(f"{log} has no {made.parent.name}/{made.name} beside it that says which weights it tells of.")
    found, wanted = (file_sha256(file)[:12] for file in (made, shipped))
    if found != wanted:
        raise ValueError(f"{log} tells of weights with the hash {found}, and those of {checkpoint} have {wanted}.")


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.experiments.shipped", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--score", type=Path, required=True)
    parser.add_argument("--baselines", type=Path, required=True)
    parser.add_argument("--training", type=Path)
    parser.add_argument("--words", type=Path, help="JSON with language, base_model, training, summary for the card")
    args = parser.parse_args(argv)
    if args.training:
        refuse_other_training(args.training, args.checkpoint)
    rows = read_results(args.score, args.checkpoint)  # refuses figures of other weights, or on texts it has used
    score, baselines = (json.loads(path.read_text(encoding="utf-8")) for path in (args.score, args.baselines))
    name = score["detector"]["name"]
    results = ROOT / "results"
    table = comparison(score, baselines)
    told = ("command", "train", "normalizer", "sha256", "commit")
    joined = {"score": score, "baselines": {key: baselines[key] for key in told if key in baselines}}
    (results / f"{name}.json").write_text(json.dumps(joined, indent=1) + "\n", encoding="utf-8")
    page = [
        f"# {name}",
        "",
        "## Beside the reference baselines",
        "",
        table,
        "",
        f"Baselines: `{baselines['command']}`, commit {(baselines.get('commit') or 'unknown')[:12]}.",
        "",
    ]
    page += ["## By source", "", f"Scored at commit {(score.get('commit') or 'unknown')[:12]}.", ""]
    page += [score_tables(score).replace("\n## ", "\n### ")]
    (results / f"{name}.md").write_text("\n".join(page).rstrip() + "\n", encoding="utf-8")
    if args.training:
        summary = training_summary(json.loads(args.training.read_text(encoding="utf-8")))
        (results / f"{name}.training.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    words = json.loads(args.words.read_text(encoding="utf-8")) if args.words else {}
    source = {"command": score["command"], "commit": score.get("commit")}
    tables = [
        {"title": "Beside the reference baselines", "markdown": table, **source},
        {
            "title": "By source",
            "markdown": score_tables(score).split("\n", 2)[2].replace("## ", "#### "),
            "calibration": score["detector"]["calibration"],
            **source,
        },
    ]
    write_card(args.checkpoint, {**words, "tables": tables, "results": rows})


if __name__ == "__main__":
    main()
