"""A checkpoint from strangers: what is wrong with it is a sentence when it is loaded, and our own code keeps to itself."""

import json
import os
import pickle
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import pipeline

from mvh import ensemble
from mvh.calibration_mvh import calibration_id
from mvh.opening import open_folder, open_pipeline

from .conftest import make_text

TEXT = make_text(0, 120, seed=1)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def load(folder):
    return pipeline("mvh-detect", model=str(folder), trust_remote_code=True)


@pytest.fixture(scope="module")
def pair(detector, tmp_path_factory):
    """An ensemble of the detector and itself under another name."""
    folder = tmp_path_factory.mktemp("pair")
    twin = folder / "twin"
    shutil.copytree(detector, twin)
    config = json.loads((twin / "config.json").read_text())
    (twin / "config.json").write_text(json.dumps(config | {"name": "twin"}))
    return ensemble.make_ensemble([detector, twin], folder / "pair", combine="harmonic_mean_p")


@pytest.fixture(params=["single", "ensemble"])
def stranger(request, detector, pair, tmp_path):
    """A copy of a checkpoint that a test may spoil."""
    return Path(shutil.copytree(detector if request.param == "single" else pair, tmp_path / "stranger"))


def weights_of(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights, next(name for name in weights if name.endswith("head.out.weight")))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_that_run_code_are_never_unpickled(stranger, tmp_path):
    (stranger / "model.safetensors").unlink()
    with (stranger / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Evil(tmp_path / "harm"), file)
    for way in (open_folder, load):
        with pytest.raises((ValueError, OSError, pickle.UnpicklingError)):
            way(stranger)
    assert not (tmp_path / "harm").exists()


def test_pickled_weights_are_no_weights(stranger):
    """Also where they are harmless: what is loaded is safetensors or nothing."""
    torch.save(load_file(stranger / "model.safetensors"), stranger / "pytorch_model.bin")
    (stranger / "model.safetensors").unlink()
    for way in (open_folder, load):
        with pytest.raises((ValueError, OSError), match="safetensors"):
            way(stranger)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w, name: w.update({name: torch.zeros(2, 5)}), "1 mismatched .*head.out.weight.*2, 5"),
        (lambda w, name: w[name].fill_(float("nan")), "not finite numbers, among them .*head.out.weight"),
        (lambda w, name: w[name].fill_(float("-inf")), "not finite numbers, among them .*head.out.weight"),
    ],
    ids=["another shape", "NaN", "infinite"],
)
def test_spoilt_weights_are_refused(stranger, change, message):
    weights_of(stranger, change)
    for way in (open_folder, load):
        with pytest.raises(ValueError, match=message):
            way(stranger)
    with pytest.raises(ValueError, match=message) as caught:
        open_pipeline(stranger, trust_remote_code=True)
    assert len(str(caught.value).splitlines()) == 1


def test_a_config_with_a_feature_less_than_the_weights_is_refused(detector, tmp_path):
    """The head was made for one more input: the two widths are said."""
    folder = Path(shutil.copytree(detector, tmp_path / "more"))
    config = json.loads((folder / "config.json").read_text())
    more = {"feature_names": ["sentence_length_mean"], "feature_mean": [20.0], "feature_std": [8.0]}
    (folder / "config.json").write_text(json.dumps(config | more))
    width = config["backbone_config"]["hidden_size"]
    with pytest.raises(ValueError, match=rf"1 mismatched .*dense1.*{width}\].*{width + 1}\]"):
        open_pipeline(folder, trust_remote_code=True)


def test_weights_too_large_to_count_with_are_said_with_the_first_text(stranger):
    weights_of(stranger, lambda w, name: w[name].mul_(1e38))
    detect = load(stranger)
    with pytest.raises(ValueError, match="scores are not finite numbers"):
        detect(TEXT)


