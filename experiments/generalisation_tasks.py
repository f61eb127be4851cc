"""The questions of `mvh.experiments.generalisation`: who is learnt from, who is tested, and what a choice may look at.

collections  each collection of the training file held out in turn, its training and dev texts tested: for choosing
choose       another file out of domain, for choosing
dev          other documents of the training sources: in-domain, for comparison only
report       a file out of domain on which nothing is chosen
generators   each generator held out in turn, its dev texts tested beside the human dev texts
languages    five folds over the pairs of the multilingual files, each tested by the training on the others
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mvh.baselines.reference import read_rows
from mvh.dataset_builder.build import fingerprint
from mvh.dataset_builder.sampling import merge_pairs, unit_hash
from mvh.experiments.held_out import (
    CHOOSE,
    LEARN,
    THRESHOLD,
    Row,
    by_use,
    collection,
    first_of_each_label,
    humans,
    training_sample,
)

CHARACTERS = 1210  # of 256 tokens of English: the mean over 600 texts of monolingual_train and the MiniLM tokenizer
FOLDS = 5
LEAST = 10  # test texts of each label, fewer say nothing


@dataclass(frozen=True)
class Size:
    """Training segments, test texts of each label, human texts for the thresholds; None is all there are."""

    segments: int | None
    tested: int | None
    threshold: int | None


@dataclass(frozen=True)
class Task:
    """One training and one test.

    Attributes:
        name: As results show it.
        group: The key of `TASKS` it belongs to.
        learn: Rows to train on.
        choose: Rows to stop or choose by.
        threshold: Human rows of the same sources as `learn` for the thresholds.
        tested: Rows to test on.
    """

    name: str
    group: str
    learn: list[Row]
    choose: list[Row]
    threshold: list[Row]
    tested: list[Row]


def make_task(name: str, group: str, pool: Sequence[Row], tested: Sequence[Row], size: Size, seed: int) -> Task:
    """Deal the pool into uses, away from what is tested, and draw from each.

    Raises:
        ValueError: If no human text is left for the thresholds.
    """
    uses = by_use(pool, tested, seed)
    threshold = first_of_each_label(humans(uses[THRESHOLD]), size.threshold, seed, "threshold")
    if not threshold:
        raise ValueError(f"{name}: none of {len(pool)} training texts is a human one of the calibration roles.")
    tenth = None if size.segments is None else size.segments // 10
    return Task(
        name,
        group,
        training_sample(uses[LEARN], size.segments, CHARACTERS, seed),
        training_sample(uses[CHOOSE], tenth, CHARACTERS, seed),
        threshold,
        first_of_each_label(tested, size.tested, seed, "tested"),
    )


Files = Mapping[str, Path]


def collections(files: Files, size: Size, seed: int) -> Iterator[Task]:
    """One task per collection with enough texts of both labels; see the module's docstring."""
    train, dev = read_rows(files["train"]), read_rows(files["dev"])
    for name in sorted({collection(row) for row in train}):
        held = [row for row in [*train, *dev] if collection(row) == name]
        if min(Counter(row["label"] for row in held).get(label, 0) for label in (0, 1)) >= LEAST:
            pool = [row for row in train if collection(row) != name]
            yield make_task(f"without {name}", "collections", pool, held, size, seed)


def out_of_domain(group: str, files: Files, size: Size, seed: int) -> Iterator[Task]:
    """The whole training file, tested on the file of this name."""
    yield make_task(files[group].stem, group, read_rows(files["train"]), read_rows(files[group]), size, seed)


def generators(files: Files, size: Size, seed: int) -> Iterator[Task]:
    """One task per generator with enough dev texts."""
    train, dev = read_rows(files["train"]), read_rows(files["dev"])
    counts = Counter(row["model"] for row in dev if row["label"] == 1)
    for name in sorted(model for model, count in counts.items() if count >= LEAST):
        pool = [row for row in train if row["model"] != name]
        held = [row for row in dev if row["label"] == 0 or row["model"] == name]
        yield make_task(f"without {name}", "generators", pool, held, size, seed)


def languages(files: Files, size: Size, seed: int) -> Iterator[Task]:
    """Five folds over groups of pairs; every fold is tested whole, and trains on all the others' texts."""
    prefixed = [(file, row) for file in ("multilingual_train", "multilingual_dev") for row in read_rows(files[file])]
    rows = [row | {"id": f"{file}:{row['id']}"} for file, row in prefixed]
    groups = merge_pairs((row["pair"], fingerprint(row["normalised"])) for row in rows)
    fold_of = {group: int(FOLDS * unit_hash(seed, "fold", group)) for group in groups.values()}
    for fold in range(FOLDS):
        held = [row for row in rows if fold_of[groups[row["pair"]]] == fold]
        pool = [row for row in rows if fold_of[groups[row["pair"]]] != fold]
        yield make_task(f"fold {fold + 1}", "languages", pool, held, size, seed)


TASKS: dict[str, tuple[tuple[str, ...], Callable[[Files, Size, int], Iterator[Task]]]] = {  # name -> files, tasks
    "collections": (("train", "dev"), collections),
    "choose": (("train", "choose"), lambda files, size, seed: out_of_domain("choose", files, size, seed)),
    "dev": (("train", "dev"), lambda files, size, seed: out_of_domain("dev", files, size, seed)),
    "report": (("train", "report"), lambda files, size, seed: out_of_domain("report", files, size, seed)),
    "generators": (("train", "dev"), generators),
    "languages": (("multilingual_train", "multilingual_dev"), languages),
}
FOR_CHOOSING = ("collections", "choose")
