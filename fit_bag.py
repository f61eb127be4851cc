"""Training segments -> the bags of n-grams beside an encoder, and how much each of them counts.

The bags learn from the segments of role "train"; the shares and the offset are three or four numbers fitted on documents of
role "choose", which neither the encoder nor a bag has learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from transformers import PreTrainedModel

from mvh.bag_mvh import NgramBag, count_runs, hashed_ngrams
from mvh.segmentation_mvh import code_points

INVERSE_STRENGTH = 50.0  # C of the regression: best of 10, 50 and 200 for tokens, on role "choose" of 2,000 texts
FEWEST_SEGMENTS = 3  # an n-gram of fewer training segments is not counted, be they of one document
READERS: dict[str, Callable[[dict[str, Any]], list[list[int]]]] = {  # field of a config -> what its bag counts
    "bag": lambda rows: rows["input_ids"],
    "character_bag": lambda rows: [
        code_points(text, len(ids)).tolist() for text, ids in zip(rows["text"], rows["input_ids"], strict=True)
    ],
}  # in the order in which the model joins them


def add_bags(
    model: PreTrainedModel,
    train: datasets.Dataset,
    choose: datasets.Dataset,
    logits: NDArray[np.float32],
    wanted: Mapping[str, Mapping[str, Any]],
) -> NDArray[np.float64]:
    """Fit bags and join them to a trained detector.

    Args:
        model: A `MvhForSequenceClassification`; it gets the bags, and its config their fields.
        train: Segments of role "train".
        choose: Segments of role "choose".
        logits: The detector's on `choose`, shape (segments, 2).
        wanted: Names of READERS -> "orders" and "buckets" of a bag, at least one.

    Returns:
        The logits with the bags, shape (segments, 2).

    Raises:
        ValueError: If no bag is wanted or a name is unknown.
    """
    _, first, owner = np.unique(choose["document_id"], return_index=True, return_inverse=True)
    tokens = np.asarray(choose["core_tokens"], dtype=np.float64)
    unknown = sorted(set(wanted) - set(READERS))
    if unknown or not wanted:
        raise ValueError(f"Bags have the names {sorted(READERS)}, and {unknown or 'none'} is wanted.")
    names = [name for name in READERS if name in wanted]
    bags = [fit_bag(train, name, **wanted[name]) for name in names]
    margins = np.asarray(logits[:, 1] - logits[:, 0], dtype=np.float64)  # (segments,)
    counted = [bag_margins(bag, name, choose) for name, bag in zip(names, bags, strict=True)]
    by_document = [np.bincount(owner, of * tokens) / np.bincount(owner, tokens) for of in (margins, *counted)]
    share_out(bags, by_document[0], by_document[1:], np.asarray(choose["label"])[first])
    shared = [bag_margins(bag, name, choose) for name, bag in zip(names, bags, strict=True)]  # again, with the shares
    half = (margins * bags[0].encoder_share.item() + np.sum(shared, axis=0)) / 2
    for name, bag in zip(names, bags, strict=True):
        setattr(model, name, bag.to(model.device))
        setattr(model.config, name, dict(wanted[name]))
    return np.column_stack([-half, half])


def fit_bag(train: datasets.Dataset, name: str, orders: Sequence[int], buckets: int) -> NgramBag:
    """Logistic regression on the hashed TF-IDF of the training segments, in which every document counts alike.

    Were every segment to count alike, the few long documents would decide, and most documents are short.

    Args:
        train: Segments with a "label", a "document_id" and what the bag reads.
        name: One of READERS.
        orders: Lengths of the n-grams.
        buckets: Size of the hash table, a power of two.

    Returns:
        The bag; its encoder counts fully until `share_out` says how much.
    """
    rows = sparse.vstack([term_counts(batch, orders, buckets) for batch in read(train, name)], format="csr")
    seen = np.asarray((rows > 0).sum(axis=0)).ravel()  # (buckets,)
    idf = np.where(seen < FEWEST_SEGMENTS, 0.0, np.log((1 + rows.shape[0]) / (1 + seen)) + 1)
    used = np.flatnonzero(idf)
    values = normalize(rows[:, used].multiply(idf[used]).tocsr())
    _, owner, segments = np.unique(train["document_id"], return_inverse=True, return_counts=True)
    weights = len(owner) / len(segments) / segments[owner]  # (segments,), 1 in the mean
    fitted = LogisticRegression(C=INVERSE_STRENGTH, max_iter=300).fit(values, train["label"], sample_weight=weights)
    bag = NgramBag(orders, buckets)
    bag.idf.data = torch.tensor(idf, dtype=torch.float32)
    bag.weight.data[torch.as_tensor(used)] = torch.tensor(fitted.coef_[0], dtype=torch.float32)
    bag.bias.data[:] = float(fitted.intercept_[0])
    return bag


def bag_margins(bag: NgramBag, name: str, segments: datasets.Dataset) -> NDArray[np.float64]:
    """The margin of each segment by the bag of this name, shape (segments,)."""
    with torch.inference_mode():
        parts = [bag(*pad(batch)).double().numpy() for batch in read(segments, name)]
    return np.concatenate([np.zeros(0), *parts])


def share_out(
    bags: Sequence[NgramBag],
    encoder: NDArray[np.float64],
    counted: Sequence[NDArray[np.float64]],
    labels: NDArray[np.int64],
) -> None:
    """Set the encoder's share in the first bag, scale the bags' weights by theirs, and move the last bag's bias.

    A share below zero would turn a judge's word round: the most negative one becomes zero and the others are fitted again
    without it, until none is left.

    Args:
        bags: The fitted bags in the order in which they are joined; changed in place.
        encoder: The encoder's margin of each document of role "choose", shape (documents,).
        counted: The margins of each bag, likewise.
        labels: 0 human, 1 machine. Both classes count alike, whatever their numbers.

    Raises:
        ValueError: If the documents are all of one class.
    """
    if len(set(labels.tolist())) < 2:
        raise ValueError(
            f"The shares need documents of both classes, and all {len(labels)} of role 'choose' are of one."
        )
    each = np.column_stack([encoder, *counted])  # (documents, 1 + bags)
    spread = each.std(axis=0).clip(1e-9)
    heard = np.ones(each.shape[1], dtype=bool)
    while True:
        fitted = LogisticRegression(class_weight="balanced").fit(each / spread * heard, labels)
        if fitted.coef_[0].min() >= 0:
            break
        heard[fitted.coef_[0].argmin()] = False
    shares = fitted.coef_[0] * heard / spread
    bags[0].encoder_share.data[:] = float(shares[0])
    for bag, share in zip(bags, shares[1:].tolist(), strict=True):
        bag.weight.data *= share
        bag.bias.data *= share
    bags[-1].bias.data += float(fitted.intercept_[0])


def term_counts(batch: list[list[int]], orders: Sequence[int], buckets: int) -> sparse.csr_matrix:
    """1 + ln of how often each bucket is hit, shape (batch, buckets): what `NgramBag` counts, by the same functions."""
    grams, counts = count_runs(hashed_ngrams(*pad(batch), orders, buckets))
    row, place = torch.nonzero((counts > 0) & (grams < buckets), as_tuple=True)
    values = 1 + counts[row, place].log()
    return sparse.csr_matrix((values.numpy(), (row.numpy(), grams[row, place].numpy())), shape=(len(batch), buckets))


def read(segments: datasets.Dataset, name: str, size: int = 256) -> Iterator[list[list[int]]]:
    """What the bag of this name counts in each segment, `size` segments at a time."""
    for start in range(0, len(segments), size):
        yield READERS[name](segments[start : start + size])


def pad(batch: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of unequal lengths -> ids and mask (B, T)."""
    ids = [torch.as_tensor(row, dtype=torch.long) for row in batch]
    masks = [torch.ones_like(row) for row in ids]
    stack = torch.nn.utils.rnn.pad_sequence
    return stack(ids, batch_first=True), stack(masks, batch_first=True)
