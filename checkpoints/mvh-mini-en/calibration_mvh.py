"""A calibration in a config: scores of human documents that served nothing else, packed, unpacked and checked.

Two disjoint sets of human documents: `segment` holds the margins of all segments of one set (each document with total
weight 1), `document` the statistics of the whole documents of the other. A text is compared with human documents of its
own kind (Mondrian conformal prediction): its segments with those of its script, the whole document with those of its
script and length. Scripts with fewer than MIN_GROUP_DOCUMENTS form one kind together (POOLED), so that the kinds are a
partition and P(p <= alpha) <= alpha holds in each of them. Segments are not split by length: each length would be left
with a part of the documents, and its p-values with a part of the resolution. The groups are made from the segment side
alone, so they cannot favour a document p-value.

Where documents name their sources and the rate shall hold for each of them, a document is ranked among those of its script and
length and among those of every source of its script, and its p-value is the largest of these ("by_source").

Scores travel as float32 in base64, at most MAX_CALIBRATION_VALUES in all, beside what they belong to ("about") and an
"id" hashed from all of it. Damage is noticed when a calibration is decoded. A record of how verdicts in bfloat16 agree with
those in float32 ("parity", see `precision_mvh`) may be added later and leaves the id as it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .corrections_mvh import known, simes
from .features_mvh import REGISTERS
from .languages_mvh import NAMES
from .pvalues_mvh import conformal_p_values
from .references_mvh import (
    MIN_GROUP_DOCUMENTS,
    POOLED,
    Calibration,
    Document,
    Group,
    Reference,
    Source,
    find_group,
    length_groups,
)
from .statistics_mvh import STATISTICS

VERSION = 2
WITH_SOURCES = 3  # of a calibration that tells sources apart: older code would leave them out, so it must not read it
MAX_CALIBRATION_VALUES = 5_000
LONGEST_NAME = 60  # characters of a source's
MOST_SOURCES = 50  # each result names those of its script


def encode_calibration(
    segment_documents: Sequence[Document],
    document_documents: Sequence[Document],
    about: Mapping[str, Any],
    statistic: str = "mean_margin",
    tellable_tokens: int = 0,
    tellable_alpha: float = 0.05,
    minimum: int = MIN_GROUP_DOCUMENTS,
    by_source: bool = False,
) -> dict[str, Any]:
    """Pack human documents into the JSON-ready dict that travels in the config.

    Args:
        segment_documents: Human documents for segment p-values.
        document_documents: Human documents for document p-values; none of the ones above.
        about: What the calibration belongs to (normaliser, weights, dtype, population ...), kept as it is.
        statistic: A key of STATISTICS, by which documents are judged.
        tellable_tokens: Length below which an unflagged document tells nothing.
        tellable_alpha: Level at which that was measured.
        minimum: Documents a group or source needs.
        by_source: Rank documents in every source of their script, too, that has `minimum` of `document_documents`.

    Returns:
        A dict with "groups", "segment", "document", "about" and the "id" that every result repeats.

    Raises:
        ValueError: If a score is not finite, a side is empty, all scores are equal, or there are too many values.
    """
    known("statistic", statistic, STATISTICS)
    for side, documents in (("segment", segment_documents), ("document", document_documents)):
        if empty := sum(len(document.margins) == 0 for document in documents):
            raise ValueError(f"{empty} documents of the {side} calibration have no segment.")
        if broken := sum(not np.isfinite(document.margins).all() for document in documents):
            raise ValueError(f"{broken} documents of the {side} calibration have segment scores that are not finite.")
    room = MAX_CALIBRATION_VALUES - 2 * len(document_documents)  # two values of each document of the document side
    if len(segment_documents) > room:
        raise ValueError(
            f"A calibration holds at most {MAX_CALIBRATION_VALUES} values, and {len(segment_documents)} documents for "
            f"segments with {len(document_documents)} for documents need more; draw fewer documents."
        )
    groups = length_groups(segment_documents, minimum)
    everyone = [*segment_documents, *document_documents]
    scripts = Counter(document.script for document in everyone)
    names = sorted(scripts)
    languages = Counter(document.language for document in everyone if document.language)
    types = Counter(document.document_type for document in everyone)
    kept = _thin([document.margins for document in segment_documents], room)
    scores = np.concatenate(kept or [np.empty(0)])
    owner = np.repeat(np.arange(len(kept)), [len(margins) for margins in kept])
    segment = {
        "scores": _pack(scores, "<f4"),
        "document": _pack(owner, "<u2"),
        "script": _pack(np.array([names.index(document.script) for document in segment_documents]), "<u2"),
        "minimum": minimum,
    }
    references = _segment_references(segment, names)
    p_values = [
        conformal_p_values(document.margins, reference.scores, reference.weights)
        for document in document_documents
        for reference in [references.get(document.script, references[""])]
    ]
    rule = STATISTICS[statistic]
    statistics = [
        rule(document.margins, document.core_tokens, p)
        for document, p in zip(document_documents, p_values, strict=True)
    ]
    packed: dict[str, Any] = {
        "version": WITH_SOURCES if by_source else VERSION,
        "groups": [{"script": group.script, "low": group.low, "high": group.high} for group in groups],
        "scripts": {name: scripts[name] for name in names},
        "languages": {name: languages[name] for name in sorted(languages)},
        "segment": segment,
        "document": {
            "statistic": statistic,
            "scores": _pack(np.array(statistics), "<f4"),
            "simes": _pack(np.array([simes(p) for p in p_values]), "<f4"),
            "group": _pack(
                np.array([find_group(groups, document.script, document.tokens) for document in document_documents]),
                "<i2",
            ),
            "tellable_tokens": int(tellable_tokens),
            "tellable_alpha": float(tellable_alpha),
            "shortest_tokens": min((document.tokens for document in everyone), default=0),
            "longest_tokens": max((document.tokens for document in document_documents), default=0),
            "longest_by_script": {
                name: max((document.tokens for document in document_documents if document.script == name), default=0)
                for name in names
            },
        },
        "about": dict(about),
    }
    if by_source:
        packed["document"] |= _pack_sources(document_documents, minimum)
    if set(types) != {""}:
        packed["document_types"] = {name: types[name] for name in sorted(types)}
    packed["id"] = calibration_id(packed)
    decode_calibration(packed)
    return packed


def decode_calibration(packed: Mapping[str, Any]) -> Calibration:
    """Unpack and check a calibration.

    Raises:
        ValueError: If the calibration is damaged: missing parts, wrong sizes, scores that are not finite, constant or too
            many, p-values smaller than its documents can give, groups that overlap or that no document has, or an id that
            is not its contents'.
    """
    try:
        if packed["version"] not in (VERSION, WITH_SOURCES):
            raise ValueError(
                f"The calibration is of version {packed['version']} and this code reads versions {VERSION} and "
                f"{WITH_SOURCES}; calibrate again."
            )
        if not isinstance(packed["about"], Mapping):
            raise ValueError(f"The calibration's 'about' must be a mapping, not {type(packed['about']).__name__}.")
        groups = _unpack_groups(packed["groups"])
        scripts = {
            script: _whole(count, f"documents of script {script}", 1) for script, count in packed["scripts"].items()
        }
        if len(scripts) > MAX_CALIBRATION_VALUES:
            raise ValueError(f"The calibration names {len(scripts)} scripts; at most {MAX_CALIBRATION_VALUES} can be.")
        segment = _segment_references(packed["segment"], list(scripts))
        whole = packed["document"]
        statistics, human_simes = _unpack(whole["scores"], "<f4"), _unpack(whole["simes"], "<f4")
        group = _unpack(whole["group"], "<i2").astype(int)
        _check_documents(statistics, human_simes, group, len(groups))
        _check_simes(human_simes, segment)
        shortest = _whole(whole["shortest_tokens"], "shortest_tokens", 0)
        sources, source = _unpack_sources(whole, len(statistics), packed["version"] == WITH_SOURCES)
        keys = _keys(group, source, len(groups), len(sources))
        calibration = Calibration(
            segment=segment,
            document={key: _reference(statistics[chosen]) for key, chosen in keys.items()},
            simes={key: np.sort(human_simes[chosen]) for key, chosen in keys.items()},
            groups=groups,
            sources=sources,
            scripts=scripts,
            documents=len(statistics),
            segment_documents=len(_unpack(packed["segment"]["script"], "<u2")),
            statistic=known("statistic", whole["statistic"], STATISTICS),
            tellable_tokens=_whole(whole["tellable_tokens"], "tellable_tokens", 0),
            tellable_alpha=_level(whole["tellable_alpha"]),
            shortest_tokens=shortest,
            longest_tokens=_whole(whole["longest_tokens"], "longest_tokens", shortest),
            longest_by_script={  # calibrations once had none
                script: _whole(tokens, f"longest_tokens of script {script}", 0)
                for script, tokens in whole.get("longest_by_script", {}).items()
            },
            languages=_languages(packed.get("languages", {})),  # calibrations once had none
            document_types=_types(packed.get("document_types", {"": len(statistics)})),
        )
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(f"The calibration in the config is damaged: {type(error).__name__} {error}.") from error
    if packed.get("id") != calibration_id(packed):
        raise ValueError(
            f"The calibration calls itself {packed.get('id')}, but its contents hash to {calibration_id(packed)}."
        )
    return calibration


def calibration_id(packed: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of a calibration without its "id" and what was measured of it later ("parity")."""
    body = {key: value for key, value in packed.items() if key not in ("id", "parity")}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def _thin(margins: list[np.ndarray], room: int) -> list[np.ndarray]:
    """At most `room` margins in all: long documents keep a random few, seeded, so that a random segment stays one."""
    most = max((len(part) for part in margins), default=0)
    while sum(min(len(part), most) for part in margins) > room:
        most -= 1
    generator = np.random.default_rng(0)
    return [part if len(part) <= most else generator.choice(part, most, replace=False) for part in margins]


