"""Published files -> a folder that `load_dataset` opens: documents in roles, cut into the segments of training.

Every file is read twice, row by row. The first pass keeps of every row only what the sample is drawn from (id, label,
language, pair, a fingerprint of the text); the second cuts the chosen texts with `mvh.segmentation_mvh.segment_text`,
the very code that detection runs, and writes them in batches. So memory grows with the number of rows, not with their
texts.

There may be several training files, such as the English and the multilingual one: a sample is drawn from each in equal
parts, and everything else treats them as one file. Their ids may clash; they then get the file's name in front.

Leaks are closed before anything is drawn. Texts count as the same if they agree after normalisation in all letters and
digits, whatever their case, spacing and punctuation. Pairs that share a text are merged into a group, and a role is
given to a group; a group that holds a row of the test file gives nothing to training or calibration.

The folder has two configurations, `segments` (the default) and `documents`, each with a split per role and, where a
test file was given, `test`. It is written under a temporary name and renamed at the end: what bears the name is whole.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from mvh.dataset_builder.augment import Augmentation, Plan
from mvh.dataset_builder.folder import (
    Rejections,
    build_hash,
    make_cutting,
    refuse_taken,
    write_manifest,
    write_splits,
)
from mvh.dataset_builder.perturb import Perturbation, PerturbPlan, carry_out_all, change_row
from mvh.dataset_builder.sampling import (
    ROLES,
    assign_roles,
    balanced_sample,
    largest_balanced,
    merge_pairs,
    sample_training,
)
from mvh.dataset_builder.semeval import BadRow, numbered_rows, report
from mvh.dataset_builder.writing import dataset_card
from mvh.normalization_mvh import normalize
from mvh.placing import unfinished_folder

TEST_DOCUMENTS = 1000


@dataclass
class Pool:
    """What the first pass keeps of a file: id, label, lang, pair, fingerprint by valid row; rows that name a pair; its hash."""

    path: Path
    prefix: str  # before every id of the file
    rows: list[dict[str, Any]]
    paired: int
    sha256: str


def fingerprint(normalized: str) -> bytes:
    """16 bytes that agree for texts with the same letters and digits, whatever their case, spacing and punctuation."""
    folded = unicodedata.normalize("NFKC", normalized).casefold()
    letters = re.sub(r"[\W_]+", "", folded)
    return hashlib.blake2b((letters or folded).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def read_pool(path: Path, prefix: str, rejections: Rejections, strict: bool, progress: bool) -> Pool:
    """First pass over a file: validate every row, keep what sampling needs; `prefix` goes before every id."""
    digest = hashlib.sha256()
    rows, paired = [], 0
    numbered = numbered_rows(path, rejections.add, strict, digest)
    for number, row in tqdm(numbered, desc=f"reading {path.name}", unit=" rows", disable=not progress):
        normalized = normalize(row["text"]).text
        if not normalized.strip():
            error = BadRow("text", "nothing is left of the text after normalisation")
            report(error.record(path.name, number), rejections.add, strict)
            continue
        paired += row["pair"] != f"{path.stem}:{row['id']}"
        kept = {key: row[key] for key in ("label", "lang", "pair")}
        rows.append(kept | {"id": prefix + row["id"], "fingerprint": fingerprint(normalized)})
    if not rows:
        rejected = rejections.counts.get(path.name, Counter())
        raise ValueError(f"{path.name} holds no valid row; {rejected.total()} were rejected: {dict(rejected)}.")
    return Pool(path, prefix, rows, paired, digest.hexdigest())


def duplicate_counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Rows whose text occurred before in their file, and texts that occur under both labels."""
    labels: dict[bytes, set[int]] = {}
    for row in rows:
        labels.setdefault(row["fingerprint"], set()).add(row["label"])
    both = sum(len(found) > 1 for found in labels.values())
    return {"duplicate_texts": len(rows) - len(labels), "texts_with_both_labels": both}


def shared_texts(pools: Sequence[Pool]) -> list[int]:
    """For each file the rows whose text a file before it holds."""
    held: set[bytes] = set()
    counts = []
    for pool in pools:
        texts = [row["fingerprint"] for row in pool.rows]
        counts.append(sum(text in held for text in texts))
        held.update(texts)
    return counts


