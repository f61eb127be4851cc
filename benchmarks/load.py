"""Load: many clients at once on the Endpoint's handler, then on the Space; every answer compared with that of a single call.

    python -m mvh.benchmarks.load checkpoints/mvh-mini-en --minutes 5 --clients 50 --out results/load.json [--quick]

Each server runs in a process of its own on loopback. The clients send texts of mixed sizes with options of their own, bad
requests, bodies that are none, files of the server, and hang up in the middle (asking_endpoint.py, asking_space.py). Reported:
how every kind of request ended, latencies of what was answered, the memory of the server's process, and what was said to
those who were turned away. Ends with status 1 if an answer was wrong, an error leaked something, or anything broke; memory
has grown if the median of the last fifth of the time is more than GROWTH above that of the second fifth (of five minutes:
the last and the second). Needs the packages of `mvh[space]`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import httpx
import numpy as np

from mvh.benchmarks import asking_endpoint, asking_space
from mvh.benchmarks.asking import BROKEN, BUSY, FAULTS, RIGHT, ROUNDED, SECRET, Answer, Case, Client, cases
from mvh.benchmarks.measuring import heading, machine, write
from mvh.benchmarks.served import Served, served
from mvh.detector import load_detector
from mvh.experiments.decision_page import table

ROOT = Path(__file__).parents[1]
GROWTH = 0.05  # of the memory in the second fifth of the time
PAUSE = 1.0  # seconds that a client waits at most between two requests
TIMEOUT = 600.0  # seconds until a client gives up
CASES, LONGEST = 24, 25_000  # documents, and words of the longest
QUICK = {"seconds": 6.0, "clients": 12, "cases": 6, "longest": 300}
SAID = 3  # examples of each fault that are kept
SHARES = 5  # the time is cut into so many; the first, in which caches fill, is not looked at


class Ended(NamedTuple):
    """A request that has ended: its kind, how, after how many seconds, and when (seconds since the start)."""

    kind: str
    answer: Answer
    seconds: float
    at: float


def commands(checkpoint: Path, folder: Path) -> dict[str, tuple[ModuleType, list[str], dict[str, str]]]:
    """By name of the server: what its clients send, the command that starts it, and its environment."""
    space, secret = folder / "space", {"HF_TOKEN": SECRET, "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder)}
    given = {**secret, "MODEL": str(checkpoint.resolve())}
    endpoint = ["-m", "mvh.benchmarks.endpoint", str(checkpoint), "--port", "0"]
    return {
        "endpoint": (asking_endpoint, [sys.executable, *endpoint], secret),
        "space": (asking_space, [sys.executable, "-u", str(space / "app.py")], given),
    }


async def drive(
    asking: ModuleType, server: Served, known: Sequence[Case], clients: int, seconds: float
) -> dict[str, Any]:
    """Let the clients ask for so many seconds; what ended how, and the server's memory, every second one sample."""
    ended: list[Ended] = []
    memory: list[tuple[float, float]] = []
    begin = time.monotonic()
    # connections are given up before the server's 5 seconds end, or a request meets one that is just being closed
    limits = httpx.Limits(max_connections=4 * clients, keepalive_expiry=1.0)
    async with httpx.AsyncClient(base_url=server.address, timeout=TIMEOUT, limits=limits) as http:
        about = await asking.look_around(Client(http, random.Random(), known, {}))

        async def client(number: int) -> None:
            rng = random.Random(number)
            asks = Client(http, rng, known, about)
            names, weights = list(asking.KINDS), [kind.weight for kind in asking.KINDS.values()]
            while (now := time.monotonic() - begin) < seconds:
                (kind,) = rng.choices(names, weights)
                try:
                    answer = await asking.KINDS[kind].send(asks)
                except (httpx.HTTPError, ValueError, LookupError, TypeError, OSError) as error:
                    answer = Answer(BROKEN, 0, f"{type(error).__name__}: {error}")
                ended.append(Ended(kind, answer, time.monotonic() - begin - now, now))
                await asyncio.sleep(rng.uniform(0, PAUSE))

        async def watch() -> None:
            while (now := time.monotonic() - begin) < seconds:
                memory.append((now, server.resident()))
                await asyncio.sleep(min(1.0, seconds / 20))

        await asyncio.gather(watch(), *(client(number) for number in range(clients)))
    return {"requests": summary(ended), "memory_mib": growth(memory, seconds), "seconds": time.monotonic() - begin}


