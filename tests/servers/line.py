"""A line to a server that can be cut and mended while somebody uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Line:
    """A TCP line to the server that can be cut, silenced and laid to another server."""

    def __init__(self, url: str) -> None:
        self.target = urlsplit(url)
        self.silent = False
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return self.target._replace(netloc=f":{self.target.password or ''}@127.0.0.1:{self.port}").geturl()

    async def connect(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(self.target.hostname, self.target.port)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self._tasks.discard(task)
        for one in (writer, far_writer):
            one.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
            writer.close()


@asynccontextmanager
async def laid(url: str) -> AsyncIterator[Line]:
    """Lay a line to the server for the length of the block."""
    line = Line(url)
    await line.connect()
    try:
        yield line
    finally:
        await line.cut()