def cast_roles(train: Sequence[Pool], test: Pool | None, seed: int) -> dict[str, int]:
    """Set `role` of every training row by its group; take out the groups that reach into the test file.

    Pairs are merged over all files, so that none is in two roles, whatever file its texts are in.

    Returns:
        How many training rows were taken out: `same_text` because the test file holds their text, `same_pair` because
        it holds their pair or a text of it.
    """
    test_rows = test.rows if test is not None else []
    every = [*(pool.rows for pool in train), test_rows]
    groups = merge_pairs((row["pair"], row["fingerprint"]) for rows in every for row in rows)
    roles = assign_roles(groups.values(), seed)
    tested_groups = {groups[row["pair"]] for row in test_rows}
    tested_texts = {row["fingerprint"] for row in test_rows}
    dropped = {"same_text": 0, "same_pair": 0}
    for pool in train:
        for row in pool.rows:
            group = groups[row["pair"]]
            row["role"] = None if group in tested_groups else roles[group]
            if row["role"] is None:
                dropped["same_text" if row["fingerprint"] in tested_texts else "same_pair"] += 1
        pool.rows[:] = [row for row in pool.rows if row["role"] is not None]
    return dropped


def chosen_rows(pool: Pool, chosen: Mapping[str, str], progress: bool) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Second pass over a file: `(line number, split, row)` of every chosen id, texts included.

    Raises:
        ValueError: If the file is not the one the first pass saw.
    """
    digest, name = hashlib.sha256(), pool.path.name
    with tqdm(total=len(chosen), desc=f"cutting {name}", unit=" documents", disable=not progress) as bar:
        for number, row in numbered_rows(pool.path, digest=digest):
            row["id"] = pool.prefix + row["id"]
            if (split := chosen.get(row["id"])) is not None:
                yield number, split, row
                bar.update()
    if digest.hexdigest() != pool.sha256:
        raise ValueError(f"{name} changed while it was read: sha256 {pool.sha256} at first, then {digest.hexdigest()}.")


def build_dataset(
    train: str | Path | Sequence[str | Path],
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
    augment: Sequence[Plan | PerturbPlan] = (),
    rewrites: str | Path | None = None,
    steps: Sequence[str] | None = None,
) -> Path:
    """Build the dataset folder from training files and, if given, one test file.

    Args:
        train: JSONL file that is split into the roles of `sampling.ROLES`; or several, which give equal parts of the
            sample. A text that two of them hold is taken once.
        tokenizer: A fast tokenizer, or the name or folder of one.
        out: Folder to make; it must not exist or be empty.
        test: JSONL file for the split `test`; whatever shares a text or a pair with it is taken out of the other
            splits.
        documents: Size of the balanced sample to train on; None takes every document as it is. The other roles keep
            every document either way.
        test_documents: Size of the balanced sample of the test file; None takes 1,000, fewer if it
            must, and every document of a file that cannot be balanced: one with one label only, or with so few texts of
            one that the languages of the other do not all find a partner.
        seed: Of roles and samples.
        core_tokens: Tokens of a segment's own, see `segmentation_mvh.token_windows`.
        context_tokens: Tokens of left context.
        strict: Raise at the first bad row instead of setting it aside in rejected.jsonl.
        progress: Show progress bars on stderr.
        augment: What to do to texts of the training role before they are cut, see `augment.make_plans` and `perturb`; with
            `strict` the first text that fails is raised.
        rewrites: File that keeps finished translations and paraphrases; None is one in the user's cache folder.
        steps: Names of the normalisation steps, in order; None for those that are on by default.

    Returns:
        `out`, with `segments/`, `documents/`, README.md, manifest.json and rejected.jsonl.

    Raises:
        ValueError: If a row is bad and `strict`, the sample wanted cannot be drawn or an augmentation fails.
        FileExistsError: If `out` holds something already.
    """
    paths, out = [Path(path) for path in ([train] if isinstance(train, str | Path) else train)], Path(out)
    test = None if test is None else Path(test)
    refuse_taken(out)
    _check_files(paths, test)
    cutting = make_cutting(tokenizer, core_tokens, context_tokens, steps)
    splits = [*ROLES, "test"] if test is not None else [*ROLES]

    with unfinished_folder(out, refuse_taken) as folder:
        rejections = Rejections(folder / "rejected.jsonl")
        rejections.path.touch()
        pools = [
            read_pool(path, f"{path.stem}:" if len(paths) > 1 else "", rejections, strict, progress) for path in paths
        ]
        tested = None if test is None else read_pool(test, "", rejections, strict, progress)
        # counted before cast_roles takes rows out
        inputs = {name: _described(pool) for name, pool in zip(_input_names(len(pools)), pools, strict=True)}
        for source, shared in zip(list(inputs.values())[1:], shared_texts(pools)[1:], strict=True):
            source["texts_of_earlier_files"] = shared
        if tested is not None:
            inputs["test_file"] = _described(tested)
        dropped = cast_roles(pools, tested, seed)
        for pool in pools:
            if not pool.rows:
                raise ValueError(f"{pool.path.name} keeps no row: all share a text or pair with the test file.")
        sample = sample_training([pool.rows for pool in pools], documents, seed)
        chosen = [(pool, {row["id"]: row["role"] for row in rows}) for pool, rows in zip(pools, sample, strict=True)]
        if tested is not None:
            size = min(TEST_DOCUMENTS, largest_balanced(tested.rows)) if test_documents is None else test_documents
            as_it_is = size == 0 and test_documents is None  # with one label such a file measures false alarms
            rows = tested.rows if as_it_is else balanced_sample(tested.rows, size, seed)
            chosen.append((tested, {row["id"]: "test" for row in rows}))

        def read(ids: Iterable[str]) -> Iterator[dict[str, Any]]:
            """The rows of the training files with these ids."""
            wanted = set(ids)
            for pool, split_by_id in chosen[: len(pools)]:
                for _, _, row in chosen_rows(pool, dict.fromkeys(wanted & split_by_id.keys(), "train"), progress=False):
                    yield row

        every = [row for rows in sample for row in rows]
        augmentations = carry_out_all(augment, every, read, seed, rewrites, strict, progress)
        settings = [seed, documents, test_documents, inputs, [made.record() for made in augmentations]]
        build_id = build_hash(settings, cutting)
        rows_of = _rows_to_write(chosen, augmentations, progress)
        counts = write_splits(folder, rows_of, cutting, splits, build_id, rejections, strict)
        manifest = {
            "counts": counts,
            "documents_wanted": {"train_file": documents, "test_file": test_documents},
            "seeds": {"roles": seed, "sample": seed},
            "roles": ROLES,
            **cutting.described(),
            "augmentation": [augmentation.record() for augmentation in augmentations],
            "inputs": inputs,
            "rows_with_pair": {pool.path.name: pool.paired for pool in [*pools, *([tested] if tested else [])]},
            "train_rows_dropped_for_test": dropped,
        }
        filled = [split for split in splits if any(counts["documents"][split].values())]
        write_manifest(folder, manifest, rejections, dataset_card(filled, build_id))
    return out


def _check_files(train: Sequence[Path], test: Path | None) -> None:
    """Refuse files that are absent or bear the same name: rejections and ids are told apart by it."""
    if not train:
        raise ValueError("A dataset needs a training file, and none is given.")
    for path in (*train, test):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
    stems = Counter(path.stem for path in train)
    if twice := [path.name for path in train if stems[path.stem] > 1]:
        raise ValueError(f"{len(twice)} training files are called {twice[0]} and {twice[-1]}; rename one of them.")
    if test is not None and test.name in {path.name for path in train}:
        raise ValueError(f"Training and test file are both called {test.name}; rename one to tell them apart.")


def _input_names(files: int) -> list[str]:
    """What the manifest calls the training files: "train_file", "train_file_2" and so on."""
    return ["train_file", *(f"train_file_{number}" for number in range(2, files + 1))]


def _described(pool: Pool) -> dict[str, Any]:
    """A file as the manifest shows it."""
    counts = duplicate_counts(pool.rows)
    return {"file": pool.path.name, "sha256": pool.sha256, "valid_rows": len(pool.rows), **counts}


def _rows_to_write(
    chosen: Sequence[tuple[Pool, Mapping[str, str]]],
    augmentations: Sequence[Augmentation | Perturbation],
    progress: bool,
) -> Iterator[tuple[str, int, str, dict[str, Any]]]:
    """The chosen documents as `folder.write_splits` takes them; one that is rewritten keeps its `original`."""
    for pool, split_by_id in chosen:
        for number, split, row in chosen_rows(pool, split_by_id, progress):
            if split == "train":
                changed = change_row(row, augmentations)
                row = changed if changed["text"] == row["text"] else changed | {"original": row["text"]}
            yield pool.path.name, number, split, row
