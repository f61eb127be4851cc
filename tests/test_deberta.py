"""The fast DeBERTa attention: transformers' numbers, gradients and weights, and less work."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel

from mvh import deberta_mvh
from mvh.configuration_mvh import MvhConfig
from mvh.deberta_mvh import FastDisentangledSelfAttention, use_fast_attention
from mvh.modeling_mvh import MvhForSequenceClassification

from .conftest import TINY

MDEBERTA = {
    "relative_attention": True,
    "position_buckets": 8,
    "max_relative_positions": -1,
    "max_position_embeddings": 24,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}  # the real settings, at a size where texts are soon longer than the buckets


def pair(**fields):
    """transformers' model, and a copy of it with the fast attention."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("deberta-v2", vocab_size=100, pad_token_id=0, **TINY | MDEBERTA | fields)
    plain = AutoModel.from_config(config).eval()
    for parameter in plain.parameters():  # fresh biases are zero, and fresh weights too small to tell positions apart
        torch.nn.init.normal_(parameter, std=0.3)
    fast = copy.deepcopy(plain)
    use_fast_attention(fast)
    return plain, fast


def inputs(rows, tokens):
    """Token ids and a mask of rows of unequal lengths; every other row is padded on the left."""
    torch.manual_seed(tokens)
    lengths = torch.linspace(tokens, max(1, tokens // 3), rows).long()
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    mask[1::2] = mask[1::2].flip(1)
    return {"input_ids": torch.randint(5, 100, (rows, tokens)), "attention_mask": mask}


def difference(plain, fast, given):
    return (fast(**given).last_hidden_state - plain(**given).last_hidden_state).abs().max().item()


@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 24, 63, 64, 65, 130, 200])
@pytest.mark.parametrize("rows", [1, 3])
def test_hidden_states_are_those_of_transformers(rows, tokens):
    """Padding positions too, and distances beyond every bucket."""
    assert difference(*pair(), inputs(rows, tokens)) <= 1e-5


@pytest.mark.parametrize(
    "fields",
    [
        {"share_att_key": False},
        {"pos_att_type": ["c2p"]},
        {"pos_att_type": ["p2c"], "share_att_key": False},
        {"position_buckets": -1},  # a distance is its own bucket, those beyond the table share its ends
        {"norm_rel_ebd": "none"},
        {"conv_kernel_size": 3},  # DeBERTa-v2-xlarge
        {"position_biased_input": True, "max_position_embeddings": 90},
    ],
    ids=str,
)
def test_every_setting_of_the_family(fields):
    plain, fast = pair(**fields)
    assert difference(plain, fast, inputs(3, 70)) <= 1e-5


def test_a_few_heads_at_a_time_change_nothing(monkeypatch):
    plain, fast = pair(num_attention_heads=8)
    for scores_at_once in (1, 3 * 3 * 70 * 70, 2**30):  # one head, three of eight, all
        monkeypatch.setattr(deberta_mvh, "SCORES_AT_ONCE", scores_at_once)
        assert difference(plain, fast, inputs(3, 70)) <= 1e-5


def test_a_row_of_padding_alone_stays_finite():
    plain, fast = pair()
    given = inputs(2, 10)
    given["attention_mask"][0] = 0
    assert difference(plain, fast, given) <= 1e-5


