"""A training gives freed memory back, and only then."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from mvh import freeing

KEPT_BY_GLIBC = """
from mvh.freeing import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

blocks = [bytes(100_000) for _ in range(2000)]
del blocks[::2], blocks[:-1]  # what lies last stays, so that the heap cannot shrink by itself
before = resident()
assert give_back()
print(before - resident())
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only glibc keeps freed memory and gives it back on demand"
)
def test_freed_memory_goes_back():
    done = subprocess.run([sys.executable, "-c", KEPT_BY_GLIBC], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100, "MB of the 200 that were freed"


def test_every_hundred_steps_on_a_cpu_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(freeing, "give_back", lambda: calls.append(1))
    for device, wanted in (("cpu", 3), ("meta", 0)):
        calls.clear()
        for step in range(1, 350):
            state, args = SimpleNamespace(global_step=step), SimpleNamespace(device=torch.device(device))
            freeing.FreeMemory().on_step_end(args, state, None)
        assert len(calls) == wanted


def test_where_there_is_no_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(freeing.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert freeing.give_back() is False
