"""A file -> its kind, by what is in it; the name only tells kinds of text apart."""

from __future__ import annotations

import zipfile
from pathlib import Path

TEXT_KINDS = {".md": "md", ".markdown": "md", ".html": "html", ".htm": "html", ".xhtml": "html"}
SUFFIXES = (".txt", *TEXT_KINDS, ".pdf", ".docx", ".odt")  # what is looked for in folders
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old Word documents, and encrypted new ones
ODT = b"application/vnd.oasis.opendocument.text"
UNICODE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
LOOKED_AT = 8192


def kind_of(path: Path) -> str:
    """The kind of a file: "txt", "md", "html", "pdf", "docx" or "odt".

    Raises:
        ValueError: If the file is empty or of a kind that is not read.
    """
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
    if not head:
        raise ValueError("is empty.")
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return _zipped_kind(path)
    if head.startswith(OLE):
        raise ValueError("is an old Word document (.doc) or an encrypted one; save it as .docx without a password.")
    if head.startswith(b"{\\rtf"):
        raise ValueError("is rich text (.rtf); save it as .docx, .odt or .txt.")
    if b"\0" in head and not head.startswith(UNICODE_MARKS):
        raise ValueError(f"is a binary file and none of {_listed()}.")
    if path.suffix.lower() == ".pdf":
        raise ValueError("is named .pdf and is none: it does not begin like one.")
    if path.suffix.lower() in TEXT_KINDS:
        return TEXT_KINDS[path.suffix.lower()]
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "html" if start.startswith((b"<!doctype html", b"<html")) else "txt"


def named_otherwise(path: Path, kind: str) -> str | None:
    """A sentence where the name of a file promises another kind than its content has."""
    suffix = path.suffix.lower()
    promised = TEXT_KINDS.get(suffix, suffix[1:] if suffix in SUFFIXES else None)
    return f"It is named {suffix}, is {kind}, and was read as such." if promised not in (None, kind) else None


def _zipped_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            mimetype = archive.open("mimetype").read(len(ODT) + 1).strip() if "mimetype" in names else b""
    except Exception as error:  # whatever a hostile archive makes zipfile raise
        raise ValueError(f"is a damaged or truncated archive ({error}).") from error
    if "word/document.xml" in names:
        return "docx"
    if mimetype == ODT:
        return "odt"
    raise ValueError(f"is a zip archive and neither docx nor odt; read are {_listed()}.")


def _listed() -> str:
    return "txt, md, html, pdf, docx and odt"
