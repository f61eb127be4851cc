"""Styles of an OpenDocument text -> which of them turn the page: such breaks are not among those that a layout noted.

A paragraph, heading or table turns the page by its style's `fo:break-before` or `fo:break-after`, or because the style names
a master page. A style without a word on it has that of its parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
FO = "{urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0}"
FAMILIES = ("paragraph", "table")  # of what can turn the page
MOST_PARENTS = 20  # styles that are each other's parents would never end

Key = tuple[str, str]  # family and name of a style


class PageBreaks:
    """Which styles turn the page.

    Attributes:
        before: Family and name of the styles whose bearers begin a page.
        after: The same of those whose bearers end one.
    """

    def __init__(self, roots: Iterable[Any]) -> None:
        """Read the styles of parsed parts; a later part wins over an earlier one."""
        self._styles: dict[Key, Any] = {}
        for root in roots:
            for style in root.iter(f"{STYLE}style"):
                if (family := style.get(f"{STYLE}family")) in FAMILIES:
                    self._styles[family, style.get(f"{STYLE}name", "")] = style
        self.before = {key for key in self._styles if self._told(key, "before") == "page" or self._names_master(key)}
        self.after = {key for key in self._styles if self._told(key, "after") == "page"}

    def _told(self, key: Key, side: str) -> str | None:
        for style in self._line(key):
            for properties in style.iterfind(f"{STYLE}{key[0]}-properties"):
                if told := properties.get(f"{FO}break-{side}"):
                    return str(told)
        return None

    def _names_master(self, key: Key) -> bool:
        told = (style.get(f"{STYLE}master-page-name") for style in self._line(key))
        return bool(next((name for name in told if name is not None), None))

    def _line(self, key: Key) -> Iterator[Any]:
        """A style, its parent, its parent's parent ..."""
        family, name = key
        for _ in range(MOST_PARENTS):
            style = self._styles.get((family, name))
            if style is None:
                return
            yield style
            name = style.get(f"{STYLE}parent-style-name", "")
