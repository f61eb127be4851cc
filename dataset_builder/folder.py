"""Chosen documents -> a dataset folder: what every builder does once it knows which document goes into which split.

The folder is written under a temporary name and renamed at the end: what bears the name is whole. Documents stream
through `segmentation_mvh.segment_text`, the very code that detection runs.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mvh import homoglyphs_mvh, normalization_mvh, removal_mvh, segmentation_mvh
from mvh.dataset_builder.semeval import BadRow, report
from mvh.dataset_builder.writing import FEATURES, LABELS, ORIGIN, SplitWriters
from mvh.normalization_mvh import NORMALIZER_VERSION, STEPS, normalize
from mvh.segmentation_mvh import Segment, segment_text, token_windows

Counts = dict[str, dict[str, dict[str, dict[str, int]]]]  # by configuration, split, label and language


@dataclass
class Rejections:
    """Rows set aside: written to rejected.jsonl as they come, counted by file and reason."""

    path: Path
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, record: dict[str, Any]) -> None:
        """Write one record and count it."""
        self.counts.setdefault(record["file"], Counter())[record["reason"]] += 1
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=True) + "\n")


@dataclass(frozen=True)
class Cutting:
    """How documents become segments; see `segmentation_mvh.segment_text`."""

    tokenizer: PreTrainedTokenizerBase
    core_tokens: int
    context_tokens: int
    steps: tuple[str, ...]

    def segments(self, text: str) -> list[Segment]:
        """The segments of a document.

        Raises:
            ValueError: If nothing of it is left.
        """
        return segment_text(text, self.tokenizer, self.core_tokens, self.context_tokens, self.steps)

    def described(self) -> dict[str, Any]:
        """For the manifest; a tokenizer from a folder of this machine is named by its last two parts."""
        return {
            "tokenizer": {
                "name": "/".join(Path(self.tokenizer.name_or_path).parts[-2:]),
                "sha256": tokenizer_sha256(self.tokenizer),
            },
            "segmentation": {"core_tokens": self.core_tokens, "context_tokens": self.context_tokens},
            "normalizer": {"version": NORMALIZER_VERSION, "steps": list(self.steps)},
        }


def make_cutting(
    tokenizer: str | PreTrainedTokenizerBase, core_tokens: int, context_tokens: int, steps: Sequence[str] | None = None
) -> Cutting:
    """Load the tokenizer and check early what would otherwise be said of every document.

    Args:
        tokenizer: A fast tokenizer, or the name or folder of one.
        core_tokens: Tokens of a segment's own.
        context_tokens: Tokens of left context.
        steps: Names of the normalisation steps, in order; None for those that are on by default.

    Raises:
        ValueError: If the sizes cannot be, or a step is unknown.
    """
    token_windows(1, core_tokens, context_tokens)
    steps = tuple(STEPS) if steps is None else tuple(steps)
    normalize("", steps)
    if isinstance(tokenizer, str):  # a detector's folder holds code, and its tokenizer needs none: no question is asked
        tokenizer = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    return Cutting(tokenizer, core_tokens, context_tokens, steps)


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of everything a fast tokenizer does to a text; settings of truncation and padding do not count."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state |= {"truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def build_hash(settings: Any, cutting: Cutting) -> str:
    """8 hex digits that change with the settings, the cutting and the code that cuts."""
    rooms = (homoglyphs_mvh, normalization_mvh, removal_mvh, segmentation_mvh)
    parts = [settings, cutting.described(), [inspect.getsource(room) for room in rooms]]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def refuse_taken(out: Path) -> None:
    """Raise a FileExistsError where `out` holds something already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists already; remove it or name another folder for the dataset.")


def write_splits(
    folder: Path,
    rows: Iterable[tuple[str, int, str, Mapping[str, Any]]],
    cutting: Cutting,
    splits: Sequence[str],
    build_id: str,
    rejections: Rejections,
    strict: bool = False,
    labels: Sequence[str] = LABELS,
    field: str = "text",
) -> Counts:
    """Cut the documents and write both configurations.

    Args:
        folder: Where to.
        rows: Per document the name of its file, its line there, its split, and the row of the configuration
            "documents".
        cutting: How to cut.
        splits: Names of all splits, also of those that stay empty.
        build_id: Goes into the names of the files.
        rejections: Are given the documents of which nothing is left.
        strict: Raise at the first of those instead.
        labels: Names of label 0, the null class, and of label 1.
        field: What the file calls a text.

    Returns:
        How many documents and segments there are by split, label and language.
    """
    writers = SplitWriters(folder, build_id, labels)
    counts: Counts = {name: {split: {label: {} for label in labels} for split in splits} for name in FEATURES}

    def count(config: str, split: str, row: Mapping[str, Any], number: int) -> None:
        cell = counts[config][split][labels[row["label"]]]
        cell[row["lang"]] = cell.get(row["lang"], 0) + number

    for file, line, split, row in rows:
        try:
            segments = cutting.segments(row["text"])
        except ValueError as fault:  # a text of which normalisation or the tokenizer keeps nothing
            error = BadRow(field, f"no token is left of the {field}", str(fault))
            report(error.record(file, line), rejections.add, strict)
            continue
        writers.add("documents", split, dict(row))
        count("documents", split, row, 1)
        count("segments", split, row, len(segments))
        origin = {key: row[key] for key in ("label", *ORIGIN)} | {"document_id": row["id"]}
        origin["document_type"] = row.get("document_type")
        for index, segment in enumerate(segments):
            place = {"segment": index, "start": segment.start, "end": segment.end, "text": segment.text}
            ids = {"input_ids": segment.input_ids, "length": len(segment.input_ids), "core_tokens": segment.core_tokens}
            writers.add("segments", split, origin | place | ids)
    writers.close()
    for by_split in counts.values():
        for by_label in by_split.values():
            by_label.update({label: dict(sorted(cells.items())) for label, cells in by_label.items()})
    return counts


def write_manifest(folder: Path, manifest: Mapping[str, Any], rejections: Rejections, card: str) -> None:
    """Write manifest.json, with what was rejected, and the dataset card."""
    rejected = {file: dict(sorted(reasons.items())) for file, reasons in sorted(rejections.counts.items())}
    content = json.dumps({**manifest, "rejected": rejected}, indent=2)
    (folder / "manifest.json").write_text(content + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")
