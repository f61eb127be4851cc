"""Document -> segments: cores of tokens that tile the text, each shown to the model with some left context.

The article cuts a document of n tokens into (n - 1) // 256 + 1 segments, the first [0, 256), the j-th
[(j - 1) * 256 - 50, j * 256). We read that as *cores* of 256 tokens without gap or overlap, each core after the first
preceded by 50 tokens of *context*. The model sees context and core; the reported character span is the core. So the
spans of a document are disjoint and cover it, while the texts the model learns from overlap.

A document is normalised once and tokenised once; segments are slices of its token ids with the special tokens added.
Training data and detection both come through `segment_text`, so they cannot drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .normalization_mvh import STEPS, normalize

BLOCK_CHARACTERS = 200_000  # given to the tokenizer in one call: bounds its memory on huge documents
CUT_SEARCH = 4_096  # characters before the end of a block in which a place to cut is looked for
CUT_CONTEXT = 64  # characters on each side that decide how the tokens at a cut come out
CUT_TRIES = 4  # places tried of each kind
CUTS = (  # the empty matches are places where tokenizers may be cut, the surest kind first
    re.compile(r"(?<=[^\W_])(?= [^\W_])"),  # before a space between two words
    re.compile(r"(?<=\S)(?= \S)"),  # before any single space
    re.compile(r"(?<=[^\w\s])(?=[^\W_])"),  # between a punctuation mark and a letter, where no spaces are written
    re.compile(r"(?=[\u3040-\u30ff\u3400-\u9fff])"),  # before a kana or a Chinese character
)
CHARACTERS_PER_TOKEN = 16  # that are counted: to many tokenizers a word of a million letters is one unknown token
UNREAD_CHARACTERS = 20  # of one unknown token: more than a name that a tokenizer lacks
BLOCK_TOKENS = 32  # half of what a second look at the edges of passages scores at a time, see passages_mvh.py


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
        block_offsets: Characters of `text` at which they begin.
        unread: Characters of the core that the tokenizer does not know and the model does not see: those of unknown tokens
            of UNREAD_CHARACTERS or more, which stand for whole runs of letters.
    """

    input_ids: list[int]
    start: int
    end: int
    core_tokens: int
    text: str
    core_start: int
    block_starts: list[int]
    block_offsets: list[int]
    unread: int = 0


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


def tokenize_document(text: str, tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Tokenise a text of any length without special tokens.

    A long text goes through the tokenizer in blocks, with the same result as in one call: see `_blocks`.

    Returns:
        The n token ids, shape (n,) of int32, and for each token its first character in `text`, shape (n,) of int64.

    Raises:
        ValueError: If the tokenizer reports no character offsets (a "slow" tokenizer).
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"Segmentation needs character offsets; {type(tokenizer).__name__} is no fast tokenizer and has none."
        )
    ids: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    for begin, end in _blocks(text, tokenizer):
        before = max(0, begin - CUT_CONTEXT)
        tokens = _encode(text[before:end], tokenizer)
        first = tokens.before(begin - before)  # tokens of the context belong to the block before
        ids.append(np.array(tokens.ids[first:], dtype=np.int32))
        starts.append(np.array(tokens.starts[first:], dtype=np.int64) + before)
    return np.concatenate(ids), np.concatenate(starts)


def segment_text(
    text: str,
    tokenizer: Any,
    core_tokens: int = 256,
    context_tokens: int = 50,
    steps: Sequence[str] = tuple(STEPS),
) -> list[Segment]:
    """The segments of one document in a list: see `iter_segments`."""
    return list(iter_segments(text, tokenizer, core_tokens, context_tokens, steps))


def iter_segments(
    text: str,
    tokenizer: Any,
    core_tokens: int = 256,
    context_tokens: int = 50,
    steps: Sequence[str] = tuple(STEPS),
) -> Iterator[Segment]:
    """Normalise, tokenise and cut one document; segments are built one by one, as they are asked for.

    Args:
        text: The document as it was given.
        tokenizer: A fast tokenizer.
        core_tokens: See `token_windows`.
        context_tokens: See `token_windows`.
        steps: Names of the normalisation steps to apply.

    Yields:
        Segments in reading order; their spans tile `[0, len(text))`.

    Raises:
        ValueError: If nothing readable is left after normalisation.
    """
    normalized = normalize(text, steps)
    ids, starts = tokenize_document(normalized.text, tokenizer)
    if not len(ids):
        raise ValueError(f"The text has {len(text)} characters, but none is left to read after normalisation.")
    prefix, suffix = special_token_ids(tokenizer)
    unread = _unread(ids, starts, len(normalized.text), tokenizer.unk_token_id)  # (T + 1,)
    windows = token_windows(len(ids), core_tokens, context_tokens)
    start = 0
    for window, following in zip(windows, [*windows[1:], None], strict=True):
        # a window's text ends, in the normalised and in the original text, where the next core begins
        last = len(normalized.text) if following is None else int(starts[following.core_start])
        end = len(text) if following is None else normalized.to_original(last)
        first, *inner = starts[window.core_start : window.end : BLOCK_TOKENS].tolist()
        shown = int(starts[window.start])
        yield Segment(
            input_ids=prefix + ids[window.start : window.end].tolist() + suffix,
            start=start,
            end=end,
            core_tokens=window.end - window.core_start,
            text=normalized.text[shown:last],
            core_start=len(prefix) + window.core_start - window.start,
            block_starts=[start, *map(normalized.to_original, inner)],
            block_offsets=[place - shown for place in (first, *inner)],
            unread=int(unread[window.end] - unread[window.core_start]),
        )
        start = end


