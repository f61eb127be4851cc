"""Detection throughput: documents through what a user would write today, its improvements, ONNX Runtime, and mvh.

    python -m mvh.benchmarks.detect --model checkpoints/mvh-mini-en --out results/speed_detect.json [--quick]

Two sets of documents: mixed lengths (50 to 20,000 words, even on a logarithmic scale) and long ones only. Variants take
turns in rounds. Reported: seconds (median and spread), documents per second, how many times as fast as the first variant
(ratio of medians), how often the label is that of mvh in float32, and for mvh the share of the matrix-multiply peak of
the same number type measured in the same rounds: useful arithmetic, padding and everything but the model's products not
counted, over the time of the whole call. `--shape mdeberta` measures a model of mDeBERTa-v3-base's shape with random
weights and the tokenizer of --model, whose labels mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DebertaV2Config

from mvh.benchmarks.measuring import heading, interleave, machine, multiply, peak, spread, write
from mvh.benchmarks.rivals import missing_for_onnx, onnx, stock
from mvh.benchmarks.samples import document, mixed, read_sentences
from mvh.benchmarks.work import useful_work, work_per_length
from mvh.configuration_mvh import MvhConfig
from mvh.detector import SHIPPED
from mvh.experiments.decision_page import table
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.precision_mvh import has_bfloat16
from mvh.references_mvh import Document
from mvh.results_mvh import settings_of
from mvh.scripts_mvh import dominant_script
from mvh.voting_mvh import decide

FIRST = "stock pipeline"
EXACT, FAST = "mvh float32", "mvh bfloat16"
MDEBERTA = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256, "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0, "max_position_embeddings": 512,
    "max_relative_positions": -1,
}  # fmt: skip


def load(folder: Path, shape: str | None) -> MvhDetectPipeline:
    """The detector under today's code; with a shape, a random model of that shape that reads with its tokenizer."""
    model, tokenizer = open_folder(folder)
    if shape == "mdeberta":
        torch.manual_seed(0)
        backbone = DebertaV2Config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **MDEBERTA)
        model = MvhForSequenceClassification(MvhConfig(backbone_config=backbone, name="mdeberta-shape")).eval()
    return MvhDetectPipeline(model=model, tokenizer=tokenizer, device="cpu")


def label_of(detect: MvhDetectPipeline, text: str, margins: np.ndarray) -> int | None:
    """The verdict on margins (m,) that some way of scoring gave a text: 0, 1, or None where it is uncertain."""
    config = detect.model.config
    tokens = sum(segment.core_tokens for segment in detect.segments(text))
    counts = np.full(len(margins), config.core_tokens)  # (m,)
    counts[-1] = np.clip(tokens - counts[:-1].sum(), 1, config.core_tokens)
    settings = settings_of(config, detect.calibration_id is not None, {})
    return decide(Document(margins, counts, dominant_script(text)), detect.calibration, **settings)["label"]


def mvh_margins(detect: MvhDetectPipeline, texts: Sequence[str], precision: str) -> list[np.ndarray]:
    """The margins (m,) of each text's segments by mvh."""
    return [item[0].margins for item in detect.margins(texts, precision=precision) if not isinstance(item, Exception)]


def variants(detect: MvhDetectPipeline, folder: Path) -> tuple[dict[str, Callable[..., Any]], list[str]]:
    """Ways of scoring texts, by name, the plainest first; and what is missing here, in sentences."""
    ways: dict[str, Callable[..., Any]] = {
        FIRST: stock(detect, by_length=False),
        "stock pipeline, sorted by length": stock(detect, by_length=True),
    }
    missing = []
    if absent := missing_for_onnx():
        missing.append(f"ONNX Runtime was not measured: {', '.join(absent)} not installed.")
    else:
        try:
            ways["ONNX Runtime float32"] = onnx(detect, folder, int8=False)
            ways["ONNX Runtime int8"] = onnx(detect, folder, int8=True)
        except Exception as error:  # the exporter raises errors of its own many kinds
            missing.append(f"ONNX Runtime was not measured: the export failed ({type(error).__name__}: {error}).")
    ways[EXACT] = lambda texts: mvh_margins(detect, texts, "float32")
    if has_bfloat16("cpu"):
        ways[FAST] = lambda texts: mvh_margins(detect, texts, "bfloat16")
    else:
        missing.append("bfloat16 was not measured: this processor does not compute in it.")
    return ways, missing


