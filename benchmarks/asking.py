"""What clients of a load test share: documents whose answers are known, how an answer is judged, how a client leaves.

How a request may end: RIGHT and ROUNDED (the answer, the latter with other last digits of a float), REFUSED (a bad request,
with the sentence it should get), BUSY (turned away), LEFT (the client hung up); and the faults WRONG (another answer than
alone), LEAKED (an error that tells of the server's folders, stack or secrets), BROKEN (anything else).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from mvh.benchmarks.samples import mixed, read_sentences

RIGHT, ROUNDED, REFUSED, BUSY, LEFT = "right", "rounded", "refused", "busy", "left"
WRONG, LEAKED, BROKEN = "wrong", "leaked", "broken"
FAULTS = (WRONG, LEAKED, BROKEN)
MARGIN = {"float32": 1e-4, "bfloat16": 0.02}  # how far a margin may move with the batch it was computed in
SECRET = "hf_loadTestSecretThatNobodyMaySee"  # in the server's environment as HF_TOKEN
TELLS = re.compile(rf"Traceback|site-packages|/(home|root|tmp|usr)/|\.py\b|{SECRET}")
OPTIONS: tuple[dict[str, Any], ...] = ({}, {"alpha": 0.01, "correction": "holm"})  # a request's own, never another's
STRANGE = ("Привет, мир. " * 40, "مرحبا بالعالم. " * 40, "a\u0301\u200b\u202e\U0001f9d1 " * 60, "word" * 400)


class Case(NamedTuple):
    """A text, the options it is asked with, and the answer of a single call."""

    text: str
    options: dict[str, Any]
    answer: dict[str, Any]


class Answer(NamedTuple):
    """How a request ended: HTTP status (0 without one) and, unless it was answered, what was said."""

    end: str
    status: int = 0
    said: str = ""


class Client(NamedTuple):
    """Who asks: its connections, its own dice, what it may ask and what it found out about the server."""

    http: httpx.AsyncClient
    rng: random.Random
    cases: Sequence[Case]
    about: Mapping[str, Any]


class Kind(NamedTuple):
    """A kind of request: how often it is sent, relative to others, and what sends one."""

    weight: float
    send: Callable[[Client], Awaitable[Answer]]


def cases(detect: Any, count: int, longest: int) -> list[Case]:
    """Documents of mixed sizes and odd scripts, each judged alone.

    Args:
        detect: The detector, in this process.
        count: Documents of English sentences, 10 to `longest` words.
        longest: Words of the longest.
    """
    texts = [*mixed(read_sentences(), count, 10, longest), *STRANGE]
    asked = [(text, OPTIONS[index % len(OPTIONS)]) for index, text in enumerate(texts)]
    # through JSON, as an answer travels
    return [Case(text, options, json.loads(json.dumps(detect(text, **options)))) for text, options in asked]


def judged(told: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """RIGHT, ROUNDED or WRONG: the same everywhere, but for margins within MARGIN and what follows from them."""
    if told == expected:
        return RIGHT
    if told.keys() != expected.keys() or any(told[key] != expected[key] for key in ("label", "alpha", "correction")):
        return WRONG
    if [(p["start"], p["end"]) for p in told["passages"]] != [(p["start"], p["end"]) for p in expected["passages"]]:
        return WRONG
    mine, other = told["segments"], expected["segments"]
    if [(s["start"], s["end"], s["label"]) for s in mine] != [(s["start"], s["end"], s["label"]) for s in other]:
        return WRONG
    apart = max((abs(a["margin"] - b["margin"]) for a, b in zip(mine, other, strict=True)), default=0.0)
    return ROUNDED if apart <= MARGIN[expected["model"]["dtype"]] else WRONG


def refusal(status: int, said: str, sentence: str, statuses: Sequence[int]) -> Answer:
    """A refusal, if status and sentence are those that a bad request should get and nothing of the server shows."""
    if TELLS.search(said):
        return Answer(LEAKED, status, said)
    return Answer(REFUSED if status in statuses and sentence in said else BROKEN, status, said)


async def hang_up(client: Client, method: str, path: str, body: bytes, share: float, listen: float = 0.0) -> Answer:
    """Send a part of a request, listen for some seconds and close the connection whatever came."""
    place = urlsplit(str(client.http.base_url))
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"{method} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: int(len(body) * share)])
    try:
        await writer.drain()
        if listen:
            await asyncio.wait_for(reader.read(64), listen)
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return Answer(LEFT)
