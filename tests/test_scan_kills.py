"""Scans in processes of their own: a killed worker, a killed scan, Ctrl-C, and a Slurm that is a script; then the examples."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest.importorskip("datatrove", reason="a scan needs datatrove: pip install 'mvh[scan]'")

import mvh
from mvh.scan.shards import ADDED

from .conftest import make_rows, write_jsonl

EXAMPLES = Path(mvh.__file__).parent / "examples"
SHARDS = 16


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **more}


def command(folder, detector, *more):
    words = (folder / "posts.jsonl", folder / "out", "--model", detector, "--shard-rows", 60, "--keep", "human", *more)
    return [sys.executable, "-m", "mvh.scan", *map(str, words)]


def start(words):
    return subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid):
    """The worker processes of a scan: its children that run Python's spawn."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"spawn_main" in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def finished(folder):
    return sorted(path.name for path in (folder / "out" / "scored").glob("0*.jsonl.gz"))


def wait_for(condition, what, seconds=240):
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return found


def gone(pids):
    def ended(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True

    return all(map(ended, pids))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, detector):
    """What one worker makes of the corpus without a break."""
    folder = tmp_path_factory.mktemp("unbroken")
    rows = [{key: row[key] for key in ("id", "text")} for row in make_rows(SHARDS * 60, seed=3, words=(200, 400))]
    write_jsonl(folder / "posts.jsonl", rows)
    done = subprocess.run(command(folder, detector), env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def content(folder):
    """Every file a scan makes of the documents, and the figures that hold no time."""
    files = {path.relative_to(folder): path.read_bytes() for path in folder.glob("out/*/*.jsonl.gz")}
    report = json.loads((folder / "out" / "statistics.json").read_text())
    return files, {key: value for key, value in report.items() if key not in ("input", "worker_seconds")}


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "scan", "interrupt"])
def test_a_kill_loses_and_repeats_nothing(unbroken, detector, tmp_path, victim):
    shutil.copy(unbroken / "posts.jsonl", tmp_path)
    scan = start(command(tmp_path, detector, "--workers", 2))
    wait_for(lambda: len(finished(tmp_path)) >= 2, "two shards")
    workers = children(scan.pid)
    assert len(workers) == 2
    if victim == "worker":
        os.kill(workers[0], signal.SIGKILL)
    else:
        os.kill(scan.pid, signal.SIGKILL if victim == "scan" else signal.SIGINT)
    _, said = scan.communicate(timeout=120)
    assert scan.returncode == {"worker": 1, "scan": -signal.SIGKILL, "interrupt": 130}[victim], said
    if victim == "worker":
        assert "error: A worker process died" in said and "Give the same command again" in said
        assert "Traceback" not in said
    wait_for(lambda: gone(workers), "the workers to follow", 30)
    before = {name: (tmp_path / "out" / "scored" / name).stat().st_mtime_ns for name in finished(tmp_path)}
    completed = {int(path.name) for path in (tmp_path / "out" / "logs" / "score" / "completions").iterdir()}
    assert 2 <= len(before) < SHARDS, "the kill came too late to prove anything"
    done = subprocess.run(
        command(tmp_path, detector, "--workers", 2), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert content(tmp_path) == content(unbroken)
    for name, when in before.items():
        if int(name[:5]) in completed:
            assert (tmp_path / "out" / "scored" / name).stat().st_mtime_ns == when, f"{name} was scored again"
    assert not list(tmp_path.glob("out/**/*.part")) and not list(tmp_path.glob("out/**/*.unfinished-*"))


SBATCH = """#!{python}
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
log = open({log!r}, "a")
log.write(" ".join(sys.argv[1:-1]) + "\\n" + script)
log.close()
last = int(re.search(r"--array=0-(\\d+)", script)[1])
command = script.strip().splitlines()[-1]
if "launch_pickled_pipeline" in command:
    for task in range(last + 1):
        env = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "here", "SLURM_JOB_ID": "7"}}
        pickled = command.split()[-1]
        subprocess.run([{python!r}, "-m", "datatrove.tools.launch_pickled_pipeline", pickled], env=env, check=True,
                       stdout=sys.stderr)
print("Submitted batch job 7")
"""


@pytest.mark.slow
def test_slurm_gets_arrays_that_wait_for_each_other(unbroken, detector, tmp_path):
    """`sbatch` is a script here that runs each job of the array at once; the outputs are those of one worker."""
    (tmp_path / "bin").mkdir()
    shutil.copy(unbroken / "posts.jsonl", tmp_path)
    for name, text in (
        ("sbatch", SBATCH.format(python=sys.executable, log=str(tmp_path / "sbatch.log"))),
        ("scontrol", "#!/bin/sh\necho here\n"),
    ):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    words = command(
        tmp_path, detector, "--executor", "slurm", "--partition", "cpu", "--workers", 2, "--sbatch", "qos=low"
    )
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(words, env=environment(PATH=path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "are with Slurm" in done.stderr
    log = (tmp_path / "sbatch.log").read_text()
    assert log.count("--dependency=afterok:7") >= 2 and "--partition=cpu" in log and "--qos=low" in log
    assert "--array=0-1%2" in log  # two jobs of eight shards each
    assert content(tmp_path) == content(unbroken)


def example(name, words, **more):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, words)],
        env=environment(**more), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "spark"])
def test_examples(detector, tmp_path, engine):
    """Each runs as its docstring says, and adds the columns of a scan."""
    package = {"ray": "ray", "spark": "pyspark"}[engine]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install '{'ray[data]' if engine == 'ray' else package}'")
    if engine == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java 17, and there is no java on the PATH")
    rows = [{"id": row["id"], "text": row["text"]} for row in make_rows(10)]
    source, target = write_jsonl(tmp_path / "posts.jsonl", [*rows, {"id": 10, "text": " "}]), tmp_path / "out"
    model = ("--model", detector) if engine == "ray" else (detector,)
    done = example(f"{engine}_scan.py", [source, target, *model], PYSPARK_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr[-3000:]
    table = pq.read_table(target)
    assert table.num_rows == 11 and set(ADDED.names) < set(table.column_names)
    found = {row["id"]: row for row in table.to_pylist()}
    assert "blank" in found[10]["mvh_error"] and all(found[i]["mvh_label"] is not None for i in range(10))
