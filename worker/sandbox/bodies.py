"""Bodies that go out otherwise than they were written: in slow pieces, cut off, or changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send


def in_pieces(send: Send, pieces: int, *, between: Callable[[], Awaitable[None]]) -> Send:
    """Send the body in that many pieces and wait between them."""

    async def sent(message: Message) -> None:
        body: bytes = message.get("body", b"")
        size = max(1, -(-len(body) // pieces))
        while len(body) > size:
            await send({"type": "http.response.body", "body": body[:size], "more_body": True})
            body = body[size:]
            await between()
        await send(message if message["type"] == "http.response.start" else {**message, "body": body})

    return sent


def truncated(send: Send) -> Send:
    """Send half of the body, with a length that fits, so that only the JSON is broken."""
    return rewritten(send, lambda body: body[: len(body) // 2])


def rewritten(send: Send, change: Callable[[bytes], bytes]) -> Send:
    """Send the body as ``change`` leaves it; the answers of this app have it in one message."""
    begun: list[Message] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            begun.append(message)
            return
        body = change(message.get("body", b""))
        for start in begun:
            MutableHeaders(scope=start)["content-length"] = str(len(body))
            await send(start)
        begun.clear()
        await send({**message, "body": body})

    return sent
