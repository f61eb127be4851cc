"""Texts -> plain dicts: the one callable that datatrove, `datasets.map`, Ray Data and Spark share.

    >>> score = Scorer("USER/NAME")
    >>> score(["A text of any length ..."])
    [{"label": "machine", "score": 0.97, "margin": 3.5, "p_value": 0.0012, "group": "latin, ...", "passages": [...],
      "doubts": [], "warnings": [], "error": None}]

A Scorer is a path and options: it pickles in a few bytes, and its detector is loaded on first use, once per process,
however many copies of the Scorer the engine makes there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

PASSAGE = ("start", "end", "score", "adjusted_p_value")  # what is kept of a passage
COLUMNS = ("label", "score", "margin", "p_value", "group", "passages", "doubts", "warnings", "error")
PREFIX = "mvh_"  # of the names in a table, which may have a "label" of its own


@dataclass(frozen=True)
class Scorer:
    """A detector that travels to workers.

    Attributes:
        model: Checkpoint folder or Hub name; None is the detector shipped with the sources.
        options: Options of the pipeline's call, such as `alpha`, `vote`, `precision` or `batch_size`; None is the
            checkpoint's own.
        threads: Threads of torch in this process; None leaves them. One is right where several workers share a machine.
        revision: Commit of a Hub checkpoint.
    """

    model: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None
    revision: str | None = None

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """One dict of COLUMNS per text, in order; a text that cannot be judged has an `error` and no label."""
        return list(self.stream(texts))

    def columns(self, texts: Sequence[str]) -> dict[str, list[Any]]:
        """The same as columns named `mvh_label` and so on, for engines that think in columns."""
        found = self(texts)
        return {PREFIX + name: [row[name] for row in found] for name in COLUMNS}

    def stream(self, texts: Iterable[str | None]) -> Iterator[dict[str, Any]]:
        """As a call, one by one: reads ahead by a bounded number of segments."""
        given = {name: value for name, value in self.options.items() if value is not None}
        for result in _detector(self.model, self.revision, self.threads)(iter(texts), **given):
            yield summary(result)

    def about(self) -> dict[str, Any]:
        """What results depend on: the detector's name, level, classes and identity. Loads it."""
        detect = _detector(self.model, self.revision, self.threads)
        config = detect.pipeline.model.config
        return {
            "name": config.name,
            "alpha": self.options.get("alpha") or config.alpha,
            "labels": [config.id2label[0], config.id2label[1]],
            **detect.identity(),
        }


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """A detector's result -> the dict of COLUMNS."""
    basis = result["calibration"] or {}
    return {
        **{name: result[name] for name in ("label", "score", "margin", "p_value")},
        "group": basis.get("group"),
        "passages": [{name: passage[name] for name in PASSAGE} for passage in result["passages"]],
        "doubts": list(
            result.get("doubts", result["warnings"] if result["label"] == "uncertain" else [])
        ),  # older code
        "warnings": list(result["warnings"]),
        "error": result["error"]["message"] if "error" in result else None,
    }


@cache
def _detector(model: str | None, revision: str | None, threads: int | None) -> Any:
    """The detector of this process."""
    import torch

    from mvh.detector import load_detector

    if threads is not None:
        torch.set_num_threads(threads)
    return load_detector(model, **({"revision": revision} if revision else {}))
