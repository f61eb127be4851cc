"""Results -> one HTML page to read, print, keep and send: verdict in words, a map of the document, its text with passages.

    write_report(Path("report.html"), [ReportDocument("essay.txt", text, detect(text))])

The page is a single file that loads nothing and runs nothing: no script, no font, no image, and a content security policy
that forbids them. Every character that came from outside is escaped by the template's autoescape; the one style sheet is
allowed by its hash. report.html.j2 holds the markup and the style, words.py the sentences, text.py the cutting.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from mvh import __version__
from mvh.documents.target import target
from mvh.placing import whole_file
from mvh.report.text import SHADES, Block, blocks, shade
from mvh.report.words import (
    NO_PROOF,
    Terms,
    Verdict,
    batch_sentences,
    counted,
    flagged_by_vote,
    is_bounded,
    is_flagged,
    letter,
    p_text,
    passages_promise,
    settings,
    shared_terms,
    terms,
    verdict,
)
from mvh.results_mvh import judged, screen_results

TEMPLATE = "report.html.j2"
QUOTE = 160  # characters of a passage quoted in the list
LONG = 60_000  # characters from which browsers may skip what is out of sight
SHOWN_IN_CELL = 200_000  # characters above which a notebook's cell leaves the text out
MAP_WIDTH = 1_000  # units of the document map
REPLACED = dict.fromkeys((0, *range(0xD800, 0xE000)), "\N{REPLACEMENT CHARACTER}")  # what HTML cannot hold


@dataclass(frozen=True)
class ReportDocument:
    """One document of a report.

    Attributes:
        name: How readers know it, such as its file name.
        text: The text that was judged.
        result: The detector's result for that text.
        pages: (page number, start, end) in characters of the text, in order; empty where there are no pages.
        notes: Sentences about what its reader met, shown before the verdict beside the result's warnings.
        read: (name, value) pairs on what was read of the file, shown among the settings.
    """

    name: str
    text: str
    result: dict[str, Any]
    pages: list[tuple[int, int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Passage:
    """A marked passage as the page lists it; `left` and `width` in units of the document map."""

    number: int
    quote: str
    place: str
    p: str
    score: str
    shade: int
    left: float
    width: float


@dataclass(frozen=True)
class View:
    """A document made ready for the template."""

    id: str
    name: str
    result: dict[str, Any]
    verdict: Verdict
    terms: Terms
    passages: list[Passage]
    marked_share: float
    promise: str
    blocks: list[Block]
    characters: int
    long: bool
    map_borders: list[float]
    letter: str
    notes: list[str]
    settings: list[tuple[str, str]]
    levels: list[str]


def write_report(
    path: Path,
    documents: Sequence[ReportDocument],
    prevalence: float | None = None,
    unread: Sequence[tuple[str, str]] = (),
    partial: str = "",
) -> None:
    """Write the report of some documents as one self-contained HTML file.

    The file appears whole or not at all: a full disk or an interrupt leaves what stood there before. A link is followed.

    Args:
        path: Where to; its folder must exist.
        documents: At least one, or none where there is something unread.
        prevalence: Share of machine documents the reader believes in, in [0, 1], for the share of innocents.
        unread: (name, why) of files that could not be read, or were not reached.
        partial: Why the report is not of all that was asked for, a sentence; it stands at the top of the page.

    Raises:
        ValueError: If there is no document, a result does not belong to its text, or the prevalence is no share.
        OSError: If the file cannot be written, or something other than a plain file is there.
    """
    page = render(documents, prevalence, date.today(), unread, partial)
    with whole_file(target(Path(path)), "utf-8") as file:
        file.write(page)


def render(
    documents: Sequence[ReportDocument],
    prevalence: float | None = None,
    made: date | None = None,
    unread: Sequence[tuple[str, str]] = (),
    partial: str = "",
) -> str:
    """The report of some documents as the text of an HTML page; see `write_report`.

    Args:
        documents: See `write_report`.
        prevalence: See `write_report`.
        made: The day to print on it; None prints none.
        unread: See `write_report`.
        partial: See `write_report`.
    """
    if not documents and not unread:
        raise ValueError("A report needs at least one document, got none.")
    views = [view(document, f"d{index}") for index, document in enumerate(documents, 1)]
    together = overview(documents, prevalence) if len(documents) > 1 else None
    words = shared_terms([one.terms for one in views])
    shown = {"cell": False, "documents": views, "together": together, "words": words, "version": __version__}
    extent = counted(len(documents), "document")
    if partial:
        extent = f"{len(documents):,} of {counted(len(documents) + len(unread), 'document')}"
    shown |= {"unread": list(unread), "partial": partial, "extent": extent}
    return _environment().get_template(TEMPLATE).render(shown, made=made and made.isoformat())


def render_cell(document: ReportDocument, id: str) -> str:
    """One document's verdict, map and text as a fragment of HTML, for the cell of a notebook.

    Args:
        document: The document; texts above SHOWN_IN_CELL characters are left out and that is said.
        id: A word that no other fragment on the page has.
    """
    one = view(document, id, with_text=len(document.text) <= SHOWN_IN_CELL)
    shown = {
        "cell": True,
        "documents": [one],
        "together": None,
        "words": one.terms,
        "version": __version__,
    }
    return _environment().get_template(TEMPLATE).render(shown, made=None)


def view(document: ReportDocument, id: str, with_text: bool = True) -> View:
    """Everything the template shows of a document.

    Raises:
        ValueError: If the result does not belong to the text.
    """
    text, result = document.text, document.result
    cut = blocks(text, result, document.pages)
    scale = MAP_WIDTH / max(len(text), 1)
    passages = [_passage(number, span, document, scale) for number, span in enumerate(result["passages"], 1)]
    said = verdict(result)
    borders = [segment["start"] * scale for segment in result["segments"][1:]]
    return View(
        id=id,
        name=document.name,
        result=result,
        verdict=said,
        terms=terms(result),
        passages=passages,
        marked_share=sum(span["end"] - span["start"] for span in result["passages"]) / max(len(text), 1),
        promise=passages_promise(result) if passages else "",
        blocks=cut if with_text else [],
        characters=len(text),
        long=len(text) > LONG,
        map_borders=borders if len(borders) <= 100 else [],
        letter=letter(result) if said.kind == "flagged" else "",
        notes=document.notes,
        settings=settings(result, len(text), [*document.read, ("Report by mvh", __version__)]),
        levels=[f"{result['alpha'] * factor:.2g}" for factor in SHADES] if passages else [],
    )


def overview(documents: Sequence[ReportDocument], prevalence: float | None) -> dict[str, Any] | None:
    """Many documents judged together, as `MvhDetectPipeline.screen` does; None where no document has a p-value.

    Where alphas differ, the smallest is used.

    Returns:
        "sentences", "alpha", "adjusted" (a p-value in words per document) and "held" (indices of those that stay flagged).
    """
    counted_in = [index for index, document in enumerate(documents) if document.result.get("error") is None]
    results = [documents[index].result for index in counted_in]
    known = [judged(result) for result in results]
    alphas = [r["alpha"] for r in results if r["alpha"] is not None]
    if len(results) < 2 or not any(r["p_value"] is not None for r in results):
        return None
    batch = screen_results(results, min(alphas), min(alphas), prevalence)
    voted = flagged_by_vote((result["vote"] for result in results), sum(map(is_flagged, results)))
    adjusted = dict.fromkeys(range(len(documents)), "–")
    for index, p, holds in zip(counted_in, batch["adjusted_p_values"], known, strict=True):
        adjusted[index] = p_text(p) if holds else "–"
    return {
        "sentences": batch_sentences(batch, known.count(False), shared_terms(map(terms, results)), voted),
        "adjusted": adjusted,
        "held": {counted_in[index] for index in batch["flagged_together"]},
        "alpha": batch["alpha"],
    }


def _passage(number: int, span: dict[str, Any], document: ReportDocument, scale: float) -> Passage:
    start, end = span["start"], span["end"]
    quote = " ".join(document.text[start : min(end, start + 4 * QUOTE)].split())
    place = f"characters {start:,} to {end:,}"
    on = [page for page, low, high in document.pages if low < end and start < high]
    if on:
        place = (f"page {on[0]}, " if on[0] == on[-1] else f"pages {on[0]} to {on[-1]}, ") + place
    alpha = document.result["alpha"]
    return Passage(
        number=number,
        quote=quote if len(quote) <= QUOTE else quote[:QUOTE].rsplit(" ", 1)[0] + " …",
        place=place,
        p=p_text(span["adjusted_p_value"]),
        score=f"{span['score']:.2f}",
        shade=max(1, shade(span["adjusted_p_value"], alpha)),
        left=round(start * scale, 2),
        width=round(max((end - start) * scale, 3.0), 2),  # a short passage in a long document must still be seen
    )


# --- the template's filters ---


def escaped_text(text: str) -> Markup:
    """Document text for HTML: escaped; a carriage return as a reference, so that parsers keep it."""
    return Markup(str(escape(text.translate(REPLACED))).replace("\r", "&#13;"))


def style_hash(css: str) -> str:
    """The source expression that allows exactly this style sheet in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()


def dots_path(first: int, after: int, of: int) -> str:
    """An SVG path of zero-length strokes, drawn as dots by round caps: the dots first ... after - 1 of `of`, in rows."""
    columns = 25 if of <= 100 else 50
    return "".join(f"M{index % columns * 10 + 5} {index // columns * 10 + 5}h0" for index in range(first, after))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value.translate(REPLACED) if type(value) is str else value,
    )
    environment.filters |= {
        "text": escaped_text,
        "style_hash": style_hash,
        "p": p_text,
    }
    environment.globals |= {"is_bounded": is_bounded, "dots_path": dots_path, "counted": counted, "no_proof": NO_PROOF}
    return environment
