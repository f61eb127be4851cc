"""statistics.json -> index.html: one self-contained page with what was found and two histograms.

Made from the statistics alone, so an old scan can be drawn again. The page loads and runs nothing; everything shown is
escaped by the template's autoescape, and a content security policy allows its one style sheet by hash.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mvh import __version__
from mvh.placing import whole_file
from mvh.report.render import style_hash

TEMPLATE = "page.html.j2"
WIDTH, HEIGHT = 600, 180  # of a histogram, in units of its drawing


class Bar(NamedTuple):
    """One bar of a histogram: place and height in units of the drawing, and what it stands for."""

    left: float
    height: float
    says: str


def write_page(path: Path, report: dict[str, Any]) -> None:
    """Write the page of some statistics, whole or not at all."""
    with whole_file(path) as file:
        file.write(render(report).encode("utf-8", "replace"))


def render(report: dict[str, Any]) -> str:
    """The page as HTML."""
    judged = sum(report["histogram"])
    expected = judged / len(report["histogram"])
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            sentences=sentences(report),
            p_bars=bars(report["histogram"], expected),
            score_bars=bars(report["scores"]),
            expected=HEIGHT * expected / max(*report["histogram"], expected, 1),
            width=WIDTH,
            height=HEIGHT,
            version=__version__,
        )
    )


def bars(counts: list[int], least: float = 0.0) -> list[Bar]:
    """The bars of a histogram over [0, 1]; the drawing's height is the largest count, or `least` if that is more."""
    top, wide = max(*counts, least, 1), WIDTH / len(counts)
    edges = [index / len(counts) for index in range(len(counts) + 1)]
    return [
        Bar(index * wide, HEIGHT * count / top, f"{count:,} documents from {low:.2f} to {high:.2f}")
        for index, (count, low, high) in enumerate(zip(counts, edges, edges[1:], strict=False))
    ]


def sentences(report: dict[str, Any]) -> list[str]:
    """What was found, in plain words; the command prints the same."""
    model, batch, named = report["model"], report["together"], report["labels"]
    said = [f"{report['documents']:,} documents: {report['scored']:,} scored, {report['failed']:,} failed."]
    if not report["scored"]:
        return said
    order = [*reversed(model["labels"]), "uncertain"]
    said.append("By itself each is " + ", ".join(f"{label} {named.get(label, 0):,}" for label in order) + ".")
    if not sum(report["histogram"]):
        return [
            *said,
            "The detector carries no calibration: no false-alarm rate is known, and nothing can be judged together.",
        ]
    expected, sure = report["expected_false_alarms"], sum(number for _, number in report["p_values"])
    digits = 0 if expected >= 10 else 2
    level = f"(Benjamini-Hochberg at a false discovery rate of {batch['fdr']})"
    said.append(
        f"p-values of at most alpha = {model['alpha']}: {report['flagged_alone']:,}; about {expected:,.{digits}f} if "
        f"humans had written all{'' if sure == report['scored'] else f' {sure:,} whose p-value holds'}."
    )
    if batch["threshold"] is not None:
        said.append(
            f"Judged together {level} {batch['flagged']:,} stay flagged: those with p at most {batch['threshold']:.4g} and "
            "no doubt. On "
            f"average at most {batch['fdr']:.1%} of them are human."
        )
    elif batch["needed"] is None:
        said.append("No document got a verdict, so none can be judged together with others.")
    else:
        said.append(
            f"Judged together {level} none stays flagged: {batch['needed']:,} would have to reach the smallest p-value that "
            "occurs. A detector calibrated on more human texts has smaller ones."
        )
    if report["keep"]:
        said.append(
            f"Kept as {report['keep']}: {report['kept']:,} of {report['scored']:,}"
            + (", those without a verdict (uncertain) among them." if report["keep"] == "human" else ".")
        )
    return said


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["style_hash"] = style_hash
    return environment