def _languages(counts: Mapping[str, Any]) -> dict[str, int]:
    """Documents of each language."""
    return {known("language", name, NAMES): _whole(count, f"documents in {name}", 1) for name, count in counts.items()}


def _types(counts: Mapping[str, Any]) -> dict[str, int]:
    """Documents of each type, under "" those of which none was told."""
    choices = ("", *REGISTERS)
    return {
        known("document_type", name, choices): _whole(count, f"documents of type {name!r}", 1)
        for name, count in counts.items()
    }


def _segment_references(part: Mapping[str, Any], scripts: Sequence[str]) -> dict[str, Reference]:
    """References of segment margins by script, those of scripts without one of their own under ""."""
    scores, owner = _unpack(part["scores"], "<f4"), _unpack(part["document"], "<u2").astype(int)  # (n,)
    script = _unpack(part["script"], "<u2").astype(int)  # (K,)
    _check_scores("segment", scores)
    if len(owner) != len(scores) or set(owner) != set(range(len(script))):
        raise ValueError(
            f"The segment calibration has {len(scores)} scores of {len(set(owner))} documents, and says it has "
            f"{len(script)}."
        )
    if script.max() >= len(scripts):
        raise ValueError(f"The segment calibration names script {script.max()} of {len(scripts)}.")
    minimum = _whole(part["minimum"], "minimum", 1)
    weights = 1.0 / np.bincount(owner)[owner]  # (n,)
    order = np.argsort(scores, kind="stable")
    references = {}
    rest = np.ones(len(script), dtype=bool)  # documents without a reference of their own
    for index, name in enumerate(scripts):
        mine = script == index  # (K,)
        if mine.sum() >= minimum:
            chosen = order[mine[owner[order]]]
            references[name] = Reference(scores[chosen], weights[chosen], int(mine.sum()))
            rest &= ~mine
    chosen = order[rest[owner[order]]]
    references[""] = Reference(scores[chosen], weights[chosen], int(rest.sum()))
    return references


