"""Some texts of the training role, human and machine alike, slightly disguised before segmentation.

    python -m mvh.dataset_builder semeval --train train.jsonl --tokenizer microsoft/mdeberta-v3-base --out data/en-p \
        --perturb 0.5

`--perturb` 0.5 replaces half of the human and half of the machine texts by what `mvh.attacks.perturbation.perturb` makes
of them. Which texts depends on the seed and their names alone, and shares nest. It runs after the rewrites of
`augment`, on texts of every language, and never touches the other roles. Nothing is cached: it is quick.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mvh import attacks
from mvh.attacks.perturbation import CROP_WORDS, CROPPED, PERTURBATIONS, perturb
from mvh.dataset_builder.augment import Augmentation, Plan, carry_out, share_of
from mvh.dataset_builder.writing import LABELS

Row = Mapping[str, Any]


@dataclass(frozen=True)
class PerturbPlan:
    """The share of the texts of each label that is perturbed.

    Raises:
        ValueError: If the share is none.
    """

    texts: float

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 < self.texts <= 1:
            raise ValueError(f"perturb is a share above 0 and at most 1 (0.5 is half of the texts), got {self.texts}.")

    def described(self) -> dict[str, Any]:
        """As the manifest shows it."""
        return {"method": "perturbation", **asdict(self)}


class Perturbation:
    """A `PerturbPlan` at work on the rows of one dataset; `apply` and `record` are those of `augment.Augmentation`.

    Args:
        plan: What to do.
        rows: The rows of the dataset with `id`, `label` and `role`; the texts are not needed.
        seed: Of the choice and of every change.

    Raises:
        ValueError: If the training role holds no text.
    """

    def __init__(self, plan: PerturbPlan, rows: Iterable[Row], seed: int) -> None:
        self.plan, self.seed = plan, seed
        names: dict[int, list[str]] = {label: [] for label in range(len(LABELS))}
        for row in rows:
            if row["role"] == "train":
                names[row["label"]].append(row["id"])
        if not any(names.values()):
            raise ValueError("A perturbation needs texts in the training role, and there are none.")
        self.asked = {LABELS[label]: len(ids) for label, ids in names.items()}
        self.chosen = frozenset(
            name for ids in names.values() for name in share_of(ids, plan.texts, seed, "perturbation")
        )
        self.texts: Counter[str] = Counter()
        self.outcome = hashlib.sha256()

    def apply(self, row: Row) -> dict[str, Any]:
        """The row with its new text and `model`, or as it is; a text that came out the same is counted as left."""
        if row["id"] not in self.chosen:
            return dict(row)
        text = perturb(row["text"], self.seed)
        changed = text != row["text"]
        self.texts[f"{LABELS[row['label']]} {'done' if changed else 'left'}"] += 1
        self.outcome.update(json.dumps([row["id"], text]).encode())
        return dict(row) | ({"text": text, "model": f"{row['model']}+perturbation"} if changed else {})

    def record(self) -> dict[str, Any]:
        """For the manifest: what was asked, with every setting, and, once rows were written, what was done."""
        return {
            "plan": self.plan.described(),
            "settings": {"attacks": PERTURBATIONS, "cropped": CROPPED, "crop_words": CROP_WORDS, "code": code_sha256()},
            "seed": self.seed,
            "training_texts": self.asked,
            "texts": dict(sorted(self.texts.items())),
            "outcome_sha256": self.outcome.hexdigest(),
        }


def code_sha256() -> str:
    """A hash of the attacks and their word tables: another hash, other texts."""
    files = sorted(path for path in Path(attacks.__file__).parent.iterdir() if path.suffix in (".py", ".json"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def perturb_plans(share: float) -> list[PerturbPlan]:
    """The plan for a share, none for 0.

    Raises:
        ValueError: If `share` lies outside [0, 1].
    """
    return [PerturbPlan(share)] if share else []


def carry_out_all(
    plans: Sequence[Plan | PerturbPlan],
    rows: Sequence[Row],
    read: Callable[[Iterable[str]], Iterator[Row]],
    seed: int,
    cache: str | Path | None = None,
    strict: bool = False,
    progress: bool = False,
) -> list[Augmentation | Perturbation]:
    """`augment.carry_out` for the rewrites among the plans, then the perturbations, on what the rewrites left."""
    rewrites = carry_out([plan for plan in plans if isinstance(plan, Plan)], rows, read, seed, cache, strict, progress)
    return [*rewrites, *(Perturbation(plan, rows, seed) for plan in plans if isinstance(plan, PerturbPlan))]


def change_row(row: Row, changes: Iterable[Augmentation | Perturbation]) -> dict[str, Any]:
    """The row after every change, in order."""
    changed = dict(row)
    for change in changes:
        changed = change.apply(changed)
    return changed
