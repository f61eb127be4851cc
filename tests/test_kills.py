"""Killed processes: what was finished is kept, what was not is done again, and the end is the same to the last bit."""

import json
import random
import shutil
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from mvh import train
from mvh.dataset_builder.rewrite_cache import RewriteCache
from mvh.opening import open_folder
from mvh.placing import UNFINISHED
from mvh.resuming import last_checkpoint

from .conftest import make_rows, write_jsonl

ROOT = Path(train.__file__).parent


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- training ---


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, backbone_folder):
    """The article's recipe at toy size, with features and frozen epochs, that saves a checkpoint every third step."""
    folder = tmp_path_factory.mktemp("recipe")
    fields = yaml.safe_load((ROOT / "recipes" / "article_en_plain.yaml").read_text()) | {
        "backbone": str(backbone_folder), "head_widths": [16, 8], "core_tokens": 32, "context_tokens": 8,
        "train_file": str(write_jsonl(folder / "train.jsonl", make_rows(60))), "learning_rate": 0.002, "use_cpu": True,
        "disable_tqdm": True, "feature_names": ["length", "lexical"], "save_strategy": "steps", "save_steps": 3,
        "save_total_limit": 2,
    }  # fmt: skip
    assert fields["frozen_epochs"], "the kills shall meet kept vectors of a frozen encoder"
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def half_written(out):
    """Whether the training is writing its data, a checkpoint or its result now."""
    folders = [folder for folder in out.glob("checkpoint-*") if not (folder / "trainer_state.json").exists()]
    return folders or list(out.glob(f"*{UNFINISHED}*"))


def figures(run):
    """What a finished run measured, without its times."""
    metrics = json.loads((run / "training.json").read_text())["metrics"]
    return {name: value for name, value in metrics.items() if "_per_second" not in name and "runtime" not in name}


@pytest.mark.slow
def test_a_training_killed_at_random_points_ends_with_the_same_weights(forks, recipe, tmp_path):
    """Twenty kills and more: at random times, and as soon as something is half written."""
    words = ["mvh.train", recipe, "--output_dir"]
    begun = time.monotonic()
    forks.run([*words, tmp_path / "whole"], tmp_path / "home")
    usual = time.monotonic() - begun
    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    forks.run([*words, tmp_path / "second"], tmp_path / "home2")
    second = load_file(tmp_path / "second" / "model" / "model.safetensors")
    assert all(whole[name].equal(second[name]) for name in whole), "two processes, one seed, two results"

    out, rng, kills, torn, ends = tmp_path / "killed", random.Random(9), 0, 0, 0
    begun_at = []  # the checkpoints that the runs went on from
    while kills < 20 or not ends:
        begun_at.append(last_checkpoint(str(out)))
        process = forks.start([*words, out], tmp_path / "home3")
        if kills < 20:
            limit = time.monotonic() + (rng.uniform(0.05, 0.9) * usual if kills % 2 else 10 * usual)
            skip = rng.randint(0, 3)  # half-written folders that are let through
            while process.poll() is None and time.monotonic() < limit:
                if kills % 2 == 0 and half_written(out):
                    if skip == 0:
                        break
                    skip -= 1
                    while half_written(out) and process.poll() is None:
                        time.sleep(0.0005)
                time.sleep(0.0005)
            if process.poll() is None:
                process.kill()
                torn += bool(half_written(out))
                kills += 1
                continue
        assert process.wait() == 0, process.said()[-3000:]
        ended = load_file(out / "model" / "model.safetensors")
        other = [name for name in whole if not whole[name].equal(ended[name])]
        assert not other, f"after {kills} kills, going on from {begun_at}: {other}"
        assert figures(out) == figures(tmp_path / "whole")
        assert not list(out.glob(f"*{UNFINISHED}*")), "what a kill left is swept by the run that goes on"
        ends += 1
        shutil.rmtree(out)
    resumed = len(begun_at) - begun_at.count(None)
    assert torn >= 3 and resumed >= 5, f"{torn} kills met something half written, {resumed} runs went on"