def _keys(group: np.ndarray, source: np.ndarray, groups: int, sources: int) -> dict[int, np.ndarray]:
    """Which of n documents (n,) are in each group, in none under POOLED, and in each source, whose keys follow the groups'."""
    by_group = {key: group == key for key in (POOLED, *range(groups))}
    return by_group | {groups + index: source == index for index in range(sources)}


def _reference(values: np.ndarray) -> Reference:
    """Of one value per document."""
    return Reference(np.sort(values), np.ones(len(values)), len(values))


def _pack_sources(documents: Sequence[Document], minimum: int) -> dict[str, Any]:
    """The sources with at least `minimum` documents, and which one each document is of."""
    counts = Counter((document.script, document.source) for document in documents if document.source)
    kept = sorted(kind for kind, count in counts.items() if count >= minimum)
    place = {kind: index for index, kind in enumerate(kept)}
    of = [place.get((document.script, document.source), POOLED) for document in documents]
    return {
        "sources": [{"script": script, "name": name} for script, name in kept],
        "source": _pack(np.array(of), "<i2"),
    }


def _unpack_sources(whole: Mapping[str, Any], documents: int, told: bool) -> tuple[list[Source], np.ndarray]:
    """The sources that a document side names, and the one of each document, shape (n,); none where they are not told."""
    if not told:
        if "sources" in whole or "source" in whole:
            raise ValueError(f"The calibration names sources, and its version is {VERSION}, which has none.")
        return [], np.full(documents, POOLED)
    if len(whole["sources"]) > MOST_SOURCES:
        raise ValueError(f"The calibration names {len(whole['sources'])} sources; at most {MOST_SOURCES} can be.")
    sources = [Source(source_name(part["script"]), source_name(part["name"])) for part in whole["sources"]]
    source = _unpack(whole["source"], "<i2").astype(int)
    if len(source) != documents or len(set(sources)) != len(sources):
        raise ValueError(
            f"The document calibration has {documents} documents and names the sources of {len(source)}, of "
            f"{len(set(sources))} different sources in a list of {len(sources)}."
        )
    if found := sorted((set(source.tolist()) - {POOLED}) ^ set(range(len(sources)))):
        raise ValueError(
            f"Source {found[0]} of {len(sources)} has no document in the document calibration, or is not among them."
        )
    return sources, source


