"""The outermost layer: request id, key, body limit, one log line, and no error that tells too much.

Everything under `/v1` needs a key, also a route that is not there. The key is checked before the body is
read, so that nobody without one can make Tenure read a mebibyte.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import partial

from fastapi import HTTPException
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.flows.key import KeyRefused, Principal, note_use, use_is_news
from worker.http.auth import bearer_of, look_up
from worker.http.limits import MOST_BULK_BYTES, MOST_BYTES, MOST_HEADER_BYTES, MOST_PREVIEW_BYTES
from worker.http.once import idempotency_key_of, serve_once
from worker.http.problems import problem_of, tell_operators
from worker.http.refusals import HeadersTooLarge, Throttled, WrongMediaType
from worker.http.services import Services
from worker.http.throttle import Bucket, address_of, bucket_of
from worker.http.together import Together
from worker.model.clock import Clock
from worker.model.ids import new_id
from worker.telemetry import ERROR_TYPE, log, traces
from worker.telemetry.meters import count
from worker.telemetry.requests import serving

BULK_PATH = "/v1/threads/bulk"
_MOST_KEYS = 200
_PREVIEWS_PATH = "/v1/previews"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_BULK_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_OWN_FAULT = 500
_NO_ROUTE = "none"


class Edge:
    """Wraps the application; `local` is the caller where no key is asked for."""

    def __init__(self, app: ASGIApp, *, services: Services, local: Principal | None) -> None:
        self._app = app
        self._services = services
        self._local = local
        # Keys of requests that come at the same moment are looked up together, each after its request came.
        self._keys = Together(partial(look_up, services), most=_MOST_KEYS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whatever happens inside."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        clock = self._services.clock
        answer = _Answer(send, _request_id(request, clock))
        request.state.request_id = answer.request_id
        # Now, since the span ends with the answer.
        traces.note({"tenure.request_id": answer.request_id})
        began = clock.monotonic()
        # Every line that is logged inside names the request, in the thread of a route too.
        with serving(answer.request_id):
            try:
                await self._serve(request, receive, answer)
            except ClientDisconnect:
                pass  # nobody is left to answer; the line below says so by its missing status
            except Exception as e:  # noqa: BLE001 - the last place that can turn it into an answer
                await _explain(request, receive, answer, e)
            finally:
                _tell(request, answer, clock.monotonic() - began)
                await self._note_use(request)

    async def _note_use(self, request: Request) -> None:
        """Note when the key was last used, after the answer: nobody waits for it, and nothing hangs on it."""
        who: Principal | None = getattr(request.state, "principal", None)
        clock = self._services.clock
        if who is None or who.key is None or not use_is_news(who, clock.now()):
            return
        try:
            await run_in_threadpool(note_use, self._services.database, who.key, clock=clock)
        except SQLAlchemyError as e:
            log().warning("key.use_not_noted", **{ERROR_TYPE: type(e).__name__})

    async def _serve(self, request: Request, receive: Receive, answer: _Answer) -> None:
        path = request.url.path
        key: str | None = None
        _check_headers(request)
        if path == "/v1" or path.startswith("/v1/"):
            request.state.principal = who = self._local or await self._known(request)
            traces.note({"tenure.actor": who.actor})
            await self._count(request, who, answer)
            _check_type(request)
            key = idempotency_key_of(request)
        body = _Limited(request.headers, receive, _most_bytes(path), self._services.body_seconds)
        if key is None:
            await self._app(request.scope, body, answer)
        else:
            await serve_once(self._app, request, body, answer, services=self._services, key=key)

    async def _known(self, request: Request) -> Principal:
        """Return who calls. A key that stands is never shut out because of others at its address."""
        try:
            return await self._keys(bearer_of(request.headers.get("authorization")))
        except KeyRefused:
            throttle = self._services.throttle
            address = address_of(request.client.host if request.client else None)
            standing = throttle and await throttle.count(Bucket.REFUSED_KEYS, address)
            if standing and not standing.admitted:
                problem = "Too many keys that do not stand came from this address."
                raise Throttled(
                    problem, repair="Come back with one that does.", headers=standing.headers()
                ) from None
            raise

    async def _count(self, request: Request, who: Principal, answer: _Answer) -> None:
        throttle, bucket = self._services.throttle, bucket_of(request.method, request.url.path)
        if throttle is None or bucket is None or who.key is None:
            return
        standing = await throttle.count(bucket, who.key)
        if standing is None:
            return
        if not standing.admitted:
            problem = "This key asks too often."
            raise Throttled(
                problem, repair="Come back after the time in `Retry-After`.", headers=standing.headers()
            )
        answer.more = standing.headers()


def _most_bytes(path: str) -> int:
    if path == BULK_PATH:
        return MOST_BULK_BYTES
    return MOST_PREVIEW_BYTES if path == _PREVIEWS_PATH else MOST_BYTES


class _Answer:
    """Passes the answer on, adds what every answer carries and remembers how it began."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status: int | None = None
        self.more: Mapping[str, str] = {}

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            headers["x-content-type-options"] = "nosniff"
            headers.setdefault("cache-control", "no-store")
            headers.update(self.more)
        await self._send(message)


