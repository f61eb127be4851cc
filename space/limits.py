"""No request may be larger than a limit: an ASGI layer that counts what arrives and answers 413 before anything reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


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
            await self.refuse(send)
            return
        arrived, answered = 0, False

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
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
            await self.refuse(send)

    async def refuse(self, send: Send) -> None:
        """Answer 413 with a sentence."""
        sentence = f"The request is too large: at most {self.limit:,} bytes are taken.".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": sentence})
