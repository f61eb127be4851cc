"""What a checkpoint folder says in a process that knows nothing of this project; `push.py` runs it as a script.

    python -P fresh.py < job.json          # {"folder": ..., "texts": [...], "out": FILE}

It is what a user's machine does: the code comes from the folder alone, through both task names and through the
Endpoint's handler. `out` gets the results of the task "mvh-detect", or the error of whatever failed.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def verdicts(folder: str, texts: list[str]) -> list[dict[str, Any]]:
    """The results of some texts, after all ways to load the folder have agreed on them.

    Raises:
        ValueError: If the ways differ.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, pipeline

    spec = spec_from_file_location("handler", Path(folder) / "handler.py")
    assert spec is not None and spec.loader is not None  # a file ending in .py
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.EndpointHandler(folder)
    results = handler({"inputs": texts})
    if isinstance(results, dict):
        raise ValueError(f"handler.py answers {results['error']['message']!r}.")
    # the snippet that the Hub shows for a model of this pipeline_tag
    classify: Any = pipeline("text-classification", model=folder, trust_remote_code=True, device="cpu")
    if list(map(judged, classify(texts))) != list(map(judged, results)):
        raise ValueError("pipeline('text-classification') and handler.py give different verdicts.")
    for auto in (AutoConfig, AutoModel, AutoModelForSequenceClassification):
        if auto.__name__ not in classify.model.config.auto_map:
            raise ValueError(f"config.json has no entry {auto.__name__} in its auto_map.")
    return results


def judged(result: dict[str, Any]) -> tuple[str, list[tuple[int, str]]]:
    """What a result decides: the document's label, and end and label of every segment."""
    return result["label"], [(segment["end"], segment["label"]) for segment in result["segments"]]


def main() -> None:
    """Read the job from standard input and write what came of it."""
    job = json.load(sys.stdin)
    for name in [name for name in sys.modules if name.split(".")[0] == "mvh"]:
        del sys.modules[name]
    sys.modules["mvh"] = None  # type: ignore[assignment]  # an import of the installed package fails, as elsewhere
    said: dict[str, Any]
    try:
        said = {"results": verdicts(job["folder"], job["texts"])}
    except Exception as error:  # the parent says it in its own words
        said = {"error": f"{type(error).__name__}: {error}"}
    Path(job["out"]).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