@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "weights"])
def test_bfloat16_is_as_near_to_float32_as_transformers_own(autocast):
    plain, fast = pair()
    given = inputs(3, 70)
    with torch.no_grad():
        exact = plain(**given).last_hidden_state
        if not autocast:
            plain, fast = plain.bfloat16(), fast.bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            errors = [(model(**given).last_hidden_state - exact).abs().mean().item() for model in (plain, fast)]
    assert errors[1] <= 1.1 * errors[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.no_grad()
def test_a_gpu_gives_the_same():
    plain, fast = pair()
    given = {name: tensor.cuda() for name, tensor in inputs(3, 70).items()}
    assert difference(plain.cuda(), fast.cuda(), given) <= 1e-4


def test_gradients_are_those_of_transformers():
    """Of every weight, through the views, in training mode without dropout."""
    plain, fast = pair(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    given = inputs(3, 70)
    seen = given["attention_mask"].unsqueeze(-1)
    weights = torch.randn(3, 70, TINY["hidden_size"])
    for model in (plain.double().train(), fast.double().train()):
        (model(**given).last_hidden_state * seen * weights).sum().backward()
    assert all(parameter.grad is not None for parameter in plain.parameters())
    for (name, wanted), found in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert torch.allclose(found.grad, wanted.grad, atol=1e-9), name


def test_dropout_falls_on_attention_and_positions_in_training_alone():
    _, fast = pair(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    given = inputs(2, 12)
    assert torch.equal(fast(**given).last_hidden_state, fast(**given).last_hidden_state)
    fast.train()
    assert not torch.equal(fast(**given).last_hidden_state, fast(**given).last_hidden_state)


def change_in_place(model):
    with torch.no_grad():
        model.encoder.layer[0].attention.self.key_proj.weight.mul_(2)


def change_positions(model):
    with torch.no_grad():
        model.encoder.rel_embeddings.weight.mul_(-1)


def load(model):
    model.load_state_dict({name: tensor * 1.5 for name, tensor in model.state_dict().items()})


def round_trip(model):
    model.bfloat16().float()


def change_data_before_eval(model):
    model.encoder.layer[0].attention.self.query_proj.weight.data += 0.5
    model.eval()


@pytest.mark.parametrize("norm", ["layer_norm", "none"])
@pytest.mark.parametrize(
    "change", [change_in_place, change_positions, load, round_trip, change_data_before_eval], ids=lambda f: f.__name__
)
@torch.no_grad()
def test_kept_tables_never_outlive_the_weights(change, norm):
    plain, fast = pair(norm_rel_ebd=norm)
    given = inputs(2, 12)
    before = plain(**given).last_hidden_state
    assert difference(plain, fast, given) <= 1e-5
    change(plain)
    change(fast)
    assert not torch.equal(plain(**given).last_hidden_state, before)
    assert difference(plain, fast, given) <= 1e-5


@torch.no_grad()
def test_tables_of_lora_are_not_kept():
    """Switching an adapter off changes the projections, and no weight's version."""
    peft = pytest.importorskip("peft")
    plain, fast = pair()
    given = inputs(2, 12)
    assert difference(plain, fast, given) <= 1e-5
    wanted = plain(**given).last_hidden_state
    adapted = peft.get_peft_model(fast, peft.LoraConfig(target_modules=["query_proj"], init_lora_weights=False)).eval()
    assert not torch.allclose(adapted(**given).last_hidden_state, wanted, atol=1e-3)
    with adapted.disable_adapter():
        assert torch.allclose(adapted(**given).last_hidden_state, wanted, atol=1e-5)


def test_kept_tables_serve_every_mode_of_autograd():
    plain, fast = pair()
    given = inputs(2, 12)
    with torch.inference_mode():
        assert difference(plain, fast, given) <= 1e-5
    with torch.no_grad():
        assert difference(plain, fast, given) <= 1e-5
    fast(**given).last_hidden_state.sum().backward()  # weights that learn are projected anew
    assert fast.encoder.layer[0].attention.self.key_proj.weight.grad is not None
    assert fast.encoder.rel_embeddings.weight.grad is not None


def test_weights_keep_their_names():
    plain, fast = pair()
    given = inputs(2, 12)
    with torch.no_grad():
        fast(**given)  # tables are kept now, and are no weights
    assert list(fast.state_dict()) == list(plain.state_dict())
    fast.load_state_dict(plain.state_dict())
    plain.load_state_dict(fast.state_dict())


class Calls(TorchDispatchMode):
    """Counts the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **kwargs or {})


@torch.no_grad()
def test_less_work_than_transformers():
    """No gather, no product with the whole table, and the table is projected once for all calls."""
    plain, fast = pair(position_buckets=256, max_position_embeddings=512)
    given = inputs(4, 306)
    flops, gathers = {}, {}
    for name, model in (("plain", plain), ("fast", fast), ("fast again", fast)):
        with FlopCounterMode(display=False) as counter, Calls() as calls:
            model(**given)
        counts = counter.get_flop_counts()["Global"]
        flops[name] = {op.__name__: count for op, count in counts.items()}
        gathers[name] = calls.names.count("gather")
    assert (gathers["plain"], gathers["fast"]) == (4, 0)  # two in each of two layers
    size, layers, heads, width = 4, TINY["num_hidden_layers"], TINY["num_attention_heads"], 16
    content = 2 * 2 * layers * size * heads * 306 * 306 * width  # transformers' two products without positions
    positions = {"plain": flops["plain"]["bmm"] - content, "fast": flops["fast"]["bmm"]}
    assert positions["fast"] < 0.75 * positions["plain"]
    projections = 2 * 2 * layers * 512 * TINY["hidden_size"] ** 2
    assert sum(flops["fast"].values()) - sum(flops["fast again"].values()) == projections


def test_attention_weights_and_other_positions_are_left_to_transformers(caplog):
    deberta_mvh.logger.warning_once.cache_clear()
    plain, fast = pair(attn_implementation="eager")
    given = inputs(2, 12)
    wanted, found = (model(**given, output_attentions=True).attentions for model in (plain, fast))
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    assert "output_attentions" in caplog.text
    _, absolute = pair(relative_attention=False)
    assert not any(isinstance(module, FastDisentangledSelfAttention) for module in absolute.modules())
    assert "relative_attention=False" in caplog.text


def test_a_detector_uses_it_without_being_asked(tmp_path):
    config = AutoConfig.for_model("deberta-v2", vocab_size=100, pad_token_id=0, **TINY | MDEBERTA)
    AutoModel.from_config(config).save_pretrained(tmp_path / "backbone")
    trained = MvhForSequenceClassification.from_backbone(str(tmp_path / "backbone"), pooling="mean").eval()
    trained.save_pretrained(tmp_path / "detector")
    loaded = MvhForSequenceClassification.from_pretrained(tmp_path / "detector")
    for model in (trained, loaded, MvhForSequenceClassification(MvhConfig(config))):
        fast = [module for module in model.modules() if isinstance(module, FastDisentangledSelfAttention)]
        assert len(fast) == TINY["num_hidden_layers"]
    assert torch.equal(loaded(**inputs(2, 12)).logits, trained(**inputs(2, 12)).logits)
