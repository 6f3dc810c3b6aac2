"""One permit is one request on the wire: the HTTP client below the SDK, with all re-sending off.

DANGER. aiohttp sends GET and DELETE a second time when a kept-alive connection drops; the answer to a
lost DELETE would then be the 404 of its own second sending, which reads as "it was never there". A
followed redirect turns DELETE into GET. Invariant, held by tests that count at the server: one call,
one request. The class `unsent` needs proof that no connection came to be; all else counts as sent.
"""

from __future__ import annotations

import ssl
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import aiohttp
import httpx2
from openai._vendor.httpx_aiohttp.transport import AiohttpTransport

from worker.providers.bounded import ENCODINGS, bounded

CONNECT_SECONDS = 5.0
# At most one batch's concurrency; the cost of the pool grows with its size.
_CONNECTIONS = 64
# Shorter than what servers and balancers keep, so that few requests meet a closing connection.
_KEEP_ALIVE_SECONDS = 5.0


class SentWithoutAnswer(aiohttp.ClientConnectionError):
    """The connection broke after the request may have left. aiohttp re-sends for other classes only."""


async def send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Hide from aiohttp the errors that it answers with a second sending (an aiohttp middleware)."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, OSError) as broken:
        if isinstance(broken, aiohttp.ServerTimeoutError):
            raise
        raise SentWithoutAnswer(type(broken).__name__) from broken


def never_connected(problem: BaseException) -> bool:
    """Whether this error proves that no connection came to be: refused, no such host, connect timeout.

    The SDK shows most of them as a timeout; only the chain of causes tells.
    """
    link: BaseException | None = problem
    while link is not None:
        if isinstance(link, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return True
        link = link.__cause__
    return False


def limits(seconds: float) -> httpx2.Timeout:
    """Return the timeouts of one request that may take that long in all."""
    connect = min(CONNECT_SECONDS, seconds / 2)
    return httpx2.Timeout(seconds, connect=connect, pool=connect)


class _Transport(AiohttpTransport):
    """The SDK's own, with answers that end."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return bounded(await super().handle_async_request(request))


def make_http_client() -> httpx2.AsyncClient:
    """Return a client that connects on first use, to the loop that uses it; nothing ambient is read."""
    context = _tls()
    return httpx2.AsyncClient(
        transport=_Transport(client=_make_session, verify=context, trust_env=False),
        verify=context,
        trust_env=False,
        headers=ENCODINGS,
        follow_redirects=False,
        # A provider's cookie would tie later requests to earlier ones: keep none.
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
    )


def _make_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=_tls(), keepalive_timeout=_KEEP_ALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        middlewares=(send_once,),
    )


def warm_up() -> None:
    """Load the trust store now: it takes a tenth of a second."""
    _tls()


def trust_store() -> tuple[str, int | None]:
    """Return where the authorities come from that vouch for a server, and how many of them are loaded.

    Those of a folder are loaded as they are needed; None where the operating system does not tell.
    """
    paths = ssl.get_default_verify_paths()
    places = [path for path in (paths.openssl_cafile, paths.openssl_capath) if Path(path).exists()]
    try:
        return ", ".join(places), _tls().cert_store_stats()["x509_ca"]
    except NotImplementedError:
        # The stores of macOS and Windows are asked during a handshake and cannot be counted.
        return "", None


@cache
def _tls() -> ssl.SSLContext:
    """Return the one TLS context of the process: each costs about 70 ms."""
    return httpx2.create_ssl_context(trust_env=False)
