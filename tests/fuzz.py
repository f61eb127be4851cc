"""What the fuzzing tests share: how many examples are tried, and texts that were made to break things.

A property is tried a few times by every run and thousands of times by `make slow`; the examples are the same ones each
time (derandomised), so that a failure comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SLOW = pytest.mark.slow


def tries(quick: int, long: int) -> Any:
    """Parametrise a test by its number of examples: `quick`, and under the mark slow `long`."""
    return pytest.mark.parametrize("examples", [quick, pytest.param(long, marks=SLOW)])


def fuzz(examples: int, *strategies: Any) -> Callable[[Callable[..., None]], None]:
    """Run the decorated property at once, on so many examples."""

    def run(check: Callable[..., None]) -> None:
        silent = list(HealthCheck)
        options = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": silent}
        settings(max_examples=examples, **options)(given(*strategies)(check))()

    return run


UNITS = (
    "a", " ", "\n", "\t", "\r\n", ".", "…", "* ", "**", "_", "`", "# ", "> ", "- ", "1. ", "[", "]", "(", ")", "](", "<br>",
    "&amp;", "\\n", "'", '"', "“", "-\n", "|", "~", "\x00", "\x1b", "\ud800", "\udfff", "\ufffd", "\u200b", "\u200c", "\u200d",
    "\ufeff", "\u00ad", "\u0301", "\u0323", "\u202e", "\u202d", "\u2066", "\u2069", "\u05d0", "\u0627", "\u0651", "中", "。",
    "\u3000", "é", "ﬁ", "ß", "İ", "а", "сор", "ρ", "क्", "\U0001f469", "\U0001f3fd", "\ufe0f", "\U000e0041", "\U0010ffff",
    "[SEP]", "[CLS]", "[PAD]", "[UNK]", "<s>", "rain ", "crucial ", "The dog ran home. ", "Тихий вечер. ", "0", "x1 ", "€",
)  # fmt: skip
runs = st.builds(lambda unit, count: unit * count, st.sampled_from(UNITS), st.sampled_from([1, 1, 1, 2, 3, 40, 300]))
hostile = st.lists(runs | st.text(max_size=12), max_size=25).map("".join)
"""Texts of units that parsers, normalisers and tokenizers trip over, alone, mixed and in long runs."""


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """The content with a few bytes changed, cut out, doubled or put in."""
    change = st.tuples(
        st.integers(0, len(content)), st.integers(0, 40), st.sampled_from(["flip", "cut", "double", "insert", "end"])
    )

    def apply(changes: list[tuple[int, int, str]], new: bytes) -> bytes:
        made = bytearray(content)
        for place, size, kind in changes:
            place = min(place, len(made))
            if kind == "flip" and place < len(made):
                made[place] ^= 1 + size
            elif kind == "cut":
                del made[place : place + size]
            elif kind == "double":
                made[place:place] = made[place : place + size]
            elif kind == "insert":
                made[place:place] = new
            elif kind == "end" and size < 4:
                del made[place:]
        return bytes(made)

    return st.builds(apply, st.lists(change, min_size=1, max_size=6), st.binary(max_size=20))
