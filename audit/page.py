"""audit.json -> a page for people: audit.md in sentences and tables, audit.png in three panels.

Both are made from the report alone, so an old audit.json can be drawn again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SHOWN_ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.2)


def markdown(report: dict[str, Any], drawn: bool) -> str:
    """The report as a page; `drawn` says whether audit.png lies beside it."""
    lines = [f"# Audit of {report['model']['name']} on {report['files']['human']}", "", verdict(report), ""]
    lines += [f"- **Warning:** {warning}" for warning in report["warnings"]]
    lines += ["", f"`{report['command']}`", ""]
    if dtypes := report["model"].get("dtypes"):
        lines += [f"Computed in {' and '.join(dtypes)}.", ""]
    if read := report.get("read"):
        lines += [_read_sentence(read), ""]
    lines += ["## By group", ""]
    lines += ["| group | human | flagged | FPR | 95 % interval | machine | power | 95 % interval | decided |"]
    lines += ["|---" * 9 + "|", _row("all texts", report)]
    for kind, groups in report["groups"].items():
        lines += [_row(f"{kind} {name}", row) for name, row in groups.items()]
    lines += [
        "",
        "Of twenty such intervals about one misses the true rate: a single odd group is a reason to look, no proof.",
    ]
    if report["fpr_by_alpha"]:
        lines += [
            "",
            "## False alarms against alpha",
            "",
            "| alpha | share of human texts with p <= alpha | 99 % band |",
        ]
        lines += ["|---" * 3 + "|"]
        lines += [
            f"| {row['alpha']} | {row['fpr']:.3f} | {row['band_99'][0]:.3f} to {row['band_99'][1]:.3f} |"
            for row in report["fpr_by_alpha"]
            if row["alpha"] in SHOWN_ALPHAS
        ]
        lines += ["", "The band holds 99 % of audits of a detector that was calibrated on texts of this kind.", ""]
        lines += ["## All texts judged together", "", *_batch_sentences(report["batch"], report["alpha"])]
    if report["flagged_human"]:
        names = ", ".join(row["id"] for row in report["flagged_human"][:20])
        more = len(report["flagged_human"]) - 20
        lines += ["", "## Human texts that were flagged", "", names + (f" and {more} more" if more > 0 else "") + "."]
    lines += [
        "",
        "![Audit](audit.png)" if drawn else "No figure: matplotlib is not installed (`pip install mvh[plots]`).",
    ]
    return "\n".join(lines) + "\n"


def verdict(report: dict[str, Any]) -> str:
    """The false-alarm rate, what it is held against, and the power, in sentences."""
    alarms, power = report["false_alarms"], report["power"]
    said = [
        f"{alarms['flagged']} of {report['human']} human texts were called machine at alpha {report['alpha']}: a "
        f"false-alarm rate of {_rate(alarms)}."
    ]
    if report["false_alarm_limit_99"] is not None:
        held, counted = "is within" if report["within_limit"] else "exceeds", report["held"]
        whose = "It"
        if counted["rate"] != report["false_alarms"]["rate"]:
            whose = (
                f"Among the {counted['human']} whose p-values are promised to hold a share of {counted['rate']:.3f} has one of "
                f"at most {report['alpha']}; that"
            )
        said.append(
            f"{whose} {held} {report['false_alarm_limit_99']:.3f}, the limit that a detector calibrated on texts of this kind "
            "keeps in 99 of 100 audits."
        )
    if report["machine"]:
        said.append(
            f"{power['flagged']} of {report['machine']} machine texts were found: a power of {_rate(power)}; AUROC over all "
            f"texts {report['auroc']:.3f}."
        )
    if report.get("innocent_share_95") is not None:
        low, high = report["innocent_share_95"]
        found = "at this power" if report["machine"] else "if all of these are found, and more if not"
        said.append(
            f"Where {report['prevalence']:.1%} of texts are machine-written, between {low:.1%} and {high:.1%} of the flagged "
            f"ones are innocent {found} (from the 95 % interval of the false-alarm rate)."
        )
    said.append(f"{report['coverage']:.1%} of all texts got a verdict; the others count as not flagged.")
    return " ".join(said)


def _read_sentence(read: dict[str, Any]) -> str:
    """How the texts were read, and which they were."""
    how = "without headings, running heads, references and code" if read["body_only"] else "whole"
    known = ", ".join(f"{kind} `{digest}`" for kind, digest in read["sha256"].items() if digest)
    return f"Texts were read {how}; of tables the column `{read['text_column']}`. Their SHA-256: {known}."


def _batch_sentences(batch: dict[str, Any], alpha: float) -> list[str]:
    return [
        f"By their p-values, one by one at alpha {alpha}, about {batch['expected_false_alarms']:.1f} of the "
        f"{batch['human_held']} human texts whose p-value holds are expected to be flagged; {batch['human_flagged_alone']} "
        f"were, among {batch['flagged_alone']} flagged texts in all.",
        "",
        f"Judged together (Benjamini-Hochberg across the {batch['texts']} documents) {batch['flagged_together']} stay flagged, "
        f"{batch['human_flagged_together']} of them human.",
    ]


def _row(name: str, row: dict[str, Any]) -> str:
    alarms, power = row["false_alarms"], row["power"]
    cells = [name, str(row["human"]), str(alarms["flagged"]), *_cells(alarms), str(row["machine"]), *_cells(power)]
    return f"| {' | '.join([*cells, format(row['coverage'], '.3f')])} |"


def _cells(share: dict[str, Any]) -> list[str]:
    if share["rate"] is None:
        return ["–", "–"]
    return [f"{share['rate']:.3f}", "{:.3f} to {:.3f}".format(*share["interval_95"])]


def _rate(share: dict[str, Any]) -> str:
    rate, interval = _cells(share)
    return f"{rate} (95 % interval {interval})"


def draw(report: dict[str, Any], path: Path) -> bool:
    """Draw ROC, false alarms against alpha and the human p-values; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # without pyplot: no window system, no global state
    except ImportError:
        return False
    figure = Figure(figsize=(13, 4), layout="constrained")
    roc, alphas, histogram = figure.subplots(1, 3)
    for axes, title in (
        (roc, "ROC"),
        (alphas, "False alarms against alpha"),
        (histogram, "p-values of the human texts"),
    ):
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
    _draw_roc(roc, report)
    _draw_alphas(alphas, report)
    _draw_histogram(histogram, report)
    figure.savefig(path, dpi=150)
    return True


