"""The lines of an HTML page that a reader sees, and which of them are missing from a text taken from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

INLINE = frozenset(
    "a abbr b bdi bdo cite code data del dfn em font i ins kbd label mark q rp rt ruby s samp small span strong sub sup time "
    "tt u var wbr".split()
)  # all other elements stand on lines of their own
UNSEEN = frozenset("script style noscript template head svg math title textarea select option button".split())
RUN = 3  # words in a row by which a line is recognised


def visible_lines(tree: Any, menus: bool = True) -> Iterator[str]:
    """The lines of a parsed page, spaces made one; without what its markup hides, and with `menus` off without `<nav>`."""
    from lxml import etree

    pieces: list[str] = []
    walk = etree.iterwalk(tree, events=("start", "end", "comment", "pi"))
    for event, element in walk:
        block = isinstance(element.tag, str) and element.tag not in INLINE
        if block and (line := " ".join("".join(pieces).split())):
            yield line
        if block:
            pieces = []
        if event == "start" and (_hidden(element) or (element.tag == "nav" and not menus)):
            walk.skip_subtree()
        elif event == "start":
            pieces.append(element.text or "")
        if event != "start":
            pieces.append(element.tail or "")
    if line := " ".join("".join(pieces).split()):
        yield line


def _hidden(element: Any) -> bool:
    style = (element.get("style") or "").replace(" ", "").lower()
    return element.tag in UNSEEN or element.get("hidden") is not None or "display:none" in style


def left_out_lines(lines: Sequence[str], text: str) -> list[str]:
    """Those lines of which the text holds less than half, told by words in a row; so a line may be set otherwise there."""
    kept = set(_runs(_words(text), 1)) | set(_runs(_words(text), RUN))
    missing = []
    for line in lines:
        words = _words(line)
        runs = _runs(words, RUN if len(words) >= RUN else 1)
        if words and sum(run in kept for run in runs) * 2 < len(runs):
            missing.append(line)
    return missing


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(words: Sequence[str], length: int) -> list[int]:
    """Hashes of so many words in a row, at every place."""
    return [hash(tuple(words[index : index + length])) for index in range(len(words) - length + 1)]
