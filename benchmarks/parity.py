"""Do verdicts change on the quick paths? The same documents in float32, in bfloat16 and without any of them.

    python -m mvh.benchmarks.parity --model checkpoints/mvh-mini-en --texts human.jsonl machine.jsonl --limit 500 --keep \
        --out results/speed_parity.json
    python -m mvh.benchmarks.parity --quick

Reported: the share of documents with the same label, of segments with the same label, and the largest and mean shift of
document p-values, segment p-values and margins; of bfloat16 against float32, and of float32 against the plain path, which is
transformers' own attention and PyTorch's own products. A detector is calibrated in float32; bfloat16 may stand in for it where
at least AGREEMENT of the verdicts stay. `--keep` writes that into the checkpoint's calibration, and from then on bfloat16 is
its default where the processor has it; it needs LEAST documents of one's own, best human and machine ones of the kind that
the detector is for, and takes an older record away where too many verdicts changed. Weights, scores and the calibration's id
stay as they are; a new calibration needs a new record.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvh.attention_mvh import NAME as PLAIN_STEPS
from mvh.benchmarks.measuring import heading, machine, write
from mvh.benchmarks.samples import mixed, read_sentences
from mvh.deberta_mvh import FastDisentangledSelfAttention
from mvh.experiments.decision_page import table
from mvh.identity_mvh import AGREEMENT
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.mpnet_mvh import FastMPNetEncoder, FastMPNetSelfAttention
from mvh.opening import open_folder, read_config
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.placing import whole_file
from mvh.precision_mvh import has_bfloat16
from mvh.shipped import SHIPPED

LEAST = 200  # documents of a record: one verdict that changes is half a percent


def compare(exact: Sequence[dict[str, Any]], fast: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far results in one number type are from those in another, for the same texts.

    Raises:
        ValueError: If nothing could be judged.
    """
    pairs = [(a, b) for a, b in zip(exact, fast, strict=True) if "error" not in a and "error" not in b]
    if not pairs:
        raise ValueError(f"Of {len(exact)} documents none could be judged, so there is nothing to compare.")
    segments = [both for a, b in pairs for both in zip(a["segments"], b["segments"], strict=True)]
    report: dict[str, Any] = {
        "documents": len(pairs),
        "same_label": float(np.mean([a["label"] == b["label"] for a, b in pairs])),
        "segments": len(segments),
        "same_segment_label": float(np.mean([a["label"] == b["label"] for a, b in segments])),
        "shifts": {},
    }
    kinds = {
        "document p-value": [(a["p_value"], b["p_value"]) for a, b in pairs if a["p_value"] is not None],
        "segment p-value": [(a["p_value"], b["p_value"]) for a, b in segments],
        "segment margin": [(a["margin"], b["margin"]) for a, b in segments],
    }
    for name, values in kinds.items():
        if values:
            shift = np.abs(np.subtract(*np.array(values).T))
            report["shifts"][name] = {"largest": float(shift.max()), "mean": float(shift.mean())}
    report["enough"] = report["same_label"] >= AGREEMENT
    return report


def take_off_quick_paths(model: Any) -> None:
    """Let a detector's model, or each member of one, compute as transformers and PyTorch do by themselves, in place."""
    for module in model.modules():
        if isinstance(module, (FastMPNetEncoder, FastMPNetSelfAttention, FastDisentangledSelfAttention)):
            module.__class__ = type(module).__base__
        config: Any = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", None) == PLAIN_STEPS:
            config._attn_implementation = "sdpa"
        if isinstance(module, MvhForSequenceClassification):  # with a hook it has no twin of packed weights
            module.register_forward_hook(lambda module, inputs, output: None)


