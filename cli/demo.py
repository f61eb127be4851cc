"""The verdict with its passages for the example documents, by the shipped detector.

    python -m mvh.cli.demo [FILE.txt ...] [--model CHECKPOINT] [--alpha 0.05] [--prevalence 0.1]

The examples are a page of 1839, a machine's essay, and a page of 1854 that a machine goes on from: examples/README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
COLOURS = {"human": "green", "machine": "red", "uncertain": "yellow"}


def verdict_sentence(result: dict[str, Any]) -> str:
    """What the label rests on, in plain words."""
    p_value, alpha = result["p_value"], result["alpha"]
    if p_value is None:
        return "without calibration: how often this verdict errs is not known."
    if result["label"] == "uncertain":
        return "no verdict on the document as a whole."
    rare = (
        f"about {p_value:.1%} or fewer of human texts like those of the calibration score as high (p = {p_value:.4f})"
    )
    rule = {
        "calibrated": f"called machine where p <= {alpha}",
        "majority": "called machine where most segments are",
        "any": "called machine where any segment is",
    }[result["vote"]]
    return f"{rare}; {rule}."


def bar(result: dict[str, Any], width: int = 60) -> Text:
    """The document as a bar of `width` cells, the flagged passages in red."""
    length = result["segments"][-1]["end"]
    cells = Text()
    for cell in range(width):
        middle = (cell + 0.5) * length / width
        flagged = any(passage["start"] <= middle < passage["end"] for passage in result["passages"])
        cells.append("█" if flagged else "░", style="red" if flagged else "green")
    return cells


def show(console: Console, name: str, text: str, result: dict[str, Any]) -> None:
    """Print one document's result."""
    head = Text(f"\n{name}", style="bold")
    console.print(head + Text(f"  {len(text):,} characters, {len(result['segments'])} segments", style="not bold"))
    if "error" in result:
        console.print(Text(f"  {result['error']['type']}: {result['error']['message']}", style="yellow"))
        return
    line = Text("  ") + Text(result["label"].upper(), style=f"bold {COLOURS.get(result['label'], 'white')}")
    console.print(line + Text("  " + verdict_sentence(result)))
    console.print(Text("  ") + bar(result))
    for passage in result["passages"]:
        quote = " ".join(text[passage["start"] : passage["end"]].split())
        quote = quote if len(quote) <= 100 else f"{quote[:60]} ... {quote[-35:]}"
        place = (
            f"  characters {passage['start']:,}-{passage['end']:,}, adjusted p <= {passage['adjusted_p_value']:.4f}: "
        )
        console.print(Text(place, style="red") + Text(f"“{quote}”"))
    for warning in result["warnings"]:
        console.print(Text(f"  note: {warning}", style="yellow"))


def together(batch: dict[str, Any]) -> str:
    """What many verdicts mean together, in plain words."""
    n, alone, held = batch["documents"], len(batch["flagged_alone"]), len(batch["flagged_together"])
    sentence = (
        f"Together: {alone} of {n} documents are flagged one by one, where {batch['expected_false_alarms']:.1f} would be by "
        f"chance if all were human; judged together (Benjamini-Hochberg across documents) {held} stay flagged."
    )
    if batch.get("innocent_share") is not None:
        sentence += (
            f" If {batch['prevalence']:.0%} of such documents are machine-made, about {batch['innocent_share']:.0%} of those "
            "flagged one by one are innocent."
        )
    return sentence


def read(path: Path) -> str | None:
    """The text of a file; None (an error result of its own) where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"{path.name} cannot be read as UTF-8 text: {error}", file=sys.stderr)
        return None


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.cli.demo", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="text files (default: the examples)")
    parser.add_argument("--model", default=str(ROOT / "checkpoints" / "mvh-mini-en"))
    parser.add_argument("--alpha", type=float, default=None)
    parser.add_argument(
        "--prevalence", type=float, help="share of machine documents you believe in, for the innocent share"
    )
    args = parser.parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1" if Path(args.model).is_dir() else "0")
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    found = [(path, read(path)) for path in args.files or sorted((ROOT / "examples").glob("*.txt"))]
    texts = {path: text for path, text in found if text is not None}
    detect = pipeline("mvh-detect", model=args.model, trust_remote_code=True)
    console = Console(width=None if os.isatty(1) else 120, highlight=False)
    results = detect(list(texts.values()), alpha=args.alpha)
    for (path, text), result in zip(texts.items(), results, strict=True):
        show(console, path.name, text, result)
    if len(results) > 1 and any(result["p_value"] is not None for result in results):
        console.print("\n" + together(detect.screen(results, args.alpha, args.prevalence)))
    console.print("\nA flag is no proof: it says how rare such a score is among the human texts of the calibration.")


if __name__ == "__main__":
    main()
