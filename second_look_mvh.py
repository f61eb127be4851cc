"""Second look at some segments of a document: their tokens in blocks, scored in short windows (see `passages_mvh`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .passages_mvh import block_margins
from .segmentation_mvh import BLOCK_TOKENS, code_points, special_token_ids

WINDOWS_PER_BATCH = 64


def look_again(
    outputs: Sequence[dict[str, Any]],
    segments: Sequence[int],
    tokenizer: Any,
    score: Callable[[list[dict[str, Any]]], Any],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score the blocks of some segments.

    Args:
        outputs: What `members_mvh.segment_inputs` gives for the document, scored or not.
        segments: Indices of the segments to look at.
        tokenizer: The tokenizer that cut them.
        score: A batch of items with "input_ids" and "attention_mask" (1, T), and "characters" (1, L) where the outputs
            have the texts of blocks -> their margins (B,), as anything that numpy takes for an array.

    Returns:
        First character, number of tokens and margin of each of the document's n blocks, shapes (n,); margins are nan
        outside those segments.
    """
    split = [
        [ids[begin : begin + BLOCK_TOKENS] for begin in range(0, len(ids), BLOCK_TOKENS)]
        for ids in (output["core_ids"] for output in outputs)
    ]
    first = np.cumsum([0, *map(len, split)])  # (m + 1,): index of each segment's first block
    blocks = [block for parts in split for block in parts]
    texts = [text for output in outputs for text in output["block_texts"] or ()]
    prefix, suffix = (np.array(ids, dtype=np.int64) for ids in special_token_ids(tokenizer))

    def margins(windows: list[tuple[int, int]]) -> np.ndarray:
        scored = []
        for at in range(0, len(windows), WINDOWS_PER_BATCH):
            shared = windows[at : at + WINDOWS_PER_BATCH]
            items = []
            for begin, end in shared:
                row = np.concatenate([prefix, *blocks[begin:end], suffix])[None]  # (1, T)
                items.append({"input_ids": row, "attention_mask": np.ones_like(row)})
                if texts:
                    items[-1]["characters"] = code_points("".join(texts[begin:end]), row.shape[1])[None]  # (1, L)
            found = score(items)  # (B,)
            scored.append(np.asarray(found, dtype=np.float64))
        return np.concatenate(scored)

    wanted = [block for index in segments for block in range(first[index], first[index + 1])]
    starts = np.array([start for output in outputs for start in output["block_starts"]], dtype=np.int64)
    tokens = np.array([len(block) for block in blocks])
    return starts, tokens, block_margins(len(blocks), wanted, margins)