def read_texts(files: Sequence[Path], limit: int | None) -> list[str]:
    """The "text" fields of JSONL files, of each at most `limit`.

    Raises:
        ValueError: If a line is no object with a text.
    """
    texts: list[str] = []
    for file in files:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        for number, line in enumerate(lines[:limit], 1):
            try:
                texts.append(json.loads(line)["text"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f'{file.name} line {number} is no JSON object with a "text" ({error!r}).') from error
    return texts


def refuse_keeping(folder: Path, texts: Sequence[str]) -> None:
    """Raise a ValueError where no record can be kept: too few documents, or a checkpoint without a calibration of its own."""
    if len(set(texts)) < LEAST:
        raise ValueError(f"A record needs {LEAST} different documents by --texts, and there are {len(set(texts))}.")
    if not read_config(folder).get("calibration"):
        raise ValueError(f"{folder.name} has no calibration of its own to keep a record in; calibrate it first.")


def keep(folder: Path, report: dict[str, Any]) -> str:
    """Write a record of the report into the checkpoint's calibration, or take an older one away; a sentence says which."""
    config = read_config(folder)
    calibration = config["calibration"]
    calibration.pop("parity", None)
    if report["enough"]:
        about = report["machine"]
        calibration["parity"] = {
            **{key: report[key] for key in ("documents", "same_label", "segments", "same_segment_label", "shifts")},
            **{key: about[key] for key in ("processor", "commit")},
            "versions": {name: about["versions"][name] for name in ("mvh", "torch", "transformers")},
        }
    with whole_file(folder / "config.json", encoding="utf-8") as file:
        file.write(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    if report["enough"]:
        return f"The record is in {folder.name}/config.json: bfloat16 is its default where the processor has it."
    return f"No record was kept: too many verdicts changed, so {folder.name} stays with float32."


def shifts(report: dict[str, Any]) -> list[str]:
    """The table of shifts."""
    rows = [[name, f"{shift['largest']:.2g}", f"{shift['mean']:.2g}"] for name, shift in report["shifts"].items()]
    return table(["shift of", "largest", "mean"], rows)


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("Verdicts in bfloat16, in float32 and without quick paths", report)
    if not report["native"]:
        lines += ["This processor only imitates bfloat16: the figures hold, but it would be slow here.", ""]
    lines += [
        f"Model {report['model']}: {report['same_label']:.2%} of {report['documents']} documents have the same label "
        f"({AGREEMENT:.1%} asked for: {'yes' if report['enough'] else 'no'}), {report['same_segment_label']:.2%} of "
        f"{report['segments']} segments.",
        "",
    ]
    lines += shifts(report)
    plain = report["plain"]
    lines += [
        f"Without quick paths, in float32: {plain['same_label']:.2%} of {plain['documents']} documents have the label that "
        f"float32 has with them, {plain['same_segment_label']:.2%} of {plain['segments']} segments.",
        "",
    ]
    lines += shifts(plain)
    return [*lines, report["record"]] if "record" in report else lines


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the page and write it where --out says."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.benchmarks.parity", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint folder (default: the shipped one)")
    parser.add_argument("--texts", type=Path, nargs="*", help='JSONL files, whose "text" fields are the documents')
    parser.add_argument("--limit", type=int, help="documents of each file")
    parser.add_argument("--keep", action="store_true", help="note the result in the checkpoint's calibration")
    parser.add_argument("--quick", action="store_true", help="a few made documents")
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    try:
        texts = read_texts(args.texts or [], args.limit)
        if args.keep:
            refuse_keeping(args.model, [] if args.quick else texts)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if args.quick or not texts:
        texts = mixed(read_sentences(), 6 if args.quick else 200, 30, 300 if args.quick else 3_000)
    model, tokenizer = open_folder(args.model)
    detect = MvhDetectPipeline(model=model, tokenizer=tokenizer, device="cpu")
    exact, fast = (detect(texts, precision=precision, edges="grid") for precision in ("float32", "bfloat16"))
    take_off_quick_paths(detect.model)
    report: dict[str, Any] = {
        "command": " ".join(["python -m mvh.benchmarks.parity", *(sys.argv[1:] if argv is None else argv)]),
        "quick": args.quick,
        "machine": machine(),
        "model": args.model.name,
        "native": has_bfloat16("cpu"),
        **compare(exact, fast),
        "plain": compare(detect(texts, precision="float32", edges="grid"), exact),
    }
    if args.keep:
        report["record"] = keep(args.model, report)
    write(report, page(report), args.out)
    return report


if __name__ == "__main__":
    main()
