"""Held-out human documents -> the same checkpoint with a calibration: what its p-values are measured against.

    python -m mvh.calibrate runs/mini/model --dataset runs/data --out checkpoints/mvh-mini-en
    python -m mvh.calibrate CKPT --human my_human_texts.jsonl --out CKPT2

With `--dataset` the human documents of the roles calibration_segments and calibration_documents are used; with
`--human` (JSON Lines with a "text", and "label" 0 if there is one) a seeded half for each. A document serves one
calibration only, and must have served neither training nor any choice. The weights are copied untouched; scores,
counts, normaliser version and the weights' fingerprint go into the config.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import pipeline

import mvh.pipeline_mvh  # noqa: F401  registers the task
from mvh.calibration_mvh import encode_calibration
from mvh.card import write_card
from mvh.dataset_builder.build import fingerprint
from mvh.export import provenance, put_in_place, refuse_foreign
from mvh.normalization_mvh import normalize

logger = logging.getLogger("mvh.calibrate")


def calibrate(
    checkpoint: Path, segment_texts: list[str], document_texts: list[str], out: Path, population: str
) -> Path:
    """Write `out`, a copy of `checkpoint` whose config carries a calibration.

    Args:
        checkpoint: A detector's folder; a calibration it carries is dropped.
        segment_texts: Human documents for segment p-values.
        document_texts: Other human documents for document p-values.
        out: Folder to write; a checkpoint of that name is replaced, and never left half written.
        population: What the documents are and what they served before, in words for the card.

    Returns:
        `out`.

    Raises:
        ValueError: If a text serves both sides, there are too few documents for the checkpoint's alpha, a text cannot be
            scored, or `out` holds something else than a checkpoint.
    """
    refuse_foreign(out)
    detect = pipeline("mvh-detect", model=str(checkpoint), trust_remote_code=True)
    detect.calibration = None
    alpha = detect.model.config.alpha
    needed = int(np.ceil(1.0 / alpha)) - 1
    for side, texts in (("segment", segment_texts), ("document", document_texts)):
        if len(texts) < needed:
            raise ValueError(
                f"The {side} calibration has {len(texts)} documents; alpha {alpha} needs at least {needed}."
            )
    if shared := set(map(_key, segment_texts)) & set(map(_key, document_texts)):
        raise ValueError(f"{len(shared)} texts serve both calibrations; each document may serve one.")
    segment_results = _score(detect, segment_texts, "segment calibration")
    document_results = _score(detect, document_texts, "document calibration")
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    config["calibration"] = encode_calibration(
        [np.array([segment["margin"] for segment in result["segments"]]) for result in segment_results],
        np.array([result["margin"] for result in document_results]),
        longest_tokens=max(sum(s.core_tokens for s in detect.segments(text)) for text in document_texts),
        about={"population": population, **detect.identity(), "commit": provenance()["commit"]},
    )
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(checkpoint, part)
    (part / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_card(part)
    return put_in_place(part, out)


def human_texts(path: Path) -> list[str]:
    """Texts of a JSON Lines file of human documents.

    Raises:
        ValueError: If a line is no JSON object with a readable "text", or is labelled as anything but human.
    """
    texts = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path.name}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{place}: is no JSON ({error}).") from error
            text = row.get("text") if isinstance(row, dict) else None
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{place}: needs a JSON object with a 'text' that is not blank, got {str(row)[:60]}.")
            if row.get("label", 0) != 0:
                raise ValueError(f"{place}: a calibration takes human texts only, and the label is {row['label']!r}.")
            texts.append(text)
    return texts


def split_in_two(texts: list[str], seed: int) -> tuple[list[str], list[str]]:
    """Two halves without a common text (as `fingerprint` compares texts), whatever the order of the input."""
    distinct = {_key(text): text for text in sorted(texts)}
    ordered = [distinct[key] for key in sorted(distinct, key=lambda key: hashlib.sha256(b"%d:" % seed + key).digest())]
    return ordered[::2], ordered[1::2]


def draw(texts: list[str], most: int, seed: int) -> list[str]:
    """At most `most` of the texts, drawn by a seeded hash."""
    return sorted(texts, key=lambda text: hashlib.sha256(b"%d:" % seed + _key(text)).digest())[:most]


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.calibrate", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", type=Path, help="folder made by mvh.dataset_builder")
    source.add_argument("--human", type=Path, help="JSON Lines of human documents")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=1500, help="documents per side at most (default: 1500)")
    parser.add_argument("--seed", type=int, default=0, help="of the halves and the draw (default: 0)")
    parser.add_argument("--population", help="what the documents are, for the card")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if args.dataset:
        from datasets import load_dataset

        roles = ("calibration_segments", "calibration_documents")
        splits = [load_dataset(str(args.dataset), "documents", split=role) for role in roles]
        sides = [[row["text"] for row in split if row["label"] == 0] for split in splits]
        manifest = json.loads((args.dataset / "manifest.json").read_text(encoding="utf-8"))
        what = f"human documents of {manifest['inputs']['train_file']['file']}, used neither for training nor for any choice"
    else:
        sides = list(split_in_two(human_texts(args.human), args.seed))
        what = f"human documents of {args.human.name}, as given by whoever calibrated"
    sides = [draw(side, args.most, args.seed) for side in sides]
    out = calibrate(args.checkpoint, sides[0], sides[1], args.out, args.population or what)
    logger.info(
        f"{out}: calibrated on {len(sides[0])} documents for segments and {len(sides[1])} others for documents."
    )


def _score(detect: Any, texts: list[str], what: str) -> list[dict[str, Any]]:
    results = detect(iter(texts), vote="majority", p_values="softmax", correction="none")
    results = list(tqdm(results, total=len(texts), desc=what, unit="document"))
    failed = [result["error"]["message"] for result in results if "error" in result]
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(texts)} calibration texts cannot be scored, the first because: {failed[0]}"
        )
    return results


def _key(text: str) -> bytes:
    return fingerprint(normalize(text).text)


if __name__ == "__main__":
    main()
