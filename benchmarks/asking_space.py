"""What the clients of a load test send to the Space: as programs do, as its page does, and as neither should."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from mvh.benchmarks.asking import (
    BROKEN,
    BUSY,
    LEAKED,
    REFUSED,
    RIGHT,
    SECRET,
    WRONG,
    Answer,
    Client,
    Kind,
    hang_up,
    judged,
    refusal,
)

API = "/gradio_api"
FULL = "Queue is full"
TOO_LONG = 200_001  # characters; the page takes one less
LARGEST = 10 * 2**20  # bytes of a file
NAMES = ("text.txt", "<img src=x onerror=alert(1)>.txt", "../../up.txt", "ü\u202e.txt")


async def look_around(client: Client) -> dict[str, Any]:
    """What the page's own script reads: which function judges an upload."""
    config = (await client.http.get("/config")).json()
    (upload,) = (
        part["id"] for part in config["dependencies"] if any(event == "upload" for _, event in part["targets"])
    )
    return {"upload": upload}


def options_of(asked: dict[str, Any]) -> list[Any]:
    """alpha, correction and vote, in the order of the program's endpoint."""
    return [asked.get("alpha"), asked.get("correction"), asked.get("vote")]


async def program(client: Client, data: list[Any]) -> tuple[int, str, Any]:
    """Status, event and content of the programs' endpoint; no event where the queue turned the request away."""
    joined = await client.http.post(f"{API}/call/detect", json={"data": data})
    if joined.status_code != 200:
        return joined.status_code, "", joined.text
    stream = (await client.http.get(f"{API}/call/detect/{joined.json()['event_id']}")).text
    event, content = stream.strip().split("\n\n")[-1].split("\n", 1)
    return 200, event.removeprefix("event: "), json.loads(content.removeprefix("data: "))


def turned_away(status: int, said: str) -> Answer:
    """A request that the queue did not take."""
    found = refusal(status, said, FULL, [503])
    return found._replace(end=BUSY) if found.end == REFUSED else found


async def one(client: Client) -> Answer:
    """One text, from a program."""
    case = client.rng.choice(client.cases)
    status, event, told = await program(client, [case.text, *options_of(case.options)])
    if not event:
        return turned_away(status, told)
    return Answer(judged(told[0], case.answer), status) if event == "complete" else Answer(BROKEN, status, str(told))


async def judge_file(client: Client, given: dict[str, Any], alpha: float, correction: str) -> tuple[int, str, Any]:
    """What the page does with an upload: joins the queue and reads its stream; status, event and content of its end."""
    session = uuid4().hex
    body = {"data": [given, alpha, correction, ""], "fn_index": client.about["upload"], "session_hash": session}
    joined = await client.http.post(f"{API}/queue/join", json=body)
    if joined.status_code != 200:
        return joined.status_code, "", joined.text
    stream = (await client.http.get(f"{API}/queue/data", params={"session_hash": session})).text
    events = [json.loads(line.removeprefix("data: ")) for line in stream.split("\n\n") if line.startswith("data: ")]
    done = next((event for event in events if event["msg"] == "process_completed"), {"success": False})
    return 200, "complete" if done["success"] else "error", done.get("output")


def as_upload(path: str) -> dict[str, Any]:
    """A file of the server as gradio's page names it."""
    return {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}


async def page(client: Client) -> Answer:
    """A file through the page; the result that it offers is downloaded and compared."""
    case = client.rng.choice(client.cases)
    sent = await client.http.post(
        f"{API}/upload", files={"files": (client.rng.choice(NAMES), case.text.encode(), "text/plain")}
    )
    if sent.status_code != 200:
        return refusal(sent.status_code, sent.text, "too full", [503])
    asked = (case.answer["alpha"], case.options.get("correction", ""))
    status, event, told = await judge_file(client, as_upload(sent.json()[0]), *asked)
    if not event:
        return turned_away(status, told)
    offered = [item["path"] for item in (told or {}).get("data") or [] if isinstance(item, dict) and "path" in item]
    result = next((path for path in offered if path.endswith(".json")), None)
    if event != "complete" or result is None:
        return Answer(BROKEN, status, json.dumps(told)[:400])
    file = await client.http.get(f"{API}/file={result}")
    found = file.json()
    if found["text"] != case.text:
        return Answer(WRONG, file.status_code, "the verdict is on another text than was sent")
    passages = [{key: value for key, value in span.items() if key != "pages"} for span in found["passages"]]
    return Answer(judged({**{key: found[key] for key in case.answer}, "passages": passages}, case.answer), 200)


