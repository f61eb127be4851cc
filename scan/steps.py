"""The steps of a datatrove pipeline: read a shard, score its documents, write it; and, when all are scored, keep.

    [ReadShard(folder), Score(scorer), WriteShard(folder)]      one task a shard
    [Summarise(folder)]                                         one task: decides over all documents
    [Keep(folder)]                                              one task a shard, where a filter was asked for

`Score` takes the documents of any datatrove reader, so that it fits into pipelines of your own. Steps hold paths and
options only: they pickle in a few bytes, and the detector is loaded in the worker, once per process.

datatrove marks a task as done after its file is whole; a worker killed in between writes the same file again.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from mvh.scan.decide import Counts, is_flagged, read_counts, together
from mvh.scan.page import write_page
from mvh.scan.plan import Plan, read_plan
from mvh.scan.scorer import COLUMNS, PREFIX, Scorer
from mvh.scan.shards import added_schema, read_shard, shard_file, write_json

SCORED, COUNTS, STATISTICS, PAGE = "scored", "counts", "statistics.json", "index.html"
PROBLEM = "mvh_problem"  # metadata of a document that could not be read


NO_RATE = "This detector carries no calibration, so no document can be kept at a stated rate."


class ReadShard(PipelineStep):
    """The rows of the task's shard as documents; one that cannot be read has a PROBLEM and no text."""

    type, name = "📖 - READER", "rows of a shard"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """See the class."""
        plan = _plan(self.folder)
        source = plan.sources[plan.shards[rank].source].name
        for row in plan.read(rank):
            problem = {PROBLEM: f"{PurePosixPath(source).name}: {row.problem}"} if row.problem else {}
            yield Document(row.text or "", f"{source}:{row.number}", metadata={**row.content, **problem})


class Score(PipelineStep):
    """Adds `mvh_label`, `mvh_score`, `mvh_p_value` and the other COLUMNS to each document's metadata.

    Args:
        scorer: The detector and its options.
        needs_p_values: Raise a ValueError at the first document if the detector carries no calibration.
    """

    type, name = "🔎 - SCORER", "mvh"

    def __init__(self, scorer: Scorer, needs_p_values: bool = False) -> None:
        super().__init__()
        self.scorer, self.needs_p_values = scorer, needs_p_values

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """See the class."""
        waiting: deque[Document] = deque()  # documents the detector has read ahead of its results

        def texts() -> Iterator[str | None]:
            for document in data:
                waiting.append(document)
                yield None if PROBLEM in document.metadata else document.text

        for found in self.scorer.stream(texts()):
            document = waiting.popleft()
            problem = document.metadata.pop(PROBLEM, None)
            if problem:
                found["error"] = problem
            if self.needs_p_values and found["error"] is None and found["p_value"] is None:
                raise ValueError(NO_RATE)
            document.metadata |= {PREFIX + name: found[name] for name in COLUMNS}
            self.stat_update(found["label"] or "failed")
            yield document


class WriteShard(PipelineStep):
    """Writes the task's documents to OUTPUT/scored and what they amount to, to OUTPUT/counts."""

    type, name = "💽 - WRITER", "a shard, whole or not at all"

    def __init__(self, folder: Path, about: Scorer) -> None:
        super().__init__()
        self.folder, self.about = folder, about

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """See the class."""
        plan, counts, begun = _plan(self.folder), Counts(), time.monotonic()
        with shard_file(self.folder / SCORED, rank, added_schema(plan.schema(rank))) as write:
            for document in data:
                found = {name: document.metadata[PREFIX + name] for name in COLUMNS}
                counts.add(found, len(document.text), document.id)
                write(document.metadata)
                yield document
        counts.seconds, counts.model = time.monotonic() - begun, self.about.about()
        write_json(self.folder / COUNTS / f"{rank:05d}.json", counts.to_json())


class Summarise(PipelineStep):
    """Counts of all shards -> OUTPUT/statistics.json, with the decision over all documents, and OUTPUT/index.html."""

    type, name = "∑ - STATISTICS", "all documents together"

    def __init__(self, folder: Path, fdr: float, keep: str | None) -> None:
        super().__init__()
        self.folder, self.fdr, self.keep = folder, fdr, keep

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """See the class; yields nothing.

        Raises:
            ValueError: If a shard is missing, the counts do not add up, or documents are to be kept and none has a p-value.
        """
        plan = _plan(self.folder)
        counts = read_counts(self.folder / COUNTS / f"{index:05d}.json" for index in range(len(plan.shards)))
        if plan.documents is not None and plan.documents != counts.documents:
            raise ValueError(
                f"{counts.documents:,} rows were read and {plan.documents:,} were counted beforehand: the input has changed."
            )
        if self.keep and counts.scored and not sum(counts.histogram):  # scored before anything was to be kept
            raise ValueError(NO_RATE)
        report = statistics(counts, self.fdr, self.keep) | {"input": plan.settings["input"], "shards": len(plan.shards)}
        write_json(self.folder / STATISTICS, report)
        write_page(self.folder / PAGE, report)
        yield from ()


class Keep(PipelineStep):
    """Copies the kept documents of the task's shard from OUTPUT/scored; a shard of which none is kept has no file."""

    type, name = "🔻 - FILTER", "what is kept"

    def __init__(self, folder: Path, out: Path, keep: str) -> None:
        super().__init__()
        self.folder, self.out, self.keep = folder, out, keep

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """See the class; yields nothing."""
        threshold = json.loads((self.folder / STATISTICS).read_text(encoding="utf-8"))["together"]["threshold"]
        schema, rows = read_shard(self.folder / SCORED, rank)
        kept = (row for row in rows if is_kept(row, threshold, self.keep))
        if (first := next(kept, None)) is not None:
            with shard_file(self.out, rank, schema) as write:
                write(first)
                for row in kept:
                    write(row)
        yield from ()


def is_kept(row: dict[str, Any], threshold: float | None, keep: str) -> bool:
    """Whether a scored row is kept: "machine" is what is flagged together, "human" all else that was scored."""
    found = {name: row[PREFIX + name] for name in ("label", "p_value", "error")}
    found["doubts"] = row.get(PREFIX + "doubts", found["label"] == "uncertain")  # scored by older code
    return found["error"] is None and is_flagged(found, threshold) == (keep == "machine")


def statistics(counts: Counts, fdr: float, keep: str | None) -> dict[str, Any]:
    """The content of statistics.json: what was counted and what follows from it."""
    model = counts.model or {}
    batch = together(counts.p_values, counts.scored, fdr)
    kept = {"human": counts.scored - batch["flagged"], "machine": batch["flagged"]}
    report = counts.to_json()
    seconds = report.pop("seconds")
    return {
        "model": model,
        **{"documents": counts.documents, "scored": counts.scored, "failed": counts.failed},
        "labels": dict(sorted(counts.labels.items())),
        "flagged_alone": sum(number for p, number in counts.p_values.items() if p <= (model.get("alpha") or 0)),
        "expected_false_alarms": counts.p_values.total() * (model.get("alpha") or 0),
        "together": {"fdr": fdr, **batch},
        "keep": keep,
        "kept": kept[keep] if keep else None,
        **{name: report[name] for name in ("groups", "histogram", "scores", "p_values", "examples", "characters")},
        "worker_seconds": round(seconds, 3),
    }


def _plan(folder: Path) -> Plan:
    plan = read_plan(folder)
    if plan is None:
        raise ValueError(f"{folder} holds no plan of a scan.")
    return plan
