"""Killed processes and full disks: what was finished is kept, what was not is done again, and a fault is a sentence."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from mvh import export, train
from mvh.dataset_builder.rewrite_cache import RewriteCache
from mvh.opening import open_folder

from .conftest import make_rows, write_jsonl

ROOT = Path(train.__file__).parent


def environment(folder):
    """A process with caches of its own, so that those are killed too."""
    own = {
        "HF_HOME": str(folder / "hf"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return {**os.environ, **own}


def start(words, folder):
    command = [sys.executable, "-m", *map(str, words)]
    folder.mkdir(exist_ok=True)
    with (folder / "said.txt").open("w") as said:
        return subprocess.Popen(command, env=environment(folder), stdout=said, stderr=said, start_new_session=True)


def finished(words, folder):
    """Run to the end; what it said."""
    process = start(words, folder)
    assert process.wait(timeout=600) == 0, (folder / "said.txt").read_text()[-3000:]
    return (folder / "said.txt").read_text()


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- training ---


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, backbone_folder):
    """The article's recipe at toy size, with features, that saves a checkpoint every third step."""
    folder = tmp_path_factory.mktemp("recipe")
    fields = yaml.safe_load((ROOT / "recipes" / "article_en_plain.yaml").read_text()) | {
        "backbone": str(backbone_folder), "head_widths": [16, 8], "core_tokens": 32, "context_tokens": 8,
        "train_file": str(write_jsonl(folder / "train.jsonl", make_rows(60))), "learning_rate": 0.002, "use_cpu": True,
        "disable_tqdm": True, "feature_names": ["length", "lexical"], "save_strategy": "steps", "save_steps": 3,
        "save_total_limit": 2,
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def half_written(out):
    """Whether the training is writing a checkpoint or its result now."""
    folders = [folder for folder in out.glob("checkpoint-*") if not (folder / "trainer_state.json").exists()]
    return folders or list(out.glob("model.*")) or list(out.glob("data.unfinished*"))


def figures(run):
    """What a finished run measured, without its times."""
    metrics = json.loads((run / "training.json").read_text())["metrics"]
    return {name: value for name, value in metrics.items() if "_per_second" not in name and "runtime" not in name}


@pytest.mark.slow
def test_a_training_killed_at_random_points_ends_with_the_same_weights(recipe, tmp_path):
    """Twenty kills: at random times, and as soon as something is half written."""
    words = ["mvh.train", recipe, "--output_dir"]
    begun = time.monotonic()
    finished([*words, tmp_path / "whole"], tmp_path / "home")
    usual = time.monotonic() - begun
    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    finished([*words, tmp_path / "second"], tmp_path / "home2")
    second = load_file(tmp_path / "second" / "model" / "model.safetensors")
    assert all(whole[name].equal(second[name]) for name in whole), "two processes, one seed, two results"

    out, rng, kills, torn, ends = tmp_path / "killed", random.Random(9), 0, 0, 0
    while kills < 20 or not ends:
        process = start([*words, out], tmp_path / "home3")
        if kills < 20:
            limit = time.monotonic() + (rng.uniform(0.1, 1.1) * usual if kills % 2 else 10 * usual)
            skip = rng.randint(0, 3)  # half-written checkpoints that are let through
            while process.poll() is None and time.monotonic() < limit:
                if kills % 2 == 0 and half_written(out):
                    if skip == 0:
                        break
                    skip -= 1
                    while half_written(out) and process.poll() is None:
                        time.sleep(0.0005)
                time.sleep(0.0005)
            if process.poll() is None:
                torn += bool(half_written(out))
                kill(process)
                kills += 1
                continue
        assert process.wait(timeout=600) == 0, (tmp_path / "home3" / "said.txt").read_text()[-3000:]
        resumed = load_file(out / "model" / "model.safetensors")
        assert all(whole[name].equal(resumed[name]) for name in whole), f"after {kills} kills"
        assert figures(out) == figures(tmp_path / "whole")
        ends += 1
        shutil.rmtree(out)
    assert torn >= 3, f"only {torn} kills met something half written"


def test_a_checkpoint_whose_last_file_is_torn_is_passed_over(tmp_path):
    """trainer_state.json is written last, and in place: a kill can leave half of it."""
    for step, content in ((7, '{"global_step": 7}'), (14, '{"global_step": 14, "log_his'), (21, "")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(content)
    assert train.last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-7")


# --- datasets and calibrations ---


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "train.jsonl", make_rows(400))


def building(corpus, backbone_folder, out):
    sizes = ["--core-tokens", 32, "--context-tokens", 8]
    return ["mvh.dataset_builder", "semeval", "--train", corpus, "--tokenizer", backbone_folder, "--out", out, *sizes]


@pytest.mark.slow
def test_a_dataset_is_whole_or_not_there(corpus, backbone_folder, tmp_path):
    finished(building(corpus, backbone_folder, tmp_path / "whole"), tmp_path / "home")
    rng, out = random.Random(1), tmp_path / "killed"
    for _ in range(8):
        process = start(building(corpus, backbone_folder, out), tmp_path / "home")
        limit = time.monotonic() + 120
        while process.poll() is None and not list(tmp_path.glob("killed.unfinished-*/*")) and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.3))
        kill(process)
        if out.exists():
            break
        for left in tmp_path.glob("killed.unfinished-*"):
            shutil.rmtree(left)
    if not out.exists():
        finished(building(corpus, backbone_folder, out), tmp_path / "home")
    assert files(out) == files(tmp_path / "whole")


