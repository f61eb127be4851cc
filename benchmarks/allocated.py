"""How much memory the tensors of a piece of work take at their peak, from the log of PyTorch's own allocator."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak_allocated(work: Callable[[], Any]) -> int:
    """Bytes at the peak of what this work allocates on the CPU through PyTorch, above what was allocated before it began."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"]
    return max(accumulate((change for _, change in sorted(changes)), initial=0))
