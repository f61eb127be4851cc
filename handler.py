"""EndpointHandler: a checkpoint behind an Inference Endpoint. It travels at the root of a Hub repository.

    {"inputs": "A text ...", "parameters": {"alpha": 0.01}}   ->  the result of one text, a dict
    {"inputs": ["A text ...", "Another ..."]}                 ->  a list of results

A result has the shape that `pipeline("mvh-detect", ...)` gives it. A request that cannot be answered gets
`{"error": {"type", "message"}}`, a text that cannot be read among others a result with `label` None and `error`.

Limits: MAX_TEXTS texts and MAX_CHARACTERS characters a request. One request is computed at a time, since the model uses
all cores or the whole GPU; MAX_WAITING others may wait, and further ones are answered "Busy" at once. Scale by replicas.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import pipeline

logger = logging.getLogger("mvh.handler")

MAX_TEXTS = 64
MAX_CHARACTERS = 1_000_000  # of all texts of a request: about 300 pages
MAX_WAITING = 8
LARGE = 100_000  # characters of a request after which free memory goes back to the system
PARAMETERS = ("alpha", "correction", "vote", "p_values", "confidence", "document_type", "edges", "precision")


class BadRequest(ValueError):
    """A request that breaks a rule; its sentence may be shown to whoever sent it."""


class EndpointHandler:
    """What the Inference Toolkit looks for: made once with the folder of the repository, called with every request.

    Args:
        path: Folder of the checkpoint; the one this file lies in by default.
    """

    def __init__(self, path: str = "") -> None:
        folder = path or str(Path(__file__).resolve().parent)
        self.detect: Any = pipeline("mvh-detect", model=folder, trust_remote_code=True)  # type: ignore[call-overload]
        # one thread for good: each thread that ever computed would keep threads of OpenMP and memory of its own
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="mvh")
        self.places = threading.BoundedSemaphore(1 + MAX_WAITING)

    def __call__(self, data: Any) -> dict[str, Any] | list[dict[str, Any]]:
        """Answer one request; never raises, and never shows a path or a stack.

        Args:
            data: `{"inputs": text or list of texts, "parameters": {...}}`; parameters are those of the pipeline's call.

        Returns:
            A result for a text, a list of results for a list, or `{"error": {"type", "message"}}`.
        """
        try:
            texts, options = self._checked(data)
        except BadRequest as error:
            return _error("BadRequest", str(error))
        if not self.places.acquire(blocking=False):
            return _error("Busy", f"{MAX_WAITING} requests are waiting already; try again in a moment.")
        try:
            results = self.worker.submit(self._detect, texts, options).result()
        except Exception:  # whatever it is, the sender learns nothing of this machine
            logger.exception("A request failed.")
            return _error("InternalError", "The detector failed on this request.")
        finally:
            self.places.release()
        return results[0] if isinstance(data["inputs"], str) else results

    def _detect(self, texts: list[str], options: dict[str, Any]) -> list[dict[str, Any]]:
        """The results; what a large request took is given back, as glibc would keep the most that was ever needed."""
        results = self.detect(texts, **options)
        if sum(map(len, texts)) > LARGE:
            with suppress(OSError, AttributeError, TypeError):  # another C library
                ctypes.CDLL(None).malloc_trim(0)
        return results

    def _checked(self, data: Any) -> tuple[list[str], dict[str, Any]]:
        """The texts and options of a request, or a BadRequest."""
        if not isinstance(data, dict) or "inputs" not in data:
            raise BadRequest('A request is {"inputs": text or list of texts, "parameters": {...}}.')
        inputs, options = data["inputs"], data.get("parameters")
        options = {} if options is None else options
        texts = [inputs] if isinstance(inputs, str) else inputs
        if not isinstance(texts, list) or not texts:
            raise BadRequest(f"inputs must be a text or a list of texts, got {_kind(inputs)}.")
        if len(texts) > MAX_TEXTS:
            raise BadRequest(f"A request holds at most {MAX_TEXTS} texts, got {len(texts)}.")
        for number, text in enumerate(texts, 1):
            if not isinstance(text, str):
                raise BadRequest(f"Text {number} of inputs must be a string, got {_kind(text)}.")
        if (size := sum(map(len, texts))) > MAX_CHARACTERS:
            raise BadRequest(f"A request holds at most {MAX_CHARACTERS:,} characters, got {size:,}.")
        if not isinstance(options, dict):
            raise BadRequest(f"parameters must be an object, got {_kind(options)}.")
        for name in options:
            if name not in PARAMETERS:
                raise BadRequest(f"There is no parameter {str(name)[:40]!r}; known are {', '.join(PARAMETERS)}.")
        try:
            self.detect.check(options)
        except (TypeError, ValueError) as error:  # sentences about the values given
            raise BadRequest(str(error)) from None
        return texts, options


def _kind(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"an empty {type(value).__name__}" if not value else f"a {type(value).__name__}"
    return "nothing" if value is None else type(value).__name__


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message}}
