"""The number types that weights are stored in: a smaller file that loads as float32, the same in every process."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import BertConfig, BertModel

from mvh import export
from mvh.opening import open_folder
from mvh.recipe import STORE_DTYPES
from mvh.storing import BYTE, LARGE, cast, kind_of, stored_dtype

LARGEST_STEP = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8, BYTE: 2**-4}  # half a unit in the last place


def bert():
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=512, vocab_size=600
    )
    return BertModel(config)


@pytest.mark.parametrize("store_dtype", STORE_DTYPES)
def test_each_weight_is_rounded_by_half_a_unit_at_most(store_dtype):
    model, exact = bert(), bert().state_dict()
    cast(model, store_dtype)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        assert value.dtype == kind_of(exact[name], store_dtype)
        slack = 2**-10 if value.dtype == torch.float8_e4m3fn else 2**-24  # below the smallest normal number
        moved = (value.float() - exact[name]).abs()
        assert (moved <= LARGEST_STEP[store_dtype] * exact[name].abs() + slack).all(), name


def test_only_large_matrices_take_a_byte():
    model = bert()
    cast(model, BYTE)
    kinds = {name: value.dtype for name, value in model.state_dict().items() if value.is_floating_point()}
    sizes = {name: value.numel() for name, value in model.state_dict().items()}
    bytes_ = [name for name, kind in kinds.items() if kind == torch.float8_e4m3fn]
    assert "embeddings.word_embeddings.weight" in bytes_ and "encoder.layer.0.intermediate.dense.weight" in bytes_
    assert all(sizes[name] >= LARGE for name in bytes_)
    assert all(kinds[name] == torch.float16 for name in kinds if name.endswith(("bias", "LayerNorm.weight")))


def test_a_weight_that_does_not_fit_is_refused_and_nothing_is_changed():
    model = bert()
    model.embeddings.word_embeddings.weight.data[0, 0] = 1e4
    with pytest.raises(ValueError, match=f"1 weights are not finite in {BYTE}, among them embeddings.word_embeddings"):
        cast(model, BYTE)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    with pytest.raises(ValueError, match="store_dtype must be one of .*'float8'"):
        cast(model, "float8")


def test_a_folder_stored_in_bytes_judges_alike_in_a_fresh_process(detector, tmp_path, monkeypatch):
    monkeypatch.setattr("mvh.storing.LARGE", 256)  # no matrix of the toy is large
    model, tokenizer = open_folder(detector)
    folder = export.export_checkpoint(model, tokenizer, tmp_path / "small", BYTE)
    assert stored_dtype(folder) == BYTE
    program = (
        "import json, sys; from transformers import pipeline\n"
        "detect = pipeline('mvh-detect', model=sys.argv[1], trust_remote_code=True)\n"
        "print(json.dumps([str(next(detect.model.parameters()).dtype), detect('A text of some words. ' * 40)['margin']]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    ).stdout
    dtype, margin = json.loads(said.splitlines()[-1])
    here, _ = open_folder(folder)
    assert dtype == "torch.float32" and all(value.dtype == torch.float32 for value in here.parameters())
    again = export.refresh(folder, tmp_path / "again")
    assert stored_dtype(again) == BYTE
    weights = [dict(open_folder(one)[0].named_parameters()) for one in (folder, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    from transformers import pipeline

    assert (
        pipeline("mvh-detect", model=str(again), trust_remote_code=True)("A text of some words. " * 40)["margin"]
        == margin
    )
