"""What human texts a score is ranked among: kinds of text, and the scores of human documents of each kind.

A `Calibration` is what `calibration_mvh.decode_calibration` reads from a config. Its groups (`Group`: a script and a range
of lengths) are made by `length_groups` from the lengths of calibration documents. Where it tells sources apart (`Source`:
documents of a script that came from one place), a document is ranked in its group and in each source of its script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .pvalues_mvh import conformal_p_values

MIN_GROUP_DOCUMENTS = 100  # at alpha 0.05 a group of 100 realises a rate between 0.02 and 0.09 nine times out of ten
LENGTH_EDGES = tuple(2**power for power in range(6, 20))  # candidate bounds of length groups, in tokens
POOLED = -1


@dataclass(frozen=True)
class Document:
    """What a calibration or a verdict needs of one document: its segments' scores, and which kind of text it is.

    Attributes:
        margins: Logit margins of its m segments, shape (m,).
        core_tokens: Tokens of each core, shape (m,).
        script: The first that `scripts_mvh.scripts_of` names.
        language: What `languages_mvh.dominant_language` says, "" where it cannot tell.
        document_type: Its type where that was told and a feature of the detector read it, else "".
        beside: Other scripts that many of its letters belong to, see `scripts_mvh.scripts_of`.
        other_languages: Other languages that many of its words are in, see `languages_mvh.scripts_and_languages`.
        unread: Share of its characters that the tokenizer does not know, see `segmentation_mvh.Segment`.
        source: Where a calibration document comes from, "" where nobody said.
    """

    margins: np.ndarray
    core_tokens: np.ndarray
    script: str
    language: str = ""
    document_type: str = ""
    beside: tuple[str, ...] = ()
    other_languages: tuple[str, ...] = ()
    unread: float = 0.0
    source: str = ""

    @property
    def tokens(self) -> int:
        """Tokens of the whole document."""
        return int(self.core_tokens.sum())


@dataclass(frozen=True)
class Group:
    """A kind of document: one script and a range of lengths, [low, high] tokens (no bound above where high is None)."""

    script: str
    low: int
    high: int | None

    @property
    def name(self) -> str:
        """The group in words."""
        return (
            f"{self.script}, {self.low} tokens or more"
            if self.high is None
            else f"{self.script}, {self.low} to {self.high} tokens"
        )

    def holds(self, script: str, tokens: int) -> bool:
        """Whether a document of this script and length belongs here."""
        return script == self.script and self.low <= tokens and (self.high is None or tokens <= self.high)


@dataclass(frozen=True)
class Source:
    """Where human documents of a script came from: a kind of text that cannot be told from the text itself."""

    script: str
    name: str


@dataclass(frozen=True)
class Reference:
    """Human scores that others are ranked among: ascending, with weights that sum to the number of documents."""

    scores: np.ndarray
    weights: np.ndarray
    documents: int


@dataclass(frozen=True)
class Calibration:
    """A decoded calibration.

    Attributes:
        segment: Margins of segments, by script, and under "" those of all scripts without a reference of their own.
        document: Statistics of whole documents, by index of the group, and under POOLED those in no group; the sources'
            follow the groups.
        simes: Ascending Simes p-values of the same documents, keyed alike: what correction "calibrated" needs.
        groups: The kinds of documents told apart; a document is of one.
        sources: Kinds that a document may be of beside its group, each for all lengths.
        scripts: Documents of each script, over both sides.
        documents: Number of documents of the document side.
        segment_documents: Number of documents of the segment side.
        statistic: A key of STATISTICS.
        tellable_tokens: Below this length an unflagged document tells nothing (0: not measured).
        tellable_alpha: The level at which that length was measured.
        shortest_tokens: Tokens of the shortest document calibrated on, over both sides.
        longest_tokens: The longest document of the document side.
        longest_by_script: The same of the documents of each script, 0 where all of them are on the other side; empty where
            nobody looked.
        languages: Documents of each language that could be told, over both sides; empty where nobody looked.
        document_types: Documents of each type that a feature read, over both sides; under "" those of which none was told.
    """

    segment: dict[str, Reference]
    document: dict[int, Reference]
    simes: dict[int, np.ndarray]
    groups: list[Group]
    sources: list[Source]
    scripts: dict[str, int]
    documents: int
    segment_documents: int
    statistic: str
    tellable_tokens: int
    tellable_alpha: float
    shortest_tokens: int
    longest_tokens: int
    longest_by_script: dict[str, int]
    languages: dict[str, int]
    document_types: dict[str, int]

    def group_of(self, script: str, tokens: int) -> int:
        """Index of the group of a document, or POOLED."""
        return find_group(self.groups, script, tokens)

    def kinds_of(self, script: str, tokens: int) -> list[int]:
        """Keys of all that a document is ranked among: its group, and every source of its script.

        A p-value that is the largest of several is valid for texts like any of them: whichever kind a human text is of, its
        own p-value is at most alpha with probability at most alpha, and the largest is no smaller.
        """
        places = range(len(self.groups), len(self.groups) + len(self.sources))
        same = [key for key, source in zip(places, self.sources, strict=True) if source.script == script]
        return [self.group_of(script, tokens), *same]

    def longest(self, script: str) -> int:
        """Tokens of the longest document of the document side, of a script where the calibration knows its lengths."""
        return self.longest_by_script.get(script, self.longest_tokens)

    def segment_reference(self, script: str) -> Reference:
        """What segments of a script are ranked among."""
        return self.segment.get(script, self.segment[""])

    def segment_p_values(self, document: Document) -> np.ndarray:
        """Conformal p-values of a document's segments, shape (m,), among those of its script."""
        reference = self.segment_reference(document.script)
        return conformal_p_values(document.margins, reference.scores, reference.weights)


def find_group(groups: Sequence[Group], script: str, tokens: int) -> int:
    """Index of the group that holds a document, or POOLED."""
    return next((index for index, group in enumerate(groups) if group.holds(script, tokens)), POOLED)


def length_groups(documents: Sequence[Document], minimum: int = MIN_GROUP_DOCUMENTS) -> list[Group]:
    """Groups by script and length with at least `minimum` of the documents each; rarer scripts get none.

    Within a script lengths are cut at powers of two from 64 tokens, as soon as `minimum` documents have come together and
    as many are left.
    """
    groups: list[Group] = []
    for script in sorted({document.script for document in documents}):
        lengths = np.sort([document.tokens for document in documents if document.script == script])
        if len(lengths) < minimum:
            continue
        low, begin = 1, 0
        for edge in LENGTH_EDGES:
            end = int(np.searchsorted(lengths, edge, side="right"))
            if end - begin >= minimum and len(lengths) - end >= minimum:
                groups.append(Group(script, low, edge))
                low, begin = edge + 1, end
        groups.append(Group(script, low, None))
    return groups
