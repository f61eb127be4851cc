"""How the head could learn better from a frozen encoder: other losses, weights and depths, on collections held out.

    python -m mvh.experiments.heads --dataset runs/mvh-mini-en/data --backbone runs/mpnet-4 --out results/heads.json

The dataset is one that train.py has built with the backbone's tokenizer. Each segment becomes one vector, mean and deviation
of each of the encoder's layers, kept in `--work`. A way to learn is one row: the head learns from the segments of role "train"
and is tested by document on role "choose"; then, one collection at a time, from the others and on that one. The files that
are reported on elsewhere are not read. The whole training differs (train.py also opens the encoder and counts n-grams), so a
row here says what is worth trying there.
"""

from __future__ import annotations

import argparse
import copy
import logging
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import nn
from tqdm import tqdm
from transformers import AutoConfig

from mvh.auxiliary import task_classes
from mvh.experiments.attacks import shown
from mvh.experiments.decision_page import table
from mvh.experiments.features import document_scores
from mvh.experiments.kept_runs import identity, keep_run, kept_run, signature
from mvh.experiments.scored import family
from mvh.export import file_sha256, provenance
from mvh.frozen import similar_batches
from mvh.modeling_mvh import MvhForSequenceClassification, MvhHead
from mvh.placing import place_report
from mvh.recipe import hardware_has_bf16

logger = logging.getLogger(__name__)

LAYERS = 2  # of the encoder that a row reads where it names no other number
BATCH, RATE, EPOCHS, SMOOTHING = 64, 4e-4, 6, 0.1
WIDTHS, DROPOUT = [256, 128], 0.2
SCALED_BY = 2000  # segments that scale the vectors
FOLDS = 5  # teachers, each of which has not seen the pairs that it teaches


@dataclass(frozen=True)
class Way:
    """One way to learn."""

    tasks: tuple[str, ...] = ()  # learnt beside the labels, see mvh.auxiliary
    sign: float = 1.0  # of the tasks' gradient on the head: -1 unlearns them
    weight: float = 0.3  # of the tasks' loss
    average: float = 0.0  # share of each step's weights in their moving average, which then judges
    balanced: bool = False  # sources are drawn more evenly: by the root of their share
    contrastive: bool = False  # two epochs of supervised contrastive loss first
    taught: bool = False  # half of the loss is the distance from five heads on all layers
    layers: int = LAYERS


WAYS = {
    "labels alone": Way(),
    "source and generator too": Way(tasks=("source", "generator")),
    "generator too": Way(tasks=("generator",)),
    "source unlearnt": Way(tasks=("source",), sign=-1.0, weight=0.1),
    "sources balanced": Way(balanced=True),
    "weights averaged": Way(average=0.005),
    "contrastive first": Way(contrastive=True),
    "taught by heads on all layers": Way(taught=True),
    "three layers": Way(layers=3),
    "four layers": Way(layers=4),
}


class Reversed(torch.autograd.Function):
    """x -> x, whose gradient is turned by a factor (Ganin and Lempitsky 2015, section 3.1)."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, sign: float) -> torch.Tensor:
        """Keep the factor."""
        context.sign = sign
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Turn the gradient."""
        return context.sign * gradients[0], None


class Head(MvhHead):
    """The detector's head with layers for tasks beside its last one."""

    def __init__(self, inputs: int, sizes: Sequence[int]) -> None:
        super().__init__(inputs, WIDTHS, 2, DROPOUT)
        self.tasks = nn.ModuleList(nn.Linear(WIDTHS[-1], size) for size in sizes)

    def both(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, P) -> logits (B, 2), and what the last layer reads (B, H)."""
        for name in self.hidden:
            x = nn.functional.gelu(getattr(self, name)(self.dropout(x)))  # (B, width)
        x = self.dropout(x)
        return self.out(x), x


@dataclass(frozen=True)
class Segments:
    """Vectors of segments (N, P), float16, all layers in order, and what is known of each."""

    vectors: torch.Tensor
    labels: torch.Tensor
    documents: NDArray[np.str_]
    pairs: NDArray[np.str_]
    sources: NDArray[np.str_]
    rows: datasets.Dataset

    def chosen(self, mask: NDArray[np.bool_]) -> Segments:
        """Those where the mask (N,) holds."""
        numbers = np.flatnonzero(mask)
        columns = (self.documents[numbers], self.pairs[numbers], self.sources[numbers])
        return Segments(self.vectors[numbers], self.labels[numbers], *columns, self.rows.select(numbers))

    def collections(self) -> NDArray[np.str_]:
        """The collection of each segment, shape (N,)."""
        return np.array([family(source) for source in self.sources])


Judge = Callable[[torch.Tensor], torch.Tensor]  # vectors (N, P) -> logits (N, 2)


def batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Whole batches of an order, what is left over at the end of an epoch left out."""
    for first in range(0, len(order) - size + 1, size):
        yield order[first : first + size]