def _unread(ids: np.ndarray, starts: np.ndarray, characters: int, unknown: int | None) -> np.ndarray:
    """How many characters stand unread before each token (T,), and before the end: shape (T + 1,)."""
    lengths = np.diff(starts, append=characters)  # (T,)
    lost = np.where((ids == unknown) & (lengths >= UNREAD_CHARACTERS), lengths, 0)
    return np.concatenate([[0], np.cumsum(lost)])


def code_points(text: str, tokens: int) -> np.ndarray:
    """The characters of a segment as numbers, shape (L,) of int64; 0 is left for padding, NUL becomes U+FFFD.

    Args:
        text: The segment's text.
        tokens: Its number of tokens, at least 1. Only the last CHARACTERS_PER_TOKEN times as many characters are taken,
            those of the core, so that what a batch of tokens costs is bounded.
    """
    taken = text[-CHARACTERS_PER_TOKEN * tokens :].replace("\0", "\ufffd")
    return np.frombuffer(taken.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)


class _Tokens(NamedTuple):
    """Ids of a stretch of text, and for each the first character, and the number of the word it is part of."""

    ids: list[int]
    starts: list[int]
    words: list[int | None]

    def before(self, character: int) -> int:
        """How many begin before a character."""
        return sum(start < character for start in self.starts) if character else 0


def _encode(text: str, tokenizer: Any) -> _Tokens:
    encoding = tokenizer(
        text,
        add_special_tokens=False,
        split_special_tokens=True,  # "[SEP]" written in a text is text
        truncation=False,
        padding=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return _Tokens(encoding["input_ids"], [start for start, _ in encoding["offset_mapping"]], encoding.word_ids())


def _blocks(text: str, tokenizer: Any) -> Iterator[tuple[int, int]]:
    """Cut [0, len(text)) into blocks whose tokens, one block after the other, are those of the whole text.

    A fast tokenizer splits a text into words by looking a few characters ahead, and turns each word into tokens by
    itself. So a text may be cut between two words if the words around are the same with and without what lies beyond the
    cut; `_keeps_tokens` tries that at every cut, with the tokenizer itself. A block is given with the CUT_CONTEXT
    characters before it, so that no tokenizer takes its first word for the beginning of a text. Where no place is found,
    the block goes on; a tokenizer that splits into no words gets the whole text in one call.
    """
    begin, end = 0, BLOCK_CHARACTERS
    while end < len(text):
        cut = _find_cut(text, max(begin + 1, end - CUT_SEARCH), end, tokenizer)
        if cut is not None:
            yield begin, cut
            begin = cut
        end += BLOCK_CHARACTERS
    yield begin, len(text)


def _find_cut(text: str, low: int, high: int, tokenizer: Any) -> int | None:
    """A place in [low, high) to cut at, or None."""
    for kind in CUTS:
        places = [match.start() for match in kind.finditer(text, low, high)]
        for place in reversed(places[-CUT_TRIES:]):
            if _keeps_tokens(text, place, tokenizer):
                return place
    return None


def _keeps_tokens(text: str, cut: int, tokenizer: Any) -> bool:
    """Whether a cut lies between two words of the tokenizer and changes no token around it."""
    low, high = max(0, cut - CUT_CONTEXT), cut + CUT_CONTEXT
    middle = (low + cut) // 2
    whole = _encode(text[low:high], tokenizer)
    left, right = _encode(text[low:cut], tokenizer), _encode(text[middle:high], tokenizer)
    n, skipped = whole.before(cut - low), right.before(cut - middle)
    if not 0 < n < len(whole.ids) or whole.words[n - 1] == whole.words[n]:
        return False
    return (
        left.ids == whole.ids[:n]
        and left.starts == whole.starts[:n]
        and right.ids[skipped:] == whole.ids[n:]
        and [start + middle - low for start in right.starts[skipped:]] == whole.starts[n:]
    )
