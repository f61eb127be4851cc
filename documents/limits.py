"""How much of a file is read before it counts as hostile: sizes, pages, time and memory."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits for one file; whoever exceeds one is refused with a sentence that names it.

    Attributes:
        file_bytes: Size of the file itself.
        characters: Length of the text taken from it.
        pages: Pages of a PDF.
        unpacked_bytes: What the parts of a zipped document (docx, odt) may unpack to, all together.
        unpacked_ratio: Unpacked to packed size of one part; XML of text packs about 10 to 1, a bomb 1000 to 1.
        seconds: Wall-clock time for one file.
        memory_bytes: Address space of the process that reads (where the system can limit it: Linux).
    """

    file_bytes: int = 200 * MIB
    characters: int = 20_000_000
    pages: int = 5_000
    unpacked_bytes: int = 300 * MIB
    unpacked_ratio: int = 200
    seconds: float = 120.0
    memory_bytes: int = 2048 * MIB


LIMITS = Limits()


def refuse_long(characters: int, limits: Limits) -> None:
    """Raise a ValueError where a text is longer than the limit."""
    if characters > limits.characters:
        raise ValueError(
            f"holds more than {limits.characters:,} characters of text, the most that is read of one file."
        )
