"""Detection throughput: documents through what a user would write today, its improvements, other engines, and mvh.

    python -m mvh.benchmarks.detect --out results/speed_detect.json
    python -m mvh.benchmarks.detect --shape mdeberta --out results/speed_detect_mdeberta.json
    python -m mvh.benchmarks.detect --quick

Three sets of documents of 50 to 20,000 words: "everyday", many short and few long ones, as many words in each octave of
lengths; "mixed", as many documents in each, so that nearly all words are in long ones; and long ones only. Where segments
are full, nothing can be won by sorting them, only by quicker arithmetic. Variants take turns in rounds. Reported: seconds
(median and spread), documents per second, how many times as fast as the first variant (ratio of medians), how often the
label is that of mvh in float32, and the share of the matrix-multiply peak of the same number type measured in the same
rounds: useful arithmetic, padding and everything but the model's products not counted, over the time of the whole call. Where
the time of mvh goes on the long ones is told too, from one more call under PyTorch's profiler.
`--shape minilm` measures a model of MiniLM-L6's shape with random weights and the tokenizer of --model, whose labels mean
nothing, and `--shape mdeberta` one of mDeBERTa-v3-base's; its documents are shorter, and only the stock pipeline is its rival.
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
from transformers import BertConfig, DebertaV2Config, PretrainedConfig

from mvh.benchmarks.measuring import heading, interleave, machine, multiply, peak, spread, write
from mvh.benchmarks.rivals import ONNX_PACKAGES, OPENVINO_PACKAGES, Rival, missing, onnx, openvino, stock
from mvh.benchmarks.samples import document, everyday, mixed, read_sentences
from mvh.benchmarks.spending import spending
from mvh.benchmarks.work import useful_work, work_per_length
from mvh.configuration_mvh import MvhConfig
from mvh.experiments.decision_page import table
from mvh.languages_mvh import script_and_language
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.opening import first_line, open_folder
from mvh.pipeline_mvh import MvhDetectPipeline
from mvh.precision_mvh import has_bfloat16
from mvh.references_mvh import Document
from mvh.results_mvh import settings_of
from mvh.shipped import SHIPPED
from mvh.voting_mvh import decide

FIRST = "stock pipeline"
EXACT, FAST = "mvh float32", "mvh bfloat16"
FLOAT32, BFLOAT16 = "peak float32", "peak bfloat16"
PEAKS = {
    FIRST: FLOAT32, "ONNX Runtime float32": FLOAT32, "OpenVINO float32": FLOAT32, "OpenVINO bfloat16": BFLOAT16,
    EXACT: FLOAT32, FAST: BFLOAT16,
}  # fmt: skip
SIZES = {
    None: (12, 100, 1, 20_000),
    "minilm": (12, 100, 1, 20_000),
    "mdeberta": (6, 24, 1, 4_000),
}  # mixed, everyday, long documents; words of the longest
MDEBERTA = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256, "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0, "max_position_embeddings": 512,
    "max_relative_positions": -1,
}  # fmt: skip
SHAPES: dict[str, tuple[type[PretrainedConfig], dict[str, Any]]] = {
    "minilm": (
        BertConfig,
        {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    ),
    "mdeberta": (DebertaV2Config, MDEBERTA),
}  # of all-MiniLM-L6-v2 and of mDeBERTa-v3-base


def load(folder: Path, shape: str | None) -> MvhDetectPipeline:
    """The detector under today's code; with a shape, a random model of that shape that reads with its tokenizer.

    Raises:
        ValueError: If it reads more than tokens, which the other ways of scoring have no place for.
    """
    model, tokenizer = open_folder(folder)
    if shape is None and (model.config.feature_names or model.config.character_bag):
        raise ValueError(
            f"{folder} reads features or characters beside tokens, and the rivals give a model tokens alone."
        )
    if shape is not None:
        torch.manual_seed(0)
        kind, fields = SHAPES[shape]
        backbone = kind(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **fields)
        config = MvhConfig(backbone_config=backbone, name=f"{shape}-shape")
        model = MvhForSequenceClassification(config).eval()
    return MvhDetectPipeline(model=model, tokenizer=tokenizer, device="cpu")


def label_of(detect: MvhDetectPipeline, text: str, margins: np.ndarray) -> int | None:
    """The verdict on margins (m,) that some way of scoring gave a text: 0, 1, or None where it is uncertain."""
    config = detect.model.config
    tokens = sum(segment.core_tokens for segment in detect.segments(text))
    counts = np.full(len(margins), config.core_tokens)  # (m,)
    counts[-1] = np.clip(tokens - counts[:-1].sum(), 1, config.core_tokens)
    settings = settings_of(config, detect.calibration_id is not None, {})
    document = Document(margins, counts, *script_and_language(text))
    return decide(document, detect.calibration, **settings)["label"]


def mvh_margins(detect: MvhDetectPipeline, texts: Sequence[str], precision: str) -> list[np.ndarray]:
    """The margins (m,) of each text's segments by mvh."""
    return [item[0].margins for item in detect.margins(texts, precision=precision) if not isinstance(item, Exception)]


