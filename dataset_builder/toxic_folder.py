"""The Russian toxic comments -> a folder that `load_dataset` opens, of the shape that build.py gives to other files.

The comments that `toxic.split_toxic` holds out are the split `test`; the rest is dealt into the roles of
`sampling.ROLES`. So training and calibration take the folder as they take any other. The file is small: it is held in
memory, where build.py streams.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from mvh.dataset_builder.folder import (
    Rejections,
    build_hash,
    make_cutting,
    refuse_taken,
    write_manifest,
    write_splits,
)
from mvh.dataset_builder.sampling import ROLES, assign_roles
from mvh.dataset_builder.toxic import LABELS, PREPROCESS, PUBLISHED, SOURCE, TEST_SHARE, read_toxic, split_toxic
from mvh.dataset_builder.writing import CARD as TEXTS_CARD
from mvh.dataset_builder.writing import dataset_card
from mvh.placing import unfinished_folder

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
    steps: Sequence[str] | None = None,
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
        steps: Names of the normalisation steps, in order; None for those that are on by default.

    Returns:
        `out`, with `segments/`, `documents/`, README.md, manifest.json and rejected.jsonl.

    Raises:
        ValueError: As `read_toxic` and `split_toxic`, or if `preprocess` names nothing or `labels` are not two names.
        FileExistsError: If `out` holds something already.
    """
    path, out = Path(csv_file), Path(out)
    refuse_taken(out)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if preprocess not in PREPROCESS:
        raise ValueError(f"preprocess must be one of {', '.join(PREPROCESS)}, got {preprocess!r}.")
    if len(set(labels)) != 2 or len(labels) != 2 or not all(labels):
        raise ValueError(
            f"labels must be two different names, the null class first, got {', '.join(labels) or 'none'}."
        )
    cutting = make_cutting(tokenizer, core_tokens, context_tokens, steps)
    with unfinished_folder(out, refuse_taken) as folder:
        rejections = Rejections(folder / "rejected.jsonl")
        rejections.path.touch()
        counts: Counter[str] = Counter()
        train, test = split_toxic(read_toxic(path, rejections.add, strict, counts), seed)
        roles = assign_roles((row["pair"] for row in train), seed)
        split_of = {row["id"]: roles[row["pair"]] for row in train} | {row["id"]: "test" for row in test}

        def prepared(row: dict[str, Any]) -> tuple[str, int, str, dict[str, Any]]:
            text = PREPROCESS[preprocess](row["text"])
            line = int(row["id"].rpartition(":")[2])
            return path.name, line, split_of[row["id"]], row | {"text": text, "lang": lang, "source": source}

        bar = tqdm([*train, *test], desc=f"cutting {path.name}", unit=" comments", disable=not progress)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        build_id = build_hash([preprocess, seed, list(labels), lang, source, digest], cutting)
        written = write_splits(
            folder, map(prepared, bar), cutting, SPLITS, build_id, rejections, strict, labels, "comment"
        )
        manifest = {
            "labels": list(labels),
            "counts": written,
            "documents_wanted": {"train_file": None, "test_file": None},
            "preprocess": preprocess,
            "seeds": {"test": seed, "roles": seed},
            "roles": ROLES,
            "test_share": TEST_SHARE,
            **cutting.described(),
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
        }
        filled = [split for split in SPLITS if any(written["documents"][split].values())]
        card = dataset_card(filled, build_id).replace(TEXTS_CARD, CARD.format(*labels))
        write_manifest(folder, manifest, rejections, card)
    return out


CARD = """
# Comments, {0} and {1}, by comment and by segment

- `segments` (default): pieces of the normalised comments with their token ids; the label is the comment's. `start` and
  `end` are characters of the comment, and the segments of a comment tile it.
- `documents`: the comments.

Labels: 0 {0}, 1 {1}. No comment occurs in two splits, not even with other punctuation, nicknames or links. `test` is a
fifth of the comments of each label; the other splits are dealt from the rest. `manifest.json` holds counts, seeds, tokenizer,
segmentation, preprocessing, the normaliser's version and the hash of the CSV; `rejected.jsonl` the rows that could not
be used, and why. The licence is that of the CSV.
"""