def summary(ended: Sequence[Ended]) -> list[dict[str, Any]]:
    """A row for each kind: how many ended how, statuses, latencies of what was answered, and what was said."""
    rows = []
    for kind in dict.fromkeys(one.kind for one in ended):
        mine = [one for one in ended if one.kind == kind]
        answered = [one.seconds for one in mine if one.answer.end in (RIGHT, ROUNDED)]
        said: dict[str, list[str]] = {}
        for one in mine:
            heard = said.setdefault(one.answer.end, [])
            if one.answer.said and one.answer.said not in heard and len(heard) < SAID:
                heard.append(f"{one.answer.status}: {one.answer.said[:300]}")
        rows.append(
            {
                "kind": kind,
                "ends": dict(Counter(one.answer.end for one in mine)),
                "statuses": {str(status): n for status, n in Counter(one.answer.status for one in mine).items()},
                "p50_seconds": float(np.percentile(answered, 50)) if answered else None,
                "p95_seconds": float(np.percentile(answered, 95)) if answered else None,
                "said": {end: heard for end, heard in said.items() if heard and end in (*FAULTS, BUSY)},
            }
        )
    return rows


def growth(memory: Sequence[tuple[float, float]], seconds: float) -> dict[str, Any]:
    """Medians of the samples in the second and the last part of the time, and whether the last is GROWTH above."""
    share = seconds / SHARES
    second = [size for at, size in memory if share <= at < 2 * share]
    last = [size for at, size in memory if at >= seconds - share]
    before, after = (float(np.median(sizes)) if sizes else float("nan") for sizes in (second, last))
    peak = max(size for _, size in memory)
    return {"second": before, "last": after, "most": peak, "grown": after > before * (1 + GROWTH)}


def faults(report: Mapping[str, Any]) -> list[str]:
    """What must not be, as sentences; memory is judged in full runs only."""
    found = []
    for name, part in report["servers"].items():
        for row in part["requests"]:
            found += [
                f"{name}, {row['kind']}: {count} {end} ({'; '.join(row['said'].get(end, []))})"
                for end, count in row["ends"].items()
                if end in FAULTS
            ]
        if part["memory_mib"]["grown"] and not report["quick"]:
            memory = part["memory_mib"]
            found.append(f"{name}: memory grew from {memory['second']:.0f} to {memory['last']:.0f} MiB")
        if not any(RIGHT in row["ends"] for row in part["requests"]):
            found.append(f"{name}: nothing was answered")
    return found


def page(report: Mapping[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("Load", report)
    lines += [
        f"Model {report['model']}, {report['clients']} clients for {report['minutes']:g} minutes on each server.",
        "",
    ]
    for name, part in report["servers"].items():
        memory = part["memory_mib"]
        rows = [
            [row["kind"], sum(row["ends"].values()), ", ".join(f"{count} {end}" for end, count in row["ends"].items())]
            + [row["p50_seconds"] or "", row["p95_seconds"] or ""]
            for row in part["requests"]
        ]
        lines += [f"## {name.capitalize()}", "", *table(["request", "sent", "ended", "s, p50", "s, p95"], rows)]
        busy = {sentence for row in part["requests"] for sentence in row["said"].get(BUSY, [])}
        lines += [f"Turned away with: {' / '.join(sorted(busy)) or 'nobody was'}", ""]
        lines += [
            f"Memory of its process: {memory['second']:.0f} MiB in the second fifth of the time, {memory['last']:.0f} in "
            f"the last, at most {memory['most']:.0f}.",
            "",
        ]
    return [*lines, *(f"FAULT: {fault}" for fault in report["faults"])]


def main(argv: Sequence[str] | None = None) -> int:
    """Run it, print the page and write it where --out says; the number of faults, at most 1, is the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mvh.benchmarks.load", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="on each server")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--servers", nargs="+", choices=("endpoint", "space"), default=["endpoint", "space"])
    parser.add_argument("--quick", action="store_true", help="a few seconds, a few clients, short texts")
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    seconds, clients = (QUICK["seconds"], int(QUICK["clients"])) if args.quick else (60 * args.minutes, args.clients)
    count, longest = (int(QUICK["cases"]), int(QUICK["longest"])) if args.quick else (CASES, LONGEST)
    about = machine()
    known = cases(load_detector(args.checkpoint, device="cpu"), count, longest)
    report: dict[str, Any] = {
        "command": " ".join(["python -m mvh.benchmarks.load", *(sys.argv[1:] if argv is None else argv)]),
        "quick": args.quick, "machine": about, "model": args.checkpoint.resolve().name, "clients": clients,
        "minutes": seconds / 60, "documents": len(known), "characters": [len(case.text) for case in known], "servers": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        # by its own command: space/ is no package
        assembled = Path(folder) / "space"
        subprocess.run([sys.executable, str(ROOT / "space" / "assemble.py"), str(assembled)], check=True)
        for name in args.servers:
            asking, command, environment = commands(args.checkpoint, Path(folder))[name]
            with served(command, Path(folder) / f"{name}.log", environment) as server:
                report["servers"][name] = asyncio.run(drive(asking, server, known, clients, seconds))
    report["faults"] = faults(report)
    write(report, page(report), args.out)
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an end like any other: the servers end too
    sys.exit(main())
