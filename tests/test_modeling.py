"""The model: backbones, pooling, features, freezing, rebuilding from the config alone."""

import pytest
import torch
from transformers import AutoConfig

from mvh.configuration_mvh import MvhConfig
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.pooling_mvh import POOLINGS

from .conftest import TINY

BACKBONES = {
    "bert": TINY,  # MiniLM's architecture
    "xlm-roberta": TINY | {"max_position_embeddings": 514},
    "deberta-v2": TINY
    | {"relative_attention": True, "position_buckets": 32, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0},
    "modernbert": TINY,
}


def tiny_model(kind="bert", **fields):
    torch.manual_seed(0)
    return MvhForSequenceClassification(
        MvhConfig(
            AutoConfig.for_model(kind, vocab_size=100, pad_token_id=0, **BACKBONES[kind]), head_widths=[16, 8], **fields
        )
    ).eval()


def batch(rows=3, tokens=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(5, 100, (rows, tokens), generator=generator)


@pytest.mark.parametrize("kind", list(BACKBONES))
@pytest.mark.parametrize("pooling", POOLINGS)
def test_any_backbone_scores_and_comes_back_from_disk(kind, pooling, tmp_path):
    model = tiny_model(kind, pooling=pooling)
    ids = batch()
    logits = model(ids).logits
    assert logits.shape == (3, 2) and torch.isfinite(logits).all()
    model.save_pretrained(tmp_path)
    again = MvhForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(again(ids).logits, logits)
    assert again.fingerprint() == model.fingerprint()
    rebuilt = MvhForSequenceClassification(MvhConfig.from_pretrained(tmp_path))
    assert {n: p.shape for n, p in rebuilt.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}


@pytest.mark.parametrize("kind", list(BACKBONES))
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(kind, pooling):
    model, ids = tiny_model(kind, pooling=pooling), batch()
    padded = torch.nn.functional.pad(ids, (0, 5))
    mask = torch.nn.functional.pad(torch.ones_like(ids), (0, 5))
    assert torch.allclose(model(ids).logits, model(padded, mask).logits, atol=1e-5)


def test_t5_takes_the_encoder_alone():
    assert not any("decoder" in name for name, _ in tiny_model("t5").named_parameters())


def test_default_backbone_has_the_shape_of_mdeberta_v3_base():
    with torch.device("meta"):
        model = MvhForSequenceClassification(MvhConfig())
    assert 276e6 < sum(p.numel() for p in model.encoder.parameters()) < 280e6


def test_from_backbone_takes_pretrained_weights(backbone_folder):
    model = MvhForSequenceClassification.from_backbone(
        str(backbone_folder), pooling="mean", backbone_overrides={"hidden_dropout_prob": 0.0}
    )
    from transformers import AutoModelForTextEncoding

    source = AutoModelForTextEncoding.from_pretrained(backbone_folder).state_dict()
    kept = {
        name.removeprefix("encoder."): value
        for name, value in model.state_dict().items()
        if name.startswith("encoder.")
    }
    assert not any("pooler" in name for name in kept)
    assert all(torch.equal(value, source[name]) for name, value in kept.items())
    assert model.config.backbone_config.hidden_dropout_prob == 0.0


def test_gradients_reach_every_parameter():
    model = tiny_model().train()
    model(batch(), labels=torch.tensor([0, 1, 0])).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_head_is_three_layers_with_gelu():
    head = tiny_model().head
    x = torch.randn(4, 32)
    gelu = torch.nn.functional.gelu
    assert torch.allclose(head(x), head.out(gelu(head.dense2(gelu(head.dense1(x))))))


def test_frozen_encoder_stays_in_eval_mode_and_without_gradients():
    model = tiny_model().train()
    model.freeze_encoder(True)
    model.train()
    assert model.head.training and not any(m.training for m in model.encoder.modules())
    assert all(p.requires_grad for p in model.head.parameters())
    assert not any(p.requires_grad for p in model.encoder.parameters())
    model.freeze_encoder(False)
    assert model.encoder.training and all(p.requires_grad for p in model.parameters())


def test_features_are_scaled_and_joined():
    fields = {"feature_names": ["comma_share", "dash_share"], "feature_mean": [10.0, 0.0], "feature_std": [2.0, 1.0]}
    model, ids = tiny_model(**fields), batch(1)
    centred = model(ids, features=torch.tensor([[10.0, 0.0]])).logits
    assert not torch.allclose(centred, model(ids, features=torch.tensor([[14.0, 0.0]])).logits)
    plain = tiny_model(feature_names=["comma_share", "dash_share"])
    plain.load_state_dict(model.state_dict())
    assert torch.allclose(plain(ids, features=torch.zeros(1, 2)).logits, centred)
    with pytest.raises(ValueError, match="names 2 handcrafted features, and 0 were given"):
        model(ids)
    with pytest.raises(ValueError, match="names 2 handcrafted features, and 3 were given"):
        model(ids, features=torch.zeros(1, 3))
    with pytest.raises(ValueError, match="names 0 handcrafted features, and 2 were given"):
        tiny_model()(ids, features=torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "max"}, "'max'"),
        ({"head_widths": [3, 0]}, r"\[3, 0\]"),
        ({"head_dropout": 1.0}, "1.0"),
        ({"context_tokens": 300}, "300"),
        ({"alpha": 5}, "got 5"),
        ({"feature_names": ["comma_share"], "feature_mean": [0.0, 1.0]}, "1 features"),
        ({"backbone_config": {"hidden_size": 3}}, "model_type"),
    ],
)
def test_impossible_configs_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MvhConfig(**fields)
