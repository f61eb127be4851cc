"""No request may be larger than a limit: an ASGI layer that counts what arrives and answers 413 before anything reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LINGER = 5.0  # seconds in which what a refused client still sends is thrown away, so that it reads its answer


class TooLarge(Exception):
    """More has arrived than is allowed."""


class BodyLimit:
    """Refuse requests whose body is larger than `limit` bytes, whether they announce it or only send it.

    A request that announces its size is refused unread; one that does not is cut off at the limit.
    """

    def __init__(self, app: Any, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection, as ASGI hands it over."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self.limit:
            await self.refuse(receive, send)
            return
        arrived, more, answered = 0, True, False

        async def counted() -> Message:
            nonlocal arrived, more
            message = await receive()
            arrived, more = arrived + len(message.get("body", b"")), message.get("more_body", False)
            if arrived > self.limit:
                raise TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            if arrived <= self.limit:
                answered = True
                await send(message)

        with suppress(TooLarge):  # the app may also catch it and answer something: that is not sent
            await self.app(scope, counted, watched)
        if arrived > self.limit and not answered:
            await self.refuse(receive, send, more)

    async def refuse(self, receive: Receive, send: Send, more: bool = True) -> None:
        """Answer 413 with a sentence; while there is more to come, the connection stays for up to LINGER seconds."""
        sentence = f"The request is too large: at most {self.limit:,} bytes are taken.".encode()
        length = str(len(sentence)).encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", length),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": sentence, "more_body": True})
        with suppress(TimeoutError):  # closed with unread data, a connection is reset, and the answer is lost
            async with asyncio.timeout(LINGER):
                while more:
                    more = (await receive()).get("more_body", False)  # a disconnect has none
        await send({"type": "http.response.body", "body": b""})
