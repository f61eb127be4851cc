"""What the clients of a load test send to the Endpoint's handler."""

from __future__ import annotations

import json
from typing import Any

from mvh.benchmarks.asking import BROKEN, BUSY, OPTIONS, WRONG, Answer, Client, Kind, hang_up, judged, refusal
from mvh.handler import MAX_CHARACTERS, MAX_TEXTS

JSON = {"Content-Type": "application/json"}


async def look_around(client: Client) -> dict[str, Any]:
    """Nothing has to be known of an Endpoint."""
    return {}


async def ask(client: Client, inputs: Any, options: Any) -> tuple[int, Any]:
    """Status and content of an answer."""
    body = json.dumps({"inputs": inputs, "parameters": options}).encode()
    response = await client.http.post("/", content=body, headers=JSON)
    return response.status_code, response.json()


def turned_away(status: int, told: Any) -> Answer | None:
    """The answer as an Answer where it is an error, else None."""
    if isinstance(told, dict) and isinstance(fault := told.get("error"), dict) and "label" not in told:
        busy = refusal(status, f"{fault['type']}: {fault['message']}", "Busy: 8 requests are waiting already", [200])
        return busy._replace(end=BUSY) if busy.end == "refused" else busy
    return None


async def one(client: Client) -> Answer:
    """One text."""
    case = client.rng.choice(client.cases)
    status, told = await ask(client, case.text, case.options)
    return turned_away(status, told) or Answer(judged(told, case.answer), status)


async def several(client: Client) -> Answer:
    """Up to five texts, and one that is blank, which must not spoil the others."""
    options = client.rng.choice(OPTIONS)
    alike = [case for case in client.cases if case.options == options]
    chosen = client.rng.sample(alike, min(len(alike), client.rng.randint(1, 5)))
    status, told = await ask(client, [*(case.text for case in chosen), " "], options)
    if error := turned_away(status, told):
        return error
    if len(told) != len(chosen) + 1 or told[-1]["label"] is not None:
        return Answer(WRONG, status, "the blank text was not told apart")
    ends = {judged(result, case.answer) for result, case in zip(told, chosen, strict=False)}
    return Answer(next(end for end in (WRONG, "rounded", "right") if end in ends), status)


async def bad(client: Client) -> Answer:
    """A request that breaks a rule of the handler, or is none."""
    inputs, options, sentence = client.rng.choice(
        [
            (None, None, "inputs must be a text or a list of texts, got nothing"),
            ("Some words.", {"alpha": 7}, "alpha must be"),
            ("Some words.", {"correction": "../../etc/passwd"}, "must be one of"),
            ("Some words.", {"model": "someone/else"}, "There is no parameter 'model'"),
            (["a"] * (MAX_TEXTS + 1), None, f"at most {MAX_TEXTS} texts"),
            ("x " * (MAX_CHARACTERS // 2 + 1), None, f"at most {MAX_CHARACTERS:,} characters"),
        ]
    )
    status, told = await ask(client, inputs, options)
    return refusal(status, told["error"]["message"] if "error" in told else "answered", sentence, [200])


async def garbage(client: Client) -> Answer:
    """A body that the server cannot read."""
    body = client.rng.choice([b"", b"not json", b"[" * 100_000, b'{"inputs": "\\ud800"}', b"\xff\xfe", b"[1]"])
    response = await client.http.post("/", content=body, headers=JSON)
    return refusal(response.status_code, response.text, "The body is n", [400])


async def health(client: Client) -> Answer:
    """The server must say that it lives while others are computed."""
    response = await client.http.get("/")
    return Answer("right" if response.text == "Ok" else BROKEN, response.status_code)


async def leave(client: Client) -> Answer:
    """Hang up in the middle of the request, or before its answer."""
    case = client.rng.choice(client.cases)
    body = json.dumps({"inputs": case.text}).encode()
    return await hang_up(client, "POST", "/", body, *client.rng.choice([(0.5, 0.0), (1.0, 0.0), (1.0, 0.3)]))


KINDS = {
    "a text": Kind(10, one),
    "several texts": Kind(3, several),
    "a bad request": Kind(4, bad),
    "no JSON": Kind(2, garbage),
    "health": Kind(2, health),
    "hangs up": Kind(4, leave),
}
