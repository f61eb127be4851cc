"""The benchmarks: fair rounds, honest counts of work, rivals that do the same job; figures are not tested."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from mvh import packed_mvh
from mvh.benchmarks import detect as detecting
from mvh.benchmarks import measuring, memory, parity, samples, spending, work
from mvh.benchmarks.rivals import ONNX_PACKAGES, OPENVINO_PACKAGES, chunk_ids, missing, onnx, openvino, stock
from mvh.configuration_mvh import MvhConfig
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.opening import read_config
from mvh.shipped import SHIPPED

from .conftest import TINY, make_text


@pytest.fixture(scope="module")
def loaded(detector):
    return detecting.load(detector, None)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [{"text": make_text(label, 60, seed)} for label in (0, 1) for seed in range(5)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_variants_take_turns():
    order = []
    tasks = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = measuring.interleave(tasks, 2)
    assert "".join(order) == "abcbcacab", "each once per round, nobody always first"
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys("abc", 2)
    assert measuring.spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}


def test_work_is_that_of_the_matrix_products(loaded):
    """Linear layers 2 (4 H^2 + 2 H I) per token and layer, attention 4 T^2 H per layer, and the head."""
    fit = work.work_per_length(loaded.model)
    hidden, inner, layers = TINY["hidden_size"], TINY["intermediate_size"], TINY["num_hidden_layers"]
    linear, attention = 2 * layers * (4 * hidden**2 + 2 * hidden * inner), 4 * layers * hidden
    assert fit[0] == pytest.approx(attention) and fit[1] == pytest.approx(linear)
    assert work.useful_work(fit, [10, 20]) == pytest.approx(500 * attention + 30 * linear + 2 * fit[2])


def test_documents_have_the_lengths_asked_for(texts):
    sentences = samples.read_sentences(texts)
    documents = samples.mixed(sentences, 5, 10, 160)
    assert sorted(len(document.split()) for document in documents) == [10, 20, 40, 80, 160]
    assert documents == samples.mixed(sentences, 5, 10, 160) and samples.read_sentences()
    empty = texts.with_name("empty.jsonl")
    empty.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="0 texts and no sentence"):
        samples.read_sentences(empty)


@pytest.mark.parametrize("by_length", [False, True])
def test_the_stock_pipeline_scores_the_same_chunks(loaded, by_length):
    """On text that decoding gives back unchanged, its margins are ours: the rivals do the same job."""
    texts = [make_text(label, words, seed=words).lower() for label in (0, 1) for words in (8, 50, 120)]
    texts = [loaded.tokenizer.decode(loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    ours = detecting.mvh_margins(loaded, texts, "float32")
    for text, mine, other in zip(texts, ours, stock(loaded, by_length)(texts), strict=True):
        assert len(mine) == len(other) == len(chunk_ids(text, loaded.tokenizer, loaded.model.config))
        assert np.allclose(mine, other, atol=1e-3)


def test_detect_writes_what_it_measured(detector, texts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measuring, "MATRIX", 64)
    # OpenVINO in the process of the tests makes a later Ctrl-C crash where SIGINT was ignored at the start
    monkeypatch.setattr(detecting, "missing", list)
    out = tmp_path / "speed.json"
    report = detecting.main(["--model", str(detector), "--texts", str(texts), "--quick", "--out", str(out)])
    assert json.loads(out.read_text(encoding="utf-8")) == report
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert page == capsys.readouterr().out and measuring.QUICK in page
    rows = {row["way"]: row for row in report["sets"]["mixed"]["rows"]}
    assert rows[detecting.FIRST]["times_as_fast"] == 1 and rows[detecting.EXACT]["same_label"] == 1
    for name in ("ONNX", "OpenVINO"):
        assert any(name in sentence for sentence in report["missing"])
    assert "Where the time of" in page and len(report["spending"]["parts"]) == 5


def test_the_parts_of_the_time_are_all_of_it_and_products_are_counted():
    """Against the arithmetic of each product: 2 times inputs times outputs for a row, with and without a bias."""
    x, weight, bias = torch.randn(64, 32), torch.randn(48, 32), torch.randn(48)
    left, right = torch.randn(4, 8, 16), torch.randn(4, 16, 8)

    def run():
        for _ in range(50):
            torch.nn.functional.linear(x, weight, bias)
            packed_mvh.product(x, packed_mvh.pack(weight, torch.float32), bias)
            torch.bmm(left, right)
            torch.baddbmm(torch.zeros(4, 8, 8), left, right)
            x.clone()

    parts = {row["part"]: row for row in spending.spending(run)}
    assert sum(row["share"] for row in parts.values()) == pytest.approx(1, abs=0.02)
    assert all(parts[name]["gflops"] > 0 for name in (spending.LINEAR, spending.PRODUCTS))
    assert parts[spending.COPIES]["gflops"] is None and parts[spending.COPIES]["share"] > 0
    large = torch.randn(512, 512)
    only = {row["part"]: row for row in spending.spending(lambda: [torch.mm(large, large) for _ in range(50)])}
    assert only[spending.LINEAR]["share"] > max(row["share"] for name, row in only.items() if name != spending.LINEAR)
    heads = [[2, 3, 8, 16]] * 3
    assert spending.operations("aten::_scaled_dot_product_flash_attention_for_cpu", heads) == 4 * 2 * 3 * 8 * 8 * 16
    assert spending.operations("aten::addmm", [[48], [64, 32], [32, 48], [], []]) == 2 * 64 * 32 * 48
    assert spending.operations("mkldnn::_linear_pointwise", [[2, 32, 32], [48, 32], [48]]) == 2 * 64 * 32 * 48
    assert spending.operations("aten::bmm", [[4, 8, 16], [4, 16, 8]]) == 2 * 4 * 8 * 16 * 8
    assert spending.operations("aten::baddbmm", [[4, 8, 8], [4, 8, 16], [4, 16, 8]]) == 2 * 4 * 8 * 16 * 8


@pytest.mark.slow
@pytest.mark.skipif(bool(missing([*ONNX_PACKAGES, *OPENVINO_PACKAGES])), reason="needs mvh[benchmarks]")
def test_other_engines_score_the_same_chunks(loaded, tmp_path):
    texts = [make_text(label, words, seed=words).lower() for label in (0, 1) for words in (8, 120)]
    ours = detecting.mvh_margins(loaded, texts, "float32")
    for near, rival in (
        (1e-3, onnx(loaded, tmp_path, int8=False)),
        (1.0, onnx(loaded, tmp_path, int8=True)),  # weights of eight bits
        (1e-3, openvino(loaded, tmp_path, "f32")),
    ):
        for mine, other in zip(ours, rival(texts), strict=True):
            assert mine.shape == other.shape and np.abs(mine - other).max() < near


def test_parity_counts_what_changed(loaded, detector, texts, tmp_path):
    report = parity.main(["--model", str(detector), "--texts", str(texts), "--out", str(tmp_path / "parity.json")])
    assert report["documents"] == 10 and report["shifts"]["segment margin"]["largest"] > 0
    plain = report["plain"]
    assert (
        plain["same_label"] == plain["same_segment_label"] == 1 and plain["shifts"]["segment margin"]["largest"] < 1e-4
    )
    results = loaded([make_text(1, 40, seed=1)] * 2)
    flipped = [results[0], {**results[1], "label": "human" if results[1]["label"] != "human" else "machine"}]
    found = parity.compare(results, flipped)
    assert found["same_label"] == 0.5 and not found["enough"] and found["shifts"]["document p-value"]["largest"] == 0
    with pytest.raises(ValueError, match="Of 1 documents none"):
        parity.compare([{"error": {}}], [{"error": {}}])


@pytest.mark.parametrize(("kind", "sizes"), [("bert", {}), ("mpnet", {}), ("deberta-v2", detecting.MDEBERTA)])
def test_the_plain_path_has_no_quick_part(kind, sizes):
    backbone = AutoConfig.for_model(kind, vocab_size=50, **sizes | TINY)
    model = MvhForSequenceClassification(MvhConfig(backbone_config=backbone)).eval()
    quick = [type(module) for module in model.modules() if type(module).__module__.endswith("_mvh")]
    parity.take_off_quick_paths(model)
    left = {type(module).__name__ for module in model.encoder.modules() if type(module).__module__.endswith("_mvh")}
    assert not left and packed_mvh.is_watched(model)
    assert model.encoder.config._attn_implementation in ("sdpa", "eager")
    assert kind == "bert" or any("Fast" in found.__name__ for found in quick)


def test_a_record_of_parity_is_kept_in_the_calibration(detector, texts, tmp_path, capsys, monkeypatch):
    """From then on bfloat16 is the default where the machine has it; nothing else of the checkpoint changes."""
    monkeypatch.setattr(parity, "AGREEMENT", 0.9)  # the toy's scores are nearly equal, so that ranks change easily
    folder, many = tmp_path / "copy", tmp_path / "many.jsonl"
    shutil.copytree(detector, folder)
    before = read_config(folder)
    many.write_text(
        "".join(json.dumps({"text": make_text(n % 2, 20 + n % 40, seed=n)}) + "\n" for n in range(240)),
        encoding="utf-8",
    )
    keep = ["--model", str(folder), "--keep", "--texts"]
    report = parity.main([*keep, str(many)])
    record = read_config(folder)["calibration"].pop("parity")
    assert report["enough"] and record["documents"] == 240 and record["same_label"] == report["same_label"]
    left = read_config(folder)
    left["calibration"].pop("parity")
    assert left == before and "is its default" in capsys.readouterr().out
    assert parity.keep(folder, {**report, "enough": False}).startswith("No record") and read_config(folder) == before
    bare = json.loads(json.dumps(before)) | {"calibration": None}
    for words, said in (([*keep, str(texts)], "needs 200 different"), ([*keep, str(many), "--quick"], "there are 0")):
        with pytest.raises(SystemExit):
            parity.main(words)
        assert said in capsys.readouterr().err
    (folder / "config.json").write_text(json.dumps(bare), encoding="utf-8")
    with pytest.raises(SystemExit):
        parity.main([*keep, str(many)])
    assert "no calibration of its own" in capsys.readouterr().err
    many.write_text('{"text": "a"}\n{"body": "b"}\n', encoding="utf-8")
    with pytest.raises(SystemExit):
        parity.main([*keep, str(many)])
    assert "many.jsonl line 2" in capsys.readouterr().err


@pytest.mark.parametrize(("shape", "kind"), [("mdeberta", "deberta-v2"), ("minilm", "bert")])
def test_a_shape_reads_and_scores(loaded, detector, monkeypatch, shape, kind):
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config, fields = detecting.SHAPES[shape]
    monkeypatch.setitem(detecting.SHAPES, shape, (config, fields | small))
    shaped = detecting.load(detector, shape)
    assert shaped.model.config.backbone_config.model_type == kind
    assert np.isfinite(detecting.mvh_margins(shaped, [make_text(0, 50, seed=1)], "float32")[0]).all()
    assert (work.work_per_length(shaped.model)[:2] > 0).all() and torch.is_grad_enabled()


@pytest.mark.skipif(not memory.STATUS.exists(), reason="the kernel tells of no peak here")
def test_memory_of_a_text_and_a_stream(detector, texts):
    words = [sys.executable, "-m", "mvh.benchmarks.memory", "--model", str(detector), "--texts", str(texts)]
    for case in (["text", "20000"], ["stream", "700"]):
        done = subprocess.run([*words, "--case", *case], capture_output=True, text=True, check=True)
        row = json.loads(done.stdout)
        assert 0 <= row["above_mb"] < 500
    assert row["in_order"] and row["read_before_first"] < 700


@pytest.mark.parametrize("layers", [0, 1])
def test_memory_is_measured_with_few_layers_of_the_shipped_detector(layers):
    """Its head reads every layer, and then those that are left."""
    detect = memory.load(SHIPPED, layers)
    assert len(detect.model.encoder.encoder.layer) == layers
    assert np.isfinite(detect("It was raining again and the bus was late, so we walked.")["margin"])
