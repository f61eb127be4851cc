"""Zipped documents (docx, odt): parts are unpacked within limits and parsed without entities, so bombs stay shut."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from mvh.documents.limits import LIMITS, Limits

SMALL = 2**20  # bytes: parts this small may pack as well as they like
MOST_PARTS = 10_000
NO_MEMORY = 2  # libxml2's XML_ERR_NO_MEMORY


def open_parts(path: Path, limits: Limits = LIMITS) -> zipfile.ZipFile:
    """Open a zipped document whose parts promise to stay within the limits.

    Raises:
        ValueError: If the archive is damaged or encrypted, or unpacks to more than the limits allow.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (
        zipfile.BadZipFile,
        ValueError,
        NotImplementedError,
    ) as error:  # the last: a zip version zipfile cannot read
        raise ValueError(f"is a damaged or truncated archive ({error}).") from error
    parts = archive.infolist()
    total = sum(part.file_size for part in parts)
    if len(parts) > MOST_PARTS:
        raise ValueError(f"holds {len(parts):,} parts; at most {MOST_PARTS:,} are opened.")
    if total > limits.unpacked_bytes:
        raise ValueError(f"unpacks to {total:,} bytes; at most {limits.unpacked_bytes:,} are unpacked.")
    for part in parts:
        if part.file_size > max(SMALL, limits.unpacked_ratio * part.compress_size):
            raise ValueError(
                f"holds a part that unpacks from {part.compress_size:,} to {part.file_size:,} bytes, as zip bombs do; it "
                "was not opened."
            )
        if part.flag_bits & 1:
            raise ValueError("is encrypted; save a copy without a password.")
    return archive


def part_bytes(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """The bytes of a part, never more than its entry promised; None where there is no such part.

    Raises:
        ValueError: If the part is damaged.
    """
    try:
        with archive.open(name) as file:
            return file.read(archive.getinfo(name).file_size)
    except KeyError:
        return None
    except Exception as error:  # zipfile, zlib, bz2 and lzma each raise kinds of their own
        raise ValueError(f"has a damaged part {name!r} that does not unpack ({error}).") from error


def parse(content: bytes, name: str) -> Any:
    """The root element of a part.

    Raises:
        ValueError: If it is no XML, or declares a document type: no office program writes one, entities need one.
    """
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        if error.code == NO_MEMORY or error.msg == "unknown error":  # lxml's words where libxml2 could not allocate
            raise MemoryError from error
        raise ValueError(f"has a part {name!r} that is no XML ({error.msg}).") from error
    if root.getroottree().docinfo.doctype:
        raise ValueError(
            f"declares a document type in {name!r}, through which entities and outside files come in; no office program "
            "writes one, and it was not read."
        )
    return root
