"""Documents scored once by a detector and kept: every later figure is arithmetic on their segments' margins."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mvh.calibration_mvh import Document
from mvh.placing import whole_file


@dataclass(frozen=True, kw_only=True)
class Scored(Document):
    """A scored document with its label, 0 human or 1 machine, and its source."""

    label: int
    source: str


def scored_rows(checkpoint: str, cache: Path, name: str, rows: Callable[[], Iterable[dict[str, Any]]]) -> list[Scored]:
    """Documents of one file or role, from the cache or scored into it."""
    file = cache / f"{name}.jsonl"
    if not file.exists():
        from transformers import pipeline

        import mvh.pipeline_mvh  # noqa: F401  registers the task

        detect: Any = pipeline("mvh-detect", model=checkpoint, trust_remote_code=True)  # type: ignore[call-overload]
        known = list(rows())
        results = detect.margins(row["text"] for row in known)
        lines = []
        for row, result in zip(known, tqdm(results, total=len(known), desc=name), strict=True):
            if isinstance(result, Exception):
                raise ValueError(f"{name}, {row['id']}: {result}") from result
            document = result[0]
            lists = {"margins": document.margins.tolist(), "core_tokens": document.core_tokens.tolist()}
            kind = {"script": document.script, "language": document.language}
            lines.append(json.dumps({key: row[key] for key in ("id", "label", "source")} | kind | lists))
        cache.mkdir(parents=True, exist_ok=True)
        with whole_file(file, "utf-8") as kept:
            kept.write("\n".join(lines) + "\n")
    documents = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        scores = {name: np.array(row[name]) for name in ("margins", "core_tokens")}
        kind = {"script": row["script"], "language": row.get("language", "")}  # files once had none
        documents.append(Scored(**scores, **kind, label=row["label"], source=family(row["source"])))
    return documents


def family(source: str) -> str:
    """The collection of a source: what stands before the first colon, or the whole where only "zeroshot" stands there."""
    head, _, rest = source.partition(":")
    return f"{head}:{rest}" if head == "zeroshot" else head


def human(documents: Iterable[Scored]) -> list[Scored]:
    """Those labelled human."""
    return [document for document in documents if document.label == 0]


def machine(documents: Iterable[Scored]) -> list[Scored]:
    """Those labelled machine."""
    return [document for document in documents if document.label == 1]
