"""Waiting segments -> batches: documents are read ahead in windows, and the segments of a window share batches.

A segment is a dict: its tensors (INPUTS, each with a leading axis of 1), the member it belongs to, and what is told of it
(see `members_mvh.segment_inputs`). `batches` alone decides which segments go together; everything is a function of its
arguments, so calls of one detector from several threads do not meet here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

INPUTS = ("input_ids", "attention_mask", "features")  # what the model is given
HANDED_ON = ("member", "start", "end", "core_tokens", "core_ids", "block_starts", "script")  # beside the scores
WINDOW_SEGMENTS = 512  # segments collected before they are sorted by length and scored: bounds memory and delay

Prepared = list[dict[str, Any]] | Exception  # the segments of a document, or why there are none


def windows(
    texts: Iterator[Any], prepare: Callable[[Any], list[dict[str, Any]]], record_errors: bool
) -> Iterator[list[Prepared]]:
    """Read texts ahead until WINDOW_SEGMENTS segments (or bad items) wait, and hand them on together.

    Args:
        texts: The caller's texts.
        prepare: A text -> its segments.
        record_errors: Whether a TypeError or ValueError of `prepare` takes the document's place; else it is raised.

    Yields:
        Lists of documents in input order. Where the caller's iterator fails, what it gave before is handed on first.
    """
    waiting: list[Prepared] = []
    size = 0
    while True:
        try:
            text = next(texts)
        except StopIteration:
            break
        except Exception:
            yield waiting
            raise
        try:
            prepared: Prepared = prepare(text)
        except (TypeError, ValueError) as error:
            if not record_errors:
                raise
            prepared = error
        waiting.append(prepared)
        size += len(prepared) if isinstance(prepared, list) else 1
        if size >= WINDOW_SEGMENTS:
            yield waiting
            waiting, size = [], 0
    yield waiting


def batches(segments: Sequence[dict[str, Any]], batch_size: int) -> Iterator[list[int]]:
    """Which segments share a batch: those of one member, shortest first.

    Args:
        segments: All that wait, of all documents and members.
        batch_size: Segments in a batch at most.

    Yields:
        Indices; every segment comes once.
    """
    order = sorted(range(len(segments)), key=lambda i: (segments[i]["member"], segments[i]["input_ids"].shape[1]))
    begin = 0
    while begin < len(order):
        chosen = order[begin : begin + batch_size]
        member = segments[chosen[0]]["member"]
        chosen = [index for index in chosen if segments[index]["member"] == member]
        yield chosen
        begin += len(chosen)


def collate(segments: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Any]:
    """Stack the tensors of one member's segments, each padded at the right end to the longest.

    Returns:
        "input_ids" and "attention_mask" of shape (B, T), "features" of shape (B, F) where there are some, and "member".
    """
    batch: dict[str, Any] = {"member": segments[0].get("member", 0)}
    for name in (name for name in INPUTS if name in segments[0]):
        rows = [segment[name][0] for segment in segments]
        pad = pad_id if name == "input_ids" else 0
        batch[name] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    return batch


def score_documents(
    texts: Iterator[Any],
    prepare: Callable[[Any], list[dict[str, Any]]],
    score: Callable[[list[dict[str, Any]]], dict[str, Any]],
    batch_size: int,
    record_errors: bool,
) -> Iterator[Prepared]:
    """Scored segments of each text in input order, read ahead and scored window by window.

    Args:
        texts: See `windows`.
        prepare: See `windows`.
        score: Segments of one member -> a dict with their "margins" (B,) and the "dtype" they were computed in.
        batch_size: See `batches`.
        record_errors: See `windows`.

    Yields:
        For each text its segments as dicts of HANDED_ON, "margins" (a float) and "dtype", or its error.
    """
    for documents in windows(texts, prepare, record_errors):
        segments = [segment for item in documents if isinstance(item, list) for segment in item]
        scored: list[dict[str, Any]] = [{}] * len(segments)
        for chosen in batches(segments, batch_size):
            output = score([segments[index] for index in chosen])
            for index, margin in zip(chosen, output["margins"].tolist(), strict=True):
                rest = {key: segments[index][key] for key in HANDED_ON}
                scored[index] = {**rest, "margins": margin, "dtype": output["dtype"]}
        position = 0
        for item in documents:
            if isinstance(item, Exception):
                yield item
            else:
                yield scored[position : position + len(item)]
                position += len(item)
