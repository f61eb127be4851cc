"""Waiting segments -> batches: segments are read ahead in windows, and those of a window share batches.

A segment is a dict: its arrays (INPUTS, each with a leading axis of 1), the member it belongs to, and what is told of it
(see `members_mvh.segment_inputs`). `batches` alone decides which segments go together; everything is a function of its
arguments, so calls of one detector from several threads do not meet here.

A window holds WINDOW_SEGMENTS segments, of many documents or of a part of one: so neither a long stream nor a long document
costs more memory than a window and what the results need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

INPUTS = ("input_ids", "attention_mask", "features", "characters")  # what the model is given
# what a segment's output holds beside its scores
# (block_texts keeps the cores' texts of a detector that counts characters until its document is decided)
HANDED_ON = (
    "member",
    "start",
    "end",
    "core_tokens",
    "core_ids",
    "block_starts",
    "block_texts",
    "script",
    "beside",
    "other_languages",
    "unread",
    "language",
    "document_type",
)
WINDOW_SEGMENTS = 512  # segments collected before they are sorted by length and scored: bounds memory and delay
# tokens in a batch, padding included. On a CPU 6 segments of 256 tokens with their context: with two backbones in both number
# types 1,400 to 3,072 were the quickest of 700 to 4,096. An accelerator wants more at once (how much was not measured)
BATCH_TOKENS, ACCELERATOR_TOKENS = 2_048, 4_096
PADDING_SHARE = 0.05  # of a batch at most
PADDING_TOKENS = 64  # that a batch may hold in any case: another call of the model would cost about as much

Prepared = list[dict[str, Any]] | Exception  # the segments of a document, or why there are none
END = "end"  # comes after the last segment of a document
Event = dict[str, Any] | Exception | str  # a segment, an error in a document's place, or END


def read_segments(
    texts: Iterator[Any], prepare: Callable[[Any], Iterable[dict[str, Any]]], record_errors: bool
) -> Iterator[Event]:
    """The segments of all texts one after the other, and what became of each text.

    Args:
        texts: The caller's texts.
        prepare: A text -> its segments, best built as they are asked for.
        record_errors: Whether a TypeError or ValueError of `prepare` takes the document's place; else it is raised.

    Yields:
        For each text its segments and END, or at last its error; segments before an error do not count.
    """
    for text in texts:
        try:
            yield from prepare(text)
        except (TypeError, ValueError) as error:
            if not record_errors:
                raise
            yield error
        else:
            yield END


def windows(events: Iterator[Event]) -> Iterator[list[Event]]:
    """Read ahead until WINDOW_SEGMENTS segments (or bad items) wait, and hand them on together.

    Yields:
        Runs of events. Where the caller's iterator fails, what it gave before is handed on first.
    """
    waiting: list[Event] = []
    size = 0
    while True:
        try:
            event = next(events, None)
        except Exception:
            yield waiting
            raise
        if event is None:
            break
        waiting.append(event)
        size += event is not END
        if size >= WINDOW_SEGMENTS:
            yield waiting
            waiting, size = [], 0
    yield waiting


def batches(
    segments: Sequence[dict[str, Any]], batch_size: int | None = None, tokens: int = BATCH_TOKENS
) -> Iterator[list[int]]:
    """Which segments share a batch: those of one member, longest first, up to a number of tokens.

    A batch is full when another segment would bring it above `tokens`, `batch_size`, or the padding allowed: the
    larger of PADDING_TOKENS and PADDING_SHARE of the batch. A segment longer than `tokens` goes alone.

    Args:
        segments: All that wait, of all documents and members.
        batch_size: Segments in a batch at most; None for no bound beside the tokens.
        tokens: In a batch at most, padding included.

    Yields:
        Indices; every segment comes once.
    """
    lengths = [segment["input_ids"].shape[1] for segment in segments]
    chosen: list[int] = []
    used = 0  # tokens of the chosen, without padding
    for index in sorted(range(len(segments)), key=lambda i: (segments[i]["member"], -lengths[i])):
        if chosen:
            padded = (len(chosen) + 1) * lengths[chosen[0]]
            if (
                segments[index]["member"] != segments[chosen[0]]["member"]
                or len(chosen) == batch_size
                or padded > tokens
                or padded - used - lengths[index] > max(PADDING_TOKENS, PADDING_SHARE * padded)
            ):
                yield chosen
                chosen, used = [], 0
        chosen.append(index)
        used += lengths[index]
    if chosen:
        yield chosen


def score_documents(
    texts: Iterator[Any],
    prepare: Callable[[Any], Iterable[dict[str, Any]]],
    score: Callable[[list[dict[str, Any]]], dict[str, Any]],
    batch_size: int | None,
    record_errors: bool,
    tokens: int = BATCH_TOKENS,
) -> Iterator[Prepared]:
    """Scored segments of each text in input order, read ahead and scored window by window.

    Args:
        texts: See `read_segments`.
        prepare: See `read_segments`.
        score: Segments of one member -> a dict with their "margins" (B,) and the "dtype" they were computed in.
        batch_size: See `batches`.
        record_errors: See `read_segments`.
        tokens: See `batches`.

    Yields:
        For each text its segments as dicts of HANDED_ON, "margins" (a float) and "dtype", or its error.
    """
    document: list[dict[str, Any]] = []
    for window in windows(read_segments(texts, prepare, record_errors)):
        segments = [event for event in window if isinstance(event, dict)]
        scored = iter(score_segments(segments, score, batch_size, tokens))
        for event in window:
            if isinstance(event, dict):
                document.append(next(scored))
                continue
            yield event if isinstance(event, Exception) else document
            document = []


def score_segments(
    segments: Sequence[dict[str, Any]],
    score: Callable[[list[dict[str, Any]]], dict[str, Any]],
    batch_size: int | None,
    tokens: int,
) -> list[dict[str, Any]]:
    """The segments of a window in their order, scored: see `score_documents`."""
    scored: list[dict[str, Any]] = [{}] * len(segments)
    for chosen in batches(segments, batch_size, tokens):
        output = score([segments[index] for index in chosen])
        for index, margin in zip(chosen, output["margins"].tolist(), strict=True):
            rest = {key: segments[index][key] for key in HANDED_ON}
            scored[index] = {**rest, "margins": margin, "dtype": output["dtype"]}
    return scored
