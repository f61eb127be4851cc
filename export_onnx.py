"""A detector's model as an ONNX file, with all that `mvh.light` needs to judge by it without PyTorch.

    python -m mvh.export_onnx checkpoints/mvh-mini-en light/

The folder holds model.onnx (float32), tokenizer.json and light.json. Before it appears under its name, the export judges
SAMPLES beside the detector it was made of; scores further apart than TOLERANCE end in an error and leave no folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch

from mvh.ensemble_mvh import MvhEnsembleForSequenceClassification
from mvh.light import ABOUT, FORMAT, LEAST, MODEL, TOKENIZER, file_hash, load_light
from mvh.opening import first_line, open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.placing import refuse_existing, unfinished_folder

SPECIAL_TOKENS = 4  # around a segment at most
TOLERANCE = 1e-3  # between margins, which are differences of logits
SAMPLES = (
    "Short.",
    "The committee met on Tuesday and, after a long debate, sent the budget back to the treasurer. " * 30,
    "Ein kurzer Text, с русскими словами, 和中文 — and a [SEP] or </s> that is only text.",
    "A page of runes beside its words: " + "ᚠᚢᚦᚨᚱᚲᚷᚹᚺᚾᛁᛃᛇᛈᛉᛊ " * 20,  # unknown to most tokenizers
)


class Logits(torch.nn.Module):
    """A model as a function of tensors alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, characters: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, T), (B, T) and, where the model counts their n-grams, (B, L) -> (B, 2)."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask, characters=characters).logits


def export_model(model: Any, file: Path) -> None:
    """Write a model as ONNX, batch and length free.

    Args:
        model: A detector's, in eval mode from here on.
        file: To write; its folder is there.

    Raises:
        ImportError: If the packages that export are not installed.
    """
    longest = model.config.core_tokens + model.config.context_tokens + SPECIAL_TOKENS
    batch = torch.export.Dim("batch", min=1, max=1024)
    tokens, letters = torch.export.Dim("tokens", min=LEAST, max=longest), torch.export.Dim("characters", min=LEAST)
    shapes = {"input_ids": {0: batch, 1: tokens}, "attention_mask": {0: batch, 1: tokens}}
    examples = {name: torch.ones(2, 16, dtype=torch.long) for name in shapes}
    if model.config.character_bag:
        shapes["characters"] = {0: batch, 1: letters}
        examples["characters"] = torch.ones(2, 24, dtype=torch.long)  # 16 would tie the two lengths together
    with catch_warnings():
        simplefilter("ignore")  # the exporter's own about names of axes
        torch.onnx.export(
            Logits(model).eval(),
            tuple(examples.values()),
            file,
            input_names=list(shapes),
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def export(checkpoint: Path, out: Path) -> float:
    """Make the folder `out` of a checkpoint; the largest difference of margins that was found.

    Raises:
        ValueError: If the detector is an ensemble or has handcrafted features, or its export judges otherwise.
        FileExistsError: If `out` is there.
    """
    refuse_existing(out)
    model, tokenizer = open_folder(checkpoint)
    if isinstance(model, MvhEnsembleForSequenceClassification):
        raise ValueError(f"{checkpoint} is an ensemble, and an ONNX export holds one model: export its members.")
    if model.config.feature_names:
        raise ValueError(
            f"{checkpoint} joins {len(model.config.feature_names)} handcrafted features, which an ONNX export cannot take."
        )
    detect = MvhDetectPipeline(model=model, tokenizer=tokenizer, device="cpu")
    with unfinished_folder(out, refuse_existing) as part:
        try:
            export_model(model, part / MODEL)
        except ImportError:
            raise
        except Exception as error:  # of many kinds, and long
            raise ValueError(f"PyTorch cannot export {checkpoint}: {first_line(error)}") from error
        reader = detect.members[0].tokenizer
        reader.backend_tokenizer.save(str(part / TOKENIZER))
        about = {
            "format": FORMAT,
            "weights": detect.fingerprint,
            "pad_token_id": detect.members[0].pad_id,
            "unk_token_id": detect.members[0].tokenizer.unk_token_id,
            "sha256": {name: file_hash(part / name) for name in (MODEL, TOKENIZER)},
            "config": json.loads(model.config.to_json_string(use_diff=False)),
        }
        (part / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        apart = difference(detect, load_light(part))
        if not apart <= TOLERANCE:
            raise ValueError(
                f"The export's margins are up to {apart:.2g} away from the detector's; {TOLERANCE:g} is allowed."
            )
    return apart


def difference(detect: Any, light: Any) -> float:
    """Largest difference between the margins of two detectors on SAMPLES; infinite where segments or doubts differ."""
    largest = 0.0
    for mine, other in zip(detect(list(SAMPLES), precision="float32"), light(list(SAMPLES)), strict=True):
        spans = [[(s["start"], s["end"]) for s in result["segments"]] for result in (mine, other)]
        if spans[0] != spans[1] or mine.get("doubts") != other.get("doubts"):
            return float("inf")
        margins = [np.array([s["margin"] for s in result["segments"]]) for result in (mine, other)]
        largest = max(largest, float(np.abs(margins[0] - margins[1]).max()))
    return largest


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m mvh.export_onnx", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument("out", type=Path, help="folder to make")
    args = parser.parse_args(argv)
    try:
        apart = export(args.checkpoint, args.out)
    except ImportError as error:
        sys.stderr.write(f"An export needs onnx and onnxscript: pip install 'mvh[onnx]' ({error}).\n")
        return 1
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{first_line(error)}\n")
        return 1
    sys.stdout.write(f"{args.out} judges as {args.checkpoint} does: margins differ by at most {apart:.1g}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
