"""One training step of a model of true size with random weights, and what an epoch is worth by arithmetic.

    python -m mvh.benchmarks.train --shape mdeberta-base --out results/speed_train_steps.json

Steps of BATCH segments of TOKENS tokens: forward, backward and AdamW. They share one model and take turns. The arithmetic
counts matrix products (work.py) once for a forward pass and twice more for a backward pass; DeBERTa's position products are
counted for every segment, although a batch shares those of the table, so the share of peak is an upper bound there.

Memory is what tensors take: weights and AdamW's moments, held all the time, and what a step allocates beside them at its peak
(allocated.py). On a GPU the same tensors are made; its libraries and the scratch space of its kernels come on top.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from transformers import DebertaV2Config

from mvh.benchmarks.allocated import peak_allocated
from mvh.benchmarks.detect import MDEBERTA
from mvh.benchmarks.measuring import heading, interleave, multiply, peak, spread
from mvh.benchmarks.work import useful_work, work_per_length
from mvh.configuration_mvh import MvhConfig
from mvh.experiments.decision_page import table
from mvh.frozen import looked_up, pooled_vectors
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.pooling_mvh import pooled_width
from mvh.precision_mvh import has_bfloat16

SHAPES: dict[str, dict[str, Any]] = {
    "mdeberta-base": MDEBERTA | {"vocab_size": 251_000},
    "deberta-base": MDEBERTA | {"vocab_size": 128_100},
}
BATCH, TOKENS = 16, 306  # a core of 256 tokens with 50 of context
SEMEVAL = 119_757  # texts of SemEval-2024 task 8, subtask A, monolingual training file
PLAIN, DROPOUT = "all weights, float32, dropout 0.1", "all weights, dropout 0.1"
FULL, NO_TABLE = "all weights, no dropout", "word embeddings frozen, no dropout"
FROZEN, VECTORS, HEAD = (
    "encoder frozen, run at every step",
    "encoder frozen, its vectors made once",
    "head on kept vectors",
)
TRAINED = {PLAIN: "all", DROPOUT: "all", FULL: "all", NO_TABLE: "all but the table", FROZEN: "head", HEAD: "head"}


def random_model(shape: str) -> MvhForSequenceClassification:
    """A detector of this shape with random weights."""
    torch.manual_seed(0)
    return MvhForSequenceClassification(MvhConfig(backbone_config=DebertaV2Config(**SHAPES[shape]), name=shape))


def tasks(
    model: MvhForSequenceClassification, batch: int, tokens: int, optimizers: dict[str, torch.optim.Optimizer]
) -> dict[str, Callable[[], Any]]:
    """Steps by name; those after the first compute in bfloat16 where the machine does.

    Their optimizers come into `optimizers` at the first step of each, as their state does, by what they train (TRAINED).
    """
    size = model.config.backbone_config.vocab_size
    ids = torch.randint(5, size, (batch, tokens), generator=torch.Generator().manual_seed(0))  # (B, T)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    labels = torch.arange(batch) % 2  # (B,)
    rows = {"input_ids": torch.arange(batch)[:, None], "attention_mask": torch.ones(batch, 1, dtype=torch.long)}
    vectors = torch.randn(batch, pooled_width(model.config.pooling, model.config.backbone_config))  # (B, P)

    def step(name: str, dropout: float = 0.0, kept: bool = False) -> None:
        for module in model.encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        which = TRAINED[name]
        model.freeze_encoder(which == "head")
        if which != "head":
            model.get_input_embeddings().requires_grad_(which == "all")
        model.train()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if which not in optimizers:
            optimizers[which] = torch.optim.AdamW(trained, lr=1e-6, fused=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=name != PLAIN and has_bfloat16("cpu")):
            if kept:
                with looked_up(model, vectors):
                    loss = model(**rows, labels=labels).loss
            else:
                loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizers[which].step()
        model.zero_grad(set_to_none=True)

    def encode() -> None:
        model.freeze_encoder(True)
        model.eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16("cpu")):
            pooled_vectors(model, inputs)

    return {
        PLAIN: lambda: step(PLAIN, dropout=0.1),
        DROPOUT: lambda: step(DROPOUT, dropout=0.1),
        FULL: lambda: step(FULL),
        NO_TABLE: lambda: step(NO_TABLE),
        FROZEN: lambda: step(FROZEN),
        VECTORS: encode,
        HEAD: lambda: step(HEAD, kept=True),
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of each kind of step, its arithmetic, and what follows for an epoch; `args` as in train.py."""
    batch, tokens, rounds = (2, 64, 1) if args.quick else (BATCH, TOKENS, args.rounds)
    model = random_model(args.shape)
    forward = batch * useful_work(work_per_length(model.eval()), [tokens])
    work = dict.fromkeys((PLAIN, DROPOUT, FULL, NO_TABLE), 3 * forward) | {
        FROZEN: forward,
        VECTORS: forward,
        HEAD: None,
    }
    optimizers: dict[str, torch.optim.Optimizer] = {}
    steps = tasks(model, batch, tokens, optimizers)
    peaks = {"float32": multiply(torch.float32), "bfloat16": multiply(torch.bfloat16)}
    seconds = interleave(steps | peaks, rounds)
    rows = []
    for name in steps:
        dtype = "bfloat16" if name != PLAIN and has_bfloat16("cpu") else "float32"
        took, flops = spread(seconds[name]), work[name]
        row = {"step": name, "dtype": dtype, "seconds": took, "gflop": flops and flops / 1e9}
        row["share_of_peak"] = flops and flops / took["median"] / peak(seconds[dtype])
        row["held_bytes"] = size(model.parameters()) + (moments(optimizers[TRAINED[name]]) if name in TRAINED else 0)
        row["peak_bytes"] = row["held_bytes"] + peak_allocated(steps[name])
        rows.append(row)
    weights = sum(parameter.numel() for parameter in model.parameters())
    report = {"shape": args.shape, "batch": batch, "tokens": tokens, "rounds": rounds, "rows": rows, "weights": weights}
    report["embeddings"] = model.get_input_embeddings().weight.numel()
    return report | {"epoch": args.segments_per_text and epoch(rows, batch, args.segments_per_text)}


