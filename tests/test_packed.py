"""Packed weights and bfloat16 on a CPU: twins and the three steps compute what transformers computes, or step aside."""

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers import AutoConfig

from mvh import attention_mvh, packed_mvh
from mvh.attention_mvh import NAME, attention
from mvh.configuration_mvh import MvhConfig
from mvh.modeling_mvh import MvhForSequenceClassification, all_finite
from mvh.opening import open_folder
from mvh.packed_mvh import PackedLinear, Twins, can_pack, has_twin, state_of, twin_of
from mvh.pipeline_mvh import MvhDetectPipeline

from .conftest import TINY

SHAPES = {
    "bert": {},
    "roberta": {"max_position_embeddings": 130},
    "mpnet": {"max_position_embeddings": 130},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
                   "share_att_key": True, "max_relative_positions": -1, "norm_rel_ebd": "layer_norm"},
}  # fmt: skip
KINDS = [torch.float32, torch.bfloat16]
packs = pytest.mark.skipif(not all(map(can_pack, KINDS)), reason="this PyTorch packs no weights")


@pytest.fixture
def tried_anew():
    """What `can_pack` says of this machine is kept by no other test."""
    can_pack.cache_clear()
    yield
    can_pack.cache_clear()


@pytest.fixture(params=list(SHAPES))
def model(request):
    torch.manual_seed(0)
    backbone = AutoConfig.for_model(request.param, vocab_size=100, pad_token_id=0, **TINY | SHAPES[request.param])
    return MvhForSequenceClassification(MvhConfig(backbone, pooling="mean", core_tokens=60, context_tokens=8)).eval()


def batch(lengths, longest):
    ids = torch.randint(5, 100, (len(lengths), longest), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1] * n + [0] * (longest - n) for n in lengths])
    return {"input_ids": ids * mask, "attention_mask": mask}


def in_bfloat16(model, given):
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        return model(**given).logits


def by_twin(model, given, kind):
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == torch.bfloat16):
        return twin_of(model, kind)(**given).logits


@packs
@pytest.mark.parametrize("lengths", [(70, 70), (70, 33, 5), (1, 1)])
def test_a_float32_twin_gives_the_model_s_own_numbers(model, lengths):
    given, twin = batch(lengths, max(lengths)), twin_of(model, torch.float32)
    assert any(isinstance(module, PackedLinear) for module in twin.encoder.modules())
    with torch.inference_mode():
        exact = model(**given).logits
    found = by_twin(model, given, torch.float32)
    assert found.dtype == torch.float32 and torch.allclose(found, exact, rtol=1e-5, atol=1e-5)


@packs
@pytest.mark.parametrize("lengths", [(70, 70), (70, 33, 5), (1, 1)])
def test_a_twin_is_as_near_to_float32_as_autocast_is(model, lengths):
    given, twin = batch(lengths, max(lengths)), twin_of(model, torch.bfloat16)
    with torch.inference_mode():
        exact = model(**given).logits
    assert any(isinstance(module, PackedLinear) for module in twin.encoder.modules())
    found = in_bfloat16(twin, given)
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    assert (found - exact).abs().max() < 0.02 * exact.abs().max() + 0.01
    assert (in_bfloat16(model, given) - exact).abs().max() < 0.02 * exact.abs().max() + 0.01


@packs
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("activation", "joined"), [("gelu", True), ("gelu_new", False), ("relu", False)])
def test_the_exact_gelu_is_computed_with_the_product_and_no_other(activation, joined, kind):
    torch.manual_seed(0)
    backbone = AutoConfig.for_model("bert", vocab_size=100, hidden_act=activation, **TINY)
    model = MvhForSequenceClassification(MvhConfig(backbone, core_tokens=60, context_tokens=8)).eval()
    given, twin = batch((40, 9), 40), twin_of(model, kind)
    with torch.inference_mode():
        exact = model(**given).logits
    allowed = 0.02 * exact.abs().max() + 0.01 if kind == torch.bfloat16 else 1e-5
    assert (by_twin(model, given, kind) - exact).abs().max() < allowed
    after = [layer.intermediate.dense.after for layer in twin.encoder.encoder.layer]
    assert after == ["gelu" if joined else "none"] * len(after)
    assert not any(isinstance(module, nn.Identity) for module in model.modules())


