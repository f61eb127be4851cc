"""Machine texts of the training role -> some of them translated into Russian, or paraphrased, before segmentation.

    python -m mvh.dataset_builder semeval --train train.jsonl --tokenizer microsoft/mdeberta-v3-base --out data/en-ru \
        --documents 2000 --translate 0.5

The article's settings are plans: `--translate` 0.1, 0.2, 0.25 or 0.5 replaces that share of the machine texts by their
translation; `--paraphrase every` rewrites 0 to 100 % of the sentences of every machine text, `--paraphrase half` 50 to
100 % of the sentences of half of them. With both, the paraphrase comes first. The back-ends read English, so shares are
of the English machine texts; human texts and the other roles are never touched.

What is chosen depends on the seed and the names of the texts alone, and shares nest: the tenth is part of the half.
Finished pieces are kept in a file by a hash of piece, back-end, model and settings, batch by batch: a killed run goes on
where it was, and another dataset with the same texts asks for nothing twice. A translation with a failing piece is given
up, so that no text is half Russian; a paraphrase keeps the sentences that failed. Both are counted in the manifest.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mvh.dataset_builder.rewrite_cache import RewriteCache, default_cache
from mvh.dataset_builder.rewriters import EMPTY, PARAPHRASERS, TRANSLATORS, Backend, RewriteError
from mvh.dataset_builder.sampling import unit_hash
from mvh.dataset_builder.sentences import Span, cut_long, pack, replace_spans, split_sentences

Row = Mapping[str, Any]

READS = "en"  # the language the back-ends read
WINDOW = 256  # texts whose pieces are sorted by length together
PATIENCE = 3  # failing batches in a row after which a back-end is not asked again


@dataclass(frozen=True)
class Method:
    """What a plan's method means: its back-ends, the language it leaves (None: the same), whole texts or sentences."""

    backends: dict[str, Callable[[str | None], Backend]]
    lang: str | None
    whole: bool


METHODS = {
    "translation": Method(TRANSLATORS, lang="ru", whole=True),
    "paraphrase": Method(PARAPHRASERS, lang=None, whole=False),
}
# share of the texts, least and greatest share of the sentences in each
PARAPHRASES: dict[str, tuple[float, float, float]] = {"every": (1.0, 0.0, 1.0), "half": (0.5, 0.5, 1.0)}


@dataclass(frozen=True)
class Plan:
    """One augmentation: a method of `METHODS`, a back-end with its model (None: its default), and the shares."""

    method: str
    backend: str
    model: str | None
    texts: float
    least_sentences: float = 1.0
    most_sentences: float = 1.0

    def described(self) -> dict[str, Any]:
        """As the manifest shows it: of a model in a folder of this machine only the last two parts."""
        return asdict(self) | {"model": self.model and "/".join(Path(self.model).parts[-2:])}


def make_plans(
    translate: float = 0.0,
    translator: str = "marian",
    translation_model: str | None = None,
    paraphrase: str = "none",
    paraphraser: str = "t5",
    paraphrase_model: str | None = None,
) -> list[Plan]:
    """The plans that a command line or a recipe asks for, in the order they are carried out.

    Args:
        translate: Share of the machine texts to translate, 0 to 1; 0 is none.
        translator: Back-end of `TRANSLATORS`.
        translation_model: Its model; None is its default.
        paraphrase: "none", or a name of `PARAPHRASES`.
        paraphraser: Back-end of `PARAPHRASERS`.
        paraphrase_model: Its model.

    Raises:
        ValueError: If the share is none or a name is unknown.
    """
    if not 0 <= translate <= 1:
        raise ValueError(f"translate is a share between 0 and 1 (0.5 is half of the machine texts), got {translate}.")
    if paraphrase not in ("none", *PARAPHRASES):
        raise ValueError(f"paraphrase must be 'none' or one of {', '.join(PARAPHRASES)}, got {paraphrase!r}.")
    plans = []
    if paraphrase != "none":
        plans.append(Plan("paraphrase", paraphraser, paraphrase_model, *PARAPHRASES[paraphrase]))
    if translate > 0:
        plans.append(Plan("translation", translator, translation_model, translate))
    for plan in plans:
        known = METHODS[plan.method].backends
        if plan.backend not in known:
            raise ValueError(f"The {plan.method} back-end must be one of {', '.join(known)}, got {plan.backend!r}.")
    return plans


def eligible(row: Row) -> bool:
    """Whether an augmentation may touch a row: an English machine text of the training role."""
    return row["role"] == "train" and row["label"] == 1 and row["lang"] == READS


def share_of(items: Sequence[str], share: float, seed: int, purpose: str) -> list[str]:
    """The nearest whole number to `share` of the items, first in hashed order; smaller shares are parts of larger."""
    ordered = sorted(items, key=lambda item: (unit_hash(seed, purpose, item), item))
    return ordered[: math.floor(share * len(items) + 0.5)]


