"""Faults acted out between the client and the routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.sandbox import answers
from worker.sandbox.bodies import in_pieces, truncated
from worker.sandbox.fault_book import Strike
from worker.sandbox.faults import Fault
from worker.sandbox.kinds import Target
from worker.sandbox.post import GatePost
from worker.sandbox.requests import FAULT_KEY

DROP_EXTENSION = "tenure.sandbox.drop"
"""Key in the ASGI scope's extensions: a function that closes the connection without another byte."""

_NOMINAL_LIMIT = 60  # what the fault ``throttled`` claims where no rate was set
_PIECES = 10

Answerer = Callable[[Strike, Target], Response]
Actor = Callable[[Scope, Receive, Send], Awaitable[None]]


class ConnectionStays(RuntimeError):
    """The app is served by something that cannot drop a connection; use SandboxServer."""


class Acting:
    """Answers one struck request; what is in neither table is left to the routes, which see the fault."""

    def __init__(self, app: ASGIApp, post: GatePost) -> None:
        self._app = app
        self._post = post
        self._instead: Mapping[Fault, Answerer] = {
            Fault.OBJECT_404: _absent,
            Fault.EVERYTHING_404: _absent,
            Fault.ROUTE_404: lambda _strike, _target: answers.no_route(),
            Fault.ENDPOINT_RETIRED: lambda _strike, target: answers.invalid_url(target),
            Fault.WRONG_KEY_401: lambda _strike, _target: answers.refused_key(),
            Fault.REFUSED_KEY: lambda _strike, _target: answers.refused_key(),
            Fault.FORBIDDEN: lambda _strike, _target: answers.forbidden(),
            Fault.READ_ONLY_KEY: lambda _strike, _target: answers.forbidden(),
            Fault.THROTTLED: lambda _strike, _target: self._throttled(),
            Fault.THROTTLED_SILENT: lambda _strike, _target: answers.throttled_silently(limit=self._limit),
            Fault.ERROR_500: lambda _strike, _target: answers.server_error(),
            Fault.REDIRECT: lambda _strike, target: answers.redirected(target, status=302),
            Fault.REDIRECT_307: lambda _strike, target: answers.redirected(target, status=307),
            Fault.HTML_200: lambda _strike, _target: answers.html_page(),
        }
        self._actors: Mapping[Fault, Actor] = {
            Fault.LOST_REQUEST: self._lost_request,
            Fault.LOST_REPLY: self._lost_reply,
            Fault.ERROR_AFTER: self._error_after,
            Fault.TIMEOUT: self._hang,
            Fault.TIMEOUT_AFTER: self._hang_after,
            Fault.SLOW_BODY: self._slow_body,
            Fault.TRUNCATED_JSON: self._truncated,
        }

    async def answer(
        self, strike: Strike, target: Target, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer the request as the fault has it."""
        fault = strike.fault
        if fault is not None and fault in self._instead:
            await self._instead[fault](strike, target)(scope, receive, send)
        elif fault is not None and fault in self._actors:
            await self._actors[fault](scope, receive, send)
        else:
            scope[FAULT_KEY] = fault
            await self._app(scope, receive, send)

    async def _lost_request(self, scope: Scope, receive: Receive, _send: Send) -> None:
        await self._drop(scope, receive)

    async def _lost_reply(self, scope: Scope, receive: Receive, _send: Send) -> None:
        await self._app(scope, receive, _swallow)
        await self._drop(scope, receive)

    async def _error_after(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _swallow)
        await answers.server_error()(scope, receive, send)

    async def _slow_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        between = self._post.options.slow_by / _PIECES
        await self._app(scope, receive, in_pieces(send, _PIECES, between=lambda: self._post.pause(between)))

    async def _truncated(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, truncated(send))

    async def _hang_after(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _swallow)
        await self._hang(scope, receive, send)

    async def _hang(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Wait until the client goes, the time is up or the server closes; then hang up."""
        client_goes = asyncio.ensure_future(_until_gone(receive))
        time_is_up = asyncio.ensure_future(self._post.pause(self._post.options.hang_for))
        waiting = {client_goes, time_is_up}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        gone = client_goes.done()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        if not gone:
            await self._drop(scope, receive)

    async def _drop(self, scope: Scope, receive: Receive) -> None:
        drop = scope.get("extensions", {}).get(DROP_EXTENSION)
        if drop is None:
            raise ConnectionStays("this server cannot drop a connection; serve the app with SandboxServer")
        await self._post.pause(self._post.options.latency / 2)
        drop()
        # The server takes a return without an answer for a bug, unless it has seen the connection go.
        await _until_gone(receive)

    @property
    def _limit(self) -> int:
        rate = self._post.options.rate
        return rate.limit if rate else _NOMINAL_LIMIT

    def _throttled(self) -> Response:
        return answers.throttled(self._post.options.retry_after, limit=self._limit)


def _absent(strike: Strike, target: Target) -> Response:
    missing = strike.rule.missing(target) if strike.rule else None
    return answers.absent(*missing) if missing else answers.nothing_here()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _swallow(_message: Message) -> None:
    """Let the work be done and its answer vanish."""