@packs
def test_bags_are_counted_in_a_twin_as_in_its_model():
    torch.manual_seed(0)
    bag = {"orders": [1, 2], "buckets": 64}
    backbone = AutoConfig.for_model("bert", vocab_size=100, **TINY)
    config = MvhConfig(backbone, core_tokens=60, context_tokens=8, bag=bag, character_bag=bag)
    model = MvhForSequenceClassification(config).eval()
    for part in (model.bag, model.character_bag):
        part.idf.data.uniform_(0, 2)
        part.weight.data.normal_(0, 5)
    given = batch((40, 9), 40)
    given["characters"] = torch.tensor([[65, 66, 67, 0], [67, 66, 0, 0]])
    with torch.inference_mode():
        exact = model(**given).logits
    assert (by_twin(model, given, torch.bfloat16) - exact).abs().max() < 0.02
    assert torch.allclose(by_twin(model, given, torch.float32), exact, atol=1e-5)


@packs
def test_statistics_of_every_layer_are_as_near_and_as_fast(monkeypatch):
    """That all hidden states are asked for does not send the attention the slow way."""
    torch.manual_seed(0)
    backbone = AutoConfig.for_model("bert", vocab_size=100, **TINY)
    model = MvhForSequenceClassification(MvhConfig(backbone, pooling="statistics", core_tokens=60, context_tokens=8))
    given = batch((40, 9), 40)
    with torch.inference_mode():
        exact = model.eval()(**given).logits
    twin = twin_of(model, torch.bfloat16)
    monkeypatch.setattr(attention_mvh, "sdpa_attention_forward", lambda *a, **k: pytest.fail("the slow way"))
    assert (in_bfloat16(twin, given) - exact).abs().max() < 0.02 * exact.abs().max() + 0.01


@packs
@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_shares_weights_and_leaves_the_model_alone(model, kind):
    given = batch((40, 9), 40)
    with torch.inference_mode():
        before = model(**given).logits
    twin = twin_of(model, kind)
    pairs = zip(model.parameters(), twin.parameters(), strict=True)
    assert all(own is other for own, other in pairs), "no second set of float32 weights"
    with torch.inference_mode():
        assert torch.equal(model(**given).logits, before)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())


@packs
@pytest.mark.parametrize("kind", KINDS)
def test_twins_follow_the_weights(model, kind):
    twins = Twins()
    first = twins.of(0, model, kind)
    assert twins.of(0, model, kind) is first and first is not model
    assert all((twins.of(0, model, other) is first) == (other == kind) for other in KINDS)
    with torch.no_grad():
        next(iter(model.encoder.parameters())).mul_(1.5)
    assert twins.of(0, model, kind) is not first
    before = state_of(model)
    model.load_state_dict({name: tensor * 2 for name, tensor in model.state_dict().items()})
    assert state_of(model) != before


@pytest.mark.parametrize("kind", KINDS)
def test_no_twin_where_it_could_not_be_kept(model, kind):
    assert has_twin(model, kind) == can_pack(kind)
    model.encoder.lora_A = nn.Linear(2, 2)
    assert not has_twin(model, kind) and Twins().of(0, model, kind) is model
    del model.encoder.lora_A
    model.to(torch.bfloat16)
    assert not has_twin(model, kind)


@pytest.mark.parametrize(("kind", "instead"), [(torch.bfloat16, "under autocast"), (torch.float32, "as the model is")])
def test_where_pytorch_cannot_a_warning_says_so_and_the_model_computes(model, monkeypatch, kind, instead, tried_anew):
    def broken(*args):
        raise NotImplementedError("no such function")

    said = []
    monkeypatch.setattr(packed_mvh, "pack", broken)
    monkeypatch.setattr(packed_mvh.logger, "warning", said.append)
    assert Twins().of(0, model, kind) is model and instead in said[0] and "NotImplementedError" in said[0]


def test_a_build_without_onednn_computes_float32_as_it_does(model, monkeypatch, tried_anew):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(packed_mvh.logger, "warning", pytest.fail)
    assert Twins().of(0, model, torch.float32) is model


@packs
def test_what_is_watched_runs_itself(model):
    twins, seen = Twins(), []
    assert twins.of(0, model, torch.float32) is not model
    hook = model.encoder.register_forward_hook(lambda *given: seen.append(1))
    assert twins.of(0, model, torch.float32) is model
    hook.remove()
    assert twins.of(0, model, torch.float32) is not model
    assert twins.of(0, model.train(), torch.float32) is model


@packs
def test_a_detector_that_has_judged_is_copied_and_pickled(detector):
    detect = MvhDetectPipeline(*open_folder(detector), device="cpu")
    result = detect("A text of any length, of which only the score is asked for here. " * 5)
    for other in (copy.deepcopy(detect), pickle.loads(pickle.dumps(detect))):
        assert other("A text of any length, of which only the score is asked for here. " * 5) == result


