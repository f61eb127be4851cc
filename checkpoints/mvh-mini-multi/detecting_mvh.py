"""Detecting: texts in, results out, around whatever scores a batch of segments.

`preprocess` cuts a document into segments (`members_mvh`), `score` gives a batch of them margins, `postprocess` turns the
scores of one document into its result (`results_mvh`). Between them segments of many documents share batches
(`batching_mvh`). An ensemble goes the same way, each member with its own segments. A call keeps its state to itself.

Nothing here needs PyTorch: `pipeline_mvh` scores with it, another engine may score without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .batching_mvh import BATCH_TOKENS, Prepared, score_documents
from .identity_mvh import identity, stale
from .inputs_mvh import check_batch_size, check_options, iterate_texts
from .members_mvh import Member, readings_of, refuse_idle_type, segment_inputs, segments_of
from .passages_mvh import edge_segments, merge_passages, refine_passages
from .readings_mvh import Reading, mean_document
from .references_mvh import Calibration, Document
from .results_mvh import document_result, error_result, refuse_undecidable, screen_results, settings_of
from .second_look_mvh import look_again
from .segmentation_mvh import Segment

VERSION = "0.1.0"


def sorted_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The options of a call, checked, as those of `preprocess`, of `score` and of `postprocess`."""
    given = check_options(options)
    before = {name: given.pop(name) for name in ("document_type",) if name in given}
    forward = {name: given.pop(name) for name in ("precision",) if name in given}
    return before, forward, given