@pytest.mark.parametrize("examples", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_changed_byte_is_refused_or_said_in_every_result(stranger, examples):
    """In the header the file cannot be read; in a weight the calibration is no longer that of these weights."""
    path = stranger / "model.safetensors"
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    rng = random.Random(examples)
    inside = [rng.randrange(header) for _ in range(examples // 2)]
    for place in [*inside, *(rng.randrange(header, len(whole)) for _ in range(examples // 2))]:
        content = bytearray(whole)
        content[place] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            detect = load(stranger)
            (result,) = detect([TEXT])
        except Exception as error:  # the Rust library's own kind of error
            assert place < header or "not finite" in str(error), f"byte {place}: {error}"
            continue
        assert any("calibrate again" in said for said in result["warnings"]), f"byte {place} of {len(whole)}"


def own_calibrations(config):
    """The calibrations of a config that count when it is used."""
    return [part["calibration"] for part in (config, *config.get("members", [])) if part["calibration"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["segment"].update(scores="!!!"), "damaged"),
        (lambda c: c["document"].update(scores="A" * 10_000_000), "characters; its 5000 values"),
        (lambda c: c["segment"].update(minimum=-3), "minimum must be a whole number"),
        (lambda c: c["document"].update(group=c["document"]["group"][:-8]), "must be as many"),
        (lambda c: c["document"].update(longest_tokens=10**18), None),
        (lambda c: c.clear(), "damaged: KeyError"),
    ],
)
def test_a_tampered_calibration_is_refused_at_load(stranger, change, message):
    config = json.loads((stranger / "config.json").read_text())
    packed = own_calibrations(config)[-1]
    change(packed)
    if message:  # a stranger makes the id fit
        packed["id"] = calibration_id(packed)
    (stranger / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message or "calls itself"):
        load(stranger)


def test_a_level_that_no_p_value_reaches_is_said(detector, tmp_path):
    folder = Path(shutil.copytree(detector, tmp_path / "never"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"alpha": 1e-9}))
    (result,) = load(folder)([TEXT])
    assert any("No document can be flagged at alpha 1e-09" in said for said in result["warnings"])


@pytest.mark.parametrize(
    "fields",
    [
        {"core_tokens": "many"},
        {"core_tokens": 10**9},
        {"head_widths": [10**12]},
        {"id2label": ["human", "machine"]},
        {"normalization": 7},
        {"feature_names": 7},
        {"head_dropout": "much"},
        {"alpha": "five"},
        {"vote": []},
        {"backbone_config": {"model_type": "none"}},
        {"dtype": "float99"},
    ],
    ids=str,
)
def test_a_config_that_cannot_be_is_a_sentence(detector, tmp_path, fields):
    folder = Path(shutil.copytree(detector, tmp_path / "stranger"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    with pytest.raises(ValueError, match=re.escape(str(folder))):
        open_folder(folder)


# --- our own code, once loaded ---

GUARD = """
import sys
sys.modules["mvh"] = None  # nothing but the folder
from transformers import pipeline
detect = pipeline("mvh-detect", model={folder!r}, trust_remote_code=True)
declared = {declared!r} | set(sys.stdlib_module_names)
seen, imported = [], set()
FORBIDDEN = tuple(
    "socket. subprocess. os.system os.exec os.fork os.posix_spawn os.spawn os.remove os.rename os.rmdir os.mkdir os.link "
    "os.symlink os.truncate os.chmod os.chown os.putenv shutil. tempfile. urllib. http. ftplib. smtplib. sqlite3. pty. "
    "webbrowser. pickle.".split()
)
WRITING = {writing!r}

def importer():
    # the module that asks for an import: the first frame that is not Python's own import system
    frame = sys._getframe(2)
    while frame and frame.f_globals.get("__name__", "").startswith("importlib"):
        frame = frame.f_back
    return frame.f_globals.get("__name__", "") if frame else ""

def guard(event, args):
    if event == "open" and (set(args[1] or "") & set("wax+") or (args[2] or 0) & WRITING):
        seen.append(f"{{event}} {{args}}")
    elif event.startswith(FORBIDDEN):
        seen.append(f"{{event}} {{args}}"[:300])
    elif event == "import" and importer().startswith("transformers_modules"):
        imported.add(args[0].split(".")[0])

sys.dont_write_bytecode = True  # Python's own cache of modules that are imported on use
sys.addaudithook(guard)
texts = {texts!r}
softmax, grid = {{"correction": "by", "p_values": "softmax"}}, {{"confidence": 0.9, "edges": "grid"}}
for options in ({{}}, softmax, grid, {{"precision": "bfloat16"}}):
    results = detect(texts, **options)
    assert [r["label"] is None for r in results] == [False] * (len(texts) - 1) + [True], results
detect.screen([r for r in results if r["label"]])
passages = [passage for r in detect(texts) for passage in r["passages"]]
found = list(seen)  # what follows is the guard's own proof
for attack in (lambda: open("x.txt", "w"), lambda: __import__("socket").socket(), lambda: __import__("os").system("true")):
    attack()
assert len(seen) >= len(found) + 3, "the guard sees nothing"
assert imported <= declared, imported
print("FOUND", found, "PASSAGES", len(passages))
"""
DECLARED = {"torch", "transformers", "numpy", "scipy", "transformers_modules"}  # as test_travel has it


def test_a_detection_writes_nothing_calls_nobody_and_imports_nothing_undeclared(detector, tmp_path):
    machine, human = make_text(1, 400, seed=3), make_text(0, 400, seed=4)
    names = {
        "folder": str(detector),
        "texts": [human, machine, human + " " + machine + " " + human, "今天天气很好。" * 40, " "],
    }
    code = GUARD.format(
        **names, declared=DECLARED, writing=os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()[-1]
    assert said.startswith("FOUND [] PASSAGES") and not said.endswith(" 0"), said
