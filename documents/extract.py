"""One file -> its text and what was read of it, whatever its kind. Runs inside the reading process (`worker.py`)."""

from __future__ import annotations

from pathlib import Path

from mvh.documents.blocks import Extracted, assemble
from mvh.documents.body import mark_body
from mvh.documents.kinds import kind_of, named_otherwise
from mvh.documents.limits import LIMITS, Limits, refuse_long
from mvh.documents.opendocument import odt_blocks
from mvh.documents.pdf import pdf_blocks
from mvh.documents.plain import decode, markdown_blocks, text_blocks
from mvh.documents.web import MENUS, html_blocks
from mvh.documents.word import word_blocks

IN_PROCESS = ("txt", "md")  # nothing is unpacked or parsed: safe without a process of its own


def extract(path: Path, body_only: bool = False, limits: Limits = LIMITS) -> Extracted:
    """Read a file.

    Args:
        path: The file.
        body_only: Leave out running heads and feet, headings, references and code.
        limits: How much is read of it; time and memory are kept by whoever runs this.

    Raises:
        ValueError: If the file is empty, damaged, encrypted, hostile, or of a kind that is not read; the sentence begins
            after the file's name.
        OSError: If it cannot be opened.
    """
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise ValueError(f"has {size:,} bytes; at most {limits.file_bytes:,} are read.")
    kind = kind_of(path)
    notes = [said] if (said := named_otherwise(path, kind)) else []
    page_count, scanned, left_out = None, list[int](), 0
    if kind in ("txt", "md"):
        text, said_too = decode(path.read_bytes())
        refuse_long(len(text), limits)
        blocks, notes = (markdown_blocks if kind == "md" else text_blocks)(text), notes + said_too
    elif kind == "html":
        blocks, left_out, said_too = html_blocks(path.read_bytes())
        notes += said_too
    elif kind == "pdf":
        blocks, page_count, scanned, said_too = pdf_blocks(path, limits)
        notes += said_too
    else:
        blocks, page_count = (word_blocks if kind == "docx" else odt_blocks)(path, limits)
    refuse_long(sum(len(block.text) for block in blocks), limits)
    if body_only:
        blocks = mark_body(blocks, by_looks=kind in ("txt", "pdf"))
    unread = {MENUS: left_out} if left_out else {}
    extracted = assemble(blocks, kind, body_only, page_count, scanned, notes, unread)
    if kind not in IN_PROCESS and not extracted.text.strip():
        raise ValueError(_nothing(extracted))
    return extracted


def _nothing(extracted: Extracted) -> str:
    if extracted.scanned_pages:
        return (
            f"holds no text: {len(extracted.scanned_pages)} of its {extracted.page_count} pages are images (scanned); run text "
            "recognition (OCR) first."
        )
    if extracted.skipped:
        return f"holds nothing but {', '.join(extracted.skipped)}: no text is left of its body."
    if extracted.kind == "pdf":
        return (
            "holds no text: its pages are blank or drawn, as letters in outlines are; run text recognition (OCR) first."
        )
    return "holds no text."
