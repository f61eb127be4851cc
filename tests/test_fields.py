"""A config from strangers: whatever JSON stands in a field, it is a sound config or a sentence."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st
from transformers import AutoConfig

from mvh import ensemble
from mvh.configuration_mvh import MvhConfig
from mvh.ensemble_mvh import MvhEnsembleConfig
from mvh.fields_mvh import KINDS

from .fuzz import fuzz, tries


@pytest.fixture(scope="module")
def single(detector):
    return json.loads((detector / "config.json").read_text())


@pytest.fixture(scope="module")
def several(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    twin = Path(shutil.copytree(detector, folder / "twin"))
    (twin / "config.json").write_text(json.dumps(json.loads((twin / "config.json").read_text()) | {"name": "twin"}))
    made = ensemble.make_ensemble([detector, twin], folder / "both")
    return json.loads((made / "config.json").read_text())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"core_tokens": "x"}, "core_tokens must be a whole number, got str 'x'"),
        ({"core_tokens": True}, "core_tokens must be a whole number, got bool True"),
        ({"core_tokens": -3}, "got 8 with a core of -3"),
        ({"context_tokens": -1}, "got -1 with a core of 32"),
        ({"id2label": []}, r"two labels of different names, .* id2label is \[\]"),
        ({"id2label": {"0": "human"}}, "id2label is {'0': 'human'}"),
        ({"id2label": {"0": "human", "1": "human"}}, "two labels of different names"),
        ({"num_labels": 3}, "num_labels is 3"),
        ({"normalization": 7}, "normalization must be a list of strings or null, got int 7"),
        ({"normalization": ["magic"]}, "got 'magic'"),
        ({"alpha": "0.05"}, "alpha must be a finite number, got str '0.05'"),
        ({"alpha": float("nan")}, "alpha must be a finite number, got float nan"),
        ({"head_dropout": float("inf")}, "head_dropout must be a finite number, got float inf"),
        ({"feature_names": "all"}, "feature_names must be a list of strings or null, got str 'all'"),
        ({"feature_mean": [float("nan")]}, "feature_mean must be a list of finite numbers"),
        ({"feature_data": {"lexicon": {"languages": ["en"], "bits": 8, "data": "!"}}}, "feature_data cannot be used"),
        ({"feature_data": {"register": {}}}, "feature_data cannot be used. KeyError: 'inputs'"),
        ({"backbone_config": {"model_type": "none"}}, "'none', which this version of transformers does not know"),
        ({"backbone_config": {"model_type": "bert", "vocab_size": "x"}}, "type 'bert' cannot be used.*expected int"),
        ({"backbone_config": []}, r"backbone_config must be a config or an object, got list \[\]"),
        ({"head_widths": [10**12]}, "whole numbers from 1 to 65536"),
        ({"pooling": "statistics", "backbone_config": {"model_type": "albert", "num_hidden_layers": 200_000}},
         "reads up to 262144 numbers of a backbone, and num_hidden_layers 200000"),
        ({"dtype": "nn"}, "dtype must name a dtype of torch, such as 'float32', got 'nn'"),
        ({"pad_token_id": "x"}, "pad_token_id must be a whole number or null"),
        ({"to_dict": 5}, "no field 'to_dict': it is a method of MvhConfig"),
        ({"model_type": "bert"}, "model_type 'mvh', and it says 'bert'"),
        ({"calibration": [1]}, r"calibration must be an object or null, got list \[1\]"),
        ({"name": None}, "name must be a string, got NoneType None"),
    ],
    ids=str,
)  # fmt: skip
def test_a_config_that_cannot_be_is_a_sentence_at_load(single, tmp_path, fields, message):
    (tmp_path / "config.json").write_text(json.dumps(single | fields))
    with pytest.raises(ValueError, match=message):
        MvhConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"members": 7}, "members must be a list of objects or null, got int 7"),
        ({"members": [7]}, r"members must be a list of objects or null, got list \[7\]"),
        ({"scales": [[0.0, "x"]]}, "scales must be a list of pairs of finite numbers"),
        ({"scales": [[0.0, 1.0, 2.0]]}, "scales must be a list of pairs of finite numbers"),
        ({"alpha": None}, "alpha must be a finite number, got NoneType None"),
        ({"name": 3}, "name must be a string, got int 3"),
        ({"from_dict": 3}, "no field 'from_dict'"),
    ],
    ids=str,
)
def test_an_ensemble_that_cannot_be_is_a_sentence_at_load(several, tmp_path, fields, message):
    (tmp_path / "config.json").write_text(json.dumps(several | fields))
    with pytest.raises(ValueError, match=message):
        MvhEnsembleConfig.from_pretrained(tmp_path)


def test_every_argument_has_a_kind(single):
    fields = set(MvhConfig.__init__.__annotations__) - {"kwargs", "return"}
    assert fields == set(KINDS) and fields <= set(single)


NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, 2, -1, 10**400, 1e400, 1e-320])
WORDS = st.text(max_size=6) | st.sampled_from(
    ["all", "bert", "mvh", "cls", "bh", "any", "punctuation", "float32", "model_type", "lexicon", "register", "0", "1"]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


def inside(config):
    """The paths of a config's fields and of those of its backbones and members."""
    paths = [(key,) for key in config]
    paths += [("backbone_config", key) for key in config.get("backbone_config", ())]
    for index, member in enumerate(config.get("members", ())):
        paths += [("members", index, key) for key in member]
    return paths


@tries(150, 20_000)
@pytest.mark.parametrize("kind", ["single", "several"])
def test_any_json_in_any_field_is_a_config_or_a_sentence(examples, kind, request):
    config = request.getfixturevalue(kind)
    known = inside(config) + [(key,) for key in ("dtype", "problem_type", "num_labels", "sub_configs", "validate", "x")]

    @fuzz(examples, st.sampled_from(known), JSON)
    def check(path, value):
        changed = json.loads(json.dumps(config))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        try:
            made = (MvhConfig if kind == "single" else MvhEnsembleConfig).from_dict(changed)
            for member in getattr(made, "members", ()):
                MvhConfig(**member)  # as the model of an ensemble does
        except ValueError as error:
            assert len(str(error)) > 20, error
            return
        again = type(made).from_dict(json.loads(json.dumps(made.to_dict())))
        assert repr(again.to_dict()) == repr(made.to_dict())  # NaN, where nobody reads it, equals itself in words only
        assert made.num_labels == 2 and 0 < made.alpha < 1


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "mpnet"])
def test_positions_that_padding_takes_are_not_counted(kind):
    """The first token of such an encoder has the position after the padding's: two of them are never read."""
    backbone = AutoConfig.for_model(kind, max_position_embeddings=66, pad_token_id=1).to_dict()
    MvhConfig(backbone_config=backbone, core_tokens=54, context_tokens=8)
    with pytest.raises(ValueError, match="up to 65 tokens and the backbone reads only 64"):
        MvhConfig(backbone_config=backbone, core_tokens=55, context_tokens=8)
