"""The gate in front of the routes: log, key, rate, faults, latency and the labels of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, assert_never

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.model.clock import monotonic
from worker.sandbox import answers
from worker.sandbox.fault_book import FaultBook
from worker.sandbox.faults import Fault
from worker.sandbox.ids import ObjectIds
from worker.sandbox.kinds import Target, read_target
from worker.sandbox.options import SandboxOptions
from worker.sandbox.request_log import RequestLog
from worker.sandbox.throttle import Allowance, TokenBucket

DROP_EXTENSION = "tenure.sandbox.drop"
"""Key in the ASGI scope's extensions: a function that closes the connection without another byte."""


_NOMINAL_LIMIT = 60  # what the fault ``throttled`` claims where no rate was set

Undone = Literal[
    Fault.ENDPOINT_RETIRED,
    Fault.ERROR_500,
    Fault.REFUSED_KEY,
    Fault.FORBIDDEN,
    Fault.THROTTLED,
    Fault.REDIRECT,
    Fault.HTML_200,
]
"""Faults that are answered without asking the routes."""


class ConnectionStays(RuntimeError):
    """The app is served by something that cannot drop a connection; use SandboxServer."""


@dataclass(slots=True, kw_only=True)
class GatePost:
    """What the gate consults. ``closing`` ends every pause, so that a stop need not wait.

    It belongs to one event loop, so each start of a server puts a new one here.
    """

    options: SandboxOptions
    ids: ObjectIds
    faults: FaultBook
    log: RequestLog
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    monotonic: Callable[[], float] = monotonic

    async def pause(self, delay: timedelta) -> None:
        """Wait that long, or until the server closes."""
        if delay <= timedelta():
            return
        try:
            await asyncio.wait_for(self.closing.wait(), delay.total_seconds())
        except TimeoutError:
            return


@dataclass(slots=True, kw_only=True)
class _Visit:
    """One request on its way through the gate."""

    number: int
    target: Target
    headers: Headers
    request_id: str
    started: float
    allowance: Allowance | None = None


class Gate:
    """ASGI middleware. Sandbox-only addresses are labelled and otherwise let through."""

    def __init__(self, app: ASGIApp, *, post: GatePost) -> None:
        self._app = app
        self._post = post
        options = post.options
        self._bucket = TokenBucket(options.rate, post.monotonic) if options.rate else None
        self._delete_bucket = (
            TokenBucket(options.delete_rate, post.monotonic) if options.delete_rate else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif not _is_on_the_wire(scope["path"]):
            await self._app(scope, receive, _labelled(send))
        else:
            visit = self._arrived(scope)
            await self._answer(visit, scope, receive, self._outgoing(visit, send))

    def _arrived(self, scope: Scope) -> _Visit:
        headers = Headers(scope=scope)
        request_id = self._post.ids.request_id()
        number = self._post.log.arrived(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=dict(headers),
            request_id=request_id,
        )
        return _Visit(
            number=number,
            target=read_target(scope["method"], scope["path"]),
            headers=headers,
            request_id=request_id,
            started=self._post.monotonic(),
        )

    async def _answer(self, visit: _Visit, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(visit)
        await self._post.pause(self._post.options.latency / 2)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        strike = self._post.faults.strike(visit.target)
        fault = strike.fault or (Fault.SLOW if strike.slow else None)
        if fault is not None:
            self._post.log.struck(visit.number, fault)
        if strike.slow:
            await self._post.pause(self._post.options.slow_by)
        await self._strike(strike.fault, visit, scope, receive, send)

    async def _strike(
        self, fault: Fault | None, visit: _Visit, scope: Scope, receive: Receive, send: Send
    ) -> None:
        match fault:
            case Fault.LOST_REQUEST:
                await self._drop(scope, receive)
            case Fault.LOST_REPLY:
                await self._app(scope, receive, _swallow)
                await self._drop(scope, receive)
            case Fault.ERROR_AFTER:
                await self._app(scope, receive, _swallow)
                await answers.server_error()(scope, receive, send)
            case None | Fault.SLOW | Fault.LYING_200 | Fault.DELETED_FALSE:
                scope["sandbox.fault"] = fault
                await self._app(scope, receive, send)
            case (
                Fault.ENDPOINT_RETIRED
                | Fault.ERROR_500
                | Fault.REFUSED_KEY
                | Fault.FORBIDDEN
                | Fault.THROTTLED
                | Fault.REDIRECT
                | Fault.HTML_200
            ):
                await self._instead(fault, visit.target)(scope, receive, send)
            case _:
                assert_never(fault)

    def _instead(self, fault: Undone, target: Target) -> Response:
        match fault:
            case Fault.ENDPOINT_RETIRED:
                return answers.invalid_url(target)
            case Fault.ERROR_500:
                return answers.server_error()
            case Fault.REFUSED_KEY:
                return answers.refused_key()
            case Fault.FORBIDDEN:
                return answers.forbidden()
            case Fault.THROTTLED:
                rate = self._post.options.rate
                limit = rate.limit if rate else _NOMINAL_LIMIT
                return answers.throttled(self._post.options.retry_after, limit=limit)
            case Fault.REDIRECT:
                return answers.redirected()
            case Fault.HTML_200:
                return answers.html_page()
            case _:
                assert_never(fault)

    def _refusal(self, visit: _Visit) -> Response | None:
        scheme, _, key = visit.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return answers.no_key()
        accepted = self._post.options.api_keys
        if accepted is not None and key.strip() not in accepted:
            return answers.refused_key()
        buckets = [self._bucket, self._delete_bucket if visit.target.method == "DELETE" else None]
        for bucket in filter(None, buckets):
            visit.allowance = bucket.take()
            if visit.allowance.wait > 0:
                return answers.throttled(timedelta(seconds=visit.allowance.wait), limit=visit.allowance.limit)
        return None

    async def _drop(self, scope: Scope, receive: Receive) -> None:
        drop = scope.get("extensions", {}).get(DROP_EXTENSION)
        if drop is None:
            raise ConnectionStays("this server cannot drop a connection; serve the app with SandboxServer")
        await self._post.pause(self._post.options.latency / 2)
        drop()
        # The server takes a return without an answer for a bug, unless it has seen the connection go.
        while (await receive())["type"] != "http.disconnect":
            pass

    def _outgoing(self, visit: _Visit, send: Send) -> Send:
        labelled = _labelled(send)

        async def outgoing(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._post.pause(self._post.options.latency / 2)
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = visit.request_id
                headers["openai-processing-ms"] = str(int((self._post.monotonic() - visit.started) * 1000))
                if visit.allowance is not None:
                    headers.setdefault("x-ratelimit-limit-requests", str(visit.allowance.limit))
                    headers.setdefault("x-ratelimit-remaining-requests", str(visit.allowance.remaining))
                self._post.log.answered(visit.number, message["status"])
            await labelled(message)

        return outgoing


def _is_on_the_wire(path: str) -> bool:
    return path.startswith("/v1/") or path == answers.LANDING


def _labelled(send: Send) -> Send:
    async def labelled(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["server"] = "tenure-sandbox"
            headers["x-tenure-sandbox"] = "true"
        await send(message)

    return labelled


async def _swallow(_message: Message) -> None:
    """Let the work be done and its answer vanish."""
