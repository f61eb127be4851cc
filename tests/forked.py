"""Processes that have everything imported when they begin: forked from a server, so that one to be killed costs no seconds.

The server does nothing but import and fork; what a child does is its own: arguments, output, caches, session.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SERVER = """
import json, os, sys, traceback
import datasets
import mvh.calibrate, mvh.cli.run, mvh.dataset_builder.build, mvh.ensemble, mvh.train

def child(job):
    os.setsid()
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    datasets.config.HF_DATASETS_CACHE = job["home"]
    sys.argv = job["words"]
    status = 0
    try:
        exec(job["code"], {"__name__": "job"})
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    if "ask" in job:
        ended, status = os.waitpid(job["ask"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if ended else None), flush=True)
        continue
    number = os.fork()
    if not number:
        child(job)
    print(number, flush=True)
"""
MODULE = "import runpy, sys\nrunpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"


class Forked:
    """A child of the server."""

    def __init__(self, server: Server, pid: int, said: Path) -> None:
        self.server, self.pid, self.file = server, pid, said
        self.status: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self.status is None:
            self.status = self.server.tell({"ask": self.pid})
        return self.status

    def wait(self, seconds: float = 300.0) -> int:
        """The exit status once it has ended."""
        limit = time.monotonic() + seconds
        while (status := self.poll()) is None:
            assert time.monotonic() < limit, f"still running after {seconds} s: {self.said()[-2000:]}"
            time.sleep(0.002)
        return status

    def kill(self) -> None:
        """End it by SIGKILL, with whatever it has started."""
        while self.poll() is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not made its session yet
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.001)

    def said(self) -> str:
        """What it wrote to stdout and stderr."""
        return self.file.read_text(encoding="utf-8")


class Server:
    """Starts children; for one test process."""

    def __init__(self) -> None:
        own = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process: Any = subprocess.Popen([sys.executable, "-c", SERVER], env={**os.environ, **own}, **pipes)
        assert self.process.stdout.readline() == "ready\n"

    def tell(self, job: dict[str, Any]) -> Any:
        """Send one job and read the answer."""
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, words: Sequence[Any], home: Path, code: str = MODULE) -> Forked:
        """Run a module with its arguments, or code that finds them in sys.argv.

        Args:
            words: Name of the module, and arguments.
            home: Folder of its own, for caches and what it says.
            code: What to run.
        """
        home.mkdir(parents=True, exist_ok=True)
        said = home / "said.txt"
        job = {"words": [*map(str, words)], "code": code, "home": str(home / "datasets"), "said": str(said)}
        return Forked(self, self.tell(job), said)

    def run(self, words: Sequence[Any], home: Path, code: str = MODULE) -> str:
        """Run to the end and expect success; what it said."""
        child = self.start(words, home, code)
        assert child.wait() == 0, child.said()[-3000:]
        return child.said()

    def fail(self, words: Sequence[Any], home: Path, code: str = MODULE) -> str:
        """Run to the end and expect one sentence on a fault; the sentence."""
        child = self.start(words, home, code)
        assert child.wait() == 1, child.said()[-3000:]
        said = child.said()
        assert "Traceback" not in said and "Exception ignored" not in said, said[-3000:]
        (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert 20 < len(sentence) < 400, sentence
        return sentence

    def close(self) -> None:
        """End the server; children that run on are not its own any more."""
        self.process.stdin.close()
        self.process.wait(timeout=30)
