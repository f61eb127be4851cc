"""Pooling: the statistics of every layer by hand, their scale, and a training that uses them."""

import json
from types import SimpleNamespace

import datasets
import pytest
import torch

from mvh import train
from mvh.building import fit_pooling
from mvh.detector import load_detector
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.opening import open_folder
from mvh.pooling_mvh import FARTHEST, Pooling, pooled_width, statistics

from .conftest import make_rows, write_jsonl

SHAPE = SimpleNamespace(hidden_size=4, num_hidden_layers=2)


def layers_and_mask() -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    torch.manual_seed(0)
    lengths = torch.tensor([[7], [3], [1]])
    return tuple(torch.randn(3, 7, 4) for _ in range(3)), (torch.arange(7) < lengths).long()


def test_mean_and_deviation_of_every_layer_over_what_is_no_padding():
    layers, mask = layers_and_mask()
    found = statistics(layers, mask)
    assert found.shape == (3, pooled_width("statistics", SHAPE)) == (3, 24)
    for row, length in enumerate((7, 3, 1)):
        parts = []
        for states in layers:
            kept = states[row, :length]
            parts += [kept.mean(0), kept.std(0, correction=0)]
        assert torch.allclose(found[row], torch.cat(parts), atol=2e-3), "1e-6 is added to the variance"


def test_the_scale_is_that_of_the_segments_it_was_fitted_on():
    pool = Pooling("statistics", SHAPE)
    torch.manual_seed(0)
    pool.fit_scale(torch.randn(400, 24) * 3 + 2)
    layers, mask = layers_and_mask()
    scaled = pool(SimpleNamespace(hidden_states=layers), mask)
    assert torch.allclose(scaled, (statistics(layers, mask) - 2) / 3, atol=0.2)
    far = tuple(states * 1000 for states in layers)
    assert pool(SimpleNamespace(hidden_states=far), mask).abs().max() == FARTHEST
    pool.fit_scale(torch.zeros(5, 24))  # constant: no division by zero
    assert torch.isfinite(pool(SimpleNamespace(hidden_states=layers), mask)).all()


def test_an_encoder_without_the_layers_it_names_is_a_sentence():
    layers, mask = layers_and_mask()
    pool = Pooling("statistics", SHAPE)
    for given, width in ((layers[:2], 16), (None, 0)):
        with pytest.raises(ValueError, match=f"expects 24 numbers .* give {width}; choose 'mean'"):
            pool(SimpleNamespace(hidden_states=given), mask)
    shorter = SimpleNamespace(hidden_states=(layers[0], layers[1][:, :3], layers[2]))
    with pytest.raises(ValueError, match="give 16"):
        pool(shorter, mask)
    with pytest.raises(ValueError, match="num_hidden_layers None with hidden_size 4 gives 0"):
        pooled_width("statistics", SimpleNamespace(hidden_size=4))
    with pytest.raises(ValueError, match="num_hidden_layers -5 "):
        pooled_width("statistics", SimpleNamespace(hidden_size=4, num_hidden_layers=-5))


def test_the_scale_is_drawn_from_all_training_segments(backbone_folder):
    """As many from the end of the file as from its beginning, however many there are."""
    first, second = [7] * 6, [9, 11, 13] * 2
    segments = datasets.Dataset.from_dict({"input_ids": [first] * 600 + [second] * 423})
    balanced = datasets.Dataset.from_dict({"input_ids": [first] * 300 + [second] * 212})
    means = []
    for given in (segments, balanced):
        model = MvhForSequenceClassification.from_backbone(str(backbone_folder), pooling="statistics")
        fit_pooling(model, given)
        means.append(model.pool.mean)
    assert torch.allclose(*means, atol=0.02) and means[0].abs().max() > 0.1


def test_one_token_has_no_infinite_slope():
    layers = tuple(torch.randn(1, 1, 4, requires_grad=True) for _ in range(3))
    statistics(layers, torch.ones(1, 1)).sum().backward()
    assert all(torch.isfinite(states.grad).all() for states in layers)


@pytest.mark.parametrize("lora", [[], ["--lora_r", "2"]])
def test_a_detector_of_statistics_trains_and_detects(backbone_folder, tmp_path, lora):
    """With features and LoRA too; its scale is fitted on the training segments and does not move afterwards."""
    words = [
        "--backbone", backbone_folder, "--pooling", "statistics", "--head_widths", 16, 8, "--core_tokens", 32,
        "--context_tokens", 8, "--use_cpu", True, "--disable_tqdm", True, "--learning_rate", 0.002,
        "--num_train_epochs", 2, "--frozen_epochs", 1, "--feature_names", "comma_share", "--save_strategy", "no",
        "--report_to", "none", "--bag_orders", 1, "--bag_buckets", 256, *lora,
        "--train_file", write_jsonl(tmp_path / "train.jsonl", make_rows(60)),
    ]  # fmt: skip
    scales = {}
    for rate in (0.002, 0.0):
        folder = train.main([*map(str, words), "--learning_rate", str(rate), "--output_dir", str(tmp_path / str(rate))])
        model, _ = open_folder(folder)
        scales[rate] = model.pool.mean, model.pool.std
    assert all(torch.equal(one, other) for one, other in zip(scales[0.002], scales[0.0], strict=True))
    mean, std = scales[0.0]
    assert mean.abs().max() > 0.01 and not torch.equal(std, torch.ones_like(std))
    assert json.loads((folder / "config.json").read_text())["pooling"] == "statistics"
    one, other = load_detector(str(folder))(["A text of some words.", "Another text. " * 200])
    assert one["segments"] and len(other["segments"]) > 1


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_statistics_by_segment_are_those_of_the_whole_batch(kind):
    """Without a graph a CPU takes one segment at a time; masks may have holes or hide everything."""
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(5, 20, 8, generator=generator).to(kind) for _ in range(3)]
    mask = (torch.rand(5, 20, generator=generator) > 0.4).long()
    mask[1], mask[2], mask[3, 1:] = 0, 1, 0
    whole = statistics(layers, mask)
    with torch.no_grad():
        assert torch.allclose(statistics(layers, mask), whole, atol=1e-6)


def test_a_traced_model_takes_the_statistics_of_any_batch():
    def pooled(states, mask):
        return statistics([states], mask)

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        traced = torch.jit.trace(
            pooled, (torch.randn(1, 6, 4, generator=generator), torch.ones(1, 6, dtype=torch.long))
        )
        states, mask = torch.randn(3, 9, 4, generator=generator), torch.ones(3, 9, dtype=torch.long)
        mask[1, 5:] = 0
        assert torch.allclose(traced(states, mask), pooled(states, mask), atol=1e-6)
