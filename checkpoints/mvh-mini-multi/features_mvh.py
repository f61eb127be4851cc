"""Segment text -> a fixed vector of handcrafted statistics that a detector may join to the pooled encoder state.

The statistics stand in groups (`GROUPS`); a config names groups, single statistics, or "all". Every value is a share, a
mean or a logarithm within fixed bounds, so that no text, however long or odd, gives a value that is infinite or out of
all proportion. Vocabulary is counted in windows of fixed length, because the share of different words falls with length.

Languages: words, sentences and syllables are found in every script (`reading_mvh`, `syllables_mvh`). Statistics that
need word lists know eleven languages (`wordlists_mvh`). In another one, or where the language cannot be told, they have
the neutral value of `style_mvh.NEUTRAL`, a mean over the development data's training files: after scaling it is near
zero and says neither human nor machine.

The group "document_type" is not computed from the text but told by whoever asks ("a paper", "a story"): 1 for the type
given, all 0 where none is given or the training knew no such type. "all" leaves it out.

Three groups need data made from training texts, which travel in the config (`feature_data`): "spelling" a dictionary
(`lexicon_mvh`), "register" a linear classifier of the document type, "document_type" the types that the training knew.
The names, the data, and the mean and standard deviation that scale each statistic are all a checkpoint needs to compute
them as its training did.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .lexicon_mvh import check_lexicon
from .reading_mvh import Reading
from .style_mvh import (
    MARK,
    REPEATED_MARK,
    STRETCHED,
    burstiness,
    character_share,
    contractions,
    grade,
    listed,
    lowercase_openings,
    mean,
    missing_commas,
    per_word,
    reading_ease,
    repeated_openings,
    repetition,
    share,
    spelling,
    std,
    types,
    yule_k,
)

REGISTERS = ("academic", "reference", "news", "official", "fiction", "informal")


def _register(name: str) -> Callable[[Reading], float]:
    """Probability that the text is of this document type."""
    return lambda r: _registers(r)[name]


def _registers(r: Reading) -> dict[str, float]:
    """Probability of each document type: one-hot where the type was given, else from the linear classifier."""
    if r.document_type is not None:
        return {name: float(name == r.document_type) for name in REGISTERS}
    if r.registers is None:
        table = r.data["register"]
        values = np.array([FEATURES[name](r) for name in table["inputs"]])  # (inputs,)
        scaled = np.clip((values - table["mean"]) / np.array(table["std"]), -5, 5)
        logits = np.array(table["weights"]) @ scaled + table["bias"]  # (classes,)
        shares = np.exp(logits - logits.max())
        told = zip(table["classes"], (shares / shares.sum()).tolist(), strict=True)
        r.registers = dict.fromkeys(REGISTERS, 0.0) | dict(told)
    return r.registers


def _told(name: str) -> Callable[[Reading], float]:
    """1 where the text is said to be of this document type and the training knew texts of it, else 0."""
    return lambda r: float(r.document_type == name and name in r.data["document_types"])


GROUPS: dict[str, dict[str, Callable[[Reading], float]]] = {
    "length": {
        "log_word_count": lambda r: float(np.log1p(len(r.words))),
        "log_sentence_count": lambda r: float(np.log1p(len(r.sentences))),
    },
    "lexical": {
        "type_token_ratio": types(None),
        "hapax_share": types(1),
        "dis_legomena_share": types(2),
        "yule_k": yule_k,
        "burstiness": burstiness,
        "word_length_mean": lambda r: mean(r.word_lengths),
        "word_length_std": lambda r: std(r.word_lengths),
    },
    "repetition": {
        "bigram_repetition": repetition(2),
        "trigram_repetition": repetition(3),
        "repeated_opening_share": repeated_openings,
    },
    "sentences": {
        "sentence_length_mean": lambda r: mean(r.sentence_lengths),
        "sentence_length_std": lambda r: std(r.sentence_lengths),
        "sentence_length_cv": lambda r: std(r.sentence_lengths) / max(mean(r.sentence_lengths), 1.0),
    },
    "readability": {
        "reading_ease": reading_ease,
        "grade": grade,
        "syllables_per_word": lambda r: r.syllables_per_word,
        "long_word_share": lambda r: mean(r.word_lengths > 6),
    },
    "wording": {
        "function_share": listed("function"),
        "transition_share": listed("transition"),
        "hedge_share": listed("hedge"),
        "first_person_share": listed("first_person"),
        "contraction_share": contractions,
    },
    "punctuation": {
        "punctuation_share": character_share(lambda c: MARK.match(c) is not None),
        "comma_share": share(",،，、"),
        "question_share": share("?？؟"),
        "exclamation_share": share("!！"),
        "dash_share": share("-–—"),
        "colon_share": share(":;：；؛"),
        "quote_share": share("\"'«»“”‘’「」『』"),
        "bracket_share": share("()[]（）【】"),
        "repeated_mark_share": per_word(REPEATED_MARK),
        "missing_comma_share": missing_commas,
        "lowercase_opening_share": lowercase_openings,
    },
    "characters": {
        "digit_share": character_share(str.isdigit),
        "uppercase_share": character_share(str.isupper),
    },
    "spelling": {
        "unknown_word_share": spelling(1, "unknown_word_share"),
        "misspelled_share": spelling(2, "misspelled_share"),
        "stretched_word_share": per_word(STRETCHED),
    },
    "register": {f"register_{name}": _register(name) for name in REGISTERS},
}
FEATURES: dict[str, Callable[[Reading], float]] = {n: f for group in GROUPS.values() for n, f in group.items()}
TOLD = {f"type_{name}": _told(name) for name in REGISTERS}  # the group "document_type"
NEEDS = {
    "lexicon": ("unknown_word_share", "misspelled_share"),
    "register": tuple(GROUPS["register"]),
    "document_types": tuple(TOLD),
}
_GROUPS, _FEATURES = GROUPS | {"document_type": TOLD}, FEATURES | TOLD


# --- the interface ---


def expand_features(names: Sequence[str]) -> list[str]:
    """Group names, "all" and single names -> single names, in order, each once.

    Raises:
        ValueError: If a name is unknown.
    """
    return list(_expanded(tuple(names)))


@lru_cache(maxsize=64)
def _expanded(names: tuple[str, ...]) -> tuple[str, ...]:
    singles: dict[str, None] = {}
    for name in names:
        if name not in _FEATURES and name not in _GROUPS and name != "all":
            near = difflib.get_close_matches(name, [*_FEATURES, *_GROUPS], 3)
            hint = f"; did you mean {', '.join(near)}?" if near else "."
            raise ValueError(
                f"No feature or group is called {name!r}; the groups are {', '.join(_GROUPS)}, and all{hint}"
            )
        singles |= dict.fromkeys(FEATURES if name == "all" else _GROUPS.get(name, [name]))
    return tuple(singles)


def check_document_type(document_type: str | None) -> None:
    """Raise a ValueError where a document type is none of `REGISTERS`; None is no type."""
    if document_type is not None and document_type not in REGISTERS:
        raise ValueError(f"document_type must be one of {', '.join(REGISTERS)}, got {document_type!r}.")


def reads_document_type(names: Sequence[str]) -> bool:
    """Whether a feature named makes use of a document type that is given."""
    return any(name in TOLD or name in GROUPS["register"] for name in expand_features(names))


def check_feature_data(names: Sequence[str], data: Mapping[str, Any] | None, document_type: str | None = None) -> None:
    """Refuse data that is too little for the features named, or a register classifier that cannot be evaluated.

    Raises:
        ValueError: If a part is missing, or the classifier reads unknown features, says unknown types, or is misshapen.
    """
    parts = data or {}
    for part, users in NEEDS.items():
        if part in parts or (part == "register" and document_type is not None):
            continue
        if used := [name for name in expand_features(names) if name in users]:
            raise ValueError(f"The features {used} need feature_data with {part!r}, and it has {sorted(parts)}.")
    if "lexicon" in parts:
        check_lexicon(parts["lexicon"])
    told = parts.get("document_types", [])
    if not isinstance(told, list) or any(name not in REGISTERS for name in told):
        raise ValueError(f"feature_data knows the document types {', '.join(REGISTERS)}, got {str(told)[:80]}.")
    if "register" in parts:
        table = parts["register"]
        inputs, classes = table["inputs"], table["classes"]
        strange = [*(set(inputs) - (set(FEATURES) - set(GROUPS["register"]))), *(set(classes) - set(REGISTERS))]
        lengths = [len(table["mean"]), len(table["std"]), len(table["bias"]), *np.shape(table["weights"])]
        if strange or lengths != [len(inputs), len(inputs), len(classes), len(classes), len(inputs)]:
            raise ValueError(
                f"The register classifier has {len(inputs)} inputs and {len(classes)} classes, arrays of {lengths}, and "
                f"unknown names {strange}."
            )
        numbers = np.concatenate([np.ravel(table[name]) for name in ("mean", "std", "bias", "weights")])
        if numbers.dtype.kind not in "if" or not np.isfinite(numbers).all() or min(table["std"], default=1.0) <= 0:
            raise ValueError("The register classifier must hold finite numbers and positive standard deviations only.")


def compute_features(
    text: str, names: Sequence[str], data: Mapping[str, Any] | None = None, document_type: str | None = None
) -> np.ndarray:
    """Features of a normalised text, unscaled.

    Args:
        text: A segment's text.
        names: Keys of FEATURES or of GROUPS, "document_type", or "all", in the order of the config.
        data: The config's `feature_data`, for the groups "spelling", "register" and "document_type".
        document_type: One of `REGISTERS` where the type of the document is known: the group "document_type" says it, and
            the classifier of the group "register" need not guess.

    Returns:
        Finite float32 vector, shape (F,), one value per single feature (see `expand_features`).

    Raises:
        ValueError: If a name or the document type is unknown, or the data that a feature needs is missing.
    """
    singles = expand_features(names)
    check_document_type(document_type)
    absent = {name for part, users in NEEDS.items() if part not in (data or ()) for name in users}
    if not absent.isdisjoint(singles):
        check_feature_data(singles, data, document_type)
    reading = Reading(text, data, document_type)
    return np.array([_FEATURES[name](reading) for name in singles], dtype=np.float32)