def human(folder, name, words, seed=7):
    texts = [row["text"] for row in make_rows(words, seed=seed) if row["label"] == 0]
    return write_jsonl(folder / name, [{"text": text} for text in texts])


def calibrating(model, texts, out):
    return ["mvh.cli", "calibrate", "--model", model, "--human", texts, "--out", out, "--least", 60]


def test_a_kill_while_a_checkpoint_is_put_in_place_leaves_one_whole(detector, tmp_path, monkeypatch):
    """Whatever step it comes at, the old checkpoint or the new one is there, and the next run puts it right."""
    real = Path.rename
    for survived in range(3):
        place = tmp_path / f"at {survived}"
        out, part = place / "out", place / "out.part"
        shutil.copytree(detector, out)
        shutil.copytree(detector, part)
        calls = []

        def rename(self, target, survived=survived, calls=calls):
            calls.append(target)
            if len(calls) > survived:
                raise KeyboardInterrupt  # stands for the kill
            return real(self, target)

        monkeypatch.setattr(Path, "rename", rename)
        if survived < 2:
            with pytest.raises(KeyboardInterrupt):
                export.put_in_place(part, out)
        else:
            export.put_in_place(part, out)
        monkeypatch.setattr(Path, "rename", real)
        whole = [folder for folder in place.iterdir() if files(folder) == files(detector)]
        assert whole
        if survived < 2:
            export.put_in_place(part, out)
        assert files(out) == files(detector) and list(place.iterdir()) == [out]


@pytest.mark.slow
def test_a_calibration_killed_at_random_points_leaves_the_checkpoint_whole(detector, tmp_path):
    texts, rng, out = human(tmp_path, "own.jsonl", 160), random.Random(2), tmp_path / "out"
    shutil.copytree(detector, out)
    begun = time.monotonic()
    finished(calibrating(detector, texts, tmp_path / "whole"), tmp_path / "home")
    usual = time.monotonic() - begun
    new = json.loads((tmp_path / "whole" / "config.json").read_text())["calibration"]
    for number in range(8):
        process = start(calibrating(detector, texts, out), tmp_path / "home")
        limit = time.monotonic() + rng.uniform(0.4, 1.1) * usual
        while process.poll() is None and time.monotonic() < limit:
            if number % 2 == 0 and (tmp_path / "out.part").exists():
                time.sleep(rng.uniform(0, 0.05))
                break
            time.sleep(0.001)
        kill(process)
        place = out if out.exists() else tmp_path / "out.old"
        open_folder(place)
    finished(calibrating(detector, texts, out), tmp_path / "home")
    assert json.loads((out / "config.json").read_text())["calibration"] == new
    assert not list(tmp_path.glob("out.*"))


# --- full disks ---


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KB; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def failed(words, folder):
    """Run to a failure; the one sentence it said."""
    process = start(words, folder)
    assert process.wait(timeout=300) not in (0, -9)
    said = (folder / "said.txt").read_text()
    assert "Traceback" not in said and "Exception ignored" not in said, said[-3000:]
    (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return sentence


def test_rewrites_that_find_no_room_are_said_and_the_older_ones_stay(small_disk):
    with closing(RewriteCache(small_disk / "rewrites.sqlite")) as cache:
        cache.put("marian", {"first": "an answer"})
        with pytest.raises(ValueError, match="rewrites.sqlite cannot be used: database or disk is full"):
            cache.put("marian", {f"key {number}": "answer " * 100 for number in range(2000)})
        assert cache.get("first") == "an answer" and cache.get("key 0") is None
        cache.put("marian", {"second": "another"})
    with closing(RewriteCache(small_disk / "rewrites.sqlite")) as again:
        assert (again.get("first"), again.get("second"), again.get("key 0")) == ("an answer", "another", None)


def test_a_dataset_that_finds_no_room_leaves_nothing_behind(corpus, backbone_folder, tmp_path, small_disk):
    (small_disk / "older.bin").write_bytes(b"x" * 200_000)
    said = failed(building(corpus, backbone_folder, small_disk / "out"), tmp_path / "home")
    assert "No space left on device" in said
    assert [path.name for path in small_disk.iterdir()] == ["older.bin"]


def test_a_calibration_that_finds_no_room_leaves_the_older_one(detector, tmp_path, small_disk):
    texts = human(tmp_path, "own.jsonl", 160)
    said = failed(calibrating(detector, texts, small_disk / "out"), tmp_path / "home")
    assert "No space left on device" in said and len(said) < 400, said
    assert not list(small_disk.glob("out*"))


def test_a_table_that_finds_no_room_is_never_taken_for_whole(detector, tmp_path, small_disk):
    texts = write_jsonl(small_disk / "own.jsonl", [{"text": "Rain on the street. " * 40, "more": "x" * 900}] * 120)
    said = failed(
        ["mvh.cli", "detect", texts, "--model", detector, "--out", small_disk / "judged.jsonl"], tmp_path / "home"
    )
    assert "No space left on device" in said
    assert not (small_disk / "judged.jsonl").exists()


@pytest.mark.slow
def test_a_training_goes_on_once_there_is_room(recipe, tmp_path, small_disk):
    words = ["mvh.train", recipe, "--output_dir"]
    finished([*words, tmp_path / "whole"], tmp_path / "home")
    process = start([*words, small_disk / "run"], tmp_path / "home")
    assert process.wait(timeout=300) not in (0, -9)
    assert "No space left on device" in (tmp_path / "home" / "said.txt").read_text()
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    finished([*words, small_disk / "run"], tmp_path / "home")
    one, other = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "whole", small_disk / "run"))
    assert all(one[name].equal(other[name]) for name in one)
