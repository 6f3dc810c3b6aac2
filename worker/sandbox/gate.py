"""The gate in front of the routes: log, key, rate, faults, latency and the labels of every answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.sandbox import answers
from worker.sandbox.acting import Acting
from worker.sandbox.dialects import Dialect
from worker.sandbox.faults import Fault
from worker.sandbox.kinds import Target, is_foundry, read_target, speaks_foundry
from worker.sandbox.post import GatePost
from worker.sandbox.throttle import Allowance, TokenBuckets


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
        self._acting = Acting(app, post)
        options = post.options
        self._buckets = TokenBuckets(options.rate, post.monotonic, by_key=options.rate_by_key)
        self._delete_buckets = TokenBuckets(options.delete_rate, post.monotonic, by_key=options.rate_by_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif not _is_on_the_wire(scope["path"]):
            await self._app(scope, receive, _labelled(send))
        else:
            visit = self._arrived(scope)
            is_azure = speaks_foundry(scope["path"])
            scope[answers.DIALECT_KEY] = Dialect.FOUNDRY if is_azure else self._post.options.dialect
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
        await self._acting.answer(strike, visit.target, scope, receive, send)

    def _refusal(self, visit: _Visit) -> Response | None:
        key = _key_of(visit)
        if not key:
            return answers.no_key()
        accepted = self._post.options.api_keys
        if accepted is not None and key not in accepted:
            return answers.refused_key()
        if key in self._post.options.throttled_keys:
            return answers.throttled(self._post.options.retry_after, limit=0)
        is_delete = visit.target.method == "DELETE"
        for buckets in (self._buckets, self._delete_buckets) if is_delete else (self._buckets,):
            allowance = buckets.take(key)
            if allowance is None:
                continue
            visit.allowance = allowance
            if visit.allowance.wait > 0:
                return answers.throttled(timedelta(seconds=visit.allowance.wait), limit=visit.allowance.limit)
        return None

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
    return path.startswith("/v1/") or is_foundry(path) or path == answers.LANDING


def _key_of(visit: _Visit) -> str:
    scheme, _, key = visit.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return visit.headers.get("api-key", "").strip() if is_foundry(visit.target.path) else ""


def _labelled(send: Send) -> Send:
    async def labelled(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["server"] = "tenure-sandbox"
            headers["x-tenure-sandbox"] = "true"
        await send(message)

    return labelled
