"""What the fields of a config may hold, told before they are used: a config.json may come from a stranger.

A table names for each field in words what it must be, beside the function that tells. What another library makes of its own
fields is turned into one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import torch
from transformers import PretrainedConfig

Kind = tuple[str, Callable[[Any], bool]]
LARGEST = 3e38  # of a number that is computed with in float32


def whole(value: Any) -> bool:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def number(value: Any) -> bool:
    """Whether a value is a number that can be computed with: neither True nor False, nor NaN, nor infinite."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return abs(float(value)) <= LARGEST
    except OverflowError:  # a whole number of hundreds of digits
        return False


def text(value: Any) -> bool:
    """Whether a value is a string."""
    return isinstance(value, str)


def list_of(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value is a list whose items are all of a kind."""
    return lambda value: isinstance(value, (list, tuple)) and all(map(kind, value))


def or_none(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value is None or of a kind."""
    return lambda value: value is None or kind(value)


def mapping(value: Any) -> bool:
    """Whether a value is what JSON calls an object."""
    return isinstance(value, Mapping)


TEXT, TEXT_OR_NONE = ("a string", text), ("a string or null", or_none(text))
NUMBER, WHOLE = ("a finite number", number), ("a whole number", whole)
WHOLE_OR_NONE = ("a whole number or null", or_none(whole))
TEXTS_OR_NONE, NUMBERS_OR_NONE = (
    ("a list of strings or null", or_none(list_of(text))),
    ("a list of finite numbers or null", or_none(list_of(number))),
)
OBJECT_OR_NONE = ("an object or null", or_none(mapping))
KINDS: dict[str, Kind] = {  # of MvhConfig
    "backbone_config": ("a config or an object", lambda v: v is None or isinstance(v, PretrainedConfig) or mapping(v)),
    **dict.fromkeys(("head", "pooling", "correction", "name"), TEXT),
    **dict.fromkeys(("vote", "p_values"), TEXT_OR_NONE),
    **dict.fromkeys(("head_dropout", "alpha"), NUMBER),
    **dict.fromkeys(("core_tokens", "context_tokens"), WHOLE),
    **dict.fromkeys(("normalization", "feature_names"), TEXTS_OR_NONE),
    **dict.fromkeys(("feature_mean", "feature_std"), NUMBERS_OR_NONE),
    **dict.fromkeys(("feature_data", "bag", "character_bag", "calibration"), OBJECT_OR_NONE),
    "head_widths": ("a list of whole numbers", list_of(whole)),
    "label_token_ids": ("a list of whole numbers or null", or_none(list_of(whole))),
}


def check_kinds(fields: Mapping[str, Any], kinds: Mapping[str, Kind] = KINDS) -> None:
    """Raise a ValueError where a field of a config holds something of another kind than it must."""
    for name, value in fields.items():
        words, fits = kinds[name]
        if not fits(value):
            raise ValueError(f"{name} must be {words}, got {type(value).__name__} {shortened(value)}.")


def check_others(kind: type[PretrainedConfig], fields: Mapping[str, Any]) -> None:
    """Refuse what `PretrainedConfig` would take without a look.

    Raises:
        ValueError: If the model_type is another's, the dtype is none of torch's, or a field bears the name of a method.
    """
    if fields.get("model_type", kind.model_type) != kind.model_type:
        raise ValueError(
            f"This is a config of the model_type {kind.model_type!r}, and it says {fields['model_type']!r}."
        )
    for key in (key for key in fields if key.endswith("_token_id")):
        check_kinds({key: fields[key]}, {key: WHOLE_OR_NONE})
    check_unread(fields)
    for key in fields:
        if callable(getattr(kind, key, None)) or key in ("attribute_map", "sub_configs"):
            raise ValueError(f"A config has no field {key!r}: it is a method of {kind.__name__}.")


def check_unread(fields: Mapping[str, Any]) -> None:
    """Refuse values of `PretrainedConfig` that it, or a backbone's config, keeps unread until something breaks on them.

    Raises:
        ValueError: If a dtype is none of torch's, or the architectures are no list of names.
    """
    for key in ("dtype", "torch_dtype"):
        dtype = fields.get(key)
        named = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
        if named is not None and not isinstance(named, torch.dtype) or (named is None and dtype is not None):
            raise ValueError(f"{key} must name a dtype of torch, such as 'float32', got {shortened(dtype)}.")
    if "architectures" in fields:
        check_kinds({"architectures": fields["architectures"]}, {"architectures": TEXTS_OR_NONE})


def two_labels(given: Any) -> dict[int, str]:
    """The labels of a detector by their numbers 0 and 1.

    Raises:
        ValueError: If they are not two different strings under 0 and 1.
    """
    labels = {str(key): label for key, label in given.items()} if mapping(given) else {}
    if sorted(labels) != ["0", "1"] or not all(map(text, labels.values())) or labels["0"] == labels["1"]:
        raise ValueError(
            f"A detector has two labels of different names, 0 (the null class) and 1, and id2label is {shortened(given)}."
        )
    return {0: labels["0"], 1: labels["1"]}


@contextmanager
def sentences(what: str) -> Iterator[None]:
    """Turn whatever other code raises over a value it cannot use into a ValueError that names the value."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{what} cannot be used. {kind}{said}") from error


def shortened(value: Any) -> str:
    """A value as Python writes it, its beginning where it is long."""
    words = repr(value)
    return words if len(words) <= 80 else words[:77] + "..."