async def bad(client: Client) -> Answer:
    """A program's request that breaks a rule."""
    data, sentence = client.rng.choice(
        [
            (["", None, None, None], "There is no text to judge"),
            (["x" * TOO_LONG, None, None, None], f"The text has {TOO_LONG:,} characters"),
            (["Some words.", 7, None, None], "alpha must be"),
            (["Some words.", None, "../../etc/passwd", None], "must be one of"),
        ]
    )
    status, event, told = await program(client, data)
    if not event:
        return turned_away(status, told)
    return refusal(status, told["error"] or "" if event == "error" else "answered", sentence, [200])


async def garbage(client: Client) -> Answer:
    """A body that is no request of gradio's."""
    body = client.rng.choice([b"", b"not json", b"[1]", b'{"data": "x"}', b"\xff\xfe"])
    response = await client.http.post(f"{API}/call/detect", content=body, headers={"Content-Type": "application/json"})
    return refusal(response.status_code, response.text, "detail", [400, 422])


async def too_large(client: Client) -> Answer:
    """A body above the limit, announced."""
    response = await client.http.post(f"{API}/call/detect", content=b" " * (LARGEST + 2**20 + 1))
    return refusal(response.status_code, response.text, "The request is too large", [413])


async def foreign_file(client: Client) -> Answer:
    """A file of the server, asked for by its path."""
    path = client.rng.choice(["/etc/passwd", "../../etc/passwd", "//etc/passwd", "app.py", "/proc/self/environ"])
    response = await client.http.get(f"{API}/file={path}")
    if "root:" in response.text or SECRET in response.text or "import gradio" in response.text:
        return Answer(LEAKED, response.status_code, path)
    return Answer(REFUSED if response.status_code in (403, 404) else BROKEN, response.status_code, response.text[:200])


async def foreign_upload(client: Client) -> Answer:
    """A file of the server, or an address inside its network, handed over as if it had been uploaded."""
    path = client.rng.choice(
        ["/etc/passwd", "/proc/self/environ", f"{client.http.base_url}/config", "http://127.0.0.1:1/"]
    )
    status, event, told = await judge_file(client, as_upload(path), 0.05, "")
    if not event:
        return turned_away(status, told)
    said = json.dumps(told)
    if event == "complete" or "root:" in said:
        return Answer(LEAKED, status, said[:400])
    return refusal(status, said, "", [200])


async def binary(client: Client) -> Answer:
    """A file that is not what its name says."""
    content = client.rng.randbytes(2_000)
    sent = await client.http.post(f"{API}/upload", files={"files": ("paper.pdf", content, "application/pdf")})
    status, event, told = await judge_file(client, as_upload(sent.json()[0]), 0.05, "")
    if not event:
        return turned_away(status, told)
    return refusal(status, json.dumps(told, ensure_ascii=False), "“paper.pdf”", [200])


async def leave(client: Client) -> Answer:
    """Hang up in the middle of a request, before its answer, or while an answer is waited for."""
    case = client.rng.choice(client.cases)
    body = json.dumps({"data": [case.text, *options_of(case.options)]}).encode()
    way = client.rng.choice(("half", "unread", "stream"))
    if way != "stream":
        return await hang_up(client, "POST", f"{API}/call/detect", body, 0.5 if way == "half" else 1.0)
    joined = await client.http.post(f"{API}/call/detect", content=body, headers={"Content-Type": "application/json"})
    if joined.status_code != 200:
        return turned_away(joined.status_code, joined.text)
    return await hang_up(client, "GET", f"{API}/call/detect/{joined.json()['event_id']}", b"", 1.0, 0.3)


async def home(client: Client) -> Answer:
    """The page itself must come while others are computed."""
    response = await client.http.get("/")
    return Answer(RIGHT if response.status_code == 200 else BROKEN, response.status_code)


KINDS = {
    "a text, by a program": Kind(10, one),
    "a file, by the page": Kind(5, page),
    "a bad request": Kind(4, bad),
    "no request at all": Kind(2, garbage),
    "a body too large": Kind(0.5, too_large),
    "a file of the server": Kind(1, foreign_file),
    "a file of the server, as an upload": Kind(1, foreign_upload),
    "a binary file named pdf": Kind(1, binary),
    "the page": Kind(2, home),
    "hangs up": Kind(4, leave),
}
