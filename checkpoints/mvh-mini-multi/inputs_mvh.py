"""What a call of the detector may be given: texts in many shapes, and options by name.

Everything is checked before the first text is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .corrections_mvh import CORRECTIONS, known
from .features_mvh import REGISTERS
from .pvalues_mvh import P_VALUES
from .voting_mvh import VOTES, check_alpha

PRECISIONS = ("auto", "float32", "bfloat16")
EDGES = ("refined", "grid")
PROBABILITIES = ("alpha", "confidence")
CHOICES: dict[str, Any] = {
    "correction": CORRECTIONS,
    "vote": VOTES,
    "p_values": P_VALUES,
    "edges": EDGES,
    "precision": PRECISIONS,
    "document_type": REGISTERS,
}
# options of the stock text-classification task: nothing is ever truncated here
IGNORED = ("truncation", "max_length", "padding", "top_k", "function_to_apply", "return_all_scores")


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given a value, after a look at each.

    Raises:
        TypeError: If an option is unknown.
        ValueError: If one has an impossible value.
    """
    given = {name: value for name, value in options.items() if name not in IGNORED}
    for name, value in given.items():
        if name not in PROBABILITIES and name not in CHOICES:
            names = ", ".join((*PROBABILITIES, *CHOICES))
            raise TypeError(f"Unknown option {name!r}; known are {names} and batch_size.")
        if value is not None:
            if name in PROBABILITIES:
                check_alpha(value, name)
            else:
                known(name, value, CHOICES[name])
    return {name: value for name, value in given.items() if value is not None}


def check_batch_size(size: Any) -> int | None:
    """The batch size; None leaves it to the tokens in a batch.

    Raises:
        ValueError: If it is no positive whole number.
    """
    if size is None:
        return None
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"batch_size must be a positive whole number, got {size!r}.")
    return size


def check_text(text: Any) -> str:
    """The text.

    Raises:
        TypeError: If it is no string.
        ValueError: If it is blank.
    """
    if not isinstance(text, str):
        raise TypeError(f"A text must be a string, got {type(text).__name__}.")
    if not text.strip():
        raise ValueError(f"The text is blank: {len(text)} characters and none to read.")
    return text


def iterate_texts(inputs: Any) -> Iterator[Any] | None:
    """An iterator over a collection of texts, or None where the input is a single item, good or bad.

    Raises:
        TypeError: If the input is a collection, but not one of texts in an order.
    """
    if inputs is None or isinstance(inputs, (str, bytes, bytearray, int, float)):
        return None
    kind = type(inputs).__name__
    if isinstance(inputs, (Mapping, set, frozenset)) or hasattr(inputs, "read") or kind in ("DataFrame", "UserDict"):
        raise TypeError(f"Give texts one by one, in a list or as a column; a {kind} of texts has no one reading.")
    if hasattr(inputs, "column_names"):
        raise TypeError(
            f"Name the column that holds the texts, e.g. dataset['text']; this dataset has {inputs.column_names}."
        )
    if hasattr(inputs, "__iter__"):
        return iter(inputs)
    if hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):
        return (inputs[index] for index in range(len(inputs)))
    raise TypeError(f"A text must be a string, got {kind}.")
