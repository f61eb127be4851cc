"""Published files -> a folder that `load_dataset` opens: documents in roles, cut into the segments of training.

The file is read twice, row by row. The first pass keeps of every row only what the sample is drawn from (id, label,
language, pair, a fingerprint of the text); the second cuts the chosen texts with `mvh.segmentation_mvh.segment_text`,
the very code that detection runs, and writes them in batches. So memory grows with the number of rows, not with their
texts.

Leaks are closed before anything is drawn. Texts count as the same if they agree after normalisation in all letters and
digits, whatever their case, spacing and punctuation. Pairs that share a text are merged into a group, and a role is
given to a group; a group that holds a row of the test file gives nothing to training or calibration.

The folder has two configurations, `segments` (the default) and `documents`, each with a split per role and, where a
test file was given, `test`. It is written under a temporary name and renamed at the end: what bears the name is whole.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import load_dataset
from huggingface_hub import HfApi
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mvh import homoglyphs_mvh, normalization_mvh, segmentation_mvh
from mvh.dataset_builder.augment import Plan, augment_row, carry_out
from mvh.dataset_builder.sampling import (
    ROLES,
    assign_roles,
    balanced_sample,
    largest_balanced,
    merge_pairs,
    sample_training,
)
from mvh.dataset_builder.semeval import BadRow, numbered_rows, report
from mvh.dataset_builder.writing import FEATURES, LABELS, ORIGIN, SplitWriters, dataset_card
from mvh.normalization_mvh import NORMALIZER_VERSION, STEPS, normalize
from mvh.segmentation_mvh import segment_text, token_windows

TEST_DOCUMENTS = 1000


@dataclass
class Pool:
    """What the first pass keeps of a file: id, label, lang, pair, fingerprint by valid row; and the file's hash."""

    rows: list[dict[str, Any]]
    sha256: str


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


