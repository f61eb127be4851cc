"""The page of `mvh.experiments.toxic`: its JSON as Markdown."""

from __future__ import annotations

from typing import Any

FIGURES = ("precision", "recall", "f1")


def markdown(result: dict[str, Any]) -> str:
    """A table of published and measured figures, what is said of each row, and how to run what was not run."""
    file, models = result["csv"], result["models"]
    changed = " with changes beyond it" if result["uncommitted_changes"] else ""
    lines = [
        "# Russian toxic comments: the article's models and what runs here",
        "",
        f"`{result['command']}`",
        "",
        f"Commit {result['commit']}{changed}, seed {result['seed']}, {file['file']} (sha256 {file['sha256'][:16]}…): "
        f"{file['rows']:,} comments, {file['toxic']:,} toxic, {file['duplicates']:,} repetitions left out. "
        "Macro precision, recall and F1 in per cent on the held-out fifth; verdicts are the sign of the margin. Over several "
        "seeds of the split: mean ± standard deviation. The commit of each run is in the JSON. That the article's figures are "
        "macro means is inferred: MNB with tuned smoothing comes out at them.",
        "",
    ]
    if result["quick"]:
        lines += [
            "**A quick run on few comments: it shows that the code runs, and no figure of it means anything.**",
            "",
        ]
    heads = ["model", "published P / R / F1", "measured P / R / F1", "AUROC", "runs", "trained on"]
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in models.values():
        published = " / ".join(f"{row['published'][key]:.2f}" for key in FIGURES) if row["published"] else "–"
        if row["measured"]:
            measured = " / ".join(_cell(row["measured"][key], 2) for key in FIGURES)
            trained = f"{row['runs'][0]['train_documents']:,}"
            cells = [measured, _cell(row["measured"]["auroc"], 3), str(len(row["runs"])), trained]
        else:
            cells = ["not run here" if "command" in row else "not available", "–", "–", "–"]
        lines.append(f"| {' | '.join([row['title'], published, *cells])} |")
    lines += ["", *_notes(models), "", *_verdicts(models)]
    if commands := [f"    {row['command']}" for row in models.values() if "command" in row]:
        lines += [
            "## Not run here",
            "",
            "The article's encoders need weights from the Hub; their recipes hold its settings.",
            "",
        ]
        lines += [*commands, ""]
    return "\n".join(lines)


def _cell(value: dict[str, Any], digits: int) -> str:
    mean = f"{value['mean']:.{digits}f}"
    return mean if value["sd"] is None else f"{mean} ± {value['sd']:.{digits}f}"


def _notes(models: dict[str, Any]) -> list[str]:
    """A line per row that has something to say, and the comparisons the article's table invites."""
    lines = [f"- {row['title']}: {row['note']}." for row in models.values() if row["note"]]
    bayes, lstm = (models[name]["measured"] for name in ("naive_bayes", "bilstm"))
    if bayes:
        away = bayes["f1"]["mean"] - models["naive_bayes"]["published"]["f1"]
        chosen = ", ".join(str(run["fit"]["smoothing"]) for run in models["naive_bayes"]["runs"])
        lines.append(f"- MNB: mean F1 {away:+.2f} points from the published; smoothing chosen by seed: {chosen}.")
    if bayes and lstm:
        same_seed = {run["seed"]: run["f1"] for run in models["naive_bayes"]["runs"]}
        pairs = [(run["f1"], same_seed[run["seed"]]) for run in models["bilstm"]["runs"] if run["seed"] in same_seed]
        gaps = ", ".join(f"{ours - theirs:+.2f}" for ours, theirs in pairs)
        lines.append(f"- BiLSTM against MNB on the same split, F1 by seed: {gaps} points.")
    return lines


def _verdicts(models: dict[str, Any]) -> list[str]:
    """What the calibrated verdicts of the encoders that ran say at their alpha."""
    lines = []
    for row in models.values():
        for run in row["runs"]:
            if found := run.get("at_alpha"):
                low, high = found["fpr_interval_95"]
                lines.append(
                    f"- {row['title']}, seed {run['seed']}: at alpha {found['alpha']} {100 * found['fpr']:.1f} % of the "
                    f"neutral comments are called toxic (95 % interval {100 * low:.1f} to {100 * high:.1f}; one calibration in "
                    f"a hundred of this size gives more than {100 * found['fpr_limit_99']:.1f} %) and "
                    f"{100 * found['recall']:.1f} % of the toxic ones; {100 * found['coverage']:.1f} % get a verdict."
                )
    return ["## Verdicts with p-values against neutral comments", "", *lines, ""] if lines else []
