"""Training segments -> the bag of n-grams beside an encoder, and how much each of the two counts.

The bag learns from the segments of role "train"; the two shares and the offset are three numbers fitted on documents of role
"choose", which neither the encoder nor the bag has learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from transformers import PreTrainedModel

from mvh.bag_mvh import NgramBag, count_runs, hashed_ngrams

INVERSE_STRENGTH = 50.0  # C of the regression: best of 10, 50 and 200 on role "choose" of 2,000 texts, in either track
FEWEST_SEGMENTS = 3  # an n-gram of fewer training segments is not counted


def add_bag(
    model: PreTrainedModel,
    train: datasets.Dataset,
    choose: datasets.Dataset,
    logits: NDArray[np.float32],
    orders: Sequence[int],
    buckets: int,
) -> NDArray[np.float64]:
    """Fit a bag and join it to a trained detector.

    Args:
        model: A `MvhForSequenceClassification`; it gets the bag, and its config the bag's fields.
        train: Segments of role "train".
        choose: Segments of role "choose".
        logits: The detector's on `choose`, shape (segments, 2).
        orders: Lengths of the n-grams in tokens.
        buckets: Size of the hash table, a power of two.

    Returns:
        The logits with the bag, shape (segments, 2).
    """
    bag = fit_bag(train, orders, buckets)
    margins, counted = np.float64(logits[:, 1] - logits[:, 0]), bag_margins(bag, choose)  # (segments,)
    _, first, owner = np.unique(choose["document_id"], return_index=True, return_inverse=True)
    tokens = np.asarray(choose["core_tokens"], dtype=np.float64)
    by_document = [np.bincount(owner, of * tokens) / np.bincount(owner, tokens) for of in (margins, counted)]
    share_out(bag, by_document[0], by_document[1], np.asarray(choose["label"])[first])
    half = (margins * bag.encoder_share.item() + bag_margins(bag, choose)) / 2
    model.bag = bag.to(model.device)
    model.config.bag = {"orders": list(orders), "buckets": buckets}
    return np.column_stack([-half, half])


def fit_bag(train: datasets.Dataset, orders: Sequence[int], buckets: int) -> NgramBag:
    """Logistic regression on the hashed TF-IDF of the training segments.

    Args:
        train: Segments with "input_ids" and "label".
        orders: Lengths of the n-grams in tokens.
        buckets: Size of the hash table, a power of two.

    Returns:
        The bag; its encoder counts fully until `share_out` says how much.
    """
    rows = sparse.vstack([term_counts(batch, orders, buckets) for batch in id_batches(train)], format="csr")
    seen = np.asarray((rows > 0).sum(axis=0)).ravel()  # (buckets,)
    idf = np.where(seen < FEWEST_SEGMENTS, 0.0, np.log((1 + rows.shape[0]) / (1 + seen)) + 1)
    used = np.flatnonzero(idf)
    values = normalize(rows[:, used].multiply(idf[used]).tocsr())
    fitted = LogisticRegression(C=INVERSE_STRENGTH, max_iter=300).fit(values, train["label"])
    bag = NgramBag(orders, buckets)
    bag.idf.data = torch.tensor(idf, dtype=torch.float32)
    bag.weight.data[torch.as_tensor(used)] = torch.tensor(fitted.coef_[0], dtype=torch.float32)
    bag.bias.data[:] = float(fitted.intercept_[0])
    return bag


def bag_margins(bag: NgramBag, segments: datasets.Dataset) -> NDArray[np.float64]:
    """The bag's margin of each segment, shape (segments,)."""
    with torch.inference_mode():
        parts = [bag(*pad(batch)).double().numpy() for batch in id_batches(segments)]
    return np.concatenate([np.zeros(0), *parts])


def share_out(
    bag: NgramBag, encoder: NDArray[np.float64], counted: NDArray[np.float64], labels: NDArray[np.int64]
) -> None:
    """Set the encoder's share, scale the bag's weights by theirs, and move its bias.

    Args:
        bag: The fitted bag; changed in place.
        encoder: The encoder's margin of each document of role "choose", shape (documents,).
        counted: The bag's, likewise.
        labels: 0 human, 1 machine. Both classes count alike, whatever their numbers.

    Raises:
        ValueError: If the documents are all of one class.
    """
    if len(set(labels.tolist())) < 2:
        raise ValueError(
            f"The shares need documents of both classes, and all {len(labels)} of role 'choose' are of one."
        )
    spread = np.array([encoder.std(), counted.std()]).clip(1e-9)
    both = np.column_stack([encoder, counted]) / spread  # (documents, 2)
    fitted = LogisticRegression(class_weight="balanced").fit(both, labels)
    shares = np.maximum(fitted.coef_[0], 0.0) / spread  # a share below zero would turn a judge's word round
    bag.encoder_share.data[:] = float(shares[0])
    bag.weight.data *= float(shares[1])
    bag.bias.data[:] = float(shares[1] * bag.bias.item() + fitted.intercept_[0])


def term_counts(batch: list[list[int]], orders: Sequence[int], buckets: int) -> sparse.csr_matrix:
    """1 + ln of how often each bucket is hit, shape (batch, buckets): what `NgramBag` counts, by the same functions."""
    grams, counts = count_runs(hashed_ngrams(*pad(batch), orders, buckets))
    row, place = torch.nonzero((counts > 0) & (grams < buckets), as_tuple=True)
    values = 1 + counts[row, place].log()
    return sparse.csr_matrix((values.numpy(), (row.numpy(), grams[row, place].numpy())), shape=(len(batch), buckets))


def id_batches(segments: datasets.Dataset, size: int = 256) -> Iterator[list[list[int]]]:
    """Token ids, `size` segments at a time."""
    for start in range(0, len(segments), size):
        yield segments[start : start + size]["input_ids"]


def pad(batch: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of unequal lengths -> ids and mask (B, T)."""
    ids = [torch.as_tensor(row, dtype=torch.long) for row in batch]
    masks = [torch.ones_like(row) for row in ids]
    stack = torch.nn.utils.rnn.pad_sequence
    return stack(ids, batch_first=True), stack(masks, batch_first=True)