def test_a_checkpoint_whose_last_file_is_torn_is_passed_over(tmp_path):
    """trainer_state.json is written last, and in place: a kill can leave half of it."""
    for step, content in ((7, '{"global_step": 7}'), (14, '{"global_step": 14, "log_his'), (21, "")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(content)
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-7")


# --- datasets ---


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "train.jsonl", make_rows(400))


@pytest.mark.slow
def test_a_dataset_is_whole_or_not_there(forks, corpus, backbone_folder, tmp_path):
    words = ["mvh.dataset_builder", "semeval", "--train", corpus, "--tokenizer", backbone_folder, "--core-tokens", 32]
    words += ["--context-tokens", 8, "--out"]
    begun = time.monotonic()
    forks.run([*words, tmp_path / "whole"], tmp_path / "home")
    usual, rng, out, met = time.monotonic() - begun, random.Random(1), tmp_path / "killed", 0
    for _ in range(12):
        process = forks.start([*words, out], tmp_path / "home")
        time.sleep(rng.uniform(0, 1.1) * usual)
        process.kill()
        if out.exists():  # the kill came too late
            assert files(out) == files(tmp_path / "whole")
            shutil.rmtree(out)
        for left in tmp_path.glob(f"killed{UNFINISHED}*"):
            met += any(left.iterdir())
            shutil.rmtree(left)
    assert met >= 3, f"only {met} kills met a folder that was growing"
    forks.run([*words, out], tmp_path / "home")
    assert files(out) == files(tmp_path / "whole")


TRANSLATING = """
import sys, time
from pathlib import Path
from mvh.dataset_builder import rewriters
from mvh.dataset_builder.augment import make_plans
from mvh.dataset_builder.build import build_dataset
from mvh.dataset_builder.rewriters import Backend

corpus, tokenizer, out, cache, asked = sys.argv

def rewrite(pieces):
    with open(asked, "a") as file:
        file.write("".join(repr(piece) + chr(10) for piece in pieces))
    time.sleep(0.005)
    return [piece.upper() for piece in pieces]

rewriters.TRANSLATORS["upper"] = lambda model: Backend("upper", "none", {}, rewrite, lambda piece: True, batch=4)
plans = make_plans(translate=1.0, translator="upper")
build_dataset(corpus, tokenizer, Path(out), core_tokens=32, context_tokens=8, augment=plans, rewrites=cache)
"""


@pytest.mark.slow
def test_a_translation_that_is_killed_asks_for_nothing_twice_that_was_answered(
    forks, corpus, backbone_folder, tmp_path
):
    def words(name):
        return [corpus, backbone_folder, tmp_path / name, tmp_path / f"{name}.sqlite", tmp_path / f"{name}.asked"]

    begun = time.monotonic()
    forks.run(words("whole"), tmp_path / "home", TRANSLATING)
    usual, rng, kills = time.monotonic() - begun, random.Random(3), 0
    needed = (tmp_path / "whole.asked").read_text().splitlines()
    assert len(needed) == len(set(needed)) > 50
    while kills < 15:
        process = forks.start(words("killed"), tmp_path / "home", TRANSLATING)
        time.sleep(rng.uniform(0.1, 0.5) * usual)
        if process.poll() is not None:
            break
        process.kill()
        kills += 1
    if not (tmp_path / "killed").exists():
        forks.run(words("killed"), tmp_path / "home", TRANSLATING)
    asked = Counter((tmp_path / "killed.asked").read_text().splitlines())
    assert set(asked) == set(needed)
    assert sum(asked.values()) - len(needed) <= 4 * kills, "a kill costs the batch that was on its way, no more"
    assert kills >= 3 and files(tmp_path / "killed") == files(tmp_path / "whole")


