# ruff: noqa: F811  (fixtures of test_kills bear the names of arguments)
"""No room, no permission, no folder, two at once: one sentence, an exit status, and what was there before stays as it was.

A process may write files of a few kilobytes only (RLIMIT_FSIZE, for anybody), or into a file system that is small or read-only
(for root, who may mount one).
"""

import json
import os
import shutil
import subprocess
from contextlib import closing

import pytest
from safetensors.torch import load_file

from mvh.dataset_builder.rewrite_cache import RewriteCache

from .conftest import make_rows, write_jsonl
from .forked import MODULE
from .test_kills import TRANSLATING, calibrating, corpus, files, human, recipe  # noqa: F401  fixtures among them

resource = pytest.importorskip("resource", reason="limits on files are of Unix")

LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is an error then, not the end
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
"""
LITTLE = 3_000  # bytes of a file: less than any of the results below


@pytest.fixture
def place(tmp_path):
    """A folder with something to lose beside what is written."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "other.txt").write_text("of somebody else")
    return folder


@pytest.fixture(scope="module", autouse=True)
def code_in_cache(forks, detector, tmp_path_factory):
    """transformers has copied the checkpoint's code: what finds no room below is what a command writes."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "note.txt").write_text(make_rows(1)[0]["text"])
    forks.run(["mvh.cli", "detect", desk / "note.txt", "--model", detector], desk / "home")


def labelled(folder):
    return write_jsonl(folder / "labelled.jsonl", make_rows(40, seed=21))


def command(name, detector, corpus, backbone, desk, out):
    """The words of a command that writes to `out`; what it reads lies on `desk`."""
    cut = ["--tokenizer", backbone, "--core-tokens", 32, "--context-tokens", 8]
    posts = write_jsonl(desk / "posts.jsonl", [{"text": row["text"], "more": "x" * 900} for row in make_rows(60)])
    essay = desk / "essay.txt"
    essay.write_text(make_rows(3, words=(300, 400))[1]["text"])
    return {
        "calibrate": calibrating(detector, human(desk, "own.jsonl", 160), out),
        "calibrate, by module": ["mvh.calibrate", *calibrating(detector, human(desk, "own.jsonl", 160), out)[2:]],
        "ensemble": ["mvh.cli", "ensemble", detector, detector, "--out", out],
        "export": ["mvh.export", detector, "--out", out],
        "dataset": ["mvh.cli", "dataset", "semeval", "--train", corpus, *cut, "--out", out],
        "score": ["mvh.cli", "score", detector, "--data", labelled(desk), "--out", out],
        "score, by module": ["mvh.score", detector, "--data", labelled(desk), "--out", out],
        "scan": ["mvh.cli", "scan", posts, out, "--model", detector],
        "detect, table": ["mvh.cli", "detect", posts, "--model", detector, "--out", f"{out}.jsonl"],
        "detect, report": ["mvh.cli", "detect", essay, "--model", detector, "--html", f"{out}.html"],
    }[name]


COMMANDS = (
    "calibrate", "calibrate, by module", "ensemble", "export", "dataset", "score", "score, by module", "scan",
    "detect, table", "detect, report",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_finds_no_room_is_a_sentence(forks, detector, corpus, backbone_folder, tmp_path, place, name):
    words = command(name, detector, corpus, backbone_folder, tmp_path, place / "out")
    said = forks.fail(words, tmp_path / "home", LIMITED.format(size=LITTLE) + MODULE)
    assert "File too large" in said, said
    assert (place / "other.txt").read_text() == "of somebody else"
    left = [path for path in place.rglob("*") if path.is_file() and path.name != "other.txt"]
    if name == "scan":  # finished shards are kept for the run that goes on
        assert not [path for path in left if path.suffix == ".part"]
    elif name == "detect, table":  # rows that were finished are kept, and the command says where
        assert [path.name for path in left] == ["out.jsonl.part"]
    else:
        assert not left, left


@pytest.mark.parametrize("name", ["calibrate", "export", "ensemble"])
def test_a_checkpoint_that_finds_no_room_leaves_the_older_one(
    forks,
    detector,
    corpus,
    backbone_folder,
    tmp_path,
    place,
    name,
):
    shutil.copytree(detector, place / "out")
    words = command(name, detector, corpus, backbone_folder, tmp_path, place / "out")
    forks.fail(words, tmp_path / "home", LIMITED.format(size=LITTLE) + MODULE)
    assert files(place / "out") == files(detector)
    assert {path.name for path in place.iterdir()} == {"out", "other.txt"}


def test_figures_that_find_no_room_leave_the_older_ones(forks, detector, tmp_path, place):
    words = ["mvh.cli", "score", detector, "--data", labelled(tmp_path), "--out", place / "out"]
    forks.run(words, tmp_path / "home")
    before = files(place / "out")
    forks.fail(words, tmp_path / "home", LIMITED.format(size=LITTLE) + MODULE)
    assert files(place / "out") == before


def test_rewrites_that_find_no_room_are_said_and_the_finished_ones_stay(
    forks,
    corpus,
    backbone_folder,
    tmp_path,
):
    cache, asked = tmp_path / "rewrites.sqlite", tmp_path / "asked.txt"
    words = [corpus, backbone_folder, tmp_path / "out", cache, asked]
    code = "try:\n" + "\n".join(f"    {line}" for line in TRANSLATING.splitlines())
    code += "\nexcept ValueError as error:\n    sys.exit(f'error: {error}')"
    said = forks.fail(words, tmp_path / "home", LIMITED.format(size=60_000) + code)
    assert "rewrites.sqlite cannot be used" in said
    with closing(RewriteCache(cache)) as kept:
        finished = kept.connection.execute("SELECT count(*) FROM rewrites").fetchone()[0]
    first = len(asked.read_text().splitlines())
    assert 0 < finished <= first and not (tmp_path / "out").exists()
    forks.run(words, tmp_path / "home", TRANSLATING)
    assert len(asked.read_text().splitlines()) <= len(set(asked.read_text().splitlines())) + 4


# --- file systems ---


def mounted(folder, options):
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KB."""
    yield mounted(tmp_path / "disk", "size=300k")
    subprocess.run(["umount", "--lazy", str(tmp_path / "disk")], check=True)


