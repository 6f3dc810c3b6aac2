"""A TCP proxy in front of a server: it passes on, falls silent like a broken network, or cuts and refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self

_CHUNK = 65_536
_PATIENCE = 10.0


class Proxy:
    """Listens on a port of its own for as long as the block runs; ``upstream`` may move meanwhile.

    Silence keeps every byte and every new connection waiting, and loses none: after it the streams go on, as
    TCP does once packets come through again.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self._refusing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    def silence(self) -> None:
        """Let nothing through, in either direction, and close nothing."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def refuse(self) -> None:
        """Reset what is connected, and whoever connects."""
        self._refusing = True
        self.cut()

    def cut(self) -> None:
        """Reset what is connected now."""
        self._run(self._abort())

    def heal(self) -> None:
        """Pass everything on again."""
        self._refusing = False
        self._loop.call_soon_threadsafe(self._passing.set)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._refusing = True
        self._passing.set()
        # Not cancelled: each stream ends by itself once its sockets are reset.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await self._abort()
            await asyncio.wait(others, timeout=0.05)

    async def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        away: asyncio.StreamWriter | None = None
        try:
            if self._refusing:
                return
            await self._passing.wait()
            if self._refusing:
                return
            back, away = await asyncio.open_connection("127.0.0.1", self.upstream)
            self._writers.add(away)
            await asyncio.gather(self._pump(reader, away), self._pump(back, writer))
        except OSError:
            pass  # the server is down, or either side is gone
        finally:
            for one in (writer, away):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