def _draw_roc(axes: Any, report: dict[str, Any]) -> None:
    if report["roc"] is None:
        _nothing(axes, "no machine texts were given")
        return
    smallest = 0.5 / report["human"]  # where a share of 0 is drawn on the logarithmic axis
    shares = [max(share, smallest) for share in report["roc"]["fpr"]]
    axes.plot(shares, report["roc"]["tpr"], drawstyle="steps-post", label=f"AUROC {report['auroc']:.3f}")
    chance = [smallest * (1 / smallest) ** (step / 100) for step in range(101)]
    axes.plot(chance, chance, color="grey", linestyle=":", label="chance")
    axes.set_xscale("log")
    axes.set_xlim(smallest, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("share of human texts above the threshold")
    axes.set_ylabel("share of machine texts above it")
    axes.legend(loc="upper left", frameon=False)


def _draw_alphas(axes: Any, report: dict[str, Any]) -> None:
    if report["fpr_by_alpha"] is None:
        _nothing(axes, "no calibration, no p-values")
        return
    levels = [row["alpha"] for row in report["fpr_by_alpha"]]
    low, high = zip(*(row["band_99"] for row in report["fpr_by_alpha"]), strict=True)
    axes.fill_between(levels, low, high, color="lightgrey", label="99 % band of a valid rule")
    axes.plot(levels, levels, color="grey", linestyle=":", label="alpha")
    axes.plot(levels, [row["fpr"] for row in report["fpr_by_alpha"]], marker=".", label="realised")
    axes.set_xlabel("alpha")
    axes.set_ylabel("share of human texts with p <= alpha")
    axes.legend(loc="upper left", frameon=False)


def _draw_histogram(axes: Any, report: dict[str, Any]) -> None:
    if report["p_value_histogram"] is None:
        _nothing(axes, "no calibration, no p-values")
        return
    counts, edges = report["p_value_histogram"]["texts"], report["p_value_histogram"]["edges"]
    axes.stairs(counts, edges, fill=True, alpha=0.5)
    axes.axhline(
        sum(counts) / len(counts), color="grey", linestyle=":", label="expected of texts like the calibration's"
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.2 * max(counts))  # room for the legend above the bars
    axes.set_xlabel("p-value")
    axes.set_ylabel("human texts")
    axes.legend(loc="upper right", frameon=False)


def _nothing(axes: Any, reason: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, ha="center", va="center", transform=axes.transAxes)
