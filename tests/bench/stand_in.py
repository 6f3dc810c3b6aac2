"""A provider that takes next to nothing of the processor: it knows threads, one latency, and nothing else.

The sandbox takes a third of what Tenure does, which on a machine of two cores is missing to whoever is
measured. This one reads just enough of HTTP/1.1 to answer the same requests as the sandbox, and in the same
words (`tests/sandbox/test_stand_in.py`), and is looked at by the same addresses (`measure.Sandbox`).
`python -m tests.bench.stand_in MILLISECONDS`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Callable, Mapping
from email.utils import formatdate
from itertools import count
from typing import Any, cast

from worker.model.clock import rfc3339, utc_now

_THREADS = "/v1/threads"
_HEAD = (
    "HTTP/1.1 {status} {reason}\r\ndate: {date}\r\ncontent-length: {length}\r\n"
    "content-type: application/json\r\nx-request-id: {request_id}\r\nopenai-processing-ms: 0\r\n"
    "server: tenure-sandbox\r\nx-tenure-sandbox: true\r\n\r\n"
)
_REASONS = {200: "OK", 404: "Not Found"}


class StandIn:
    """Its threads, and the requests for them."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self._live: dict[str, int] = {}
        self._numbers = count()
        self._requests: list[dict[str, Any]] = []

    def asked_for_thread(self, method: str, path: str) -> tuple[int, Mapping[str, Any]]:
        """Do it, and return status and body."""
        status, body = self._done(method, path.removeprefix(_THREADS).removeprefix("/"))
        number = len(self._requests) + 1
        told = {"n": number, "method": method, "path": path, "status": status, "fault": None}
        self._requests.append({**told, "at": rfc3339(utc_now())})
        return status, body

    def _done(self, method: str, thread_id: str) -> tuple[int, Mapping[str, Any]]:
        if method == "POST" and not thread_id:
            # A canary, where no thread is left that could be a control.
            [thread_id] = self._made(1, int(utc_now().timestamp()))
        created_at = self._live.get(thread_id)
        if created_at is None:
            return 404, _missing(thread_id)
        if method == "DELETE":
            del self._live[thread_id]
            return 200, {"id": thread_id, "object": "thread.deleted", "deleted": True}
        thread = {"id": thread_id, "object": "thread", "created_at": created_at}
        return 200, {**thread, "metadata": {}, "tool_resources": {}}

    def _made(self, number: int, created_at: int) -> list[str]:
        ids = [f"thread_{next(self._numbers):024d}" for _ in range(number)]
        self._live.update(dict.fromkeys(ids, created_at))
        return ids

    def asked_for_truth(self, path: str, body: bytes) -> Mapping[str, Any]:
        """Answer what measures: the addresses of `worker.sandbox.control`."""
        match path.partition("?")[0]:
            case "/sandbox/seed":
                asked = json.loads(body)
                return {"ids": self._made(asked["count"], asked["created_at"])}
            case "/sandbox/requests":
                return {"data": self._requests[int(path.partition("since=")[2] or 0) :]}
            case "/sandbox/state":
                return {"ids": {"thread": list(self._live)}}
            case "/sandbox/faults" if json.loads(body) == {"faults": []}:
                return {"faults": []}
            case _:
                raise LookupError(f"the stand-in knows nothing of {path}")


def _missing(thread_id: str) -> Mapping[str, Any]:
    message = f"No thread found with id '{thread_id}'."
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


class Connection(asyncio.Protocol):
    """One connection; a client sends its next request when the answer has come."""

    def __init__(self, provider: StandIn, numbers: Callable[[], int]) -> None:
        self._provider, self._numbers = provider, numbers
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, ended, body = self._read.partition(b"\r\n\r\n")
        if not ended or len(body) < _length(head):
            return
        self._read = b""
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if path.startswith(_THREADS):
            answer = self._answer(*self._provider.asked_for_thread(method, path))
            loop = asyncio.get_running_loop()
            loop.call_later(self._provider.latency, self._transport.write, answer)
        else:
            self._transport.write(self._answer(200, self._provider.asked_for_truth(path, body)))

    def _answer(self, status: int, body: Mapping[str, Any]) -> bytes:
        written = json.dumps(body, separators=(",", ":"))
        request_id = f"req_sandbox_{self._numbers():032x}"
        head = _HEAD.format(
            status=status,
            reason=_REASONS[status],
            date=formatdate(usegmt=True),
            length=len(written.encode()),
            request_id=request_id,
        )
        return head.encode() + written.encode()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


async def serve(latency: float, ready: Callable[[str], None]) -> None:
    """Listen on a free port until the process ends; ``ready`` is told the base URL."""
    provider, numbers = StandIn(latency), count(1)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(provider, numbers.__next__), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    ready(f"http://{host}:{port}/v1")
    await server.serve_forever()


if __name__ == "__main__":
    # Looking for garbage would hold up all who wait.
    gc.disable()
    asyncio.run(serve(float(sys.argv[1]) / 1000, lambda url: print(url, flush=True)))
