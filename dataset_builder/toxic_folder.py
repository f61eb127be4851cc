"""The Russian toxic comments -> a folder that `load_dataset` opens, of the shape that build.py gives to other files.

The comments that `toxic.split_toxic` holds out are the split `test`; the rest is dealt into the roles of
`sampling.ROLES`. So training and calibration take the folder as they take any other. The file is small: it is held in
memory, where build.py streams.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mvh import homoglyphs_mvh, normalization_mvh, segmentation_mvh
from mvh.dataset_builder.build import Rejections, tokenizer_sha256
from mvh.dataset_builder.sampling import ROLES, assign_roles
from mvh.dataset_builder.semeval import BadRow, report
from mvh.dataset_builder.toxic import LABELS, PREPROCESS, PUBLISHED, SOURCE, TEST_SHARE, read_toxic, split_toxic
from mvh.dataset_builder.writing import CARD as TEXTS_CARD
from mvh.dataset_builder.writing import FEATURES, ORIGIN, dataset_card, split_path
from mvh.normalization_mvh import NORMALIZER_VERSION, STEPS
from mvh.segmentation_mvh import segment_text, token_windows

SPLITS = (*ROLES, "test")


def build_toxic(
    csv_file: str | Path,
    tokenizer: str | PreTrainedTokenizerBase,
    out: str | Path,
    preprocess: str = "none",
    seed: int = 0,
    core_tokens: int = 256,
    context_tokens: int = 50,
    strict: bool = False,
    progress: bool = True,
    labels: Sequence[str] = LABELS,
    lang: str = "ru",
    source: str = SOURCE,
) -> Path:
    """Build a dataset folder of the shape that `build.build_dataset` makes, with names of its own for the labels.

    Args:
        csv_file: See `read_toxic`.
        tokenizer: A fast tokenizer, or the name or folder of one.
        out: Folder to make; it must not exist or be empty.
        preprocess: Name of a function of `PREPROCESS`; it is applied after the split, so that the split is the same.
        seed: Of the held-out part and of the roles.
        core_tokens: Tokens of a segment's own, see `segmentation_mvh.token_windows`.
        context_tokens: Tokens of left context.
        strict: Raise at the first bad row instead of setting it aside in rejected.jsonl.
        progress: Show a progress bar on stderr.
        labels: Names of label 0, the null class, and of label 1: another task than toxicity has others.
        lang: Language of the comments.
        source: Where they come from.

    Returns:
        `out`, with `segments/`, `documents/`, README.md, manifest.json and rejected.jsonl.

    Raises:
        ValueError: As `read_toxic` and `split_toxic`, or if `preprocess` names nothing or `labels` are not two names.
        FileExistsError: If `out` holds something already.
    """
    path, out = Path(csv_file), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists already; remove it or name another folder for the dataset.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if preprocess not in PREPROCESS:
        raise ValueError(f"preprocess must be one of {', '.join(PREPROCESS)}, got {preprocess!r}.")
    if len(set(labels)) != 2 or len(labels) != 2 or not all(labels):
        raise ValueError(
            f"labels must be two different names, the null class first, got {', '.join(labels) or 'none'}."
        )
    token_windows(1, core_tokens, context_tokens)  # raises early what would otherwise be said of every comment
    loaded = AutoTokenizer.from_pretrained(tokenizer) if isinstance(tokenizer, str) else tokenizer
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{out.name}.unfinished-", dir=out.parent))
    try:
        rejections = Rejections(folder / "rejected.jsonl")
        rejections.path.touch()
        counts: Counter[str] = Counter()
        train, test = split_toxic(read_toxic(path, rejections.add, strict, counts), seed)
        roles = assign_roles((row["pair"] for row in train), seed)
        split_of = {row["id"]: roles[row["pair"]] for row in train} | {row["id"]: "test" for row in test}
        tables: dict[str, dict[str, list[dict[str, Any]]]] = {
            name: {split: [] for split in SPLITS} for name in FEATURES
        }
        for row in tqdm([*train, *test], desc=f"cutting {path.name}", unit=" comments", disable=not progress):
            row |= {"text": PREPROCESS[preprocess](row["text"]), "lang": lang, "source": source}
            try:
                segments = segment_text(row["text"], loaded, core_tokens, context_tokens)
            except ValueError as fault:  # a comment of which preprocessing or the tokenizer keeps nothing
                error = BadRow("comment", "no token is left of the comment", str(fault))
                report(error.record(path.name, int(row["id"].rpartition(":")[2])), rejections.add, strict)
                continue
            tables["documents"][split_of[row["id"]]].append(row)
            origin = {key: row[key] for key in ("label", *ORIGIN)} | {"document_id": row["id"]}
            tables["segments"][split_of[row["id"]]].extend(
                origin | {"segment": index, "length": len(segment.input_ids)} | vars(segment)
                for index, segment in enumerate(segments)
            )
        cutting = [inspect.getsource(room) for room in (homoglyphs_mvh, normalization_mvh, segmentation_mvh)]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        settings = [preprocess, seed, list(labels), lang, source, core_tokens, context_tokens, cutting]
        build_id = hashlib.sha256(repr([settings, tokenizer_sha256(loaded), digest]).encode()).hexdigest()[:8]
        filled = [split for split in SPLITS if tables["documents"][split]]
        for config, by_split in tables.items():
            (folder / config).mkdir()
            schema = Features(FEATURES[config] | {"label": ClassLabel(names=list(labels))}).arrow_schema
            for split in filled:
                table = pa.Table.from_pylist(by_split[split], schema=schema)
                pq.write_table(table, folder / split_path(config, split, build_id), compression="zstd")
        manifest = {
            "labels": list(labels),
            "counts": {
                config: {split: _by_label(rows, labels) for split, rows in by_split.items()}
                for config, by_split in tables.items()
            },
            "documents_wanted": {"train_file": None, "test_file": None},
            "preprocess": preprocess,
            "seeds": {"test": seed, "roles": seed},
            "roles": ROLES,
            "test_share": TEST_SHARE,
            "tokenizer": {
                "name": "/".join(Path(loaded.name_or_path).parts[-2:]),  # no path of this machine
                "sha256": tokenizer_sha256(loaded),
            },
            "segmentation": {"core_tokens": core_tokens, "context_tokens": context_tokens},
            "normalizer": {"version": NORMALIZER_VERSION, "steps": list(STEPS)},
            "inputs": {
                "train_file": {
                    "file": path.name,
                    "sha256": digest,
                    "valid_rows": counts["rows"],
                    "rows_of_label_1": counts["toxic"],
                    "duplicate_texts": counts["duplicates"],
                    "texts_with_both_labels": counts["both_labels"],
                    "as_published": all(counts[name] == number for name, number in PUBLISHED.items()),
                }
            },
            "rejected": {file: dict(sorted(reasons.items())) for file, reasons in rejections.counts.items()},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        card = dataset_card(filled, build_id).replace(TEXTS_CARD, CARD.format(*labels))
        (folder / "README.md").write_text(card, encoding="utf-8")
        folder.chmod(0o755)  # mkdtemp makes folders for their owner alone
        folder.replace(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return out


CARD = """
# Comments, {0} and {1}, by comment and by segment

- `segments` (default): pieces of the normalised comments with their token ids; the label is the comment's. `start` and
  `end` are characters of the comment, and the segments of a comment tile it.
- `documents`: the comments.

Labels: 0 {0}, 1 {1}. No comment occurs in two splits, not even with other punctuation. `test` is a fifth of the
comments of each label; the other splits are dealt from the rest. `manifest.json` holds counts, seeds, tokenizer,
segmentation, preprocessing, the normaliser's version and the hash of the CSV; `rejected.jsonl` the rows that could not
be used, and why. The licence is that of the CSV.
"""


def _by_label(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Counts of rows as {label: {language: count}}; no language where there is no row."""
    return {
        name: dict(Counter(row["lang"] for row in rows if row["label"] == label)) for label, name in enumerate(labels)
    }
