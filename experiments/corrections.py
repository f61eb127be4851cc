"""Which correction for the segments of one document? Errors and power of the table's and of its rivals, simulated.

    python -m mvh.experiments.corrections --out results/corrections.json [--quick]

No detector is involved: scores are Gaussian, so that the truth is known, and only mechanisms show, not the rates of a
trained model. A human segment's margin is standard normal: half of its variance is an effect of its document, and
neighbours are correlated by 0.2 beyond it. Machine passages are one run of segments that score `shift` higher.
Calibrations are packed and read as a checkpoint carries them, with as many documents as the shipped detector has (685 for
segments, 662 for documents) and mixed lengths; in a second world documents of ten segments or more score half a standard
deviation higher than others. p-values are document-weighted conformal ones. Written: FDR, share of documents with any
false flag, share of machine segments found, by document length; OUT and OUT with .md instead of .json.

Rivals: hommel (closed testing with Simes; Hommel 1988), e_bh (e-values (1 - p + p ln p) / (p ln^2 p) under BH; Vovk and
Wang 2021, Wang and Ramdas 2022), harmonic (closed testing with the harmonic mean p, Wilson 2019, which needs near
independence) and harmonic_any (the same with the factor that makes it hold under any dependence; Vovk and Wang 2020).
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from tqdm import tqdm

from mvh.calibration_mvh import Calibration, Document, decode_calibration, encode_calibration
from mvh.corrections_mvh import CORRECTIONS, adjust
from mvh.export import provenance
from mvh.placing import place_report

ALPHA = 0.05
SEGMENT_DOCUMENTS, WHOLE_DOCUMENTS = 685, 662
LENGTHS, LENGTH_SHARES = (1, 2, 3, 5, 10, 40), (0.36, 0.25, 0.15, 0.12, 0.08, 0.04)  # in segments of 256 tokens
TESTED = (3, 10, 40)
MACHINE_SHARES = (0.1, 0.3, 1.0)
SHIFTS = (2.0, 4.0)  # segment AUROC 0.92 and 0.998
DOCUMENT_SD = np.sqrt(0.5)
OVERLAP = 0.2087  # weight of the shared noise: 0.2087 / (1 + 0.2087^2) = 0.2
WORLDS = {"alike": 0.0, "long documents score higher": 0.5}
LONG = 10


def human_margins(rng: np.random.Generator, documents: int, segments: int, long_shift: float) -> np.ndarray:
    """Margins of human documents of one length, shape (documents, segments)."""
    noise = rng.normal(size=(documents, segments + 1))
    own = (noise[:, 1:] + OVERLAP * noise[:, :-1]) / np.sqrt(1 + OVERLAP**2)
    effect = rng.normal(size=(documents, 1))
    return DOCUMENT_SD * effect + np.sqrt(1 - DOCUMENT_SD**2) * own + long_shift * (segments >= LONG)


def human_documents(rng: np.random.Generator, documents: int, long_shift: float) -> list[Document]:
    """Human documents of mixed lengths."""
    return [
        Document(human_margins(rng, 1, int(m), long_shift)[0], np.full(m, 256), "latin")
        for m in rng.choice(LENGTHS, p=LENGTH_SHARES, size=documents)
    ]


def draw_calibration(rng: np.random.Generator, long_shift: float) -> Calibration:
    """A calibration as a checkpoint carries it."""
    sides = (human_documents(rng, size, long_shift) for size in (SEGMENT_DOCUMENTS, WHOLE_DOCUMENTS))
    return decode_calibration(encode_calibration(*sides, {"population": "simulated"}))


def passages(rng: np.random.Generator, documents: int, segments: int, share: float) -> np.ndarray:
    """Which segments are machine-written: one run per document, shape (documents, segments)."""
    length = 0 if share == 0 else max(1, round(share * segments))
    start = rng.integers(0, segments - length + 1, size=(documents, 1))
    position = np.arange(segments)
    return (start <= position) & (position < start + length)


def hommel(p_values: np.ndarray, alpha: float) -> np.ndarray:
    """Rejections of closed testing with Simes: p <= alpha / h, h the largest number of hypotheses that Simes keeps."""
    m, ordered = len(p_values), np.sort(p_values)
    kept = [i for i in range(1, m + 1) if (ordered[m - i :] > alpha * np.arange(1, i + 1) / i).all()]
    return p_values <= alpha / max(kept) if kept else np.ones(m, bool)


def e_bh(p_values: np.ndarray, alpha: float) -> np.ndarray:
    """BH on e-values: the k largest, for the largest k with e_(k) >= m / (alpha k)."""
    m = len(p_values)
    p = np.clip(p_values, 1e-12, 1 - 1e-9)
    e_values = (1 - p + p * np.log(p)) / (p * np.log(p) ** 2)
    order = np.argsort(-e_values, kind="stable")
    passing = np.flatnonzero(e_values[order] >= m / (alpha * np.arange(1, m + 1)))
    rejected = np.zeros(m, bool)
    rejected[order[: passing.max() + 1 if len(passing) else 0]] = True
    return rejected


@cache
def harmonic_factor(k: int) -> float:
    """What makes the harmonic mean of k p-values a p-value under any dependence (Vovk and Wang 2020, proposition 6)."""
    if k <= 2:
        return float(k)
    y = brentq(lambda y: y**2 - k * ((y + 1) * np.log(y + 1) - y), 1e-6, 1e6)
    return (y + k) ** 2 / ((y + 1) * k)


def harmonic(p_values: np.ndarray, alpha: float, factors: Sequence[float] | None = None) -> np.ndarray:
    """Closed testing with the harmonic mean: every set that holds the segment must be rejected.

    Among sets of k the hardest holds the segment and the largest of the other p-values.
    """
    m = len(p_values)
    inverse = 1.0 / p_values  # (m,)
    order = np.argsort(-p_values, kind="stable")
    place = np.empty(m, int)
    place[order] = np.arange(m)  # 0 for the largest p-value
    sums = np.concatenate([[0.0], np.cumsum(inverse[order])])  # (m + 1,): of the k largest p-values
    rejected = np.ones(m, bool)
    for k in range(1, m + 1):
        total = np.where(place < k, sums[k], sums[k - 1] + inverse)  # (m,)
        rejected &= k / total <= alpha / (factors[k - 1] if factors else 1.0)
    return rejected


def harmonic_any(p_values: np.ndarray, alpha: float) -> np.ndarray:
    """`harmonic` under any dependence."""
    return harmonic(p_values, alpha, [harmonic_factor(k) for k in range(1, len(p_values) + 1)])


RIVALS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "hommel": hommel,
    "e_bh": e_bh,
    "harmonic": harmonic,
    "harmonic_any": harmonic_any,
}
METHODS = (*CORRECTIONS, *RIVALS)


def reject(p_values: np.ndarray, method: str, human_simes: np.ndarray) -> np.ndarray:
    """Rejections at ALPHA of one document's segments, shape (m,)."""
    if method in RIVALS:
        return RIVALS[method](p_values, ALPHA)
    return adjust(p_values, method, human_simes) <= ALPHA