@pytest.fixture
def read_only(tmp_path):
    """A folder that nobody may write to: of another file system for root, whom permissions do not stop."""
    folder = tmp_path / "read-only"
    if os.geteuid():
        folder.mkdir(mode=0o500)
        yield folder
        return
    yield mounted(folder, "size=300k,ro")
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_is_read_only_is_a_sentence(
    forks,
    detector,
    corpus,
    backbone_folder,
    tmp_path,
    read_only,
    name,
):
    words = command(name, detector, corpus, backbone_folder, tmp_path, read_only / "out")
    child = forks.start(words, tmp_path / "home")
    assert child.wait() in (1, 2)
    said = child.said()
    assert "Traceback" not in said
    assert "Read-only file system" in said or "Permission denied" in said or "cannot be written" in said, said[-2000:]


def test_a_dataset_that_finds_no_room_leaves_nothing_behind(
    forks,
    corpus,
    backbone_folder,
    tmp_path,
    small_disk,
    detector,
):
    (small_disk / "older.bin").write_bytes(b"x" * 200_000)
    said = forks.fail(
        command("dataset", detector, corpus, backbone_folder, tmp_path, small_disk / "out"), tmp_path / "home"
    )
    assert "No space left on device" in said
    assert [path.name for path in small_disk.iterdir()] == ["older.bin"]


def test_a_calibration_that_finds_no_room_says_so_once(forks, detector, tmp_path, small_disk):
    said = forks.fail(calibrating(detector, human(tmp_path, "own.jsonl", 160), small_disk / "out"), tmp_path / "home")
    assert "No space left on device" in said and not list(small_disk.iterdir())


@pytest.mark.slow
def test_a_training_goes_on_once_there_is_room(forks, recipe, tmp_path, small_disk):
    words = ["mvh.train", recipe, "--output_dir"]
    forks.run([*words, tmp_path / "whole"], tmp_path / "home")
    said = forks.fail([*words, small_disk / "run"], tmp_path / "home")
    assert "No space left on device" in said or "cannot be written" in said, said
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    forks.run([*words, small_disk / "run"], tmp_path / "home")
    one, other = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "whole", small_disk / "run"))
    assert all(one[name].equal(other[name]) for name in one)


# --- two at once, and a clock that jumps ---


@pytest.mark.parametrize("name", ["dataset", "export", "score", "detect, report"])
def test_two_processes_on_one_name_leave_one_result_whole(
    forks,
    detector,
    corpus,
    backbone_folder,
    tmp_path,
    place,
    name,
):
    words = command(name, detector, corpus, backbone_folder, tmp_path, place / "out")
    alone = command(name, detector, corpus, backbone_folder, tmp_path, tmp_path / "alone")
    forks.run(alone, tmp_path / "home")
    running = [forks.start(words, tmp_path / f"home{number}") for number in range(2)]
    ends = [child.wait() for child in running]
    assert ends == [0, 0] or (name == "dataset" and sorted(ends) == [0, 1]), [child.said() for child in running]
    for child, end in zip(running, ends, strict=True):
        assert "Traceback" not in child.said() and (not end or "exists already" in child.said())
    made = sorted(path.name for path in place.iterdir() if path.name != "other.txt")
    assert len(made) == 1, made
    if name in ("dataset", "export"):
        assert files(place / "out") == files(tmp_path / "alone")
    elif name == "score":
        assert (place / "out" / "predictions.jsonl").read_bytes() == (
            tmp_path / "alone" / "predictions.jsonl"
        ).read_bytes()
        json.loads((place / "out" / "metrics.json").read_text())
    else:
        assert (place / "out.html").read_text() == (tmp_path / "alone.html").read_text()


@pytest.mark.slow
def test_a_clock_that_jumps_back_costs_no_checkpoint(forks, recipe, tmp_path):
    """Old checkpoints are told by their steps: by file times the newest one would be deleted first."""
    words, out = ["mvh.train", recipe, "--output_dir", tmp_path / "run"], tmp_path / "run"
    child = forks.start(words, tmp_path / "home")
    while child.poll() is None and not list(out.glob("checkpoint-*/trainer_state.json")):
        pass
    child.kill()
    for folder in out.glob("checkpoint-*"):
        os.utime(folder, (4e9, 4e9))  # in the year 2096
    begun = {folder.name for folder in out.glob("checkpoint-*")}
    forks.run(words, tmp_path / "home")
    kept = sorted((folder.name for folder in out.glob("checkpoint-*")), key=lambda name: int(name.split("-")[1]))
    assert len(kept) == 2 and not begun & set(kept), f"{kept} are left, and {begun} are of before"


def test_the_limit_is_one_that_a_process_meets(forks, tmp_path):
    """The proof of the proof: beyond the limit a write fails."""
    code = (
        LIMITED.format(size=LITTLE)
        + "open(sys.argv[0], 'wb', buffering=0).write(bytes(4000)) == 4000 or sys.exit('too large')"
    )
    child = forks.start([tmp_path / "file"], tmp_path / "home", "import sys\n" + code)
    assert child.wait() == 1 and "too large" in child.said()
