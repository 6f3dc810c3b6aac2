"""A provider made of bytes: it answers each request with the next line of a script and counts them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

DROP = b""
"""Close the connection without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as it arrived; ``connection`` counts from 1."""

    method: str
    path: str
    headers: Mapping[str, str]
    connection: int
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Send this much, then nothing (or one blank every 50 ms), and leave the connection open."""

    after: bytes = b""
    trickle: bool = False


def answer(status: int, body: object, *, headers: Mapping[str, str] | None = None) -> bytes:
    """Write an HTTP/1.1 answer; a body that is no str or bytes is sent as JSON."""
    raw = (
        body
        if isinstance(body, bytes)
        else body.encode()
        if isinstance(body, str)
        else json.dumps(body).encode()
    )
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(raw)}"]
    lines += [
        f"{name}: {value}"
        for name, value in ({"Content-Type": "application/json"} | dict(headers or {})).items()
    ]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def deleted(external_id: str, literal: str = "conversation.deleted") -> bytes:
    """Write the answer that acknowledges a DELETE."""
    return answer(200, {"id": external_id, "object": literal, "deleted": True})


def present(external_id: str, literal: str = "conversation") -> bytes:
    """Write the answer that shows an object."""
    return answer(200, {"id": external_id, "object": literal, "created_at": 1764000000})


@dataclass(slots=True)
class Wire:
    """``async with Wire([...]) as wire``: one entry per request; keeps connections alive between them."""

    script: Sequence[bytes | Hang]
    seen: list[Seen] = field(default_factory=list)
    base_url: str = ""
    _connections: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def methods(self) -> list[str]:
        return [one.method for one in self.seen]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self._connections += 1
        try:
            await self._serve(reader, writer, self._connections)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            start, *lines = head.strip().split("\r\n")
            method, path, _ = start.split(" ", 2)
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            body = await _body(reader, headers)
            self.seen.append(
                Seen(method=method, path=path, headers=headers, connection=connection, body=body)
            )
            # Beyond the script: a second sending gets what would deceive, so that it can never pass unseen.
            step = (
                self.script[len(self.seen) - 1] if len(self.seen) <= len(self.script) else answer(404, "{}")
            )
            writer.write(step.after if isinstance(step, Hang) else step)
            await writer.drain()
            while isinstance(step, Hang):
                await asyncio.sleep(0.05)
                writer.write(b" " if step.trickle else b"")
                await writer.drain()
            if step == DROP:
                return


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    whole = b""
    while size := int(await reader.readline(), 16):
        whole += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return whole
