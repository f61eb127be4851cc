"""A detector that needs neither PyTorch nor transformers: an ONNX file in ONNX Runtime, and the same decision around it.

    python -m mvh.export_onnx checkpoints/mvh-mini-en light/     once, where PyTorch is
    mvh detect --model light/ thesis.pdf                         then: the first verdict comes in about a second

    >>> from mvh.light import load_light
    >>> load_light("light/")("A text of any length ...")         # the dict of pipeline("mvh-detect", ...)

Segmentation, p-values, correction, vote and passages are the pipeline's own (`detecting_mvh`); only the scores come from
another engine, in float32. It takes single detectors without handcrafted features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mvh.calibration_mvh import decode_calibration
from mvh.detecting_mvh import Detecting, sorted_options
from mvh.identity_mvh import calibration_id
from mvh.members_mvh import Member, reading_of

MODEL, TOKENIZER, ABOUT = "model.onnx", "tokenizer.json", "light.json"
FORMAT = 3
FIELDS = (  # of a config that the decision reads
    "name", "id2label", "core_tokens", "context_tokens", "normalization", "feature_names", "feature_data",
    "character_bag", "calibration", "alpha", "correction", "vote", "p_values",
)  # fmt: skip
NUMBER_TYPE = "float32"
LEAST = 8  # tokens or characters of a batch, padding included: an export takes no fewer (`bag_mvh.LONGEST_ORDER`)


class Encoded(dict[str, Any]):
    """What a fast tokenizer of transformers gives for one text, as far as `segmentation_mvh` asks for it."""

    def __init__(self, encoding: Any) -> None:
        super().__init__(
            input_ids=encoding.ids, special_tokens_mask=encoding.special_tokens_mask, offset_mapping=encoding.offsets
        )
        self._words = encoding.word_ids

    def word_ids(self) -> list[int | None]:
        """Number of the word that each token is part of."""
        return self._words


class LightTokenizer:
    """A tokenizer.json without transformers, called as `segmentation_mvh` calls a fast tokenizer of transformers.

    Args:
        file: tokenizer.json.
        pad_token_id: Id that batches are padded with.
        unk_token_id: Id of what the tokenizer does not know; None where it knows everything.
    """

    is_fast = True

    def __init__(self, file: Path, pad_token_id: int, unk_token_id: int | None) -> None:
        from tokenizers import Tokenizer

        self.pad_token_id, self.unk_token_id = pad_token_id, unk_token_id
        self.backend_tokenizer = Tokenizer.from_file(str(file))
        self.backend_tokenizer.no_truncation()
        self.backend_tokenizer.no_padding()
        self.backend_tokenizer.encode_special_tokens = True  # "[SEP]" written in a text is text

    def __call__(self, text: str, add_special_tokens: bool = True, **asked: Any) -> Encoded:
        """One text, never truncated or padded; all that could be asked for is returned."""
        return Encoded(self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens))


class LightDetector(Detecting):
    """Texts in, results out, as with `MvhDetectPipeline`.

    Args:
        folder: What `mvh.export_onnx` made.

    Raises:
        ImportError: If ONNX Runtime is not installed.
        ValueError: If a file is missing, damaged or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        about = read_about(Path(folder))
        config = SimpleNamespace(**about["config"])
        self.model = SimpleNamespace(config=config)
        self.calibration = None if config.calibration is None else decode_calibration(config.calibration)
        self.calibration_id = calibration_id(config)
        self.fingerprint, self.number_type, self.revision = about["weights"], NUMBER_TYPE, None
        tokenizer = LightTokenizer(Path(folder) / TOKENIZER, about["pad_token_id"], about["unk_token_id"])
        reading = reading_of(config, tokenizer)
        self.members = [Member(self.model, tokenizer, self.calibration, self.fingerprint, reading)]
        self.session = open_session(Path(folder) / MODEL)

    def __call__(self, inputs: Any, batch_size: int | None = None, **options: Any) -> Any:
        """Detect: see `detecting_mvh.Detecting.detect`; options are those of `MvhDetectPipeline`.

        Raises:
            TypeError: If the input is no text and no collection of texts, or an option is unknown.
            ValueError: If an option has an impossible value, or asks for what this detector cannot do.
        """
        before, forward, post = sorted_options(options)
        if (precision := forward.get("precision", "auto")) not in ("auto", NUMBER_TYPE):
            raise ValueError(
                f"The ONNX export {self.model.config.name!r} computes in float32, and precision is {precision}."
            )
        return self.detect(inputs, batch_size, before, forward, post)

    def score(self, segments: Sequence[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """A batch of segments -> their "margins" (B,), and "dtype" float32."""
        paddings = {"input_ids": self.members[0].pad_id, "attention_mask": 0}
        if self.model.config.character_bag:
            paddings["characters"] = 0
        batch = {name: padded([segment[name] for segment in segments], value) for name, value in paddings.items()}
        (logits,) = self.session.run(None, batch)  # (B, 2)
        return {"margins": logits[:, 1] - logits[:, 0], "dtype": NUMBER_TYPE}


def padded(rows: Sequence[np.ndarray], value: int) -> np.ndarray:
    """Rows (1, n) of several lengths n -> one array (B, longest), at least LEAST wide, filled up with a value."""
    stacked = np.full((len(rows), max(LEAST, *(row.shape[1] for row in rows))), value, dtype=np.int64)
    for place, row in zip(stacked, rows, strict=True):
        place[: row.shape[1]] = row[0]
    return stacked


def load_light(folder: str | Path) -> LightDetector:
    """The detector of a folder that `mvh.export_onnx` made."""
    return LightDetector(folder)


def read_about(folder: Path) -> dict[str, Any]:
    """What belongs to the ONNX file: config, hash of the weights it was made of, ids of the padding and of the unknown.

    Raises:
        ValueError: If something is missing, of another version, or the ONNX file is not the one it was written for.
    """
    if missing := [name for name in (ABOUT, MODEL, TOKENIZER) if not (folder / name).is_file()]:
        raise ValueError(f"{folder} is no ONNX export of mvh: there is no {missing[0]}.")
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        version = about["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / ABOUT} is damaged ({type(error).__name__}: {error}); export again.") from error
    if version != FORMAT:
        raise ValueError(
            f"{folder / ABOUT} has format {version}, and this version of mvh reads {FORMAT}; export again."
        )
    try:
        expected = {name: about["sha256"][name] for name in (MODEL, TOKENIZER)}
        config = {name: about["config"][name] for name in FIELDS}
        config["id2label"] = {int(index): str(label) for index, label in config["id2label"].items()}
        pad, unknown = int(about["pad_token_id"]), about["unk_token_id"]
        unknown = None if unknown is None else int(unknown)
        about = {"weights": str(about["weights"]), "pad_token_id": pad, "unk_token_id": unknown, "config": config}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / ABOUT} is damaged ({type(error).__name__}: {error}); export again.") from error
    for name in (MODEL, TOKENIZER):
        if (found := file_hash(folder / name)) != expected[name]:
            raise ValueError(f"{folder / name} has the hash {found[:12]}, and {str(expected[name])[:12]} was exported.")
    return about


def file_hash(file: Path) -> str:
    """SHA-256 of a file; as `export.file_sha256`, whose module imports PyTorch."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def open_session(file: Path) -> Any:
    """The ONNX file in ONNX Runtime, on the CPU.

    Raises:
        ImportError: If ONNX Runtime is not installed.
        ValueError: If it cannot read the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ImportError("An ONNX export is run by ONNX Runtime: pip install 'mvh[onnx]'.") from None
    try:
        return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # of the kinds that a compiled module makes up
        raise ValueError(f"ONNX Runtime cannot open {file}: {error}") from error