def sentences_of(count: int, plan: Plan, seed: int, name: str) -> list[int]:
    """Which of a text's `count` sentences are rewritten.

    Their number is drawn evenly from those whose share lies within the plan's bounds; then which, in hashed order.
    """
    least = math.ceil(plan.least_sentences * count - 1e-9)
    most = math.floor(plan.most_sentences * count + 1e-9)
    number = least + math.floor(unit_hash(seed, f"{plan.method} share", name) * (most - least + 1))
    order = sorted(
        range(count), key=lambda index: (unit_hash(seed, f"{plan.method} sentence", f"{name}|{index}"), index)
    )
    return sorted(order[:number])


class Augmentation:
    """One plan at work on the rows of one dataset: `fill` asks the back-end, `apply` then changes rows.

    Args:
        plan: What to do.
        rows: The rows of the dataset with `id`, `label`, `lang` and `role`; the texts are not needed yet.
        seed: Of the choice.
        cache: Keeps finished pieces.
        strict: Raise at the first failure instead of keeping the original and counting.

    Raises:
        ValueError: If no row may be touched, or the back-end cannot be made.
    """

    def __init__(self, plan: Plan, rows: Iterable[Row], seed: int, cache: RewriteCache, strict: bool = False) -> None:
        self.plan, self.seed, self.cache, self.strict = plan, seed, cache, strict
        self.method = METHODS[plan.method]
        machine = [row for row in rows if row["role"] == "train" and row["label"] == 1]
        self.names = [row["id"] for row in machine if eligible(row)]
        self.skipped = len(machine) - len(self.names)
        if not self.names:
            raise ValueError(
                f"A {plan.method} needs English machine texts in the training role, and there are none among its "
                f"{len(machine)} machine texts."
            )
        self.chosen = frozenset(share_of(self.names, plan.texts, seed, plan.method))
        self.backend = self.method.backends[plan.backend](plan.model)
        self.failed: Counter[str] = Counter()
        self.refused: dict[str, str] = {}  # piece -> why it has no answer
        self.kept: set[str] = set()  # texts that stay as they are
        self.texts: Counter[str] = Counter()
        self.pieces: Counter[str] = Counter()
        self.outcome = hashlib.sha256()
        self.faults, self.last_fault = 0, ""  # failing batches in a row

    def fill(self, rows: Iterable[Row], progress: bool = False) -> None:
        """Have every piece of the chosen rows rewritten, window by window; what the cache holds is not asked again.

        Raises:
            ValueError: If `strict` and something failed, or if nothing at all was rewritten.
        """
        stream = (row for row in rows if row["id"] in self.chosen)
        label = f"{self.plan.method} by {self.backend.name}"
        with tqdm(total=len(self.chosen), desc=label, unit=" texts", disable=not progress) as bar:
            while window := list(islice(stream, WINDOW)):
                pieces = {piece: None for row in window for piece in self._pieces(row)}
                todo = [piece for piece in pieces if self.cache.get(self._key(piece)) is None]
                for done, batch in self._batches(todo):
                    bar.set_postfix_str(f"{done:,} of {len(todo):,} new pieces of {len(window)} texts")
                    self._ask(batch)
                for row in window:
                    self._settle(row)
                self.refused.clear()
                bar.update(len(window))
        if self.failed and not self.texts["done"]:
            reasons = "; ".join(f"{count} because {reason}" for reason, count in self.failed.items())
            raise ValueError(f"The {label} rewrote none of {self.texts['asked']} texts: {reasons}.")

    def apply(self, row: Row) -> dict[str, Any]:
        """The row with its new text, its `model` and, after a translation, `lang`; or the row as it is."""
        if row["id"] not in self.chosen or row["id"] in self.kept:
            return dict(row)
        changed = {"text": self._rewritten(row), "model": f"{row['model']}+{self.plan.method}"}
        return dict(row) | changed | ({"lang": self.method.lang} if self.method.lang else {})

    def record(self) -> dict[str, Any]:
        """For the manifest: what was asked of whom, what was done and what failed."""
        return {
            "plan": self.plan.described(),
            "backend": {
                "name": self.backend.name,
                "model": self.backend.model,
                "settings": dict(self.backend.settings),
            },
            "seed": self.seed,
            "machine_texts": {READS: len(self.names), "other languages": self.skipped},
            "texts": {name: self.texts[name] for name in ("asked", "done", "failed", "left")},
            "pieces": {name: self.pieces[name] for name in ("asked", "done", "failed")},
            "failed": dict(sorted(self.failed.items())),
            "outcome_sha256": self.outcome.hexdigest(),
        }

    def _spans(self, row: Row) -> list[Span]:
        """Where the pieces of a row lie: the chosen sentences, cut to what the back-end takes."""
        text = row["text"]
        sentences = [span for span in split_sentences(text) if any(map(str.isalpha, text[slice(*span)]))]
        sentences = [sentences[index] for index in sentences_of(len(sentences), self.plan, self.seed, row["id"])]
        spans = [piece for span in sentences for piece in cut_long(text, span, self.backend.fits)]
        return pack(text, spans, self.backend.fits) if self.backend.packs and self.method.whole else spans

    def _pieces(self, row: Row) -> Iterator[str]:
        return (row["text"][start:end] for start, end in self._spans(row))

    def _key(self, piece: str) -> str:
        backend = self.backend
        parts = [backend.name, backend.model, dict(backend.settings), piece]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _batches(self, pieces: list[str]) -> Iterator[tuple[int, list[str]]]:
        """Batches of pieces of like length, the longest first: what does not fit into memory is known at once."""
        ordered = sorted(pieces, key=lambda piece: (-len(piece), piece))
        for start in range(0, len(ordered), self.backend.batch):
            yield start, ordered[start : start + self.backend.batch]

    def _ask(self, batch: list[str]) -> None:
        """Ask for one batch; keep what came, note why the rest did not."""
        if self.faults >= PATIENCE:
            self.refused.update(
                dict.fromkeys(batch, f"the back-end failed {self.faults} times in a row: {self.last_fault}")
            )
            return
        try:
            answers = self.backend.rewrite(batch)
            if len(answers) != len(batch):
                raise RewriteError(f"{len(answers)} answers came for {len(batch)} pieces")
            self.faults = 0
        except (RuntimeError, OSError) as error:
            self.faults += 1
            self.last_fault = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            answers = [RewriteError(self.last_fault)] * len(batch)
        good = {}
        for piece, answer in zip(batch, answers, strict=True):
            if isinstance(answer, str) and answer.strip():
                good[self._key(piece)] = answer
            else:
                self.refused[piece] = str(answer) if isinstance(answer, RewriteError) else EMPTY
        self.cache.put(self.backend.name, good)
        if self.strict and self.refused:
            reason = next(iter(self.refused.values()))
            raise ValueError(
                f"A {self.plan.method} by {self.backend.name} failed because {reason}; what was finished is kept in "
                f"{self.cache.path}."
            )

    def _settle(self, row: Row) -> None:
        """Count what became of a chosen row."""
        pieces = list(self._pieces(row))
        reasons = [self.refused[piece] for piece in pieces if piece in self.refused]
        self.pieces.update(asked=len(pieces), done=len(pieces) - len(reasons), failed=len(reasons))
        self.texts["asked"] += 1
        if not pieces:
            self.texts["left"] += 1  # no sentence to rewrite
            self.kept.add(row["id"])
        elif reasons and (self.method.whole or len(reasons) == len(pieces)):
            self.texts["failed"] += 1
            self.failed[reasons[0]] += 1
            self.kept.add(row["id"])
        else:
            self.texts["done"] += 1
            self.outcome.update(json.dumps([row["id"], self._rewritten(row)]).encode())

    def _rewritten(self, row: Row) -> str:
        """The row's text with the answers that there are."""
        text = row["text"]
        answers = [(span, self.cache.get(self._key(text[slice(*span)]))) for span in self._spans(row)]
        return replace_spans(text, [(span, answer) for span, answer in answers if answer is not None])