def measure(
    detect: MvhDetectPipeline, ways: dict[str, Callable[..., Any]], texts: Sequence[str], rounds: int
) -> list[dict[str, Any]]:
    """A row for each way on these texts."""
    peaks = {EXACT: ("peak float32", torch.float32), FAST: ("peak bfloat16", torch.bfloat16)}
    tasks: dict[str, Callable[[], Any]] = {}
    for name, way in ways.items():
        tasks[name] = partial(way, texts)
        if name in peaks:
            tasks[peaks[name][0]] = multiply(peaks[name][1])
    seconds = interleave(tasks, rounds)
    lengths = [item["input_ids"].shape[1] for text in texts for item in detect.preprocess(text)]
    useful = useful_work(work_per_length(detect.model), lengths)
    labels = {
        name: [label_of(detect, *pair) for pair in zip(texts, way(texts), strict=True)] for name, way in ways.items()
    }
    rows = []
    for name in ways:
        took = spread(seconds[name])
        row = {"way": name, "seconds": took, "documents_per_second": len(texts) / took["median"]}
        row["times_as_fast"] = spread(seconds[FIRST])["median"] / took["median"]
        row["same_label"] = float(np.mean([a == b for a, b in zip(labels[name], labels[EXACT], strict=True)]))
        if name in peaks:
            row["peak_gflops"] = peak(seconds[peaks[name][0]]) / 1e9
            row["share_of_peak"] = useful / took["median"] / peak(seconds[peaks[name][0]])
        rows.append(row)
    return rows


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("Detection throughput", report)
    lines += [f"Model {report['model']}, {report['rounds']} rounds.", ""]
    heads = [
        "way",
        "s, median (least to most)",
        "documents/s",
        "times as fast",
        "same label",
        "peak GFLOP/s",
        "share of it",
    ]
    for name, part in report["sets"].items():
        lines += [f"## {name}: {part['documents']} documents, {part['words']:,} words", ""]
        cells = []
        for row in part["rows"]:
            took = row["seconds"]
            cells.append([row["way"], f"{took['median']:.2f} ({took['least']:.2f} to {took['most']:.2f})",
                          row["documents_per_second"], row["times_as_fast"], row["same_label"],
                          row.get("peak_gflops"), row.get("share_of_peak")])  # fmt: skip
        lines += table(heads, cells)
    return lines + [f"- {sentence}" for sentence in report["missing"]]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the page and write it where --out says."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.benchmarks.detect", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint folder (default: the shipped one)")
    parser.add_argument(
        "--shape", choices=("mdeberta",), help="a random model of this shape in place of the checkpoint's"
    )
    parser.add_argument("--texts", type=Path, help='JSONL whose "text" fields the documents are made of')
    parser.add_argument("--documents", type=int, default=24, help="in the mixed set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a few short documents in one round")
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    count, longest, rounds = (4, 400, 1) if args.quick else (args.documents, 20_000, args.rounds)

    about, sentences = machine(), read_sentences(args.texts)
    sets = {
        "mixed": mixed(sentences, count, 50, longest),
        "long": [document(sentences, longest, seed) for seed in range(1 if args.quick else 4)],
    }
    report: dict[str, Any] = {
        "command": " ".join(["python -m mvh.benchmarks.detect", *(sys.argv[1:] if argv is None else argv)]),
        "quick": args.quick,
        "machine": about,
        "model": args.shape or args.model.name,
        "rounds": rounds,
        "sets": {},
    }
    detect = load(args.model, args.shape)
    with tempfile.TemporaryDirectory() as folder:
        ways, report["missing"] = variants(detect, Path(folder))
        for name, texts in sets.items():
            words = sum(len(text.split()) for text in texts)
            rows = measure(detect, ways, texts, rounds)
            report["sets"][name] = {"documents": len(texts), "words": words, "rows": rows}
    write(report, page(report), args.out)
    return report


if __name__ == "__main__":
    main()
