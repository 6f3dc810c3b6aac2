"""A pooler in front of PostgreSQL that gives each transaction another session, as PgBouncer may.

Each client that comes brings one more session, which it makes known by its own password and then shares: the
next transaction of anybody takes the session that rested longest. So two transactions of one client never
rely on anything that a session keeps: settings, advisory locks, prepared statements.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_SSL, _GSS = 80_877_103, 80_877_104
# Of the server's requests to prove who one is, those that want no answer: it is done, or nearly.
_NO_ANSWER = {0, 12}


@dataclass(frozen=True, slots=True, eq=False)
class _Session:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(slots=True)
class Pooler:
    """`taken` counts the transactions that were given a session."""

    host: str
    port: int
    idle: deque[_Session] = field(default_factory=deque)
    taken: int = 0
    address: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it goes."""
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                self.idle.append(await self._introduce(reader, writer))
                await self._pass_on(reader, writer)
        finally:
            writer.close()

    async def _introduce(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Session:
        start = await _first(reader)
        while struct.unpack("!I", start[4:8])[0] in {_SSL, _GSS}:
            writer.write(b"N")
            start = await _first(reader)
        session = _Session(*await asyncio.open_connection(self.host, self.port))
        session.writer.write(start)
        while True:
            kind, message = await _message(session.reader)
            writer.write(message)
            if kind == b"Z":
                return session
            if kind == b"R" and struct.unpack("!I", message[5:9])[0] not in _NO_ANSWER:
                session.writer.write((await _message(reader))[1])

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session: _Session | None = None
        try:
            while True:
                kind, message = await _message(reader)
                if kind == b"X":
                    return
                if session is None:
                    session, self.taken = self.idle.popleft(), self.taken + 1
                session.writer.write(message)
                if kind in {b"Q", b"S"} and await self._answer(session, writer) == b"I":
                    self.idle.append(session)
                    session = None
        finally:
            if session is not None:
                session.writer.close()

    @staticmethod
    async def _answer(session: _Session, writer: asyncio.StreamWriter) -> bytes:
        """Pass the answer on; returns I where no transaction is open after it."""
        while True:
            kind, message = await _message(session.reader)
            writer.write(message)
            if kind == b"Z":
                return message[5:6]


async def _first(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("!I", head)[0] - 4)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    length: int = struct.unpack("!I", head[1:])[0]
    return head[:1], head + await reader.readexactly(length - 4)


@contextmanager
def pooler(host: str, port: int) -> Iterator[Pooler]:
    """Run a pooler in a thread of its own; its port is `address`."""
    made, ready, loop = Pooler(host, port), threading.Event(), asyncio.new_event_loop()

    async def run() -> None:
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        made.address = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            with suppress(asyncio.CancelledError):
                await server.serve_forever()
        for session in made.idle:
            session.writer.close()

    def whole() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for rest in asyncio.all_tasks(loop):
            rest.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(rest)
        # A connection that is closed has its socket until the next turn of the loop.
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    task = loop.create_task(run())
    thread = threading.Thread(target=whole, name="pooler")
    thread.start()
    assert ready.wait(10)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