def carry_out(
    plans: Sequence[Plan],
    rows: Sequence[Row],
    read: Callable[[Iterable[str]], Iterator[Row]],
    seed: int,
    cache: str | Path | None = None,
    strict: bool = False,
    progress: bool = False,
) -> list[Augmentation]:
    """Fill the plans of a dataset one after the other, each on the texts that the ones before left.

    Args:
        plans: See `make_plans`.
        rows: The rows of the dataset with their roles, without texts.
        read: Given ids, yields their rows with texts, from the file.
        seed: Of every choice.
        cache: File of finished pieces; None is `default_cache()`.
        strict: See `Augmentation`.
        progress: Show a bar for each plan on stderr.

    Returns:
        The augmentations; `augment_row` applies them.
    """
    finished: list[Augmentation] = []
    if plans:
        kept = RewriteCache(cache or default_cache())
        for augmentation in [Augmentation(plan, rows, seed, kept, strict) for plan in plans]:
            augmentation.fill((augment_row(row, finished) for row in read(augmentation.chosen)), progress)
            finished.append(augmentation)
    return finished


def augment_row(row: Row, augmentations: Iterable[Augmentation]) -> dict[str, Any]:
    """The row after every augmentation."""
    changed = dict(row)
    for augmentation in augmentations:
        changed = augmentation.apply(changed)
    return changed
