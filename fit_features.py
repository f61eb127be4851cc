"""Training segments -> the data that handcrafted features need besides their text: a dictionary, a register classifier.

Called by `mvh.train` with the training role alone, so that nothing of a held-out text is in it. What comes out is plain
JSON and travels in the config as `feature_data`; see `mvh.features_mvh` and `mvh.lexicon_mvh`. A training text would find its
own words in the dictionary, which a text to be judged cannot: it is looked up in what the dictionary is without it
(`held_out`).

The document type of a training text stands in its row or follows from the name of its source (`REGISTER_OF`). The
classifier is a multinomial logistic regression on the statistics that need no data; it learns from human and machine
texts alike, so that the type says as little as possible about the author.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from mvh.dataset_builder.sampling import unit_hash
from mvh.features_mvh import GROUPS, NEEDS, REGISTERS, TOLD, compute_features, expand_features
from mvh.lexicon_mvh import build_lexicon, text_stems

REGISTER_OF: dict[str, re.Pattern[str]] = {  # type -> sources that hold texts of it
    "academic": re.compile("arxiv|academic|peerread|pubmed|ru_science|technical|medicaltext", re.IGNORECASE),
    "reference": re.compile("wiki|education", re.IGNORECASE),
    "news": re.compile("news|xsum|sports$", re.IGNORECASE),
    "official": re.compile("legal|government|finance|business", re.IGNORECASE),
    "fiction": re.compile("creative|literature|writing|story", re.IGNORECASE),
    "informal": re.compile("yelp|review|qa|medicine|reddit|personal|online|eli5", re.IGNORECASE),
}
INPUT_GROUPS = ("lexical", "sentences", "readability", "wording", "punctuation", "characters")
MIN_TEXTS = 20  # of a type
UNTOLD = 0.3  # share of the documents whose type is withheld in training, so that a detector can do without
MAX_TEXTS = 20_000  # the classifier has few weights: more texts change nothing


def register_of(source: str) -> str | None:
    """The document type that a source's name tells, None where it tells none; a type tells itself."""
    if source in REGISTERS:
        return source
    return next((name for name, pattern in REGISTER_OF.items() if pattern.search(source)), None)


def type_or_source(row: Mapping[str, Any]) -> str:
    """What tells the document type of a dataset row: its `document_type` where it has one, else its source."""
    return row.get("document_type") or row["source"]


def segment_features(row: Mapping[str, Any], names: Sequence[str], data: Mapping[str, Any] | None) -> np.ndarray:
    """Unscaled features of a training segment, shape (F,), as `compute_features`.

    Where the group "document_type" is among them the row's type is told, but for a hashed share of the documents.
    """
    told = not set(TOLD).isdisjoint(names) and unit_hash(0, "document type", row["document_id"]) >= UNTOLD
    return compute_features(row["text"], names, data, register_of(type_or_source(row)) if told else None)


def held_out(
    data: Mapping[str, Any] | None, texts: Sequence[str], documents: Sequence[str]
) -> Callable[[str], Mapping[str, Any] | None]:
    """What the data for features would be to each document they were made of, had it not been among them.

    Its dictionary forgets the stems that enough texts use only with this document's. (A stem that the limit on their number
    let in is not looked for: it is rarer than a hundred thousand others.) The register classifier has few weights and stays.

    Args:
        data: What `fit_feature_data` made of the texts.
        texts: Normalised segments.
        documents: The document of each.

    Returns:
        A function of the document; one that is not among them gets `data`.
    """
    lexicon = (data or {}).get("lexicon")
    if data is None or lexicon is None:
        return lambda document: data
    used, own = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for text, document in zip(texts, documents, strict=True):
        language, stems = text_stems(text)
        if language in lexicon["languages"]:
            used.update(stems)
            own[document].update(stems)
    least = lexicon["min_texts"]
    owed = {
        document: frozenset(stem for stem, n in stems.items() if used[stem] - n < least <= used[stem])
        for document, stems in own.items()
    }
    return lambda document: {**data, "lexicon": {**lexicon, "forgotten": owed.get(document, frozenset())}}


def fit_register(texts: Sequence[str], sources: Sequence[str]) -> dict[str, Any]:
    """A linear classifier of document types, as `features_mvh.Reading.registers` reads it.

    Args:
        texts: Normalised segments.
        sources: The source of each, or its document type.

    Raises:
        ValueError: If the sources tell fewer than two types with `MIN_TEXTS` texts each.
    """
    kinds = [register_of(source) for source in sources]
    counts = Counter(kind for kind in kinds if kind is not None)
    classes = known_types(sources)
    if len(classes) < 2:
        raise ValueError(
            f"The group 'register' needs training texts of two document types with {MIN_TEXTS} texts each, and the sources "
            f"tell {dict(counts)}; leave the group out, or name the sources as REGISTER_OF reads them."
        )
    rows = [index for index, kind in enumerate(kinds) if kind in classes]
    rows = rows[:: max(1, len(rows) // MAX_TEXTS)]
    inputs = [name for group in INPUT_GROUPS for name in GROUPS[group]]
    values = np.array([compute_features(texts[index], inputs) for index in rows], dtype=np.float64)  # (rows, inputs)
    mean, std = values.mean(axis=0), values.std(axis=0)
    std[std == 0] = 1.0
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    model.fit(np.clip((values - mean) / std, -5, 5), [kinds[index] for index in rows])
    weights, bias = model.coef_, model.intercept_
    if len(classes) == 2:  # scikit-learn keeps one row for two classes
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, *bias])
    table = {"mean": mean, "std": std, "weights": weights, "bias": bias}
    return {
        "inputs": inputs,
        "classes": [str(name) for name in model.classes_],
        **{name: np.round(array, 6).tolist() for name, array in table.items()},
    }


def known_types(sources: Sequence[str]) -> list[str]:
    """The document types that the sources tell of `MIN_TEXTS` texts or more, sorted."""
    counts = Counter(register_of(source) for source in sources)
    return sorted(name for name in REGISTERS if counts[name] >= MIN_TEXTS)


def fit_feature_data(
    names: Sequence[str], texts: Sequence[str], sources: Sequence[str] | None = None
) -> dict[str, Any] | None:
    """Whatever the features named need, from the training segments; None where they need nothing.

    Args:
        names: Features or groups.
        texts: Normalised segments.
        sources: The source of each, or its document type where that is known; see `type_or_source`.

    Raises:
        ValueError: If the texts are too few, or document types are needed and absent.
    """
    singles = set(expand_features(names))
    data: dict[str, Any] = {}
    if singles.intersection(NEEDS["lexicon"]):
        data["lexicon"] = build_lexicon(texts)
    for group, part in (("register", "register"), ("document_type", "document_types")):
        if singles.intersection(NEEDS[part]):
            if sources is None:
                raise ValueError(f"The group {group!r} needs the source of every training text, and none is given.")
            data[part] = fit_register(texts, sources) if group == "register" else known_types(sources)
    if data.get("document_types") == []:
        raise ValueError(
            f"The group 'document_type' needs {MIN_TEXTS} training texts of a type, and no source among "
            f"{sorted(set(sources or ()))[:5]} tells so many; name `document_type` in the rows."
        )
    return data or None
