"""How a benchmark measures: variants in interleaved rounds, medians with their spread, the machine beside them.

Times of a shared machine swing several-fold within minutes, so variants take turns (each once per round, in an order that
rotates), and what is reported are medians and ratios of medians of the same rounds.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mvh.export import provenance
from mvh.packed_mvh import can_pack, pack, product
from mvh.placing import place_report

PATIENCE = 30.0  # seconds; longer waits are announced
MATRIX = 2048  # side of the matrices whose product is the peak
QUICK = "**A quick run: it shows that the code runs, and no figure of it means anything.**"


def interleave(variants: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Run each variant once per round after one round that does not count; on standard error stands how long it takes.

    Args:
        variants: What to time, by name.
        rounds: Rounds that count, at least 1.

    Returns:
        Seconds of each round, by name.
    """
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        shift = turn % len(names)
        start = time.perf_counter()
        for name in names[shift:] + names[:shift]:
            begin = time.perf_counter()
            variants[name]()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
        left = (time.perf_counter() - start) * (rounds - turn)
        if left > PATIENCE:
            sys.stderr.write(f"Round {turn} of {rounds}: about {left / 60:.0f} minutes to go.\n")
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}


def multiply(dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """One product of two square matrices of MATRIX rows, 2 MATRIX^3 floating-point operations, the quicker way here.

    PyTorch has two: `mm`, which takes MKL's product for float32, and oneDNN's with packed weights.
    """
    a, b = (torch.randn(MATRIX, MATRIX, generator=torch.Generator().manual_seed(i)).to(dtype) for i in (0, 1))
    ways: dict[str, Callable[[], torch.Tensor]] = {"mm": lambda: torch.mm(a, b)}
    if can_pack(dtype):
        packed = pack(b.T, dtype)
        ways["packed"] = lambda: product(a, packed, None)
    seconds = interleave(ways, 3)
    return ways[min(ways, key=lambda way: min(seconds[way]))]


def peak(seconds: list[float]) -> float:
    """FLOP/s of `multiply` in its best round."""
    return 2 * MATRIX**3 / min(seconds)


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions and commit."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    capability = torch.backends.cpu.get_cpu_capability()
    return {"processor": name, "capability": capability, "cores": os.cpu_count(), "load_before": load, **provenance()}


def heading(title: str, report: Mapping[str, Any]) -> list[str]:
    """First lines of a page: the command, the machine, and whether the run was a quick one."""
    about = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [f"# {title}", "", f"`{report['command']}`", ""]
    lines += [
        f"{about['processor']}, {about['cores']} cores, {about['threads']} threads, {about['capability']}, load "
        f"{about['load_before']} before the run; {versions}; commit {(about['commit'] or 'unknown')[:12]}"
        f"{' with changes beyond it' if about['uncommitted_changes'] else ''}.",
        "",
    ]
    return lines + ([QUICK, ""] if report["quick"] else [])


def write(report: Mapping[str, Any], page: list[str], out: Path | None) -> None:
    """Print the page; with `out` write the report there and the page beside it, as .md."""
    text = "\n".join(page).rstrip() + "\n"
    sys.stdout.write(text)
    if out is not None:
        place_report(out, report, text)