def cell(p_values: np.ndarray, machine: np.ndarray, human_simes: np.ndarray) -> dict[str, dict[str, float]]:
    """Means over the documents of one cell, by method: any false flag, FDR, and power and passages found if any."""
    figures = {}
    for method in METHODS:
        rejected = np.array([reject(row, method, human_simes) for row in p_values])  # (documents, m)
        false, true = (rejected & ~machine).sum(axis=1), (rejected & machine).sum(axis=1)
        figures[method] = {"any_false": (false > 0).mean(), "fdr": (false / np.maximum(false + true, 1)).mean()}
        if machine.any():
            figures[method] |= {"power": true.sum() / machine.sum(), "found": (true > 0).mean()}
    return figures


def draw(rng: np.random.Generator, long_shift: float, documents: int) -> dict[tuple[int, float, float], Any]:
    """One calibration and its cells, by length (0: mixed), machine share and shift."""
    calibration = draw_calibration(rng, long_shift)
    cells: dict[tuple[int, float, float], Any] = {}
    settings = [(0.0, 0.0), *((share, shift) for share in MACHINE_SHARES for shift in SHIFTS)]
    for m in TESTED:
        human_simes = calibration.simes[calibration.group_of("latin", 256 * m)]
        for share, shift in settings:
            machine = passages(rng, documents, m, share)
            margins = human_margins(rng, documents, m, long_shift) + shift * machine
            flat = Document(margins.ravel(), np.full(margins.size, 256), "latin")
            cells[m, share, shift] = cell(
                calibration.segment_p_values(flat).reshape(documents, m), machine, human_simes
            )
    mixed = []
    for document in human_documents(rng, 2 * documents, long_shift):
        p_values, human_simes = calibration.segment_p_values(document), calibration.simes[_group(calibration, document)]
        mixed.append([reject(p_values, method, human_simes).any() for method in METHODS])
    cells[0, 0.0, 0.0] = {
        method: {"any_false": rate} for method, rate in zip(METHODS, np.mean(mixed, axis=0), strict=True)
    }
    return cells


