"""How much of a PDF's page is images, without drawing the page or unpacking an image."""

from __future__ import annotations

from typing import Any

DEPTH = 3  # of forms within forms that are looked into


def image_share(page: Any) -> float:
    """Share of a page that its images cover, in [0, 1]; those of a scan in strips count together.

    An image inside a form (a group of objects drawn as one) counts with the place of the outermost form.
    """
    from pypdfium2.raw import FPDF_PAGEOBJ_FORM, FPDF_PAGEOBJ_IMAGE

    width, height = page.get_size()
    covered = 0.0
    for thing in page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE, FPDF_PAGEOBJ_FORM], max_depth=1):
        inside = FPDF_PAGEOBJ_IMAGE
        if thing.type == inside or any(page.get_objects(filter=[inside], max_depth=DEPTH, form=thing, level=1)):
            left, bottom, right, top = thing.get_bounds()
            covered += max(right - left, 0.0) * max(top - bottom, 0.0)
    return min(covered / (width * height), 1.0) if width * height > 0 else 0.0
