"""The verdict with its passages for the example documents, by the shipped detector.

    python -m mvh.cli.demo [FILE.txt ...] [--model CHECKPOINT] [--alpha 0.05]

The first three examples are a page of 1839, a machine's essay, and a page of 1854 that a machine goes on from; see
examples/README.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
COLOURS = {"human": "green", "machine": "red", "uncertain": "yellow"}


def verdict_sentence(result: dict[str, Any]) -> str:
    """The document's label in plain words, with what is known of its error."""
    p_value, alpha = result["p_value"], result["alpha"]
    if result["label"] == "uncertain":
        return "uncertain: no verdict on the document as a whole."
    if p_value is None:
        return f"{result['label']} (no calibration: the rate of false alarms is not known)."
    share = f"{p_value:.1%} of human documents like those of the calibration score as high or higher"
    said = "machine-like" if result["label"] == "machine" else "not told apart from human writing"
    return f"{said}: {share} (p = {p_value:.4f}, flagged where p <= {alpha})."


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
    console.print(
        f"\n[bold]{name}[/bold]  {len(text):,} characters, {len(result['segments'])} segments", highlight=False
    )
    line = Text(result["label"].upper(), style=f"bold {COLOURS.get(result['label'], 'white')}")
    console.print(Text("  ") + line + Text("  " + verdict_sentence(result)))
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


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.cli.demo", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="text files (default: the examples)")
    parser.add_argument("--model", default=str(ROOT / "checkpoints" / "mvh-mini-en"))
    parser.add_argument("--alpha", type=float, default=None)
    args = parser.parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1" if Path(args.model).is_dir() else "0")
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    files = args.files or sorted((ROOT / "examples").glob("*.txt"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    detect = pipeline("mvh-detect", model=args.model, trust_remote_code=True)
    options = {} if args.alpha is None else {"alpha": args.alpha}
    console = Console(width=None if os.isatty(1) else 120)
    for path, text, result in zip(files, texts, detect(texts, **options), strict=True):
        if "error" in result:
            console.print(f"\n[bold]{path.name}[/bold]  {result['error']['type']}: {result['error']['message']}")
        else:
            show(console, path.name, text, result)
    console.print("\nA flag is no proof: it says how rare such a score is among the human texts of the calibration.")


if __name__ == "__main__":
    main()
