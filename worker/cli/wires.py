"""How calls travel: over the network, or to the same application inside this process.

Over the network an order carries an `Idempotency-Key`. Where the connection is lost before the answer came,
nobody knows whether the order was heard; with the same key it can be sent again, and is done once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import httpx2

from worker.cli.client import Answer, Call, Unreachable
from worker.cli.exits import Misused
from worker.model.clock import Clock, SystemClock
from worker.model.ids import random_token
from worker.settings import Settings

_CONNECT_SECONDS = 10
# Placing a hold waits for DELETEs under way, and a bulk registration commits a thousand rows.
_ANSWER_SECONDS = 180
_OK, _CONFLICT = 200, 409
# Between one sending and the next. Reading changes nothing, and a key makes an order safe to repeat.
_WAITS = (1.0, 2.0, 4.0)
_REPEATED = frozenset({"GET", "POST"})
# These came after the request had begun to go out. Whoever refuses a connection is simply not there.
_LOST = (httpx2.ReadError, httpx2.WriteError, httpx2.CloseError, httpx2.RemoteProtocolError)
# Registering is idempotent by itself, and answers to thousands of lines need not be kept for a day.
_WITHOUT_KEY = "/v1/threads/bulk"
_IN_USE = "idempotency_key_in_use"


@contextmanager
def remote(settings: Settings) -> Iterator[Remote]:
    """Speak to TENURE_URL; raises Misused for what is no URL."""
    if not settings.url.startswith(("http://", "https://")):
        raise Misused("TENURE_URL must begin with https:// or http://.", repair="Unset it to work locally.")
    headers = {"authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    timeout = httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
    try:
        client = httpx2.Client(base_url=settings.url, headers=headers, timeout=timeout)
    except httpx2.InvalidURL as e:
        raise Misused("TENURE_URL is no URL.", repair="Write for example https://tenure.example.com.") from e
    with client:
        yield Remote(client, SystemClock())


@contextmanager
def in_process(*, policies: bool) -> Iterator[_InProcess]:
    """Serve calls here, on the local data folder and with every right."""
    from worker.cli.local import local
    from worker.flows.key import LOCAL
    from worker.http.app import create_app
    from worker.http.services import Services

    with local(policies=policies) as tenure, asyncio.Runner() as runner:
        services = Services(
            database=tenure.database,
            clock=tenure.clock,
            lease=tenure.lease,
            sealer=tenure.sealer,
            # Nobody to wake in here: a running service finds the work at its next tick.
            wake=lambda _credential: None,
            source=tenure.source,
        )
        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(services, local=LOCAL)),
            base_url="http://tenure.local",
            timeout=None,
        )
        try:
            yield _InProcess(client, runner)
        finally:
            runner.run(client.aclose())


class Remote:
    """A service elsewhere."""

    def __init__(self, client: httpx2.Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def send(self, call: Call) -> Answer:
        """Send it, and again where the connection is lost; raises Unreachable.

        What may be neither read nor repeated under a key is sent once: it may be done.
        """
        parts = _parts(call)
        if call.method == "POST" and call.path != _WITHOUT_KEY:
            parts["headers"]["idempotency-key"] = f'"{random_token(32)}"'
        waits = list(_WAITS) if call.method in _REPEATED else []
        lost = False
        while True:
            try:
                answer = self._client.request(call.method, call.path, **parts)
                return self._patiently(call, parts, answer) if lost else _whole(answer)
            except httpx2.TransportError as e:
                if not waits or not (lost or isinstance(e, _LOST)):
                    raise self._unreachable(e) from e
            lost = True
            self._clock.wait(waits.pop(0))

    def _patiently(self, call: Call, parts: dict[str, Any], answer: httpx2.Response) -> Answer:
        """Wait for what an earlier sending began, as long as for any answer."""
        until = self._clock.monotonic() + _ANSWER_SECONDS
        while _is_running(answer) and self._clock.monotonic() < until:
            self._clock.wait(float(answer.headers.get("retry-after", _WAITS[0])))
            answer = self._client.request(call.method, call.path, **parts)
        return _whole(answer)

    def fetch(self, path: str, into: BinaryIO, told: Callable[[int, int], None]) -> Answer:
        """Write the body into the file, piece by piece; raises Unreachable, also where it ends early."""
        try:
            with self._client.stream("GET", path) as answer:
                if answer.status_code != _OK:
                    return Answer(status=answer.status_code, body=answer.read())
                total, done = int(answer.headers.get("content-length", 0)), 0
                for piece in answer.iter_bytes():
                    into.write(piece)
                    done += len(piece)
                    told(done, total)
                return Answer(status=_OK, body=b"")
        except httpx2.TransportError as e:
            raise self._unreachable(e) from e

    def _unreachable(self, why: httpx2.TransportError) -> Unreachable:
        url = self._client.base_url
        where = f"{url.scheme}://{url.netloc.decode()}"
        problem = f"{where} does not answer ({type(why).__name__})."
        return Unreachable(problem, repair="Start the service, or check TENURE_URL.")


class _InProcess:
    """The application itself, on a loop of its own."""

    def __init__(self, client: httpx2.AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def send(self, call: Call) -> Answer:
        """Serve it here and now."""
        return _whole(self._runner.run(self._client.request(call.method, call.path, **_parts(call))))


def _whole(answer: httpx2.Response) -> Answer:
    return Answer(status=answer.status_code, body=answer.content)


def _is_running(answer: httpx2.Response) -> bool:
    """Whether the service says that the first sending is not answered yet."""
    if answer.status_code != _CONFLICT:
        return False
    try:
        return bool(json.loads(answer.content).get("code") == _IN_USE)
    except (ValueError, AttributeError):
        return False


def _parts(call: Call) -> dict[str, Any]:
    headers = {"content-type": call.media_type} if call.body is not None else {}
    return {"params": dict(call.params), "content": call.body, "headers": headers}