def contrastive_loss(vectors: torch.Tensor, labels: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Supervised contrastive loss of (B, D) vectors of length 1 (Khosla et al. 2020, equation 2)."""
    likeness = vectors @ vectors.T / temperature  # (B, B)
    others = ~torch.eye(len(vectors), dtype=torch.bool)
    log_share = likeness - likeness.masked_fill(~others, -torch.inf).logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels[None]) & others  # (B, B)
    return -((log_share * positive).sum(1) / positive.sum(1).clamp(min=1)).mean()


def learn(way: Way, segments: Segments, width: int, seed: int, epochs: int) -> Judge:
    """Train a head.

    Args:
        way: How.
        segments: To learn from.
        width: Numbers of a vector that one layer gives.
        seed: Of weights, order and dropout.
        epochs: Passes over the segments.

    Returns:
        What makes logits of vectors of all layers.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    count, inputs = len(segments.labels), (way.layers + 1) * width
    drawn = segments.vectors[rng.permutation(count)[:SCALED_BY], :inputs].float()
    mean, std = drawn.mean(0), drawn.std(0) + 1e-4  # (P,)
    classes, sizes = task_classes(segments.rows, way.tasks)
    wanted = torch.tensor(classes)  # (N, K)
    teacher = teachers(segments, width, seed, epochs) if way.taught else torch.empty(0)  # (N, 2)
    head = Head(inputs, sizes)
    averaged = copy.deepcopy(head) if way.average else head
    share = np.ones(count) / count
    if way.balanced:
        kinds = list(zip(segments.sources, segments.labels.tolist(), strict=True))
        of_kind = Counter(kinds)
        share = np.array([of_kind[kind] ** -0.5 for kind in kinds])
        share /= share.sum()

    def scaled(vectors: torch.Tensor) -> torch.Tensor:
        return (vectors[:, :inputs].float() - mean) / std

    if way.contrastive:
        projection = nn.Linear(WIDTHS[-1], 64)
        first = torch.optim.AdamW([*head.parameters(), *projection.parameters()], lr=RATE)
        for numbers in (part for _ in range(2) for part in batches(rng.permutation(count), 4 * BATCH)):
            _, hidden = head.both(scaled(segments.vectors[numbers]))
            loss = contrastive_loss(nn.functional.normalize(projection(hidden), dim=-1), segments.labels[numbers])
            first.zero_grad()
            loss.backward()
            first.step()
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE)
    steps = max(1, epochs * (count // BATCH))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.06 * steps), 0.5 * (1 + np.cos(np.pi * step / steps)))
    )
    head.train()
    for _ in range(epochs):
        order = rng.choice(count, count, p=share) if way.balanced else rng.permutation(count)
        for numbers in batches(order, BATCH):
            logits, hidden = head.both(scaled(segments.vectors[numbers]))
            loss = nn.functional.cross_entropy(logits, segments.labels[numbers], label_smoothing=SMOOTHING)
            if way.taught:  # Hinton, Vinyals and Dean 2015, section 2, at temperature 2
                own, theirs = (logits / 2).log_softmax(1), (teacher[numbers] / 2).softmax(1)
                loss = 0.5 * loss + 0.5 * 4 * nn.functional.kl_div(own, theirs, reduction="batchmean")
            for task, layer in enumerate(head.tasks):
                guessed = layer(Reversed.apply(hidden, way.sign))
                loss = loss + way.weight * nn.functional.cross_entropy(guessed, wanted[numbers, task])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if way.average:
                with torch.no_grad():
                    for kept, new in zip(averaged.parameters(), head.parameters(), strict=True):
                        kept.lerp_(new, way.average)
    averaged.eval()

    @torch.no_grad()
    def judge(vectors: torch.Tensor) -> torch.Tensor:
        return torch.cat([averaged(scaled(part)) for part in vectors.split(2048)])

    return judge


def teachers(segments: Segments, width: int, seed: int, epochs: int) -> torch.Tensor:
    """Logits (N, 2) of heads on all layers, each of a fold of pairs that it has not learnt from."""
    deep = Way(layers=segments.vectors.shape[1] // width - 1)
    names = np.unique(segments.pairs)
    fold_of = dict(zip(names, np.random.default_rng(seed).integers(FOLDS, size=len(names)), strict=True))
    folds = np.array([fold_of[pair] for pair in segments.pairs])
    logits = torch.empty(len(folds), 2)
    for fold in range(FOLDS):
        judge = learn(deep, segments.chosen(folds != fold), width, seed + 100 + fold, epochs)
        logits[torch.from_numpy(folds == fold)] = judge(segments.vectors[torch.from_numpy(folds == fold)])
    return logits


def auroc(judge: Judge, segments: Segments) -> float:
    """Of documents, by the mean margin of their segments."""
    logits = judge(segments.vectors)
    _, first, owners = np.unique(segments.documents, return_index=True, return_inverse=True)
    scores = document_scores((logits[:, 1] - logits[:, 0]).numpy(), owners)
    return float(roc_auc_score(segments.labels.numpy()[first], scores))


def measured(way: Way, train: Segments, choose: Segments, width: int, seed: int, epochs: int) -> dict[str, float]:
    """AUROC on role "choose", and on each collection that a head has not learnt from."""
    found = {"choose": auroc(learn(way, train, width, seed, epochs), choose)}
    learnt, other = train.collections(), choose.collections()
    for name in sorted(set(learnt)):
        judge = learn(way, train.chosen(learnt != name), width, seed, epochs)
        both = [train.chosen(learnt == name), choose.chosen(other == name)]
        found[f"without {name}"] = auroc(judge, joined(*both))
    return found


def joined(one: Segments, other: Segments) -> Segments:
    """Two sets as one."""
    return Segments(
        torch.cat([one.vectors, other.vectors]),
        torch.cat([one.labels, other.labels]),
        np.concatenate([one.documents, other.documents]),
        np.concatenate([one.pairs, other.pairs]),
        np.concatenate([one.sources, other.sources]),
        datasets.concatenate_datasets([one.rows, other.rows]),
    )


@torch.no_grad()
def read(rows: datasets.Dataset, detector: Any, kept: Path) -> Segments:
    """Segments with their vectors, from the file or made by the detector's encoder into it."""
    if not kept.exists():
        ids = list(rows["input_ids"])
        vectors = torch.empty(len(ids), len(detector.pool.mean), dtype=torch.float16)
        pad = nn.utils.rnn.pad_sequence
        for numbers in tqdm(similar_batches([len(one) for one in ids], 16), desc=kept.stem, unit="batch"):
            parts = [torch.tensor(ids[number]) for number in numbers]
            batch = pad(parts, batch_first=True)  # (B, T)
            mask = pad([torch.ones_like(part) for part in parts], batch_first=True)  # (B, T)
            with torch.autocast("cpu", torch.bfloat16, enabled=hardware_has_bf16(use_cpu=True)):
                output = detector.encoder(input_ids=batch, attention_mask=mask, output_hidden_states=True)
            vectors[numbers] = detector.pool.unscaled(output, mask).half()  # (B, P)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors.numpy())
    documents, pairs, sources = (np.array(rows[name]) for name in ("document_id", "pair", "source"))
    vectors, labels = torch.from_numpy(np.load(kept)), torch.tensor(rows["label"])
    return Segments(vectors, labels, documents, pairs, sources, rows.select_columns(["source", "model", "lang"]))


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    ways = report["ways"]
    tests = list(next(iter(ways.values()))["runs"][0]["auroc"])

    def cells(runs: Sequence[dict[str, Any]]) -> list[str]:
        values = np.array([[run["auroc"][test] for test in tests] for run in runs])  # (seeds, tests)
        held_out = values[:, 1:].mean(1, keepdims=True)  # (seeds, 1)
        return [spread(column) for column in np.concatenate([values, held_out], axis=1).T]

    lines = ["# Ways to teach the head", ""]
    lines += [f"`{report['command']}`, page made at commit {(report['commit'] or 'unknown')[:12]}.", ""]
    lines += [
        f"AUROC by document of a head on {LAYERS} frozen layers where a row says nothing else, mean and deviation of "
        f"{report['seeds']} seeds. `choose` is role choose of the training's own sources; `without` a collection: learnt "
        "from the others, tested on it; last the mean over them. A taught head learns from heads on all layers that have not "
        "seen the pair. The files that are reported on elsewhere were not read.",
        "",
    ]
    heads = ["way", *tests, "mean of those held out"]
    return "\n".join(lines + table(heads, [[name, *cells(way["runs"])] for name, way in ways.items()]))


def spread(values: NDArray[np.float64]) -> str:
    """Mean and deviation, the latter where there are two values or more."""
    mean = f"{values.mean():.3f}"
    return mean if len(values) < 2 else f"{mean} ± {values.std(ddof=1):.3f}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mvh.experiments.heads", description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", type=Path, required=True, help="folder that train.py or mvh.dataset_builder built")
    parser.add_argument("--backbone", required=True, help="folder or Hub name of an encoder with that tokenizer")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one run of each way per seed")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write; a .md file is written beside it")
    parser.add_argument("--work", type=Path, default=Path("runs/heads"), help="folder of vectors and finished runs")
    parser.add_argument("--quick", action="store_true", help="one epoch: whether it runs, not what it finds")
    return parser


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring. Returns what the JSON file holds.

    Raises:
        ValueError: If a way reads more layers than the backbone has, or the dataset has one collection.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    layers = AutoConfig.from_pretrained(options.backbone).num_hidden_layers
    if deep := [name for name in options.ways if WAYS[name].layers > layers]:
        raise ValueError(f"{deep[0]!r} reads {WAYS[deep[0]].layers} layers, and {options.backbone} has {layers}.")
    made_of = [identity(options.backbone), file_sha256(options.dataset / "manifest.json")]
    detector = MvhForSequenceClassification.from_backbone(options.backbone, pooling="statistics").eval()
    data = datasets.load_dataset(str(options.dataset), "segments")
    train, choose = (
        read(data[role], detector, options.work / f"{role}-{signature(made_of)}.npy") for role in ("train", "choose")
    )
    if len(names := set(train.collections())) < 2:
        raise ValueError(f"To hold one out there must be two collections, and all texts are of {names}.")
    width, epochs = train.vectors.shape[1] // (layers + 1), 1 if options.quick else EPOCHS
    ways: dict[str, Any] = {}
    for name in options.ways:
        runs = []
        for seed in options.seeds:
            signed = signature([*made_of, repr(WAYS[name]), str(seed), str(epochs)])
            path = options.work / f"{name.replace(' ', '-')}-{seed}.json"
            kept = kept_run(path, signed)
            if kept is None:
                found = measured(WAYS[name], train, choose, width, seed, epochs)
                kept = keep_run(path, signed, {"seed": seed, "auroc": found, "made_by": provenance()})
                logger.info("%s, seed %d: %s", name, seed, found)
            runs.append(kept)
        ways[name] = {"way": repr(WAYS[name]), "runs": runs}
    arguments = sys.argv[1:] if arguments is None else arguments
    report = {
        "command": "python -m mvh.experiments.heads " + shlex.join(shown(arguments)),
        **provenance(),
        "quick": options.quick,
        "seeds": len(options.seeds),
        "dataset": made_of[1],
        "ways": ways,
    }
    place_report(options.out, report, page(report))
    return report


if __name__ == "__main__":
    main()
