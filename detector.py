"""A detector for notebooks and scripts: the pipeline, with results that show and draw themselves.

    >>> import mvh
    >>> detect = mvh.load_detector("USER/NAME")
    >>> result = detect("A text of any length ...")  # a dict; in a notebook the cell shows verdict, map and passages
    >>> result.plot()  # the scores of its segments along the document

A result stays the plain dict of the pipeline, ready for `json.dumps`; only its text travels beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mvh.opening import open_pipeline
from mvh.shipped import SHIPPED, resolved

if TYPE_CHECKING:  # a checkpoint may bring its own, and a first verdict need not wait for another copy
    from mvh.pipeline_mvh import MvhDetectPipeline


class Result(dict[str, Any]):
    """One document's result: the pipeline's dict, with its text as the attribute `text`."""

    def __init__(self, result: dict[str, Any], text: str, name: str = "text") -> None:
        super().__init__(result)
        self.text, self.name = text, name

    def _repr_html_(self) -> str:
        """What a notebook shows: the report's verdict, map, passages and text."""
        from mvh.report import ReportDocument, render_cell  # of use in notebooks alone

        return render_cell(ReportDocument(self.name, self.text, dict(self)), f"mvh-{uuid4().hex[:8]}")

    def plot(self, ax: Any = None) -> Any:
        """Draw the scores of the segments along the document, passages shaded.

        Args:
            ax: Matplotlib axes to draw on; new ones by default.

        Returns:
            The axes.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If the document could not be judged, so that there is nothing to draw.
        """
        if not self["segments"]:
            raise ValueError(f"There is nothing to draw: {self['error']['message']}")
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError:
                raise ImportError("Plots need matplotlib: pip install 'mvh[plots]'.") from None
            _, ax = pyplot.subplots(figsize=(9, 2.6), layout="constrained")
        edges = [segment["start"] for segment in self["segments"]] + [self["segments"][-1]["end"]]
        marked = {"facecolor": "#fcefd6", "edgecolor": "#eec27d", "hatch": "//", "linewidth": 0}
        for passage in self["passages"]:
            ax.axvspan(passage["start"], passage["end"], **marked, label="passage that stands out")
        scores = [segment["score"] for segment in self["segments"]]
        ax.stairs(scores, edges, baseline=None, color="#1b5583", linewidth=2)
        ax.set(xlim=(0, edges[-1]), ylim=(0, 1), xlabel="characters", ylabel="segment score")
        ax.set_title(f"{self.name}: {self['label']}", parse_math=False)
        ax.spines[["top", "right"]].set_visible(False)
        if handles := ax.get_legend_handles_labels()[0]:
            ax.legend(handles=handles[:1], loc="lower right")
        return ax


class Detector:
    """The pipeline `pipeline`, whose results come as `Result`. Call it as the pipeline is called.

    A detector pickles as the way to load it again, not as its weights: so `datasets.map` fingerprints a function that uses
    one at once, and each of its processes loads its own.
    """

    def __init__(self, pipeline: MvhDetectPipeline, model: str, options: dict[str, Any]) -> None:
        self.pipeline, self.model, self.options = pipeline, model, options

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded_again, (self.model, self.options, self.identity())

    def identity(self) -> dict[str, Any]:
        """What results depend on: weights, normaliser, number type, calibration (of merging members: theirs) and settings."""
        from mvh.results_mvh import settings_of

        pipeline = self.pipeline
        settings = settings_of(pipeline.model.config, pipeline.calibration_id is not None, {})
        return pipeline.identity() | {"calibration": pipeline.calibration_id, "settings": settings}

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """One text -> one Result; a list or tuple -> a list; another iterable -> an iterator in the same order."""
        if isinstance(inputs, str):
            return Result(self.pipeline(inputs, **options), inputs)
        # an iterator can be read once: the pipeline reads one copy, the results keep the texts of the other
        once = hasattr(inputs, "__next__") and not hasattr(inputs, "read")
        ours, theirs = tee(inputs) if once else (inputs, inputs)
        results = _with_texts(self.pipeline(theirs, **options), ours)
        return list(results) if isinstance(inputs, (list, tuple)) else results

    def screen(
        self, results: Sequence[dict[str, Any]], alpha: float | None = None, prevalence: float | None = None
    ) -> dict[str, Any]:
        """Judge many documents together: see `MvhDetectPipeline.screen`."""
        return self.pipeline.screen(results, alpha, prevalence)

    def __repr__(self) -> str:
        return f"Detector({self.pipeline.model.config.name!r})"


def load_detector(model: str | Path | None = None, *, trust_remote_code: bool = True, **options: Any) -> Detector:
    """Load a detector from a folder or the Hub.

    Args:
        model: Folder or Hub name of a checkpoint, or bare name of one shipped with the sources; the English one of those
            by default.
        trust_remote_code: Whether code that came with the checkpoint may run; checkpoints of `mvh` need it.
        **options: Of `transformers.pipeline`, e.g. `device`, `revision`, or the pipeline's own such as `alpha`.

    Raises:
        ValueError: If no model is named and none was shipped with this installation, there is no folder of that name and
            it is no name of the Hub, or what is there is no detector or damaged.
    """
    if model is None:
        if not SHIPPED.is_dir():
            raise ValueError(f"Name a model: this installation of mvh came without the detector {SHIPPED.name}.")
        model = SHIPPED
    model = resolved(model)
    loaded = open_pipeline(model, trust_remote_code=trust_remote_code, **options)
    return Detector(loaded, str(model), {"trust_remote_code": trust_remote_code, **options})


def _loaded_again(model: str, options: dict[str, Any], identity: dict[str, Any]) -> Detector:
    """A pickled detector, loaded again.

    Raises:
        ValueError: If another calibration, other weights or another normaliser lies there by now.
    """
    detect = load_detector(model, **options)
    if (found := detect.identity()) != identity:
        raise ValueError(f"The detector was {identity} and at {model} there is {found} now.")
    return detect


def _with_texts(results: Any, texts: Any) -> Iterator[Result]:
    for index, (result, text) in enumerate(zip(results, texts, strict=False), 1):
        yield Result(result, text if isinstance(text, str) else "", f"text {index}")
