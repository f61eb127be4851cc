"""Does a folder that is to be published judge as its checkpoint does, on a machine that has never seen this project?

`prove` asks both about the example documents: the checkpoint here, with the code it came with, and the folder in a fresh
process (fresh.py) that finds no package, no cache, no network and no token of ours.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mvh.export import ROOT

VERDICT = ("label", "score", "margin", "p_value", "positive_share", "segments", "passages")  # what must not change
TOLERANCE = 1e-3  # of margins, probabilities and p-values: the same arithmetic on the same machine
SHORT = "This sentence is short."
SECONDS = 1800  # what the fresh process may take


def example_texts() -> list[str]:
    """The texts whose verdicts must not change: the example documents and a short one."""
    return [file.read_text(encoding="utf-8") for file in sorted((ROOT / "examples").glob("*.txt"))] + [SHORT]


def prove(checkpoint: Path, folder: Path, texts: Sequence[str]) -> None:
    """Load `folder` in a fresh process and compare its verdicts with those that `checkpoint` gives with its own code.

    Raises:
        ValueError: If it does not load there, or gives other verdicts.
    """
    there = fresh_verdicts(folder, texts)
    from transformers import pipeline

    detect: Any = pipeline("mvh-detect", model=str(checkpoint), trust_remote_code=True, device="cpu")
    for number, (before, after) in enumerate(zip(detect(list(texts)), there, strict=True), 1):
        if difference := first_difference(*({key: result.get(key) for key in VERDICT} for result in (before, after))):
            raise ValueError(
                f"The published folder judges otherwise than {checkpoint}: in example {number}, {difference}. "
                "Its code may be older than this project's: export and calibrate it anew."
            )


def fresh_verdicts(folder: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Results of a checkpoint folder in a process that can import nothing of this project; see fresh.py.

    Raises:
        ValueError: If the folder does not load or answer there.
    """
    hidden = ("PYTHONPATH", "TRANSFORMERS_CACHE", "HF_", "HUGGING_FACE_")  # beginnings of names
    with tempfile.TemporaryDirectory(prefix="mvh-fresh-") as home:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        environment |= {
            "HF_HOME": home,
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        out = Path(home) / "said.json"
        job = json.dumps({"folder": str(folder.resolve()), "texts": list(texts), "out": str(out)})
        command = [sys.executable, "-P", str(ROOT / "fresh.py")]
        try:
            done = subprocess.run(
                command,
                input=job,
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"The published folder gave no verdict in a fresh process within {SECONDS} seconds."
            ) from None
        if not out.is_file():
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise ValueError(f"The process that tried the published folder ended with status {done.returncode}: {last}")
        said = json.loads(out.read_text(encoding="utf-8"))
    if "error" in said:
        raise ValueError(f"The published folder does not work in a fresh process: {said['error']}")
    return said["results"]


def first_difference(before: Any, after: Any) -> str | None:
    """Where two results of plain JSON types differ, in words; None where they agree up to TOLERANCE."""
    old, new = dict(leaves(before)), dict(leaves(after))
    for name in {**old, **new}:
        if name not in old or name not in new:
            return f"{name} is {'new' if name in new else 'missing'}"
        numbers = isinstance(old[name], float) and isinstance(new[name], float)
        if not (math.isclose(old[name], new[name], abs_tol=TOLERANCE) if numbers else old[name] == new[name]):
            return f"{name} is {new[name]!r} instead of {old[name]!r}"
    return None


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dicts and lists with their places, such as ("segments[0].margin", 1.5)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{where}[{index}]")
    else:
        yield where, value
