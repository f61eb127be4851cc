"""A detector without PyTorch: the same results from an ONNX export, in a process that cannot import torch."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedTokenizerFast, pipeline

import mvh
from mvh import export_onnx, light
from mvh.calibration_mvh import Document, encode_calibration
from mvh.cli import detect as cli_detect
from mvh.cli.terminal import progress
from mvh.configuration_mvh import MvhConfig
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.opening import open_folder
from mvh.pipeline_mvh import MvhDetectPipeline

from .conftest import TINY, make_text

pytest.importorskip("onnxruntime", reason="needs mvh[onnx]")
pytest.importorskip("onnxscript", reason="needs mvh[onnx]")

TEXTS = [make_text(label, words, seed=words) for label in (0, 1) for words in (3, 40, 400)]


@pytest.fixture(scope="module")
def folder(detector, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "light"
    assert export_onnx.main([str(detector), str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def folder_of_characters(detector_of_characters, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx-of-characters") / "light"
    assert export_onnx.main([str(detector_of_characters), str(out)]) == 0
    return out


def same(mine, other, path=""):
    """Two results are the same, numbers within 1e-4."""
    if isinstance(mine, dict):
        assert mine.keys() == other.keys(), path
        for key in mine:
            same(mine[key], other[key], f"{path}/{key}")
    elif isinstance(mine, list):
        assert len(mine) == len(other), path
        for index, pair in enumerate(zip(mine, other, strict=True)):
            same(*pair, f"{path}/{index}")
    elif isinstance(mine, float):
        assert mine == pytest.approx(other, abs=1e-4), path
    else:
        assert mine == other, path


def test_a_terminal_sees_how_far_each_kind_of_detector_is(detector, folder):
    for detect in (pipeline("mvh-detect", model=str(detector), trust_remote_code=True), light.load_light(folder)):
        written = io.StringIO()
        with progress(detect, 1, Console(force_terminal=True, file=written, width=120)) as advance:
            windows = len(detect(TEXTS[2], edges="grid")["segments"])
            advance()
        assert "1/1" in written.getvalue() and f" {windows} windows of text scored" in written.getvalue()
        assert "score" not in vars(detect), "scores are counted while somebody looks, and no longer"


@pytest.mark.parametrize("kind", ["", "_of_characters"])
def test_an_export_judges_as_the_detector_does(kind, request):
    model, tokenizer = open_folder(request.getfixturevalue(f"detector{kind}"))
    detect = MvhDetectPipeline(model=model, tokenizer=tokenizer, device="cpu")
    quick = light.load_light(request.getfixturevalue(f"folder{kind}"))
    texts = [
        *TEXTS,
        "",
        None,
        "A [SEP] and a [CLS] are only text. " * 40,
        "ab",
        "\x00",
        f"One {'w' * 3000} and a word.",
    ]
    options = {"alpha": 0.1, "correction": "holm", "vote": "any"}
    for mine, other in zip(detect(texts), quick(iter(texts)), strict=True):
        same(mine, other)
    for mine, other in zip(detect(texts, **options), quick(texts, **options), strict=True):
        same(mine, other)
    assert any(result["passages"] for result in quick(texts, **options))
    same(detect.screen(detect(TEXTS)), quick.screen(quick(TEXTS)))
    assert quick.identity() == detect.identity()


@pytest.mark.parametrize(
    ("kind", "backbone", "more"),
    [
        ("bert", {}, {"bag": {"orders": [1, 2, 8], "buckets": 256}}),
        ("bert", {}, {"bag": {"orders": [2], "buckets": 16}, "character_bag": {"orders": [2, 3, 8], "buckets": 256}}),
        ("roberta", {"max_position_embeddings": 130}, {"pooling": "mean"}),
        ("bert", {}, {"pooling": "statistics"}),
        ("mpnet", {"max_position_embeddings": 130}, {"pooling": "statistics"}),
        ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
                        "share_att_key": True, "max_relative_positions": -1, "norm_rel_ebd": "layer_norm"}, {}),
    ],
)  # fmt: skip
def test_kinds_of_models_are_exported_with_batch_and_length_free(tmp_path, kind, backbone, more):
    torch.manual_seed(0)
    config = MvhConfig(
        AutoConfig.for_model(kind, vocab_size=100, **TINY | backbone), core_tokens=60, context_tokens=8, **more
    )
    model = MvhForSequenceClassification(config).eval()
    for name, weight in model.named_parameters():
        if "bag" in name:
            torch.nn.init.normal_(weight)
    export_onnx.export_model(model, tmp_path / "model.onnx")
    session = light.open_session(tmp_path / "model.onnx")
    for rows, tokens in ((1, 8), (3, 70), (7, 33)):
        ids, mask = torch.randint(5, 100, (rows, tokens)), torch.ones(rows, tokens, dtype=torch.long)
        mask[0, tokens // 2 :] = 0
        inputs = {"input_ids": ids, "attention_mask": mask}
        if model.character_bag is not None:
            inputs["characters"] = torch.randint(1, 1 << 20, (rows, 5 * tokens))
            inputs["characters"][0, tokens:] = 0
        with torch.inference_mode():
            exact = model(**inputs).logits.numpy()
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        assert np.abs(found - exact).max() < 1e-4


def test_a_tokenizer_of_unigrams_has_the_same_doubts(tmp_path):
    """XLM-R, mDeBERTa and T5 have such; which of their pieces means "unknown" the tokenizer's own model does not tell."""
    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz.▁"
    raw = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((x, -3.0) for x in letters)], unk_id=0)
    )
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    special = {"unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **special)
    config = MvhConfig(
        AutoConfig.for_model("bert", vocab_size=len(tokenizer), **TINY), core_tokens=60, context_tokens=8
    )
    documents = [Document(np.array([float(n)]), np.array([30]), "latin") for n in range(39)]
    config.calibration = encode_calibration(documents, documents, {})
    model = MvhForSequenceClassification(config).eval()
    MvhDetectPipeline(model=model, tokenizer=tokenizer).save_pretrained(str(tmp_path / "unigrams"))
    assert export_onnx.export(tmp_path / "unigrams", tmp_path / "light") < 1e-3
    detect, quick = mvh.load_detector(tmp_path / "unigrams"), light.load_light(tmp_path / "light")
    text = "some plain words and then runes " * 5 + "ᚠᚢᚦᚨᚱᚲᚷᚹ" * 20
    assert detect(text)["doubts"] == quick(text)["doubts"] and any("read" in doubt for doubt in quick(text)["doubts"])


def test_neither_torch_nor_transformers_is_needed(folder, tmp_path):
    page = tmp_path / "page.txt"
    page.write_text(TEXTS[-1], encoding="utf-8")
    code = f"""
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
import json
from mvh.light import load_light
print(json.dumps(load_light({str(folder)!r})({TEXTS[-1]!r})))
from mvh.cli.__main__ import main
sys.exit(main(["detect", "--model", {str(folder)!r}, "--json", {str(page)!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(light.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = map(json.loads, done.stdout.splitlines()[:2])
    assert first["segments"] and first["segments"] == second["segments"]


def test_what_cannot_be_exported_is_a_sentence(detector, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    assert export_onnx.main([str(detector), str(tmp_path / "there")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert export_onnx.main([str(tmp_path / "nothing"), str(tmp_path / "out")]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_an_export_that_judges_otherwise_is_refused(detector, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export_onnx, "TOLERANCE", -1.0)
    assert export_onnx.main([str(detector), str(tmp_path / "out")]) == 1
    assert "away from the detector's" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [], "nothing unfinished is left"


def test_a_damaged_export_and_an_option_it_has_not_are_sentences(folder, tmp_path, capsys, monkeypatch):
    quick = light.load_light(folder)
    with pytest.raises(ValueError, match="computes in float32, and precision is bfloat16"):
        quick(TEXTS, precision="bfloat16")
    with pytest.raises(TypeError, match="Unknown option"):
        quick(TEXTS, beta=1)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = bytearray((copy / light.MODEL).read_bytes())
    weights[len(weights) // 2] ^= 1
    (copy / light.MODEL).write_bytes(weights)
    assert cli_detect.main(["--model", str(copy), str(tmp_path / "none.txt")]) == 1
    assert "was exported" in capsys.readouterr().err
    about = json.loads((copy / light.ABOUT).read_text(encoding="utf-8"))
    (copy / light.ABOUT).write_text(json.dumps({"format": 99, "fields": "of which nothing is known"}), encoding="utf-8")
    with pytest.raises(ValueError, match="format 99"):
        light.load_light(copy)
    lacking = {key: value for key, value in about["config"].items() if key != "alpha"}
    for wrong in ("{", "[]", json.dumps({**about, "config": lacking}), json.dumps({**about, "sha256": {}})):
        (copy / light.ABOUT).write_text(wrong, encoding="utf-8")
        with pytest.raises(ValueError, match="damaged"):
            light.load_light(copy)
    (copy / light.MODEL).unlink()
    with pytest.raises(ValueError, match=r"there is no model\.onnx"):
        light.load_light(copy)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"mvh\[onnx\]"):
        light.load_light(folder)
