"""Document -> segments: cores of tokens that tile the text, each shown to the model with some left context.

The article cuts a document of n tokens into (n - 1) // 256 + 1 segments, the first [0, 256), the j-th
[(j - 1) * 256 - 50, j * 256). We read that as *cores* of 256 tokens without gap or overlap, each core after the first
preceded by 50 tokens of *context*. The model sees context and core; the reported character span is the core. So the
spans of a document are disjoint and cover it, while the texts the model learns from overlap.

A document is normalised once and tokenised once; segments are slices of its token ids with the special tokens added.
Training data and detection both come through `segment_text`, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .normalization_mvh import STEPS, normalize

BLOCK_CHARACTERS = 200_000  # longest stretch given to the tokenizer in one call: bounds its memory on huge documents
BLOCK_TOKENS = 32  # grain of the edges of passages, see passages_mvh.py


class Window(NamedTuple):
    """Token positions of one segment: context is [start, core_start), core is [core_start, end)."""

    start: int
    core_start: int
    end: int


@dataclass(frozen=True)
class Segment:
    """One segment of a document.

    Attributes:
        input_ids: Token ids of context and core with the tokenizer's special tokens around them.
        start: First character of the core in the original text.
        end: Character after the core in the original text; the next segment starts here.
        core_tokens: Number of tokens of the core, without context and special tokens.
        text: Context and core as normalised text, for reading and for handcrafted features.
        core_start: Position in `input_ids` of the core's first token.
        block_starts: Characters in the original text at which the core's blocks of BLOCK_TOKENS tokens begin; the first
            is `start`. The last block may be shorter.
    """

    input_ids: list[int]
    start: int
    end: int
    core_tokens: int
    text: str
    core_start: int
    block_starts: list[int]


def token_windows(n_tokens: int, core_tokens: int = 256, context_tokens: int = 50) -> list[Window]:
    """Cut `n_tokens` positions into windows whose cores tile them (article, transformation r).

    Args:
        n_tokens: Number of content tokens of the document, at least 1.
        core_tokens: Tokens a segment is responsible for, at least 1.
        context_tokens: Tokens of left context, in [0, core_tokens].

    Returns:
        `(n_tokens - 1) // core_tokens + 1` windows in order.

    Raises:
        ValueError: If a count is outside its range.

    Examples:
        >>> [tuple(window) for window in token_windows(600)]
        [(0, 0, 256), (206, 256, 512), (462, 512, 600)]
    """
    if n_tokens < 1 or core_tokens < 1:
        raise ValueError(f"n_tokens and core_tokens must be at least 1, got {n_tokens} and {core_tokens}.")
    if not 0 <= context_tokens <= core_tokens:
        raise ValueError(
            f"context_tokens must lie in [0, core_tokens], got {context_tokens} with a core of {core_tokens}."
        )
    starts = range(0, n_tokens, core_tokens)
    return [Window(max(0, s - context_tokens), s, min(s + core_tokens, n_tokens)) for s in starts]


def special_token_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids that the tokenizer puts before and after a single text, e.g. ([CLS], [SEP]) or ([], [</s>])."""
    encoding = tokenizer("a", return_special_tokens_mask=True, return_attention_mask=False, split_special_tokens=True)
    ids, special = encoding["input_ids"], encoding["special_tokens_mask"]
    content = [position for position, mark in enumerate(special) if not mark]
    if not content:
        raise ValueError(
            f"The tokenizer {type(tokenizer).__name__} leaves no content token of the text 'a', only {ids}."
        )
    return ids[: content[0]], ids[content[-1] + 1 :]


def tokenize_document(text: str, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokenise a text of any length without special tokens.

    Long texts go through the tokenizer in blocks cut before a space, which gives the same ids as one call for
    tokenizers that split on spaces first (WordPiece, SentencePiece, byte-level BPE); a block without one is cut hard.

    Returns:
        The token ids, and for each token its first character in `text`.

    Raises:
        ValueError: If the tokenizer reports no character offsets (a "slow" tokenizer).
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"Segmentation needs character offsets; {type(tokenizer).__name__} is no fast tokenizer and has none."
        )
    ids: list[int] = []
    starts: list[int] = []
    for begin, end in _blocks(text):
        encoding = tokenizer(
            text[begin:end],
            add_special_tokens=False,
            split_special_tokens=True,  # "[SEP]" written in a text is text
            truncation=False,
            padding=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids.extend(encoding["input_ids"])
        starts.extend(begin + offset for offset, _ in encoding["offset_mapping"])
    return ids, starts


def segment_text(
    text: str,
    tokenizer: Any,
    core_tokens: int = 256,
    context_tokens: int = 50,
    steps: Sequence[str] = tuple(STEPS),
) -> list[Segment]:
    """Normalise, tokenise and cut one document.

    Args:
        text: The document as it was given.
        tokenizer: A fast tokenizer.
        core_tokens: See `token_windows`.
        context_tokens: See `token_windows`.
        steps: Names of the normalisation steps to apply.

    Returns:
        Segments in reading order; their spans tile `[0, len(text))`.

    Raises:
        ValueError: If nothing readable is left after normalisation.
    """
    normalized = normalize(text, steps)
    ids, starts = tokenize_document(normalized.text, tokenizer)
    if not ids:
        raise ValueError(f"The text has {len(text)} characters, but none is left to read after normalisation.")
    prefix, suffix = special_token_ids(tokenizer)
    windows = token_windows(len(ids), core_tokens, context_tokens)
    inner = [normalized.to_original(starts[window.core_start]) for window in windows[1:]]
    bounds = [0, *inner, len(text)]
    # where the text of a window ends in the normalised text: at the first token of the next core
    ends = [*(starts[window.core_start] for window in windows[1:]), len(normalized.text)]
    return [
        Segment(
            input_ids=prefix + ids[window.start : window.end] + suffix,
            start=bounds[index],
            end=bounds[index + 1],
            core_tokens=window.end - window.core_start,
            text=normalized.text[starts[window.start] : ends[index]],
            core_start=len(prefix) + window.core_start - window.start,
            block_starts=[
                bounds[index],
                *(
                    normalized.to_original(starts[token])
                    for token in range(window.core_start + BLOCK_TOKENS, window.end, BLOCK_TOKENS)
                ),
            ],
        )
        for index, window in enumerate(windows)
    ]


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Cut [0, len(text)) into blocks of at most BLOCK_CHARACTERS, each cut before a space where there is one."""
    begin = 0
    while len(text) - begin > BLOCK_CHARACTERS:
        space = text.rfind(" ", begin + 1, begin + BLOCK_CHARACTERS)
        end = space if space > begin else begin + BLOCK_CHARACTERS
        yield begin, end
        begin = end
    yield begin, len(text)
