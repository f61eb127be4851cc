"""The report of mvh.experiments.decision as a page and a figure: made from its JSON alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mvh.corrections_mvh import CORRECTIONS


def number(value: float | None) -> str:
    """Three decimals, a dash for what is not defined."""
    return "–" if value is None or value != value else f"{value:.3f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A Markdown table; floats with three decimals."""
    shown = [[number(cell) if cell is None or isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in [list(heads), ["---"] * len(heads), *shown]] + [""]


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# How far a verdict can be trusted", ""]
    lines += [f"`{report['command']}`, commit {(report['commit'] or 'unknown')[:12]}. alpha 0.05 unless said.", ""]
    lines += ["## Choice of the document statistic (choosing role)", ""]
    lines += [
        "Calibrated on the calibration roles. TPR at equal FPR: the threshold is the human texts' own quantile.",
        "",
    ]
    lines += table(
        ["groups", "statistic", "AUROC", "FPR", "TPR", "TPR at equal FPR 5 %", "TPR at equal FPR 1 %"],
        (
            [r["groups"], r["statistic"], r["auroc"], r["fpr"], r["tpr"], *r["tpr_at_equal_fpr"].values()]
            for r in report["statistics"]
        ),
    )
    lines += ["One calibration for all lengths, or one per group of lengths (mean margin):", ""]
    heads = ["groups", "tokens from", "human", "machine", "FPR", "TPR"]
    lines += table(
        heads, ([r["groups"], r["tokens"], r["human"], r["machine"], r["fpr"], r["tpr"]] for r in report["lengths"])
    )
    lines += ["## A rate for the mixture or for each source (choosing role)", ""]
    sources = report["shipped"]["sources"]
    lines += [
        "A document is ranked among the human ones of its script and length; or among those of each source, too, and the "
        "largest of these p-values counts, so that the rate holds for every source. The shipped detector does the "
        + (f"second, for {', '.join(sources)}." if sources else "first."),
        "",
    ]
    heads = ["ranked in", "source", "human", "machine", "FPR", "TPR"]
    names = {False: "script and length", True: "script and length, each source"}
    rows = report["mixture_or_each_source"]
    lines += table(
        heads, ([names[r["each_source"]], r["source"], r["human"], r["machine"], r["fpr"], r["tpr"]] for r in rows)
    )
    lines += ["## Choice of the vote (choosing role)", ""]
    lines += [
        f"The shipped detector's default is {report['shipped']['vote']}: the only vote with a promised rate. "
        "From softmax p-values, which are the article's, no rate follows.",
        "",
    ]
    lines += table(
        ["vote", "p-values", "FPR", "TPR"], ([r["vote"], r["p_values"], r["fpr"], r["tpr"]] for r in report["votes"])
    )
    if report["shipped"]["power_by_tokens"]:
        lines += ["## From which length on it can tell (machine texts of the choosing role, cut short)", ""]
        rows = report["shipped"]["power_by_tokens"]
        lines += table(["tokens from", "texts", "found"], ([r["low"], r["texts"], r["power"]] for r in rows))
    lines += [f"## What the shipped calibration does (vote {report['shipped']['vote']})", ""]
    lines += [
        "FPR: human documents called machine, with 95 % Clopper-Pearson interval; limit: what a valid calibration of this "
        "size exceeds in one draw of a hundred; majority: TPR of the plain majority vote of uncorrected segment labels with "
        "its threshold moved to the same FPR on the same file.",
        "",
    ]
    for name, parts in report["files"].items():
        lines += [f"### {name}", ""]
        heads = [
            "source",
            "human",
            "machine",
            "FPR",
            "interval",
            "limit",
            "TPR",
            "majority",
            "coverage",
            "FPR, conf. 0.9",
        ]
        lines += table(
            heads,
            (
                [
                    source,
                    v["human"],
                    v["machine"],
                    v["fpr"]["rate"],
                    "–" if v["fpr"]["interval_95"] is None else "{:.3f} to {:.3f}".format(*v["fpr"]["interval_95"]),
                    v["limit_99"] if v["human"] else None,
                    v["tpr"]["rate"],
                    v["tpr_of_plain_majority_at_that_fpr"],
                    v["coverage"],
                    v["fpr_with_confidence_0.9"],
                ]
                for source, v in parts.items()
            ),
        )
    lines += [f"## Calibrated on {report['own']} own documents", ""]
    lines += [
        f"{report['splits']} random draws of {report['own']} human documents of the file itself, tested on the rest.",
        "",
    ]
    for name, own in report["own_calibration"].items():
        if "not_run" in own:
            lines += [f"- {name}: not run: {own['not_run']}"]
            continue
        low, high = own["fpr_quantiles_05_95"]
        lines += [
            f"- {name}: mean FPR {own['fpr_mean']:.3f} (5 % to 95 % of the draws: {low:.3f} to {high:.3f}), mean TPR "
            f"{number(own['tpr_mean'])}, {own['share_of_draws_within_limit_99']:.0%} of the draws within their 99 % limit."
        ]
    splits = report["random_splits"]
    lines += [
        "",
        f"## {report['splits']} random splits of the {splits['documents']} human documents of {report['split_file']}",
        "",
    ]
    lines += [
        "A quarter calibrates segments, a quarter documents, half is tested. Groups and sources need "
        f"{report['least_of_a_source']} documents. Mean realised FPR over the splits.",
        "",
    ]
    heads = ["alpha", *map(str, splits["alphas"])]
    rows = [
        ["mean", *splits["mean"]],
        ["5 % quantile", *splits["quantile_05"]],
        ["95 % quantile", *splits["quantile_95"]],
    ]
    rows += [[source, *values] for source, values in splits["mean_by_source"].items()]
    lines += table(heads, rows)
    above = splits["share_of_splits_above_alpha_0.05"]
    lines += [
        f"The rate was above alpha = 0.05 in {above['marginal']:.0%} of the splits with marginal p-values and in "
        f"{above['confident']:.0%} with confidence 0.9 (mean FPR {splits['mean_fpr_with_confidence_0.9']:.3f}); part of it is "
        "the sampling error of the test half.",
        "",
        f"![realised FPR against alpha]({report['figure']})",
        "",
        "The same splits, documents ranked in each source, too:",
        "",
    ]
    each = report["random_splits_each_source"]
    rows = [["mean", *each["mean"]], *([source, *values] for source, values in each["mean_by_source"].items())]
    lines += table(["alpha", *map(str, each["alphas"])], rows)
    lines += [
        "## Where the guarantee ends: calibrated on one source, tested on another",
        "",
    ]
    shift = report["shift"]
    lines += table(["calibrated on", *shift], ([a, *(shift[a].get(b) for b in shift)] for a in shift))
    lines += ["## Corrections by number of segments", ""]
    lines += ["Human documents with any flag, and flagged share of the segments of machine documents.", ""]
    for name, rows in report["corrections"].items():
        lines += [f"### {name}", ""]
        heads = ["segments", "human", "machine", *(f"{c}: any / power" for c in CORRECTIONS)]
        cells = lambda r: [f"{number(r[c]['any_flag_human'])} / {number(r[c]['power'])}" for c in CORRECTIONS]  # noqa: E731
        lines += table(heads, ([r["segments"], r["human"], r["machine"], *cells(r)] for r in rows))
    return "\n".join(lines).rstrip() + "\n"


def draw(splits: dict[str, Any], file: Path) -> None:
    """Realised false-alarm rate against alpha, all documents with the band of the splits, and by source."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 4.2))
    alphas = splits["alphas"]
    axes.plot([0, 0.2], [0, 0.2], color="grey", lw=1, label="alpha")
    axes.fill_between(alphas, splits["quantile_05"], splits["quantile_95"], alpha=0.25, label="5 % to 95 % of splits")
    axes.plot(alphas, splits["mean"], marker="o", label="all")
    for source, values in splits["mean_by_source"].items():
        axes.plot(alphas, values, lw=1, ls="--", label=source)
    axes.set(xlabel="alpha", ylabel="human documents called machine", title="Realised false-alarm rate")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
