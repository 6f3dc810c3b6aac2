"""Producers that send requests to a server and time each answer: `python -m tests.bench.producers JSON`.

Written on bare sockets: a client library would cost this machine's cores as much as the server that is
measured. Each producer has a connection of its own, kept open, and sends when the answer before has come.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from worker.model.clock import SystemClock, rfc3339

REGISTER, AGAIN, READ, LIST = "register", "register again", "read", "list"
# What one producer does in turn in a mixed run; alone it registers.
_MIXED = (REGISTER, REGISTER, READ, REGISTER, AGAIN, REGISTER, REGISTER, READ, REGISTER, LIST)
_EXPECTED = {REGISTER: 201, AGAIN: 200, READ: 200, LIST: 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``clients`` producers send ``count`` requests in all, after ``warm`` that are not told.

    Each takes one of the ``keys`` in turn; ``first`` numbers the threads that they register.
    """

    port: int
    keys: Sequence[str]
    clients: int
    count: int
    warm: int = 0
    first: int = 0
    mixed: bool = False


@dataclass(slots=True, kw_only=True)
class Told:
    """What came of a load: milliseconds of each answer by what was asked, and what was not as expected.

    ``created`` counts the threads that were answered 201, those of the warming up included.
    """

    seconds: float = 0.0
    created: int = 0
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def note(self, what: str, seconds: float, error: str | None) -> None:
        """Count one answer."""
        self.milliseconds.setdefault(what, []).append(1000 * seconds)
        self.created += what == REGISTER and error is None
        if error is not None:
            self.errors[error] = self.errors.get(error, 0) + 1


class _Asked(NamedTuple):
    what: str
    head: str
    body: bytes


def body_of(number: int, created_at: str) -> bytes:
    """Return the registration of one thread as JSON: what a product would tell of a conversation."""
    told = {
        "external_id": external_id(number),
        "project": "bench",
        "owner": f"team-{number % 50}",
        "created_at": created_at,
        "ttl": "P60D",
        "tags": {"env": "prod", "team": f"support-{number % 7}"},
    }
    return json.dumps(told).encode()


def external_id(number: int) -> str:
    """Return the provider's id of a thread."""
    return f"conv_{number:048x}"


def run(load: Load) -> Told:
    """Send everything; returns what came of it."""
    return asyncio.run(_all(load))


async def _all(load: Load) -> Told:
    numbers = iter(range(load.first, load.first + load.warm + load.count))
    warming = await _stage(load, numbers, load.warm)
    told = await _stage(load, numbers, load.count)
    told.created += warming.created
    return told


async def _stage(load: Load, numbers: Iterator[int], count: int) -> Told:
    told, left = Told(), iter(range(count))
    begun = time.perf_counter()
    await asyncio.gather(*(_produce(load, client, numbers, left, told) for client in range(load.clients)))
    told.seconds = time.perf_counter() - begun
    return told


async def _produce(load: Load, client: int, numbers: Iterator[int], left: Iterator[int], told: Told) -> None:
    """Send until nothing is left to send; a connection that breaks is an error and is made anew."""
    key = load.keys[client % len(load.keys)] if load.keys else ""
    requests = _requests(key, numbers, mixed=load.mixed)
    reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
    for _ in left:
        asked = next(requests)
        begun = time.perf_counter()
        try:
            status = await _ask(reader, writer, asked)
            error = None if status == _EXPECTED[asked.what] else f"{asked.what}: {status}"
        except (OSError, EOFError) as e:
            error = f"{asked.what}: {type(e).__name__}"
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        told.note(asked.what, time.perf_counter() - begun, error)
    writer.close()


def _requests(key: str, numbers: Iterator[int], *, mixed: bool) -> Iterator[_Asked]:
    """Yield what one producer asks, each request about the newest thread that it registered."""
    created_at, body, known, turn = rfc3339(SystemClock().now()), b"", "", 0
    while True:
        what = _MIXED[turn % len(_MIXED)] if mixed else REGISTER
        turn += 1
        if what == REGISTER:
            number = next(numbers)
            body, known = body_of(number, created_at), external_id(number)
        if what in {REGISTER, AGAIN}:
            yield _Asked(what, _head("POST", "/v1/threads", key, len(body)), body)
        else:
            path = f"/v1/threads/{known}" if what == READ else "/v1/threads?project=bench"
            yield _Asked(what, _head("GET", path, key, 0), b"")


def _head(method: str, path: str, key: str, length: int) -> str:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if length:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""])


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: _Asked) -> int:
    """Send one request and read its whole answer; returns the status."""
    writer.write(asked.head.encode() + asked.body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(" ", 2)[1])


if __name__ == "__main__":
    print(json.dumps(asdict(run(Load(**json.loads(sys.argv[1]))))))
