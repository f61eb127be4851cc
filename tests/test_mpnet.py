"""The fast MPNet attention: transformers' numbers, gradients and weights, and one table of distances for a batch."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModel

from mvh import attention_mvh, mpnet_mvh
from mvh.configuration_mvh import MvhConfig
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.mpnet_mvh import FastMPNetEncoder, FastMPNetSelfAttention, use_shared_distances

from .conftest import TINY

CONFIG = TINY | {"vocab_size": 100, "max_position_embeddings": 210, "relative_attention_num_buckets": 32}
PAD = 1


def pair(**fields):
    """transformers' model, and a copy of it with the fast attention."""
    torch.manual_seed(0)
    plain = AutoModel.from_config(AutoConfig.for_model("mpnet", **CONFIG | fields), add_pooling_layer=False).eval()
    for parameter in plain.parameters():  # fresh biases are zero, and fresh weights too small to tell positions apart
        torch.nn.init.normal_(parameter, std=0.3)
    fast = copy.deepcopy(plain)
    use_shared_distances(fast)
    return plain, fast


def inputs(rows, tokens):
    """Token ids and a mask of rows of unequal lengths."""
    torch.manual_seed(tokens)
    lengths = torch.linspace(tokens, max(1, tokens // 3), rows).long()
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    return {"input_ids": torch.randint(5, 100, (rows, tokens)).where(mask.bool(), PAD), "attention_mask": mask}


def states(model, given):
    return model(**given).last_hidden_state


def difference(plain, fast, given):
    return (states(fast, given) - states(plain, given)).abs().max().item()


@pytest.mark.parametrize("tokens", [1, 2, 7, 64, 200])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("graph", [True, False], ids=["with a graph", "without"])
def test_hidden_states_are_those_of_transformers(rows, tokens, graph):
    """Padding positions too, and distances beyond every bucket."""
    with torch.set_grad_enabled(graph):
        assert difference(*pair(), inputs(rows, tokens)) <= 1e-5


def test_a_few_segments_at_a_time_change_nothing(monkeypatch):
    plain, fast = pair()
    for at_once in (1, 2 * CONFIG["num_attention_heads"] * 70**2, 2**30):  # one segment, two of three, all
        monkeypatch.setattr(attention_mvh, "SCORES_AT_ONCE", at_once)
        with torch.no_grad():
            assert difference(plain, fast, inputs(3, 70)) <= 1e-5


def test_a_row_of_padding_alone_stays_finite():
    plain, fast = pair()
    given = inputs(2, 10)
    given["attention_mask"][0] = 0
    assert difference(plain, fast, given) <= 1e-5


@torch.no_grad()
def test_every_layer_is_handed_out():
    plain, fast = pair()
    given = inputs(2, 10) | {"output_hidden_states": True}
    for wanted, found in zip(plain(**given).hidden_states, fast(**given).hidden_states, strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "weights"])
def test_bfloat16_is_about_as_near_to_float32_as_transformers_own(autocast):
    plain, fast = pair()
    given = inputs(3, 70)
    with torch.no_grad():
        exact = states(plain, given)
        if not autocast:
            plain, fast = plain.bfloat16(), fast.bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            errors = [(states(model, given) - exact).abs().mean().item() for model in (plain, fast)]
    assert errors[1] <= 1.2 * errors[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.no_grad()
def test_a_gpu_gives_the_same():
    plain, fast = pair()
    given = {name: tensor.cuda() for name, tensor in inputs(3, 70).items()}
    assert difference(plain.cuda(), fast.cuda(), given) <= 1e-4


def test_gradients_are_those_of_transformers():
    """Of every weight, the table of distances too, in training mode without dropout."""
    plain, fast = pair(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    given = inputs(3, 70)
    weights = torch.randn(3, 70, TINY["hidden_size"]) * given["attention_mask"].unsqueeze(-1)
    for model in (plain.double().train(), fast.double().train()):
        (states(model, given) * weights).sum().backward()
    assert fast.encoder.relative_attention_bias.weight.grad.abs().sum() > 0
    for (name, wanted), found in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert torch.allclose(found.grad, wanted.grad, atol=1e-9), name


def test_dropout_and_attention_weights_are_left_to_transformers():
    plain, fast = pair(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    given = inputs(2, 12)
    with torch.no_grad():
        wanted = plain(**given, output_attentions=True).attentions
        found = fast(**given, output_attentions=True).attentions
        assert torch.allclose(found[0], wanted[0], atol=1e-5)
        assert torch.equal(states(fast, given), states(fast, given))
        fast.train()
        assert not torch.equal(states(fast, given), states(fast, given))


class LargestTensor(TorchDispatchMode):
    """Numbers of the largest tensor that any operation makes."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.most = max(self.most, out.numel())
        return out


@torch.no_grad()
def test_a_batch_shares_the_distances_and_scores_few_segments_at_a_time(monkeypatch):
    """What a cache is too small for is never made; transformers makes it."""
    rows, tokens = 8, 64
    monkeypatch.setattr(attention_mvh, "SCORES_AT_ONCE", CONFIG["num_attention_heads"] * tokens**2)
    scores = CONFIG["num_attention_heads"] * tokens**2
    most = {}
    for name, model in zip(("plain", "fast"), pair(), strict=True):
        with LargestTensor() as seen:
            states(model, inputs(rows, tokens))
        most[name] = seen.most
    assert most["plain"] >= rows * scores
    assert most["fast"] < rows * scores


def test_a_detector_on_mpnet_uses_it_and_its_weights_load_without():
    backbone = AutoConfig.for_model("mpnet", **CONFIG)
    model = MvhForSequenceClassification(MvhConfig(backbone_config=backbone, core_tokens=32, context_tokens=8))
    assert type(model.encoder.encoder) is FastMPNetEncoder
    assert {type(layer.attention.attn) for layer in model.encoder.encoder.layer} == {FastMPNetSelfAttention}
    plain = AutoModel.from_config(backbone, add_pooling_layer=False)
    assert plain.load_state_dict(model.encoder.state_dict()).missing_keys == []


def test_a_version_that_asks_otherwise_keeps_its_own_with_a_warning(monkeypatch):
    plain, _ = pair()
    said = []
    monkeypatch.setattr(mpnet_mvh.MPNetSelfAttention, "forward", lambda self, hidden_states, mask: None)
    monkeypatch.setattr(mpnet_mvh.logger, "warning_once", said.append)
    use_shared_distances(plain)
    assert not any(isinstance(module, (FastMPNetEncoder, FastMPNetSelfAttention)) for module in plain.modules())
    assert len(said) == 1 and "position_bias" in said[0]


def test_other_backbones_are_left_as_they_are():
    model = AutoModel.from_config(AutoConfig.for_model("bert", vocab_size=100, **TINY))
    before = [type(module) for module in model.modules()]
    use_shared_distances(model)
    assert [type(module) for module in model.modules()] == before