def _check_scores(part: str, scores: np.ndarray) -> None:
    if not 0 < len(scores) <= MAX_CALIBRATION_VALUES:
        raise ValueError(
            f"The {part} calibration has {len(scores)} scores; it must have from 1 to {MAX_CALIBRATION_VALUES}."
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"The {part} calibration holds {int((~np.isfinite(scores)).sum())} scores that are not finite."
        )
    if len(scores) > 1 and scores.min() == scores.max():
        raise ValueError(
            f"All {len(scores)} {part} calibration scores equal {scores[0]}: they cannot tell texts apart."
        )


def _check_documents(statistics: np.ndarray, human_simes: np.ndarray, group: np.ndarray, groups: int) -> None:
    _check_scores("document", statistics)
    if not len(statistics) == len(human_simes) == len(group):
        raise ValueError(
            f"The document calibration has {len(statistics)} scores, {len(human_simes)} Simes p-values and {len(group)} "
            "groups; they must be as many."
        )
    if not ((human_simes > 0) & (human_simes <= 1)).all():
        raise ValueError("The document calibration holds Simes p-values outside (0, 1].")
    if ((group < POOLED) | (group >= groups)).any():
        raise ValueError(f"The document calibration names group {group.max()} and there are {groups} groups.")
    if missing := sorted(set(range(groups)) - set(group.tolist())):
        raise ValueError(f"Group {missing[0]} of {groups} has no document in the document calibration.")


def _check_simes(human_simes: np.ndarray, segment: Mapping[str, Reference]) -> None:
    """No segment p-value, and so no Simes p-value, lies below 1 / (K + 1): one that does could only keep texts unflagged."""
    most = max(reference.documents for reference in segment.values())
    if human_simes.min() < (1.0 - 1e-6) / (most + 1):  # it travelled as float32
        raise ValueError(
            f"The document calibration holds a Simes p-value of {human_simes.min():.3g}, and {most} documents give none "
            f"below {1 / (most + 1):.3g}."
        )


def _unpack_groups(packed: Sequence[Mapping[str, Any]]) -> list[Group]:
    """The groups, in order of script and length, none of which overlaps another: a document belongs to one."""
    if len(packed) > MAX_CALIBRATION_VALUES:
        raise ValueError(f"The calibration names {len(packed)} groups; at most {MAX_CALIBRATION_VALUES} can be.")
    groups = []
    for part in packed:
        low, high = _whole(part["low"], "low of a group", 1), part["high"]
        groups.append(Group(str(part["script"]), low, None if high is None else _whole(high, "high of a group", low)))
    for one, other in zip(groups, groups[1:], strict=False):
        if (one.script, one.high or float("inf")) >= (other.script, other.low):
            raise ValueError(f"The calibration's groups overlap or are out of order: {one.name!r} and {other.name!r}.")
    return groups


def _whole(value: Any, name: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"The calibration's {name} must be a whole number from {least}, got {value!r:.60}.")
    return value


def source_name(value: Any) -> str:
    """A source's name, or its script; raises a ValueError unless a line can show it."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        raise ValueError(
            f"A source's name or script must be printable, of 1 to {LONGEST_NAME} characters, got {value!r:.60}."
        )
    return value


def _level(value: Any) -> float:
    if not isinstance(value, (int, float)) or not 0.0 < value < 1.0:
        raise ValueError(f"The calibration's tellable_alpha must lie between 0 and 1, got {value!r:.60}.")
    return float(value)


def _pack(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.asarray(values).astype(dtype).tobytes()).decode("ascii")


def _unpack(text: str, dtype: str) -> np.ndarray:
    size = np.dtype(dtype).itemsize
    if len(text) > (most := 4 * (MAX_CALIBRATION_VALUES * size // 3 + 1)):
        raise ValueError(
            f"A part of the calibration has {len(text)} characters; its {MAX_CALIBRATION_VALUES} values at most have {most}."
        )
    raw = base64.b64decode(text, validate=True)
    if len(raw) % size:
        raise ValueError(f"The calibration in the config is damaged: {len(raw)} bytes are no whole number of values.")
    values = np.frombuffer(raw, dtype=dtype)
    return values.astype(np.float64) if dtype == "<f4" else values
