"""A table of the first article as a page: made from the JSON of `article_table` alone."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from mvh.experiments.decision_page import table

ARTICLES_OWN = "mdeberta"  # its encoder, where a row is about no other
OTHER_TEXTS = """They have the form of SemEval-2024 Task 8's files and are others (some of the multilingual texts are its
own): figures of the article, where they stand beside ours, are of other texts."""
STAND_INS = (
    "9c535a66c520",
    "7c9ac4f0d4a9",
    "80708c09cabe",
    "bef4b4f4dbb0",
)  # of which that is true: how their hashes begin
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
    files = [file for pair in result["files"].values() for file in pair]
    listed = ", ".join(described(file) for file in files)
    other = any(file["sha256"].startswith(STAND_INS) for file in files)
    lines += [f"Page made at commit {result['commit']}{changed}. {made_at(result['rows'])}", ""]
    lines += [f"Files: {listed}.{f' {OTHER_TEXTS}' if other else ''}", ""]
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
    if missing := not_run(result["rows"]):
        lines += [
            "Not run here, because it needs weights or a model from the Hub. `--seeds` and, after `--`, options as above may "
            "follow; `--out` keeps this page as it is:",
            "",
        ]
        lines += [f"    {command_of(result, row, backbone)}" for row, backbone in missing]
        lines.append("")
    return "\n".join(lines)


def described(file: dict[str, Any]) -> str:
    """A file by name and hash, and how much of it is English."""
    return f"{file['file']} ({file['sha256'][:12]}…; {file['texts']:,} texts, {file['english']:.0%} of them English)"


def made_at(rows: list[dict[str, Any]]) -> str:
    """The commits at which the models of a page were trained and judged, in sentences."""
    runs = [run for row in rows for found in row["runs"].values() for run in found]
    if not runs:
        return "It has no run."
    code = [made for run in runs for made in (run["made_by"], run.get("trained_at")) if made]
    commits = sorted({(made["commit"] or "unknown")[:12] for made in code})
    dirty = sum(
        any(made and made["uncommitted_changes"] for made in (run["made_by"], run.get("trained_at"))) for run in runs
    )
    said = f"Its {len(runs)} runs were trained and judged at {', '.join(commits)}; the JSON says which at which"
    return f"{said}, and of {dirty} of them that the code had changes beyond its commit." if dirty else f"{said}."


def not_run(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str | None]]:
    """Each row that lacks a run, and the backbone that it lacks.

    A row that leaves the backbone open lacks one while the article's own encoder has not run for it.
    """
    encoder = [
        row for row in rows if row["kind"] == "encoder" and row["backbone"] is None and ARTICLES_OWN not in row["runs"]
    ]
    return [
        (row, ARTICLES_OWN if row in encoder else row["backbone"]) for row in rows if row in encoder or not row["runs"]
    ]


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
        said.append(OPTIONS.get(name, f"`{name}` is `{{}}`").format(value))
    return f"In every training, beside what its row says, {' and '.join(said)}." if said else ""


def row_cells(row: dict[str, Any], decisions: list[str], names: list[str]) -> list[list[str]]:
    """The lines of a row: one per backbone that has run, or one that says it has not."""
    published = " / ".join(f"{name} {value:g}" for name, value in row["published"].items()) or "–"
    if not row["runs"]:
        return [[row["title"], row["test"], published, "not run here", *["–"] * (len(decisions) + 2)]]
    lines = []
    if not_run([row]):
        lines.append(
            [row["title"], row["test"], published, f"{ARTICLES_OWN}: not run here", *["–"] * (len(decisions) + 2)]
        )
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


def command_of(result: dict[str, Any], row: dict[str, Any], backbone: str | None) -> str:
    """The command that runs a row with a backbone; None for what the table trains by itself."""
    files = " ".join(f"--{name} {' '.join(file['file'] for file in pair)}" for name, pair in result["files"].items())
    needs = f" --needs {row['needs']}" if row["needs"] else ""
    asked = f" --backbone {backbone}" if backbone else ""
    out = f"--out runs/tables/{result['experiment']}.json"
    rows = shlex.quote(row["title"])
    return f"python -m mvh.experiments.{result['experiment']} {files}{asked} --rows {rows}{needs} {out}"
