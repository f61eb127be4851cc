"""A table of the first article as a page: made from the JSON of `article_table` alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from mvh.experiments.decision_page import table

OPTIONS = {  # words of train.py's command line that a reader of a table should know of
    "--encoder_dropout": "the encoder's dropout is {} (the article names none, and its backbones come with 0.1)",
    "--train_sampling_strategy": "batches hold texts of similar length (`{}`), which the article does not mention",
}


def spread(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation; the one value of a single run."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def markdown(result: dict[str, Any]) -> str:
    """The page: what was run, the table, notes, and the commands of what was not run."""
    changed = " with changes beyond it" if result["uncommitted_changes"] else ""
    lines = [f"# {result['title']}", "", f"`{result['command']}`", ""]
    listed = ", ".join(f"{file['file']} ({file['sha256'][:12]}…)" for pair in result["files"].values() for file in pair)
    lines += [
        f"Page made at commit {result['commit']}{changed}; the JSON holds the commit of each run. Files: {listed}.",
        "",
    ]
    if result["quick"]:
        lines += ["**A quick run: it shows that the code runs, and no figure of it means anything.**", ""]
    lines += [result["about"].strip(), ""]
    if options := options_said(result["options"]):
        lines += [options, ""]
    names = result["figures"]
    heads = ["row", "test", "article", "model"]
    heads += [f"{decision}: {' / '.join(names)}" for decision in result["decisions"]] + ["AUROC", "runs"]
    rows = [cells for row in result["rows"] for cells in row_cells(row, result["decisions"], names)]
    lines += table(heads, rows)
    compared = on_shared_seeds(result["rows"], result["decisions"][0], names[0])
    if notes := [*result["notes"], *compared, *failed_texts(result["rows"])]:
        lines += [*(f"- {note}" for note in notes), ""]
    missing = [row for row in result["rows"] if not row["runs"]]
    if missing:
        lines += [
            "Not run here, because it needs weights or a model from the Hub (add `--seeds` and options as above):",
            "",
        ]
        lines += [f"    {command_of(result, row)}" for row in missing]
        lines.append("")
    return "\n".join(lines)


def on_shared_seeds(rows: list[dict[str, Any]], decision: str, name: str) -> list[str]:
    """Where rows of a backbone have run for different seeds: their first figure on the seeds that all of them share."""
    notes = []
    for backbone in dict.fromkeys(backbone for row in rows for backbone in row["runs"]):
        ran = [(row, row["runs"][backbone]) for row in rows if backbone in row["runs"] and row["kind"] != "char_ngram"]
        seeds = [{run["seed"] for run in runs} for _, runs in ran]
        shared = set.intersection(*seeds) if seeds else set()
        if shared and any(shared < found for found in seeds):
            listed = "; ".join(
                f"{row['title']} ({row['test']}) "
                + spread([run["decisions"][decision][name] for run in runs if run["seed"] in shared])
                for row, runs in ran
            )
            which = ", ".join(map(str, sorted(shared)))
            notes.append(f"{name} by {decision} on the seeds that all rows of {backbone} have ({which}): {listed}.")
    return notes


def failed_texts(rows: list[dict[str, Any]]) -> list[str]:
    """A sentence for every run in which a translation or paraphrase failed, so that the texts stayed as they were."""
    return [
        f"{row['title']}, {backbone}, seed {run['seed']}: {made['texts']['failed']} of {made['texts']['asked']} texts were "
        "not rewritten, because the back-end failed."
        for row in rows
        for backbone, runs in row["runs"].items()
        for run in runs
        for made in run.get("augmentation", [])
        if made.get("texts", {}).get("failed")
    ]


def options_said(options: list[str]) -> str:
    """What the words given to train.py change for every row, in a sentence; empty where there are none."""
    said = []
    for name, value in zip(options[::2], options[1::2], strict=False):
        said += [OPTIONS.get(name, f"`{name}` is `{{}}`").format(value)] if name != "--use_cpu" else []
    return f"In every training, beside what its row says, {' and '.join(said)}." if said else ""


def row_cells(row: dict[str, Any], decisions: list[str], names: list[str]) -> list[list[str]]:
    """The lines of a row: one per backbone that has run, or one that says it has not."""
    published = " / ".join(f"{name} {value:g}" for name, value in row["published"].items()) or "–"
    if not row["runs"]:
        return [[row["title"], row["test"], published, "not run here", *["–"] * (len(decisions) + 2)]]
    lines = []
    for backbone, runs in row["runs"].items():
        model = "character n-grams" if row["kind"] == "char_ngram" else backbone
        cells = []
        for decision in decisions:
            found = [run["decisions"].get(decision) for run in runs]
            cells.append(" / ".join(spread([f[name] for f in found], 0 if name == "flagged" else 3) for name in names)
                         if all(found) else "–")  # fmt: skip
        ranked = spread([run["auroc"] for run in runs])
        lines.append([row["title"], row["test"], published, model, *cells, ranked, str(len(runs))])
    return lines


def command_of(result: dict[str, Any], row: dict[str, Any]) -> str:
    """The command that runs a row."""
    files = " ".join(f"--{name} {' '.join(file['file'] for file in pair)}" for name, pair in result["files"].items())
    needs = f" --needs {row['needs']}" if row["needs"] else ""
    backbone = f" --backbone {row['backbone']}" if row["backbone"] else ""
    return f"python -m mvh.experiments.{result['experiment']} {files}{backbone} --rows '{row['title']}'{needs}"
