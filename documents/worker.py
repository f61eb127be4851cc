"""The process that reads files nobody vouches for: one request a line on stdin, one answer a line on stdout, JSON both.

    python -m mvh.documents.worker 2147483648      # bytes of memory it may take

It has a memory limit of its own and is killed by `reader.py` when it takes too long: a hostile file costs this process and
nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The extracted text of a requested file as a dict, or the error it met."""
    from mvh.documents.extract import extract
    from mvh.documents.limits import Limits

    try:
        return {"extracted": asdict(extract(Path(request["path"]), request["body_only"], Limits(**request["limits"])))}
    except MemoryError:
        return {"error": "MemoryError", "message": "needs more memory than reading a file may take."}
    except (ValueError, OSError) as error:
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return {"error": type(error).__name__, "message": message}
    except ModuleNotFoundError as error:
        return {"error": "ModuleNotFoundError", "message": f"needs {error.name} to be read: pip install 'mvh[files]'."}
    except Exception as error:  # a fault of a library on a malformed file
        return {"error": type(error).__name__, "message": f"cannot be parsed ({type(error).__name__}: {error})."}


def main(argv: list[str]) -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(argv[0]), int(argv[0])))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print must not look like an answer
    for line in sys.stdin.buffer:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
