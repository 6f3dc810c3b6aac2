"""How calls travel: over the network, or to the same application inside this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import httpx2

from worker.cli.client import Answer, Call, Unreachable
from worker.cli.exits import Misused
from worker.settings import Settings

_CONNECT_SECONDS = 10
# Placing a hold waits for DELETEs under way, and a bulk registration commits a thousand rows.
_ANSWER_SECONDS = 180
_OK = 200


@contextmanager
def remote(settings: Settings) -> Iterator[_Remote]:
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
        yield _Remote(client)


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


class _Remote:
    """A service elsewhere."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def send(self, call: Call) -> Answer:
        """Send it once; raises Unreachable. A lost answer is not asked for again: the order may be done."""
        try:
            answer = self._client.request(call.method, call.path, **_parts(call))
        except httpx2.TransportError as e:
            raise self._unreachable(e) from e
        return Answer(status=answer.status_code, body=answer.content)

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
        answer = self._runner.run(self._client.request(call.method, call.path, **_parts(call)))
        return Answer(status=answer.status_code, body=answer.content)


def _parts(call: Call) -> dict[str, Any]:
    headers = {"content-type": call.media_type} if call.body is not None else {}
    return {"params": dict(call.params), "content": call.body, "headers": headers}
