"""Boxes of text on a page -> their reading order where the file draws across the columns.

Most programs write a page column by column, and the order of the file is then the order of reading. Some write line by
line across both columns; that shows in the boxes, and only then is the order made anew: each stretch of page between
full-width boxes is read left column first.
"""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points, y upwards

LEAST_BOXES = 20
LEAST_WIDTH = 0.15  # mean width of the boxes of a column, as a share of the text's width
JUMPS = 0.3  # share of steps that jump to the other column: 1 or 2 a page in files that are in order


def gutter(boxes: Sequence[Box]) -> float | None:
    """The x of the white gap between two columns, or None where the page has one column.

    A gap lies in the middle third of the text's width, is crossed by less than a fifth of the boxes, and has at least a
    third of them on either side, wide enough for running text: the page numbers of a table of contents are no column.
    """
    if len(boxes) < LEAST_BOXES:
        return None
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    width = right - left
    best: tuple[int, float] | None = None
    for step in range(41):
        x = left + width * (1 / 3 + step / 120)
        crossing = sum(box[0] < x < box[2] for box in boxes)
        before = sum(box[2] <= x for box in boxes)
        after = len(boxes) - crossing - before
        if crossing * 5 < len(boxes) and min(before, after) * 3 >= len(boxes) and (best is None or crossing < best[0]):
            best = (crossing, x)
    if best is None:
        return None
    sides = [[box for box in boxes if box[2] <= best[1]], [box for box in boxes if box[0] >= best[1]]]
    widths = [sum(box[2] - box[0] for box in side) / len(side) for side in sides]
    return best[1] if min(widths) >= LEAST_WIDTH * width else None


def reading_order(boxes: Sequence[Box]) -> list[int] | None:
    """Indices of the boxes as they are read, or None where the order they come in is to be kept.

    Args:
        boxes: Boxes of a page's lines or runs of text, in the order of the file.
    """
    x = gutter(boxes)
    if x is None:
        return None
    sides = [0 if box[2] <= x else 1 if box[0] >= x else 2 for box in boxes]  # left, right, across
    steps = [(a, b) for a, b in zip(sides, sides[1:], strict=False) if 2 not in (a, b)]
    if not steps or sum(a != b for a, b in steps) < JUMPS * len(steps):
        return None
    rows = sorted(range(len(boxes)), key=lambda index: (-_middle(boxes[index]), boxes[index][0]))
    order: list[int] = []
    columns: tuple[list[int], list[int]] = ([], [])
    for index in rows:
        if sides[index] < 2:
            columns[sides[index]].append(index)
            continue
        order += columns[0] + columns[1] + [index]
        columns = ([], [])
    return order + columns[0] + columns[1]


def same_line(one: Box, other: Box) -> bool:
    """Whether two boxes stand on one line: their heights overlap by half of the lower one."""
    overlap = min(one[3], other[3]) - max(one[1], other[1])
    return overlap >= 0.5 * min(one[3] - one[1], other[3] - other[1])


def _middle(box: Box) -> float:
    return round((box[1] + box[3]) / 2)
