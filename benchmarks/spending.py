"""Where the time of scoring goes: products of linear layers, other products, copies, the rest.

Products say how near to the matrix-multiply peak they come by themselves: what takes them from the same library as a whole
can come no nearer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from torch.profiler import ProfilerActivity, profile

LINEAR, PRODUCTS, COPIES, REST = "linear layers", "other products", "copies", "the rest of PyTorch"
OUTSIDE = "outside PyTorch"
PARTS = {
    "mkldnn::_linear_pointwise": LINEAR, "aten::addmm": LINEAR, "aten::mm": LINEAR,
    "aten::bmm": PRODUCTS, "aten::baddbmm": PRODUCTS, "aten::copy_": COPIES,
    "aten::_scaled_dot_product_flash_attention_for_cpu": PRODUCTS,
}  # fmt: skip


def spending(run: Callable[[], Any]) -> list[dict[str, Any]]:
    """The parts of a call's time, under PyTorch's profiler, which slows it by a little.

    Args:
        run: What is called, once; its work is on the CPU.

    Returns:
        Dicts of "part", its "share" of the time between 0 and 1, and of products "gflops", 10^9 operations a second,
        padding counted.
    """
    begin = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        run()
        took = time.perf_counter() - begin
    seconds: dict[str, float] = dict.fromkeys((LINEAR, PRODUCTS, COPIES, REST), 0.0)
    work = dict.fromkeys((LINEAR, PRODUCTS), 0)
    for event in profiled.events():
        part = PARTS.get(event.name, REST)
        seconds[part] += event.self_cpu_time_total / 1e6
        if part in work:
            work[part] += operations(event.name, event.input_shapes)
    seconds[OUTSIDE] = max(0.0, took - sum(seconds.values()))
    return [
        {"part": part, "share": spent / took, "gflops": work[part] / spent / 1e9 if work.get(part) else None}
        for part, spent in seconds.items()
    ]


def operations(name: str, shapes: Sequence[Sequence[int]]) -> int:
    """Floating-point operations of a product of PyTorch, additions and multiplications, from the shapes of its inputs."""
    left, right = shapes[1:3] if name in ("aten::addmm", "aten::baddbmm") else shapes[:2]
    if "attention" in name:  # queries and keys (B, A, T, D): two products of T x T x D
        return 4 * math.prod(left) * right[-2]
    return 2 * math.prod(left) * (right[0] if name.startswith("mkldnn") else right[-1])
