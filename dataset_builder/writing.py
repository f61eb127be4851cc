"""The shape of a dataset folder on disk: columns, parquet files in row groups, and the card that names its splits.

    README.md, manifest.json, rejected.jsonl
    segments/<split>-<build>-00000-of-00001.parquet      the default configuration
    documents/<split>-<build>-00000-of-00001.parquet

`<build>` is a hash of the inputs, the settings and the code that cuts. `load_dataset` names its cache after the folder's
own name and the files' names, not after their contents: without it, two datasets in folders of the same name would be
mixed up.

The text of a segment is stored beside its token ids because handcrafted features are computed from it; zstd keeps
that small.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import ClassLabel, Features, List, Value

LABELS = ("human", "machine")
BATCH_ROWS = 1000  # rows of a split held in memory before they are written as one row group

ORIGIN = {"model": Value("string"), "source": Value("string"), "lang": Value("string"), "pair": Value("string")}
FEATURES: dict[str, Features] = {
    "segments": Features(
        {
            "document_id": Value("string"),
            "segment": Value("int32"),  # position in the document, from 0
            "label": ClassLabel(names=list(LABELS)),
            "input_ids": List(Value("int32")),  # context, core and special tokens
            "length": Value("int32"),  # of input_ids
            "core_tokens": Value("int32"),  # of the core alone
            "start": Value("int64"),  # characters of the core in the original text
            "end": Value("int64"),
            "text": Value("string"),  # context and core as the model sees them, for features and for reading
            **ORIGIN,
            "document_type": Value("string"),  # null where the row named none
        }
    ),
    "documents": Features(
        {
            "id": Value("string"),
            "text": Value("string"),
            "label": ClassLabel(names=list(LABELS)),
            **ORIGIN,
            "document_type": Value("string"),
            "original": Value("string"),  # the text before it was rewritten or disguised, null where it was not
        }
    ),
}


class SplitWriters:
    """One parquet file per configuration and split, written in row groups of BATCH_ROWS.

    A file is made with its first rows: `load_dataset` opens nothing of a folder that has an empty split.
    """

    def __init__(self, folder: Path, build_id: str, labels: Sequence[str] = LABELS) -> None:
        self.folder = folder
        self.build_id = build_id
        names = {"label": ClassLabel(names=list(labels))}
        self.schemas = {config: Features(columns | names).arrow_schema for config, columns in FEATURES.items()}
        self.batches: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.writers: dict[tuple[str, str], pq.ParquetWriter] = {}

    def add(self, config: str, split: str, row: dict[str, Any]) -> None:
        """Take one row; write the batch when it is full."""
        batch = self.batches.setdefault((config, split), [])
        batch.append(row)
        if len(batch) >= BATCH_ROWS:
            self._flush(config, split)

    def close(self) -> None:
        """Write what is left and close every file."""
        for (config, split), batch in self.batches.items():
            if batch:
                self._flush(config, split)
            self.writers[config, split].close()

    def _flush(self, config: str, split: str) -> None:
        schema = self.schemas[config]
        if (config, split) not in self.writers:
            file = self.folder / split_path(config, split, self.build_id)
            file.parent.mkdir(exist_ok=True)
            self.writers[config, split] = pq.ParquetWriter(file, schema, compression="zstd")
        self.writers[config, split].write_table(pa.Table.from_pylist(self.batches[config, split], schema=schema))
        self.batches[config, split].clear()


def split_path(config: str, split: str, build_id: str) -> str:
    """Where a split lies below the dataset folder."""
    return f"{config}/{split}-{build_id}-00000-of-00001.parquet"


def dataset_card(splits: list[str], build_id: str) -> str:
    """README.md of a dataset folder: the YAML that names configurations and splits to `load_dataset`, then words."""
    configs = [
        {
            "config_name": config,
            **({"default": True} if config == "segments" else {}),
            "data_files": [{"split": split, "path": split_path(config, split, build_id)} for split in splits],
        }
        for config in FEATURES
    ]
    head = yaml.safe_dump({"configs": configs, "task_categories": ["text-classification"]}, sort_keys=False)
    return f"---\n{head}---\n{CARD}"


CARD = """
# Human and machine texts, by document and by segment

- `segments` (default): pieces of the normalised documents with their token ids; the label is the document's. `start`
  and `end` are characters of the original text, and the segments of a document tile it.
- `documents`: the original texts; where one was rewritten or disguised for training, `text` is what was made of it and
  `original` the text before.

Labels: 0 human, 1 machine. No text occurs in two splits, and no pair of texts (same prompt or same original) as far as the
rows of the input files name theirs; `manifest.json` says how many rows do. It holds counts, seeds, tokenizer,
segmentation, the normaliser's version and the hashes of the input files; `rejected.jsonl` the rows that could not be
used, and why. The licence is that of the input files.
"""