FILLING = """
import sys
from mvh.dataset_builder.rewrite_cache import RewriteCache

cache, done, batch = RewriteCache(sys.argv[0]), open(sys.argv[1], "a"), int(sys.argv[2])
while True:
    cache.put("upper", {f"{batch}-{number}": "answer " * 50 for number in range(20)})
    done.write(f"{batch}" + chr(10))
    done.flush()
    batch += 1
"""


def test_a_batch_of_rewrites_is_kept_whole_or_not_at_all(forks, tmp_path):
    """Once `put` has returned, no kill takes an answer away."""
    cache, done, rng = tmp_path / "rewrites.sqlite", tmp_path / "done.txt", random.Random(5)
    done.touch()
    for kill in range(8):
        process = forks.start([cache, done, 1000 * kill], tmp_path / "home", FILLING)
        time.sleep(rng.uniform(0.02, 0.15))
        process.kill()
        with closing(RewriteCache(cache)) as kept:
            rows = kept.connection.execute("SELECT key FROM rewrites").fetchall()
        by_batch = Counter(key.split("-")[0] for (key,) in rows)
        assert set(by_batch.values()) <= {20}
        assert set(done.read_text().split()) <= set(by_batch)
    assert len(by_batch) >= 8


# --- calibrations ---


def human(folder, name, words, seed=7):
    texts = [row["text"] for row in make_rows(words, seed=seed) if row["label"] == 0]
    return write_jsonl(folder / name, [{"text": text} for text in texts])


def calibrating(model, texts, out, *more):
    return ["mvh.cli", "calibrate", "--model", model, "--human", texts, "--out", out, "--least", 60, *more]


def calibration(folder):
    return json.loads((folder / "config.json").read_text())["calibration"]


@pytest.mark.slow
def test_a_calibration_killed_at_random_points_leaves_the_old_one_or_the_new(forks, detector, tmp_path):
    texts, rng, out = human(tmp_path, "own.jsonl", 160), random.Random(2), tmp_path / "out"
    shutil.copytree(detector, out)
    begun = time.monotonic()
    forks.run(calibrating(detector, texts, tmp_path / "whole"), tmp_path / "home")
    usual, old, new = time.monotonic() - begun, calibration(detector), calibration(tmp_path / "whole")
    stood = []
    for number in range(16):
        process = forks.start(calibrating(detector, texts, out), tmp_path / "home")
        limit = time.monotonic() + rng.uniform(0.3, 1.2) * usual
        while process.poll() is None and time.monotonic() < limit:
            if number % 2 == 0 and list(tmp_path.glob(f"out{UNFINISHED}*")):
                time.sleep(rng.uniform(0, 0.06))
                break
            time.sleep(0.0005)
        process.kill()
        stood.append(calibration(out))
        assert stood[-1] in (old, new)
        open_folder(out)
        if stood[-1] == new:
            shutil.rmtree(out)
            shutil.copytree(detector, out)
    forks.run(calibrating(detector, texts, out), tmp_path / "home")
    assert calibration(out) == new
    left = list(tmp_path.glob(f"out{UNFINISHED}*"))
    assert left, "no kill met a folder that was growing"
    assert f"{left[0].name} was left by a killed run" in (tmp_path / "home" / "said.txt").read_text()


def test_two_calibrations_into_one_folder_leave_one_of_them_whole(forks, detector, tmp_path):
    names = ("first", "second")
    texts = [human(tmp_path, f"{name}.jsonl", 160, seed) for seed, name in enumerate(names, start=11)]
    running = [
        forks.start(calibrating(detector, file, tmp_path / "out", "--population", name), tmp_path / name)
        for name, file in zip(names, texts, strict=True)
    ]
    assert [process.wait() for process in running] == [0, 0], running[0].said() + running[1].said()
    made = calibration(tmp_path / "out")["about"]["population"]
    assert made in names and made in (tmp_path / "out" / "README.md").read_text()
    open_folder(tmp_path / "out")
    assert not list(tmp_path.glob(f"out{UNFINISHED}*"))