class Asking(nn.Module):
    """What an attention module tells the attention function of itself."""

    is_causal = False


@pytest.mark.parametrize("tokens", [1, 7, 40])
@pytest.mark.parametrize("at_once", [1, 3 * 2 * 40**2, 2**20])
def test_three_steps_equal_sdpa(monkeypatch, tokens, at_once):
    monkeypatch.setattr(attention_mvh, "SCORES_AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(tokens)
    states = torch.randn(3, 5, 2, tokens, 16, generator=generator)
    mask = torch.ones(5, 1, tokens, tokens, dtype=torch.bool)
    mask[2, ..., tokens // 2 + 1 :] = False
    asking = Asking().eval()
    for hidden in (None, mask):
        exact = attention(asking, *states, hidden, scaling=0.25)[0]  # float32 is transformers' own
        with torch.no_grad():
            found = attention(asking, *states.bfloat16(), hidden, scaling=0.25)[0]
        assert found.dtype == torch.bfloat16 and found.shape == exact.shape == (5, tokens, 2, 16)
        assert (found.float() - exact).abs().max() < 0.03


@pytest.mark.parametrize("size", [1, 100, 1e4])
def test_large_scores_overflow_nothing(size):
    """At size 1 the exponentials are summed as they are; beyond, most rows' do not fit into a number."""
    states = torch.randn(3, 2, 2, 30, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    states[:2] *= size**0.5
    asking = Asking().eval()
    with torch.no_grad():
        found = attention(asking, *states, None, scaling=0.25)[0]
        plain = torch.softmax(0.25 * states[0] @ states[1].transpose(2, 3), -1) @ states[2]  # of the same scores
    assert (found.float() - plain.transpose(1, 2).float()).abs().max() < 0.03


@pytest.mark.parametrize(("largest", "times"), [(60.0, 1), (80.0, 2), (-80.0, 2), (1e38, 2)])
def test_scores_are_made_again_only_where_their_exponentials_do_not_serve(largest, times):
    made = []
    scores = torch.tensor([[[largest, largest - 1.0], [0.5, -3.0]]]).bfloat16()
    value = torch.tensor([[[1.0], [2.0]]]).bfloat16()
    with torch.no_grad():
        found = attention_mvh.softmax_product(lambda: made.append(1) or scores.clone(), value)
    assert len(made) == times and torch.allclose(found, scores.softmax(-1) @ value, rtol=0.01)


def test_gradients_of_three_steps_are_those_of_sdpa():
    states = torch.randn(3, 4, 2, 20, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 1, 20, 20, dtype=torch.bool)
    mask[2, ..., 11:] = False
    gradients = []
    for kind in (torch.float32, torch.bfloat16):  # float32 is transformers' own
        given = states.detach().clone().to(kind).requires_grad_()
        attention(Asking().train(), *given, mask, scaling=0.25)[0].float().square().sum().backward()
        gradients.append(given.grad.float())
    assert (gradients[0] - gradients[1]).abs().max() < 0.05 * gradients[0].abs().max()


def test_three_steps_step_aside():
    states, asking = torch.randn(3, 1, 2, 4, 8).bfloat16(), Asking().eval()

    def serves(mask=None, dropout=0.0, **others):
        return attention_mvh.serves(asking, *states[:2], mask, dropout, others)

    assert serves() and serves(position_bias=None, output_attentions=False, output_hidden_states=True)
    assert not serves(position_bias=states) and not serves(is_causal=True)
    assert not serves(mask=torch.zeros(1, 1, 4, 4)), "a mask that is added"
    assert not serves(dropout=0.1)
    asking.is_causal = True
    assert not serves()
    assert not attention_mvh.serves(asking, *states[:2].float(), None, 0.0, {})


def test_a_backbone_told_otherwise_keeps_its_attention(model):
    kind = model.config.backbone_config.model_type
    assert model.encoder.config._attn_implementation == ("eager" if kind in ("deberta-v2", "mpnet") else NAME)
    model.encoder.config._attn_implementation = "eager"
    attention_mvh.use_plain_attention(model.encoder)
    assert model.encoder.config._attn_implementation == "eager"
    assert NAME not in str(model.config.to_dict()), "a saved config names no function of this process"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_seen_anywhere(value):
    for place in (0, 3, 6):
        tensor = torch.zeros(7)
        assert all_finite(tensor)
        tensor[place] = value
        assert not all_finite(tensor)
    assert all_finite(torch.zeros(0)) and all_finite(torch.arange(3))