def variants(detect: MvhDetectPipeline, folder: Path, others: bool) -> tuple[dict[str, Rival], list[str]]:
    """Ways of scoring texts, by name, the plainest first; and what is missing here, in sentences.

    Args:
        detect: The detector.
        folder: Where exports go.
        others: Whether other engines than PyTorch are measured too.
    """
    ways: dict[str, Rival] = {
        FIRST: stock(detect, by_length=False),
        "stock pipeline, sorted by length": stock(detect, by_length=True),
    }
    absent = []
    engines: dict[str, tuple[Sequence[str], Callable[[], Rival]]] = {
        "ONNX Runtime float32": (ONNX_PACKAGES, lambda: onnx(detect, folder, int8=False)),
        "ONNX Runtime int8": (ONNX_PACKAGES, lambda: onnx(detect, folder, int8=True)),
        "OpenVINO float32": (OPENVINO_PACKAGES, lambda: openvino(detect, folder, "f32")),
        "OpenVINO bfloat16": (OPENVINO_PACKAGES, lambda: openvino(detect, folder, "bf16")),
    }
    for name, (packages, make) in engines.items() if others else ():
        if lacking := missing(packages):
            absent.append(f"{name} was not measured: {', '.join(lacking)} not installed.")
            continue
        try:
            ways[name] = make()
        except Exception as error:  # exporters and engines raise errors of their own many kinds
            absent.append(f"{name} was not measured: {type(error).__name__}: {first_line(error)}")
    ways[EXACT] = lambda texts: mvh_margins(detect, texts, "float32")
    if has_bfloat16("cpu"):
        ways[FAST] = lambda texts: mvh_margins(detect, texts, "bfloat16")
    else:
        absent.append("bfloat16 was not measured: this processor does not compute in it.")
    return ways, absent


def measure(
    detect: MvhDetectPipeline, ways: dict[str, Rival], texts: Sequence[str], rounds: int
) -> list[dict[str, Any]]:
    """A row for each way on these texts."""
    margins: dict[str, list[np.ndarray]] = {}

    def run(name: str) -> None:
        margins[name] = ways[name](texts)

    tasks: dict[str, Callable[[], Any]] = {name: partial(run, name) for name in ways}
    tasks[FLOAT32] = multiply(torch.float32)
    if FAST in ways:
        tasks[BFLOAT16] = multiply(torch.bfloat16)
    seconds = interleave(tasks, rounds)
    lengths = [item["input_ids"].shape[1] for text in texts for item in detect.preprocess(text)]
    useful = useful_work(work_per_length(detect.model), lengths)
    labels = {
        name: [label_of(detect, *pair) for pair in zip(texts, found, strict=True)] for name, found in margins.items()
    }
    rows = []
    for name in ways:
        took = spread(seconds[name])
        row = {"way": name, "seconds": took, "documents_per_second": len(texts) / took["median"]}
        row["times_as_fast"] = spread(seconds[FIRST])["median"] / took["median"]
        row["same_label"] = float(np.mean([a == b for a, b in zip(labels[name], labels[EXACT], strict=True)]))
        if (ceiling := PEAKS.get(name)) in seconds:
            row["peak_gflops"] = peak(seconds[ceiling]) / 1e9
            row["share_of_peak"] = useful / took["median"] / peak(seconds[ceiling])
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
    spent = report["spending"]
    lines += [f"## Where the time of {spent['way']} goes, long documents", "", "GFLOP/s with padding here.", ""]
    cells = [[row["part"], row["share"], row["gflops"], row["share_of_peak"]] for row in spent["parts"]]
    lines += table(["part", "share of the time", "GFLOP/s", "share of peak"], cells)
    return lines + [f"- {sentence}" for sentence in report["missing"]]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the page and write it where --out says."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.benchmarks.detect", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint folder (default: the shipped one)")
    parser.add_argument(
        "--shape", choices=tuple(SHAPES), help="a random model of this shape in place of the checkpoint's"
    )
    parser.add_argument("--texts", type=Path, help='JSONL whose "text" fields the documents are made of')
    parser.add_argument("--documents", type=int, help="in the mixed set (default: 12, of a shape 6)")
    parser.add_argument("--everyday", type=int, help="documents in the everyday set (default: 100, of a shape 24)")
    parser.add_argument("--long", type=int, help="documents in the long set (default: 1)")
    parser.add_argument("--longest", type=int, help="words of the longest (default: 20,000, of a shape 4,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few short documents in one round")
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    asked = (args.documents, args.everyday, args.long, args.longest)
    count, many, long, longest = (given or usual for given, usual in zip(asked, SIZES[args.shape], strict=True))
    rounds = args.rounds
    if args.quick:
        count, many, long, longest, rounds = 4, 4, 1, 400, 1

    about, sentences = machine(), read_sentences(args.texts)
    sets = {
        "everyday": everyday(sentences, many, 50, longest),
        "mixed": mixed(sentences, count, 50, longest),
        "long": [document(sentences, longest, seed) for seed in range(long)],
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
        ways, report["missing"] = variants(detect, Path(folder), others=args.shape != "mdeberta")
        for name, texts in sets.items():
            words = sum(len(text.split()) for text in texts)
            rows = measure(detect, ways, texts, rounds)
            report["sets"][name] = {"documents": len(texts), "words": words, "rows": rows}
        way = FAST if FAST in ways else EXACT
        ceiling = next(row["peak_gflops"] for row in report["sets"]["long"]["rows"] if row["way"] == way)
        parts = spending(lambda: ways[way](sets["long"]))
        shares = [None if part["gflops"] is None else part["gflops"] / ceiling for part in parts]
        parts = [part | {"share_of_peak": share} for part, share in zip(parts, shares, strict=True)]
        report["spending"] = {"way": way, "parts": parts}
    write(report, page(report), args.out)
    return report


if __name__ == "__main__":
    main()
