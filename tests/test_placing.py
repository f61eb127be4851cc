"""A folder has its name when it is whole: under kills, faults and other processes that want the same name."""

import errno
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from mvh import placing
from mvh.dataset_builder.folder import refuse_taken
from mvh.placing import UNFINISHED, exchange, unfinished_folder, whole_file

PARTS = 40
FORK = multiprocessing.get_context("fork")  # children that have everything imported


def anything(out):
    """Whatever stands there may go."""


def write(out, word, refuse=anything):
    """A folder of PARTS files that all say the same word."""
    with unfinished_folder(out, refuse) as folder:
        for number in range(PARTS):
            (folder / f"{number}.txt").write_text(word)


def word_of(folder):
    """What a whole folder says; a mixed or half one fails."""
    said = {path.read_text() for path in folder.iterdir()}
    assert len(list(folder.iterdir())) == PARTS and len(said) == 1, f"{folder} holds {said}"
    return said.pop()


def left_over(out):
    return list(out.parent.glob(f"{out.name}{UNFINISHED}*"))


def test_the_new_takes_the_place_of_the_old(tmp_path):
    out = tmp_path / "deep" / "out"
    for word in ("first", "second"):
        write(out, word)
        assert word_of(out) == word and [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("platform", ["linux", "elsewhere"])
def test_folders_change_places(tmp_path, monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform if platform != "linux" else sys.platform)
    write(tmp_path / "one", "one")
    write(tmp_path / "other", "other")
    exchange(tmp_path / "one", tmp_path / "other")
    assert (word_of(tmp_path / "one"), word_of(tmp_path / "other")) == ("other", "one")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_fault_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    write(out, "old")
    with pytest.raises(KeyError), unfinished_folder(out, anything) as folder:
        (folder / "0.txt").write_text("new")
        raise KeyError
    assert word_of(out) == "old" and not left_over(out)


def test_a_link_stays_a_link(tmp_path):
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and word_of(tmp_path / "real") == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"link", "real"}


def test_what_must_stay_stays_also_where_it_came_meanwhile(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileExistsError), unfinished_folder(out, refuse_taken) as folder:
        (folder / "0.txt").write_text("late")
        write(out, "first", refuse_taken)
    assert word_of(out) == "first" and not left_over(out)


def test_what_a_kill_left_is_named(tmp_path, caplog):
    (tmp_path / f"out{UNFINISHED}0011aabb").mkdir()
    write(tmp_path / "out", "new")
    assert f"out{UNFINISHED}0011aabb was left by a killed run" in caplog.text
    assert left_over(tmp_path / "out")  # it may belong to another process: nothing is deleted unasked


def keep_writing(out, word, count):
    for _ in range(count):
        write(out, word)


def test_two_processes_never_mix(tmp_path):
    out = tmp_path / "out"
    writers = [FORK.Process(target=keep_writing, args=(out, word, 12)) for word in ("one", "other")]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
        assert process.exitcode == 0
    assert word_of(out) in ("one", "other") and not left_over(out)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere folders change places in three steps")
@pytest.mark.parametrize("kills", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_a_kill_leaves_the_old_or_the_new(tmp_path, kills):
    out, rng = tmp_path / "out", random.Random(kills)
    write(out, "0")
    begun = time.monotonic()
    write(out, "0")
    usual = time.monotonic() - begun
    stood = []
    for number in range(1, kills + 1):
        process = FORK.Process(target=keep_writing, args=(out, str(number), 1))
        process.start()
        time.sleep(rng.uniform(0, 1.5 * usual))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        stood.append(word_of(out) == str(number))
        assert word_of(out) == str(number) or not stood[-1]
    assert len(set(stood)) == 2 or kills < 100, "all kills came before or all after"


def test_a_system_that_cannot_exchange_is_asked_once(tmp_path, monkeypatch):
    """A file system without the exchange says so by its error number, and the three steps follow."""

    class Old:
        def __init__(self, *args, **kwargs):
            pass

        def renameat2(self, *args):
            placing.ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(placing.ctypes, "CDLL", Old)
    write(tmp_path / "out", "old")
    write(tmp_path / "out", "new")
    assert word_of(tmp_path / "out") == "new" and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_nobody_may_write_to_is_an_error_with_its_name(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError) as caught:
        write(tmp_path / "file" / "out", "new")
    assert str(tmp_path / "file") in str(caught.value.filename)
    assert isinstance(Path(caught.value.filename), Path)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "No such file", "input.jsonl"), ConnectionError("the server hung up")]
)
def test_an_error_of_what_is_read_meanwhile_keeps_its_words(tmp_path, error):
    with pytest.raises(type(error)) as raised, whole_file(tmp_path / "out.txt", "utf-8"):
        raise error
    assert raised.value is error and not list(tmp_path.iterdir())


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path):
    with pytest.raises(OSError, match=r"No space left.*out\.txt"), whole_file(tmp_path / "out.txt", "utf-8"):
        raise OSError(errno.ENOSPC, "No space left on device")