def _group(calibration: Calibration, document: Document) -> int:
    return calibration.group_of(document.script, document.tokens)


def simulate(draws: int, documents: int, seed: int) -> list[dict[str, Any]]:
    """Rows of world, segments (0: mixed lengths), machine share, shift, method, and each figure's mean and error.

    Args:
        draws: Calibrations per world.
        documents: Documents per draw and cell.
        seed: Of the generator.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for world, long_shift in WORLDS.items():
        runs = [draw(rng, long_shift, documents) for _ in tqdm(range(draws), desc=world, disable=None)]
        for (m, share, shift), by_method in runs[0].items():
            for method, figures in by_method.items():
                row: dict[str, Any] = {"world": world, "segments": m, "share": share, "shift": shift, "method": method}
                for name in figures:
                    values = np.array([run[m, share, shift][method][name] for run in runs])
                    row[name] = float(values.mean())
                    row[f"{name}_error"] = float(values.std(ddof=1) / np.sqrt(draws))
                rows.append(row)
    return rows


def table(rows: list[dict[str, Any]], figure: str, columns: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown lines: one row per method, one column per cell."""
    lines = [f"| correction | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for method in METHODS:
        values = []
        for where in columns.values():
            row = next(r for r in rows if r["method"] == method and all(r[k] == v for k, v in where.items()))
            values.append(f"{row[figure]:.3f}")
        lines.append(f"| {method} | {' | '.join(values)} |")
    return [*lines, ""]


def markdown(result: dict[str, Any]) -> str:
    """The page of a result: false flags on human documents, then FDR and power by length and machine share."""
    rows, settings = result["rows"], result["settings"]
    largest = max(row["any_false_error"] for row in rows)
    lines = [
        "# Corrections over the segments of one document, simulated",
        "",
        f"`{settings['command']}`",
        "",
        f"Commit {result['provenance']['commit']}"
        + (" with changes beyond it." if result["provenance"]["uncommitted_changes"] else "."),
        "Gaussian scores, no detector: mechanisms, not rates.",
        f"{settings['draws']} calibrations per world ({SEGMENT_DOCUMENTS} documents for segments, {WHOLE_DOCUMENTS} "
        f"whole), {settings['documents']} documents per cell of each, alpha {ALPHA}.",
        f"Standard errors are at most {largest:.3f}; each is in the JSON. What the rivals are: `experiments/corrections.py`.",
        "",
    ]
    human: dict[str, dict[str, Any]] = {}
    for world in WORLDS:
        for m in (0, *TESTED):
            name = (
                f"{'mixed lengths' if m == 0 else f'{m} segments'} ({'alike' if WORLDS[world] == 0 else 'long higher'})"
            )
            human[name] = {"world": world, "segments": m, "share": 0.0}
    lines += ["## Human documents with any flag", "", *table(rows, "any_false", human)]
    for figure, words in (
        ("fdr", "FDR: share of flagged segments that are human"),
        ("power", "Machine segments found"),
    ):
        for shift in SHIFTS:
            for world in WORLDS:
                columns = {
                    f"{m} segments, {share:.0%} machine": {
                        "world": world, "segments": m, "share": share, "shift": shift
                    }
                    for m in TESTED
                    for share in MACHINE_SHARES
                    if figure == "power" or share < 1
                }  # fmt: skip
                lines += [f"## {words} (machine {shift:g} sd higher; {world})", "", *table(rows, figure, columns)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.experiments.corrections", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a .json file; the page lies beside it")
    parser.add_argument("--draws", type=int, default=120)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="3 draws: whether it runs, not what it finds")
    args = parser.parse_args(argv)
    draws = 3 if args.quick else args.draws
    begin = time.perf_counter()
    rows = simulate(draws, args.documents, args.seed)
    command = "python -m mvh.experiments.corrections " + shlex.join(sys.argv[1:] if argv is None else argv)
    result = {
        "settings": {"command": command, "alpha": ALPHA, "draws": draws, "documents": args.documents, "seed": args.seed,
                     "lengths": LENGTHS, "length_shares": LENGTH_SHARES, "seconds": round(time.perf_counter() - begin)},
        "provenance": provenance(),
        "rows": rows,
    }  # fmt: skip
    place_report(args.out, result, markdown(result))


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[func-returns-value]