def size(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of these tensors."""
    return sum(tensor.nbytes for tensor in tensors)


def moments(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of what an optimizer keeps between its steps."""
    return size(part for state in optimizer.state.values() for part in state.values() if torch.is_tensor(part))


def epoch(rows: list[dict[str, Any]], batch: int, segments_per_text: float) -> dict[str, Any]:
    """Hours and FLOPs of an epoch over SemEval's English texts, every segment counted as full."""
    segments = math.ceil(SEMEVAL * segments_per_text)
    count = math.ceil(segments / batch)
    hours = {row["step"]: count * row["seconds"]["median"] / 3600 for row in rows}
    flops = {row["step"]: row["gflop"] and count * row["gflop"] * 1e9 for row in rows}
    return {"segments_per_text": segments_per_text, "segments": segments, "steps": count, "hours": hours, "flop": flops}


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("A training step at true size", report)
    lines += [
        f"Shape {report['shape']}, random weights: {report['weights']:,} weights, {report['embeddings']:,} of them word "
        f"embeddings. {report['batch']} segments of {report['tokens']} tokens, {report['rounds']} rounds.",
        "",
    ]
    cells = []
    for row in report["rows"]:
        took = row["seconds"]
        cells.append([row["step"], row["dtype"], f"{took['median']:.2f} ({took['least']:.2f} to {took['most']:.2f})",
                      row["gflop"] and round(row["gflop"]), row["share_of_peak"],
                      f"{row['held_bytes'] / 1e9:.1f}", f"{row['peak_bytes'] / 1e9:.1f}"])  # fmt: skip
    head = ["step", "dtype", "s, median (least to most)", "GFLOP", "share of peak", "held, GB", "at the peak, GB"]
    lines += table(head, cells)
    if whole := report["epoch"]:
        lines += [
            "## An epoch of SemEval's English training texts, by arithmetic", "",
            f"{SEMEVAL:,} texts x {whole['segments_per_text']:g} segments = {whole['segments']:,} segments = "
            f"{whole['steps']:,} steps of {report['batch']}, every segment counted as full; hours = steps x seconds / 3600 on "
            "this machine. Not run. On another machine: FLOP / (peak FLOP/s x the share of it that a run reaches there).", "",
        ]  # fmt: skip
        flops = whole["flop"]
        cells = [[name, f"{hours:.1f}", flops[name] and f"{flops[name]:.2e}"] for name, hours in whole["hours"].items()]
        lines += table(["all steps of an epoch", "hours here", "FLOP"], cells)
    return lines
