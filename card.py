"""Checkpoint folder + figures -> its model card: README.md from the template model_card.md, nothing left half filled.

    python -m mvh.card checkpoints/mvh-mini-en --figures results/mvh-mini-en/card.json

The figures file is JSON with "language", "base_model", "training" (words), "summary" (words) and "tables": a list of
{"title", "command", "commit", "markdown"}, and "calibration" (its id) where the figures hold for one calibration only:
they leave the card when the detector is calibrated anew. What is not known is left out, never shown as an empty field.
The figures stay in the folder as figures.json, so that a later calibration or publication writes them again.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from mvh.calibration_mvh import POOLED, decode_calibration
from mvh.pvalues_mvh import false_alarm_interval

TEMPLATE = Path(__file__).resolve().parent / "model_card.md"
REQUIREMENTS = ("torch", "transformers", "safetensors", "numpy", "scipy", "statsmodels")


def write_card(folder: Path, figures: dict[str, Any] | None = None) -> None:
    """Write README.md, figures.json and requirements.txt into a checkpoint folder.

    Args:
        folder: A folder with config.json.
        figures: See the module's docstring; those already in the folder if None.
    """
    known = folder / "figures.json"
    if figures is None:
        figures = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
    known.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    current = (config["calibration"] or {}).get("id")
    tables = [
        t for t in figures.get("tables", []) if t.get("calibration", current) == current
    ]  # no rates of another one
    figures = {**figures, "tables": tables}
    labels = [config["id2label"][key] for key in ("0", "1")]
    origin = labels == ["human", "machine"]  # else another task in the same words
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="text-classification",
        language=figures.get("language"),
        tags=["custom_code", "mvh", *(["machine-generated-text-detection"] if origin else [])],
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        config=config,
        labels=labels,
        origin=origin,
        figures=figures,
        calibration=calibration_facts(config),
    )
    (folder / "README.md").write_text(str(card).rstrip() + "\n", encoding="utf-8")
    lines = [f"{name}>={'.'.join(version(name).split('+')[0].split('.')[:2])}" for name in REQUIREMENTS]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def calibration_facts(config: dict[str, Any]) -> dict[str, Any] | None:
    """What the card says of the calibration: documents, statistic, limits, and a row per group."""
    if not config["calibration"]:
        return None
    calibration, alpha = decode_calibration(config["calibration"]), config["alpha"]
    rows = [(group.name, calibration.document[index].documents) for index, group in enumerate(calibration.groups)]
    if n := calibration.document[POOLED].documents:
        rows.append(("other scripts" if calibration.groups else "all", n))
    return {
        "segment_documents": calibration.segment_documents,
        "documents": calibration.documents,
        "statistic": calibration.statistic.replace("_", " "),
        "tellable_tokens": calibration.tellable_tokens,
        "shortest_tokens": calibration.shortest_tokens,
        "longest_tokens": calibration.longest_tokens,
        "scripts": ", ".join(sorted(calibration.scripts)),
        "groups": [(name, n, *false_alarm_interval(n, alpha)) for name, n in rows],
    }


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.card", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--figures", type=Path)
    args = parser.parse_args(argv)
    write_card(args.checkpoint, json.loads(args.figures.read_text(encoding="utf-8")) if args.figures else None)


if __name__ == "__main__":
    main()