class _Limited:
    """Passes the body on; stops at its limit, by what is announced and what comes, and when nothing comes."""

    def __init__(self, headers: Headers, receive: Receive, most: int, seconds: float) -> None:
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            raise HTTPException(413)
        self._receive = receive
        self._left = most
        self._seconds = seconds
        self._more = True

    async def __call__(self) -> Message:
        message = await self._next()
        if message["type"] == "http.request":
            self._more = bool(message.get("more_body", False))
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                # FastAPI passes its own exception on, and takes any other for an unreadable body.
                raise HTTPException(413)
        return message

    async def _next(self) -> Message:
        if not self._more:
            # What comes now is the end of the connection, and that may take as long as the answer.
            return await self._receive()
        try:
            return await asyncio.wait_for(self._receive(), self._seconds)
        except TimeoutError:
            raise HTTPException(408) from None


def _check_headers(request: Request) -> None:
    scope = request.scope
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size > MOST_HEADER_BYTES:
        problem = "The address and the headers are too long."
        raise HeadersTooLarge(problem, repair=f"{MOST_HEADER_BYTES} bytes are the limit.")


def _request_id(request: Request, clock: Clock) -> str:
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_id("req", clock.now())


def _check_type(request: Request) -> None:
    headers = request.headers
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if request.method not in _WITH_BODY or not has_body:
        return
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    bulk = request.url.path == BULK_PATH
    encoding = headers.get("content-encoding", "identity").lower()
    if given not in (_BULK_TYPES if bulk else {"application/json"}):
        wanted = "application/x-ndjson" if bulk else "application/json"
        raise WrongMediaType(f"This route reads {wanted}.", repair=f"Send `Content-Type: {wanted}`.")
    if encoding != "identity" and not (bulk and encoding == "gzip"):
        problem = "This route does not read that Content-Encoding."
        raise WrongMediaType(problem, repair="Send the body plain; a bulk registration may be gzip.")


async def _explain(request: Request, receive: Receive, answer: _Answer, refused: Exception) -> None:
    problem = problem_of(refused)
    request.state.problem = problem.code
    tell_operators(problem, refused, request_id=answer.request_id)
    if answer.status is not None:
        # Its beginning is sent: cutting the connection is the only honest end that is left.
        raise refused
    response = problem.answer(instance=request.url.path, request_id=answer.request_id)
    await response(request.scope, receive, answer)


def _route(request: Request) -> str:
    """Return the route's template: a path may carry ids, and what nobody serves may carry anything."""
    found = request.scope.get("route")
    return str(getattr(found, "path", _NO_ROUTE))


def _method(request: Request) -> str:
    """Return the method, or a word for those that nobody serves: a label has few values."""
    return request.method if request.method in _METHODS else "OTHER"


def _tell(request: Request, answer: _Answer, seconds: float) -> None:
    who: Principal | None = getattr(request.state, "principal", None)
    route, status = _route(request), answer.status or 0
    method = _method(request)
    count(lambda to: to.http_requests.labels(method=method, route=route, status=status).inc())
    count(lambda to: to.http_seconds.labels(method=method, route=route).observe(seconds))
    code: str | None = getattr(request.state, "problem", None)
    actor = who.actor if who else None
    log().info(
        "request.served",
        request_id=answer.request_id,
        actor=actor,
        code=code,
        seconds=round(seconds, 4),
        **{
            "http.request.method": method,
            "http.route": None if route == _NO_ROUTE else route,
            "http.response.status_code": answer.status,
            # As the conventions have it: what a caller did wrong is no error of this service.
            ERROR_TYPE: _error_type(answer.status, code),
        },
    )


def _error_type(status: int | None, code: str | None) -> str | None:
    if status is None:
        return "disconnected"
    return code or str(status) if status >= _OWN_FAULT else None
