"""What `compare.py` found -> a page in Markdown that people read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mvh.metrics import DECISIONS
from mvh.score import decimals

SIDES = ("first", "second")  # keys of the two checkpoints in the report


def markdown(report: dict[str, Any]) -> str:
    """The report as a page to read."""
    one, other = names = [detector["name"] for detector in report["detectors"]]
    if one == other:
        one, other = names = [f"{one} (first)", f"{other} (second)"]
    code = f"commit {report['commit']}" if report["commit"] else f"mvh {report['versions']['mvh']}"
    lines = [f"# {one} and {other}", "", f"`{report['command']}`, {code}.", ""]
    lines += [f"Both on the same {report['texts']:,} texts" + _unread(report["unread"]) + ".", ""]
    lines += _table(
        ["", *names], [[key, *(str(d[key] or "none") for d in report["detectors"])] for key in ("calibration", "alpha")]
    )

    counts = {tuple(pair[side] for side in SIDES): pair["texts"] for pair in report["verdicts"]["pairs"]}
    rows = [[f"**{a}**", *(str(counts.get((a, b), 0)) for b in DECISIONS)] for a in DECISIONS]
    lines += ["## Verdicts", "", f"They agree on {report['verdicts']['agreement']:.1%} of the texts.", ""]
    lines += _table([f"{one} says (rows), {other} says (columns)", *DECISIONS], rows)

    margins, p_values = report["margins"], report["p_values"]
    rows = [[f"margin, {other} - {one}", *(f"{value:+.2f}" for value in margins["difference"].values())]]
    if p_values:
        rows.append([f"log10 of p-value, {other} - {one}", *(f"{v:+.2f}" for v in p_values["log10_ratio"].values())])
    correlation = margins["rank_correlation"]
    lines += [
        "## Scores",
        "",
        f"Rank correlation of the margins {decimals(correlation)}. " + _shift(p_values, other),
        "",
    ]
    lines += _table(
        ["difference, by share of the texts", *(f"{float(share):.0%}" for share in margins["difference"])], rows
    )

    if figures := report["figures"]:
        keys = {"auroc": "AUROC", "tpr": "TPR", "fpr": "FPR", "right": "right verdicts"}
        rows = [[name, *(decimals(figures[side][key]) for side in SIDES)] for key, name in keys.items()]
        lines += ["## Against the labels", "", f"{figures['human']} human and {figures['machine']} machine texts.", ""]
        lines += _table(["", *names], rows)
        lines += [
            f"{other} is right where {one} is not on {figures['gained']} texts, and the other way round on {figures['lost']} "
            f"(exact McNemar test: p = {figures['mcnemar_p_value']:.3g}).",
            "",
        ]
    if report["moved"] is None:
        return "\n".join(lines)
    lines += ["## Moved most, other verdicts first", ""]
    if not report["moved"]:
        return "\n".join([*lines, "No text moved."]) + "\n"
    rows = [
        [
            m["id"],
            *([] if report["figures"] is None else [str(m["label"])]),
            *(_said(m[side]) for side in SIDES),
            m["text"],
        ]
        for m in report["moved"]
    ]
    heads = ["id", *([] if report["figures"] is None else ["label"]), *names, "text"]
    return "\n".join([*lines, *_table(heads, rows)]).rstrip() + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [heads, *rows]]
    head, *body = [f"| {' | '.join(row)} |" for row in escaped]
    return [head, "|---" * len(heads) + "|", *body, ""]


def _unread(unread: Sequence[dict[str, Any]]) -> str:
    return (
        f"; {len(unread)} others could not be read, the first is {unread[0]['id']}: {unread[0]['message']}"
        if unread
        else ""
    )


def _shift(p_values: dict[str, Any] | None, other: str) -> str:
    if p_values is None:
        return "There are no p-values to compare: a checkpoint without calibration has none."
    smaller, larger = p_values["smaller"], p_values["larger"]
    return f"The p-values of {other} are smaller on {smaller:.1%} of the texts and larger on {larger:.1%}."


def _said(side: dict[str, Any]) -> str:
    p_value = "" if side["p_value"] is None else f", p {side['p_value']:.4f}"
    return f"{side['decision']}, margin {side['margin']:+.2f}{p_value}"
