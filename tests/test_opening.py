"""Checkpoints that cannot be opened: one sentence, whatever is damaged."""

import gc
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import mvh
from mvh import export, opening, pipeline_mvh
from mvh.cli import detect
from mvh.opening import TASK, has_package_code, local_folder, open_pipeline, refuse_unknown
from mvh.shipped import CHECKPOINTS
from mvh.starting import collection_paused


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


def test_the_name_of_a_shipped_detector_is_its_folder():
    assert local_folder("mvh-mini-multi") == CHECKPOINTS / "mvh-mini-multi"
    refuse_unknown("mvh-mini-en")
    with pytest.raises(ValueError, match="no checkpoint folder mvh-mini-none, and it is no USER/NAME"):
        refuse_unknown("mvh-mini-none")
    with pytest.raises(ValueError, match="The revision 'main' is of a Hub repository, and .*mvh-mini-en is a folder"):
        local_folder("mvh-mini-en", "main")


def test_a_checkpoint_written_again_has_the_weights_it_had(detector, tmp_path):
    text = "A text of any length, of which only the score is asked for here. " * 5
    before = open_pipeline(detector, trust_remote_code=True)(text)
    again = export.refresh(detector, tmp_path / "again")
    assert open_pipeline(again, trust_remote_code=True)(text)["margin"] == before["margin"]
    assert (again / "model.safetensors").stat().st_size == (detector / "model.safetensors").stat().st_size
    rounded = open_pipeline(export.refresh(detector, tmp_path / "rounded", "float16"), trust_remote_code=True)(text)
    assert any("calibrate again" in warning for warning in rounded["warnings"]), "it has other weights"


@pytest.mark.parametrize("changed", [False, True])
def test_one_set_of_modules_is_imported_the_checkpoint_s_own_where_they_differ(damaged, changed):
    """A second set would only take time. What both call the task is one name."""
    if changed:
        with (damaged / "voting_mvh.py").open("a", encoding="utf-8") as file:
            file.write("# a comment more\n")
    code = f"import mvh, sys; result = mvh.load_detector({str(damaged)!r})('A text of a few words.'); "
    code += "print(result['label'], *{name.split('.')[0] for name in sys.modules if name.endswith('.voting_mvh')})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["transformers_modules" if changed else "mvh"], done.stdout
    assert TASK == pipeline_mvh.TASK


def test_options_of_loading_are_left_to_transformers(damaged):
    text = "A text of any length, of which only the score is asked for here. " * 5
    ours = open_pipeline(damaged, trust_remote_code=True, alpha=0.01)
    assert type(ours) is pipeline_mvh.MvhDetectPipeline
    theirs = open_pipeline(damaged, trust_remote_code=True, alpha=0.01, dtype=torch.float32, device="cpu")
    assert type(theirs) is not type(ours) and type(theirs).__module__.startswith("transformers_modules")
    assert theirs(text) == ours(text)
    for name in ("dtype", "torch_dtype"):
        assert open_pipeline(damaged, trust_remote_code=True, **{name: torch.bfloat16}).model.dtype == torch.bfloat16
    (damaged / "more.py").write_text("", encoding="utf-8")
    assert type(open_pipeline(damaged, trust_remote_code=True)) is not type(ours), "a file that is none of ours"
    (damaged / "more.py").unlink()
    config = json.loads((damaged / "config.json").read_text())
    config["custom_pipelines"][TASK]["impl"] = "someone/else--pipeline_mvh.MvhDetectPipeline"
    (damaged / "config.json").write_text(json.dumps(config))
    assert not has_package_code(damaged), "a config that names other code"
    with pytest.raises(ValueError, match="contains custom code"):
        open_pipeline(damaged, trust_remote_code=None)


def test_a_detector_is_opened_with_the_garbage_collector_paused(detector, monkeypatch):
    """By the package's lazy names, by `open_pipeline` and by the command, after which nothing loaded is looked through."""
    seen = []

    def opened(*args, **options):
        seen.append(gc.isenabled())
        return SimpleNamespace(load_detector=None, pipeline=None)

    gc.unfreeze()
    monkeypatch.setattr(opening, "package_pipeline", opened)
    open_pipeline(detector, trust_remote_code=True)
    monkeypatch.setattr(mvh, "import_module", opened)
    assert mvh.load_detector is None
    monkeypatch.setattr("mvh.detector.load_detector", opened)
    assert detect.load(str(detector)) is None
    assert seen == [False, False, False] and gc.isenabled() and gc.get_freeze_count() > 1000
    gc.unfreeze()


@pytest.mark.parametrize("on", [True, False])
def test_a_quick_start_leaves_the_garbage_collector_as_it_was(on, tmp_path):
    """Paused within, and after it as before, also where what it surrounds fails or is nested in another."""
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        with collection_paused():
            assert not gc.isenabled()
            with collection_paused():
                pass
            assert not gc.isenabled()
        assert gc.isenabled() == on
        gc.unfreeze()
        with collection_paused(to_stay=True):
            assert gc.get_freeze_count() == 0
        assert gc.isenabled() == on and gc.get_freeze_count() > 1000
        gc.unfreeze()
        with pytest.raises(ValueError, match="no checkpoint folder"):
            open_pipeline(tmp_path / "none")
        assert gc.isenabled() == on
    finally:
        (gc.enable if before else gc.disable)()
