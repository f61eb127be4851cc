"""One training step of a model of true size with random weights, and what an epoch is worth by arithmetic.

    python -m mvh.benchmarks.train --shape mdeberta-base --out results/speed_train_steps.json

Steps of BATCH segments of TOKENS tokens: forward, backward and AdamW. They share one model and take turns. The arithmetic
counts matrix products (work.py) once for a forward pass and twice more for a backward pass; DeBERTa's position products are
counted for every segment, although a batch shares those of the table, so the share of peak is an upper bound there.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import DebertaV2Config

from mvh.benchmarks.detect import MDEBERTA
from mvh.benchmarks.measuring import heading, interleave, multiply, peak, spread
from mvh.benchmarks.work import useful_work, work_per_length
from mvh.configuration_mvh import MvhConfig
from mvh.experiments.decision_page import table
from mvh.frozen import looked_up, pooled_vectors
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.pooling_mvh import pooled_width
from mvh.precision_mvh import has_bfloat16

SHAPES: dict[str, dict[str, Any]] = {"mdeberta-base": MDEBERTA | {"vocab_size": 251_000}}
BATCH, TOKENS = 16, 306  # a core of 256 tokens with 50 of context
SEMEVAL = 119_757  # texts of SemEval-2024 task 8, subtask A, monolingual training file
PLAIN = "all weights, float32, dropout 0.1"
FULL, NO_TABLE = "all weights, no dropout", "word embeddings frozen, no dropout"
FROZEN, VECTORS, HEAD = (
    "encoder frozen, run at every step",
    "encoder frozen, its vectors made once",
    "head on kept vectors",
)


def random_model(shape: str) -> MvhForSequenceClassification:
    """A detector of this shape with random weights."""
    torch.manual_seed(0)
    return MvhForSequenceClassification(MvhConfig(backbone_config=DebertaV2Config(**SHAPES[shape]), name=shape))


def tasks(model: MvhForSequenceClassification, batch: int, tokens: int) -> dict[str, Callable[[], Any]]:
    """Steps by name; those after the first compute in bfloat16 where the machine does."""
    size = model.config.backbone_config.vocab_size
    ids = torch.randint(5, size, (batch, tokens), generator=torch.Generator().manual_seed(0))  # (B, T)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    labels = torch.arange(batch) % 2  # (B,)
    rows = {"input_ids": torch.arange(batch)[:, None], "attention_mask": torch.ones(batch, 1, dtype=torch.long)}
    vectors = torch.randn(batch, pooled_width(model.config.pooling, model.config.backbone_config))  # (B, P)
    optimizers: dict[str, torch.optim.Optimizer] = {}  # made at the first step of each, as their state is

    def step(name: str, frozen: bool = False, table: bool = True, dropout: float = 0.0, kept: bool = False) -> None:
        for module in model.encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        model.freeze_encoder(frozen)
        if not frozen:
            model.get_input_embeddings().requires_grad_(table)
        model.train()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        which = "head" if frozen else "all" if table else "without table"
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
        FULL: lambda: step(FULL),
        NO_TABLE: lambda: step(NO_TABLE, table=False),
        FROZEN: lambda: step(FROZEN, frozen=True),
        VECTORS: encode,
        HEAD: lambda: step(HEAD, frozen=True, kept=True),
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each kind of step, its arithmetic, and what follows for an epoch; `args` as in train.py."""
    batch, tokens, rounds = (2, 64, 1) if args.quick else (BATCH, TOKENS, args.rounds)
    model = random_model(args.shape)
    forward = batch * useful_work(work_per_length(model.eval()), [tokens])
    work = {PLAIN: 3 * forward, FULL: 3 * forward, NO_TABLE: 3 * forward, FROZEN: forward, VECTORS: forward, HEAD: None}
    steps = tasks(model, batch, tokens)
    peaks = {"float32": multiply(torch.float32), "bfloat16": multiply(torch.bfloat16)}
    seconds = interleave(steps | peaks, rounds)
    rows = []
    for name in steps:
        dtype = "bfloat16" if name != PLAIN and has_bfloat16("cpu") else "float32"
        took, flops = spread(seconds[name]), work[name]
        row = {"step": name, "dtype": dtype, "seconds": took, "gflop": flops and flops / 1e9}
        row["share_of_peak"] = flops and flops / took["median"] / peak(seconds[dtype])
        rows.append(row)
    weights = sum(parameter.numel() for parameter in model.parameters())
    report = {"shape": args.shape, "batch": batch, "tokens": tokens, "rounds": rounds, "rows": rows, "weights": weights}
    report["embeddings"] = model.get_input_embeddings().weight.numel()
    return report | {"epoch": args.segments_per_text and epoch(rows, batch, args.segments_per_text)}


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
                      row["gflop"] and round(row["gflop"]), row["share_of_peak"]])  # fmt: skip
    lines += table(["step", "dtype", "s, median (least to most)", "GFLOP", "share of peak"], cells)
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
