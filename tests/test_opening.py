"""Checkpoints that cannot be opened: one sentence, whatever is damaged."""

import json
import shutil

import pytest

from mvh.opening import open_pipeline


@pytest.fixture
def damaged(detector, tmp_path):
    """A copy of the toy detector to damage."""
    return shutil.copytree(detector, tmp_path / "toy")


def test_truncated_weights(damaged):
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged or truncated"):
        open_pipeline(damaged, trust_remote_code=True)


def test_no_weights(damaged):
    (damaged / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"there is no model\.safetensors"):
        open_pipeline(damaged)


@pytest.mark.parametrize(
    "config", [{"model_type": "bert"}, {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}]
)
def test_another_model(damaged, config):
    (damaged / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="is no detector of mvh"):
        open_pipeline(damaged)


def test_no_config(tmp_path):
    with pytest.raises(ValueError, match=r"no checkpoint folder: it has no config\.json"):
        open_pipeline(tmp_path)
