"""Quick starts: no search for garbage while PyTorch and transformers are imported.

What a library makes while it is imported stays, and the collector looks through all of it again and again as it grows, and
once more when the process ends (results/speed_latency.md: `mvh detect` beside the imports alone).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused(to_stay: bool = False) -> Iterator[None]:
    """Within it, also as a decorator, garbage is not looked for; after it, it is as it was before.

    Args:
        to_stay: Whether everything that is there at the end stays as long as the process, as in a command that ends with its
            work: then it is never looked through.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if to_stay:
            gc.freeze()
        if was_on:
            gc.enable()