def fingerprint(normalized: str) -> bytes:
    """16 bytes that agree for texts with the same letters and digits, whatever their case, spacing and punctuation."""
    folded = unicodedata.normalize("NFKC", normalized).casefold()
    letters = re.sub(r"[\W_]+", "", folded)
    return hashlib.blake2b((letters or folded).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of everything a fast tokenizer does to a text; settings of truncation and padding do not count."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state |= {"truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def read_pool(path: Path, rejections: Rejections, strict: bool, progress: bool) -> Pool:
    """First pass over a file: validate every row, keep what sampling needs."""
    digest = hashlib.sha256()
    rows = []
    numbered = numbered_rows(path, rejections.add, strict, digest)
    for number, row in tqdm(numbered, desc=f"reading {path.name}", unit=" rows", disable=not progress):
        normalized = normalize(row["text"]).text
        if not normalized.strip():
            error = BadRow("text", "nothing is left of the text after normalisation")
            report(error.record(path.name, number), rejections.add, strict)
            continue
        kept = {key: row[key] for key in ("id", "label", "lang", "pair")}
        rows.append(kept | {"fingerprint": fingerprint(normalized)})
    if not rows:
        rejected = rejections.counts.get(path.name, Counter())
        raise ValueError(f"{path.name} holds no valid row; {rejected.total()} were rejected: {dict(rejected)}.")
    return Pool(rows, digest.hexdigest())


def duplicate_counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Rows whose text occurred before in their file, and texts that occur under both labels."""
    labels: dict[bytes, set[int]] = {}
    for row in rows:
        labels.setdefault(row["fingerprint"], set()).add(row["label"])
    both = sum(len(found) > 1 for found in labels.values())
    return {"duplicate_texts": len(rows) - len(labels), "texts_with_both_labels": both}


def cast_roles(train: Pool, test: Pool | None, seed: int) -> dict[str, int]:
    """Set `role` of every training row by its group; take out the groups that reach into the test file.

    Returns:
        How many training rows were taken out: `same_text` because the test file holds their text, `same_pair` because
        it holds their pair or a text of it.
    """
    test_rows = test.rows if test is not None else []
    groups = merge_pairs((row["pair"], row["fingerprint"]) for rows in (train.rows, test_rows) for row in rows)
    roles = assign_roles(groups.values(), seed)
    tested_groups = {groups[row["pair"]] for row in test_rows}
    tested_texts = {row["fingerprint"] for row in test_rows}
    dropped = {"same_text": 0, "same_pair": 0}
    for row in train.rows:
        group = groups[row["pair"]]
        row["role"] = None if group in tested_groups else roles[group]
        if row["role"] is None:
            dropped["same_text" if row["fingerprint"] in tested_texts else "same_pair"] += 1
    train.rows[:] = [row for row in train.rows if row["role"] is not None]
    return dropped


def chosen_rows(
    path: Path, chosen: Mapping[str, str], sha256: str, progress: bool
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Second pass over a file: `(line number, split, row)` of every chosen id, texts included.

    Raises:
        ValueError: If the file is not the one the first pass saw.
    """
    digest = hashlib.sha256()
    with tqdm(total=len(chosen), desc=f"cutting {path.name}", unit=" documents", disable=not progress) as bar:
        for number, row in numbered_rows(path, digest=digest):
            if (split := chosen.get(row["id"])) is not None:
                yield number, split, row
                bar.update()
    if digest.hexdigest() != sha256:
        raise ValueError(f"{path.name} changed while it was read: sha256 {sha256} at first, then {digest.hexdigest()}.")


def build_dataset(
    train: str | Path,
    tokenizer: str | PreTrainedTokenizerBase,
    out: str | Path,
    test: str | Path | None = None,
    documents: int | None = None,
    test_documents: int | None = None,
    seed: int = 0,
    core_tokens: int = 256,
    context_tokens: int = 50,
    strict: bool = False,
    progress: bool = True,
    augment: Sequence[Plan] = (),
    rewrites: str | Path | None = None,
) -> Path:
    """Build the dataset folder from one training file and, if given, one test file.

    Args:
        train: JSONL file that is split into the roles of `sampling.ROLES`.
        tokenizer: A fast tokenizer, or the name or folder of one.
        out: Folder to make; it must not exist or be empty.
        test: JSONL file for the split `test`; whatever shares a text or a pair with it is taken out of the other
            splits.
        documents: Size of the balanced sample to train on; None takes every document as it is. The other roles keep
            every document either way.
        test_documents: Size of the balanced sample of the test file; None takes 1,000, fewer if it
            must, and every document of a file with one label only.
        seed: Of roles and samples.
        core_tokens: Tokens of a segment's own, see `segmentation_mvh.token_windows`.
        context_tokens: Tokens of left context.
        strict: Raise at the first bad row instead of setting it aside in rejected.jsonl.
        progress: Show progress bars on stderr.
        augment: What to do to machine texts of the training role before they are cut, see `augment.make_plans`; with
            `strict` the first text that fails is raised.
        rewrites: File that keeps finished translations and paraphrases; None is one in the user's cache folder.

    Returns:
        `out`, with `segments/`, `documents/`, README.md, manifest.json and rejected.jsonl.

    Raises:
        ValueError: If a row is bad and `strict`, the sample wanted cannot be drawn or an augmentation fails.
        FileExistsError: If `out` holds something already.
    """
    train, out, test = Path(train), Path(out), None if test is None else Path(test)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists already; remove it or name another folder for the dataset.")
    for path in (train, test):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
    if test is not None and test.name == train.name:
        raise ValueError(f"Training and test file are both called {train.name}; rename one to tell them apart.")
    token_windows(1, core_tokens, context_tokens)  # raises early what would otherwise be said of every document
    loaded = AutoTokenizer.from_pretrained(tokenizer) if isinstance(tokenizer, str) else tokenizer
    splits = [*ROLES, "test"] if test is not None else [*ROLES]

    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{out.name}.unfinished-", dir=out.parent))
    try:
        rejections = Rejections(folder / "rejected.jsonl")
        rejections.path.touch()
        pools = {path: read_pool(path, rejections, strict, progress) for path in (train, test) if path is not None}
        # counted before cast_roles takes rows out
        inputs = [
            {"file": path.name, "sha256": pool.sha256, "valid_rows": len(pool.rows), **duplicate_counts(pool.rows)}
            for path, pool in pools.items()
        ]
        dropped = cast_roles(pools[train], pools[test] if test is not None else None, seed)
        pool = pools[train].rows
        if not pool:
            raise ValueError(
                f"{train.name} keeps no row: all {sum(dropped.values())} share a text or pair with the test file."
            )
        sample = pool if documents is None else sample_training(pool, documents, seed)
        chosen = {train: {row["id"]: row["role"] for row in sample}}
        if test is not None:
            rows = pools[test].rows
            size = min(TEST_DOCUMENTS, largest_balanced(rows)) if test_documents is None else test_documents
            one_label = size == 0 and test_documents is None  # nothing to balance: such a file measures false alarms
            chosen[test] = {row["id"]: "test" for row in (rows if one_label else balanced_sample(rows, size, seed))}

        def read(ids: Iterable[str]) -> Iterator[dict[str, Any]]:
            """The rows of the training file with these ids."""
            for _, _, row in chosen_rows(train, dict.fromkeys(ids, "train"), pools[train].sha256, progress=False):
                yield row

        augmentations = carry_out(augment, sample, read, seed, rewrites, strict, progress)
        cutting = [inspect.getsource(room) for room in (homoglyphs_mvh, normalization_mvh, segmentation_mvh)]
        settings = [seed, documents, test_documents, core_tokens, context_tokens, cutting]
        settings += [[augmentation.record() for augmentation in augmentations]] if augmentations else []
        build_id = hashlib.sha256(repr([settings, tokenizer_sha256(loaded), inputs]).encode()).hexdigest()[:8]
        writers = SplitWriters(folder, build_id)
        counts = {config: {split: Counter[tuple[str, str]]() for split in splits} for config in FEATURES}
        for path, split_by_id in chosen.items():
            for number, split, row in chosen_rows(path, split_by_id, pools[path].sha256, progress):
                row = augment_row(row, augmentations) if split == "train" else row
                try:
                    segments = segment_text(row["text"], loaded, core_tokens, context_tokens)
                except ValueError as fault:  # a text of which the tokenizer keeps nothing
                    error = BadRow("text", "no token is left of the text", str(fault))
                    report(error.record(path.name, number), rejections.add, strict)
                    continue
                cell = (LABELS[row["label"]], row["lang"])
                writers.add("documents", split, row)
                counts["documents"][split][cell] += 1
                counts["segments"][split][cell] += len(segments)
                origin = {key: row[key] for key in ("label", *ORIGIN)} | {"document_id": row["id"]}
                for index, segment in enumerate(segments):
                    place = {"segment": index, "start": segment.start, "end": segment.end, "text": segment.text}
                    ids = {"input_ids": segment.input_ids, "length": len(segment.input_ids)}
                    ids["core_tokens"] = segment.core_tokens
                    writers.add("segments", split, origin | place | ids)
        writers.close()

        manifest = {
            "counts": {
                config: {split: _nested(cells) for split, cells in by_split.items()}
                for config, by_split in counts.items()
            },
            "documents_wanted": {"train_file": documents, "test_file": test_documents},
            "seeds": {"roles": seed, "sample": seed},
            "roles": ROLES,
            "tokenizer": {"name": _public_name(loaded.name_or_path), "sha256": tokenizer_sha256(loaded)},
            "segmentation": {"core_tokens": core_tokens, "context_tokens": context_tokens},
            "normalizer": {"version": NORMALIZER_VERSION, "steps": list(STEPS)},
            "augmentation": [augmentation.record() for augmentation in augmentations],
            "inputs": dict(zip(("train_file", "test_file"), inputs, strict=False)),
            "train_rows_dropped_for_test": dropped,
            "rejected": {file: dict(sorted(reasons.items())) for file, reasons in sorted(rejections.counts.items())},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(
            dataset_card([split for split in splits if counts["documents"][split]], build_id), encoding="utf-8"
        )
        folder.chmod(0o755)  # mkdtemp makes folders for their owner alone
        folder.replace(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return out


def push_dataset(folder: str | Path, repo: str, private: bool = False) -> None:
    """Upload both configurations of a dataset folder, and its manifest, to the Hub as `repo` ("user/name")."""
    for config in FEATURES:
        splits = load_dataset(str(folder), config)
        splits.push_to_hub(repo, config_name=config, set_default=config == "segments", private=private)
    manifest = Path(folder) / "manifest.json"
    HfApi().upload_file(path_or_fileobj=manifest, path_in_repo=manifest.name, repo_id=repo, repo_type="dataset")


def _nested(cells: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Counts by (label, lang) as {label: {lang: count}}, sorted."""
    return {label: {lang: n for (name, lang), n in sorted(cells.items()) if name == label} for label in LABELS}


def _public_name(name: str) -> str:
    """A tokenizer's name as given; of a folder on this machine only the last two parts."""
    return "/".join(Path(name).parts[-2:])