class Detecting(ABC):
    """A detector but for what scores its segments.

    Attributes:
        model: Something with a `config`.
        members: The models at work with their tokenizers; one, or those of an ensemble.
        calibration: The detector's own, None where there is none or p-values are merged.
        calibration_id: Identity of what its p-values rest on.
        fingerprint: Hash of its weights.
        number_type: The one its weights have, such as "float32".
        revision: Commit of the Hub's repository that it came from, where that is known.
        batch_tokens: Tokens in a batch at most, padding included.
    """

    model: Any
    members: list[Member]
    calibration: Calibration | None
    calibration_id: str | None
    fingerprint: str
    number_type: str
    revision: str | None
    batch_tokens: int = BATCH_TOKENS

    @abstractmethod
    def score(self, segments: Sequence[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """A batch of one member's segments -> their "margins" (B,), and the "dtype" they were computed in."""

    # --- many documents ---

    def detect(
        self, inputs: Any, batch_size: int | None, before: dict[str, Any], forward: dict[str, Any], post: dict[str, Any]
    ) -> Any:
        """One text -> one result; a list or tuple -> a list; another iterable -> an iterator in the same order.

        Args:
            inputs: Texts.
            batch_size: Segments per batch at most; None for no bound beside the tokens.
            before: Options of `preprocess`.
            forward: Options of `score`.
            post: Options of `postprocess`.

        Raises:
            TypeError: If the input is no text and no collection of texts.
            ValueError: If the options need a calibration that the detector lacks; noticed before anything is read.
        """
        self._check(before, post)
        work: dict[str, Any] = {
            "batch_size": check_batch_size(batch_size),
            "before": before,
            "forward_options": forward,
            "post_options": post,
        }
        if (texts := iterate_texts(inputs)) is None:
            return next(self._stream(iter([inputs]), record_errors=False, **work))
        results = self._stream(texts, record_errors=True, **work)
        return list(results) if isinstance(inputs, (list, tuple)) else results

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options of a call that this detector cannot go by, before any text is there.

        Raises:
            TypeError: If an option is unknown.
            ValueError: If one has an impossible value, or asks for what the detector lacks.
        """
        before, _, post = sorted_options(options)
        self._check(before, post)

    def _check(self, before: Mapping[str, Any], post: Mapping[str, Any]) -> None:
        refuse_idle_type(self.members, before.get("document_type"))
        settings = settings_of(self.model.config, self.calibration_id is not None, post)
        calibrations = [member.calibration for member in self.members]
        refuse_undecidable(self.calibration, calibrations, self.model.config, settings)

    def readings(
        self,
        texts: Any,
        batch_size: int | None = None,
        precision: str = "float32",
        document_type: str | None = None,
    ) -> Iterator[list[Reading] | Exception]:
        """Scores without a decision, for calibrating: what each member makes of each text.

        Args:
            texts: A list, column or iterable of texts.
            batch_size: Segments per batch at most.
            precision: As for the call; float32 by default, which calibrations are made in.
            document_type: The texts' type, as for the call.

        Yields:
            In input order, for each text one reading of each member, or the exception that the text met.

        Raises:
            ValueError: If the precision or the type is unknown, or nothing reads the type; at the first step.
        """
        before, forward, _ = sorted_options({"precision": precision, "document_type": document_type})
        refuse_idle_type(self.members, document_type)
        source = iterate_texts(texts) or iter([texts])
        for scored in self._scored(source, True, batch_size, before, forward):
            yield scored if isinstance(scored, Exception) else readings_of(scored)

    def margins(
        self, texts: Any, batch_size: int | None = None, precision: str = "float32"
    ) -> Iterator[tuple[Document, list[tuple[int, int]]] | Exception]:
        """As `readings`, combined: for each text `(Document, [(start, end), ...])`, or the exception that it met."""
        for item in self.readings(texts, batch_size, precision):
            if isinstance(item, Exception):
                yield item
            else:
                yield self._combined(item), [(start, end) for start, end in item[0].spans.tolist()]

    def screen(
        self, results: Sequence[dict[str, Any]], alpha: float | None = None, prevalence: float | None = None
    ) -> dict[str, Any]:
        """Judge many documents together by their results: see `results_mvh.screen_results`."""
        return screen_results(results, alpha, self.model.config.alpha, prevalence)

    def _stream(
        self, texts: Iterator[Any], record_errors: bool, post_options: dict[str, Any], **work: Any
    ) -> Iterator[dict[str, Any]]:
        """Results in input order."""
        for scored in self._scored(texts, record_errors, **work):
            if isinstance(scored, Exception):
                yield error_result(scored, self.about(self.number_type))
                continue
            try:
                result = self.postprocess(scored, **post_options)
            except ValueError as error:  # scores that are not finite
                if not record_errors:
                    raise
                result = error_result(error, self.about(self.number_type))
            yield result

    def _scored(
        self, texts: Iterator[Any], record_errors: bool, batch_size: int | None, before: dict, forward_options: dict
    ) -> Iterator[Prepared]:
        """Scored segments of each text in input order: see `batching_mvh.score_documents`."""

        def prepare(text: Any) -> Iterator[dict[str, Any]]:
            return self.preprocess(text, **before)

        def score(batch: list[dict[str, Any]]) -> dict[str, Any]:
            return self.score(batch, **forward_options)

        return score_documents(texts, prepare, score, batch_size, record_errors, self.batch_tokens)

    # --- one document ---

    def segments(self, text: Any) -> list[Segment]:
        """The segments of a document, of an ensemble those of its first member: see `members_mvh.segments_of`."""
        return list(segments_of(self.members[0], text))

    def preprocess(self, input_: Any, document_type: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield one dict for each segment of each member, see `members_mvh.segment_inputs`, and `is_last`."""
        items = (
            item
            for index, member in enumerate(self.members)
            for item in segment_inputs(member, index, input_, document_type)
        )
        held = next(items)  # a text has a segment, or has raised an error
        for item in items:
            yield {**held, "is_last": False}
            held = item
        yield {**held, "is_last": True}

    def postprocess(
        self, model_outputs: list[dict[str, Any]], edges: str = "refined", **options: Any
    ) -> dict[str, Any]:
        """Scores of one document's segments -> its result, see `results_mvh`; options as for the call."""
        config, dtype = self.model.config, model_outputs[0]["dtype"]
        readings, settings = readings_of(model_outputs), settings_of(config, self.calibration_id is not None, options)
        calibrations = [member.calibration for member in self.members]
        document = self._combined(readings)
        doubts, warnings = stale(config, self.members, self.identity(dtype))
        result = document_result(readings, document, self.calibration, calibrations, config, settings, doubts)
        result["passages"] = self._passages(model_outputs, result["segments"], config.id2label[1], edges)
        result["warnings"] += warnings
        result["model"] = self.about(dtype)
        return result

    def _combined(self, readings: Sequence[Reading]) -> Document:
        """The scores that the detector gives a document: its own, or the mean of its members'."""
        return mean_document(readings, getattr(self.model.config, "scales", None))

    def _passages(
        self, outputs: list[dict[str, Any]], segments: list[dict[str, Any]], positive: str, edges: str
    ) -> list[dict[str, Any]]:
        """Flagged segments joined, with edges refined by a second look: no cost where nothing is flagged."""
        near = edge_segments([segment["label"] == positive for segment in segments])
        blocks = sum(len(output["block_starts"]) for output in outputs)
        alone = len(self.members) == 1 and not self.members[0].config.feature_names
        if not near or edges == "grid" or not alone or blocks < 3:  # two blocks are one window
            return merge_passages(segments, positive)
        return refine_passages(segments, positive, *self.block_margins(outputs, near))

    def block_margins(
        self, outputs: list[dict[str, Any]], segments: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Second look of a single detector at some segments of a document: see `second_look_mvh.look_again`."""
        reader, precision = self.members[0], outputs[0].get("dtype", "float32")

        def score(items: list[dict[str, Any]]) -> Any:
            return self.score(items, precision=precision)["margins"]

        return look_again(outputs, segments, reader.tokenizer, score)

    # --- what the results say of the detector ---

    def about(self, dtype: str) -> dict[str, Any]:
        """What a result says of the detector, which computed in a number type."""
        about = {"name": self.model.config.name, "revision": self.revision}
        return {**about, "calibration": self.calibration_id, "dtype": dtype, "version": VERSION}

    def identity(self, dtype: str = "float32") -> dict[str, str]:
        """What scores depend on; a calibration is valid for one identity."""
        combine = getattr(self.model.config, "combine", None)
        reading = "+".join(dict.fromkeys(member.reading for member in self.members))
        return identity(self.fingerprint, dtype, reading) | ({} if combine is None else {"combine": combine})
