"""What a user would write without mvh, for the same model: chunks through the stock pipeline, ONNX Runtime or OpenVINO.

Every rival is a function of texts that gives, for each text, the margins (m,) of its chunks. Chunks are the windows of
`segmentation_mvh.token_windows` over the tokens of the text as it is, as long as mvh's own, so that all do like work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TextClassificationPipeline

from mvh.export_onnx import export_model
from mvh.light import LEAST
from mvh.segmentation_mvh import special_token_ids, token_windows

BATCH = 16
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OPENVINO_PACKAGES = ("onnx", "onnxscript", "openvino")  # it reads the same export

Rival = Callable[[Sequence[str]], list[np.ndarray]]
Engine = Callable[[np.ndarray, np.ndarray], np.ndarray]  # ids and mask (B, T) -> logits (B, 2)


def chunk_ids(text: str, tokenizer: Any, config: Any) -> list[list[int]]:
    """Token ids of the chunks of a text, without special tokens."""
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    windows = token_windows(len(ids), config.core_tokens, config.context_tokens)
    return [ids[window.start : window.end] for window in windows]


def stock(detect: Any, by_length: bool) -> Rival:
    """Chunks decoded to text and given to the stock text-classification pipeline in batches of BATCH.

    Args:
        detect: The detector's pipeline.
        by_length: Whether chunks are sorted, longest first, as sentence-transformers does; else they keep their order.
    """
    tokenizer = deepcopy(detect.tokenizer)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # what the model's forward takes
    classify = TextClassificationPipeline(model=detect.model, tokenizer=tokenizer)
    positive = detect.model.config.id2label[1]

    def run(texts: Sequence[str]) -> list[np.ndarray]:
        chunks = [
            [detect.tokenizer.decode(ids) for ids in chunk_ids(text, detect.tokenizer, detect.model.config)]
            for text in texts
        ]
        flat = [chunk for parts in chunks for chunk in parts]
        order = sorted(range(len(flat)), key=lambda i: -len(flat[i])) if by_length else list(range(len(flat)))
        answers = classify([flat[i] for i in order], batch_size=BATCH, truncation=True, max_length=512)
        margins = np.empty(len(flat))
        for i, answer in zip(order, answers, strict=True):
            share = np.clip(answer["score"], 1e-7, 1 - 1e-7)  # of the label named; 1 to a float32 where it is sure
            margins[i] = np.log(share / (1 - share)) * (1 if answer["label"] == positive else -1)
        return _by_document(margins, chunks)

    return run


def missing(packages: Sequence[str]) -> list[str]:
    """Those of the packages that are not installed."""
    return [name for name in packages if find_spec(name) is None]


def onnx(detect: Any, folder: Path, int8: bool) -> Rival:
    """The model exported to ONNX, in ONNX Runtime.

    Args:
        detect: The detector's pipeline.
        folder: Where the export goes; one that is there is used again.
        int8: Whether the weights are quantised (dynamic quantisation of ONNX Runtime).
    """
    import onnxruntime

    file = exported(detect.model, folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        str(_quantised(file) if int8 else file), options, providers=["CPUExecutionProvider"]
    )
    return by_length(detect, lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


def openvino(detect: Any, folder: Path, precision: str) -> Rival:
    """The same export in OpenVINO.

    Args:
        detect: The detector's pipeline.
        folder: Where the export goes; one that is there is used again.
        precision: What it computes in, "f32" or "bf16".
    """
    from openvino import Core

    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all threads
    }
    compiled = Core().compile_model(str(exported(detect.model, folder)), "CPU", hints)
    return by_length(detect, lambda ids, mask: compiled({"input_ids": ids, "attention_mask": mask})[0])


def by_length(detect: Any, engine: Engine) -> Rival:
    """An engine as a rival: chunks of all texts sorted by length, in batches of BATCH, padded batch by batch."""
    prefix, suffix = special_token_ids(detect.tokenizer)

    def run(texts: Sequence[str]) -> list[np.ndarray]:
        chunks = [chunk_ids(text, detect.tokenizer, detect.model.config) for text in texts]
        flat = [prefix + ids + suffix for parts in chunks for ids in parts]
        order = sorted(range(len(flat)), key=lambda i: -len(flat[i]))
        margins = np.empty(len(flat))
        for at in range(0, len(order), BATCH):
            chosen = order[at : at + BATCH]
            padded = np.zeros((len(chosen), max(LEAST, len(flat[chosen[0]]))), dtype=np.int64)
            mask = np.zeros_like(padded)
            for row, index in enumerate(chosen):
                padded[row, : len(flat[index])] = flat[index]
                mask[row, : len(flat[index])] = 1
            logits = engine(padded, mask)
            margins[chosen] = logits[:, 1] - logits[:, 0]
        return _by_document(margins, chunks)

    return run


def _by_document(margins: np.ndarray, chunks: Sequence[Sequence[Any]]) -> list[np.ndarray]:
    return np.split(margins, np.cumsum([len(parts) for parts in chunks])[:-1])


def exported(model: Any, folder: Path) -> Path:
    """The model as an ONNX file in a folder, made where it is not there."""
    file = folder / "model.onnx"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        export_model(model, file)
    return file


def _quantised(file: Path) -> Path:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = file.with_name("model.int8.onnx")
    if not target.exists():
        graph = onnx.load(file)
        del graph.graph.value_info[:]  # shapes that the exporter wrote and the quantiser finds at odds with its own
        plain = file.with_name("model.plain.onnx")
        onnx.save(graph, plain)
        quantize_dynamic(plain, target, weight_type=QuantType.QInt8)
    return target
