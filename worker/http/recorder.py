"""The answer to a request with an Idempotency-Key: kept before it is sent, so that both are the same.

An answer that may be kept is held back until it is whole, one that grows too long until then. Where the
database fails just then the answer is sent all the same, since it is true; the key is free after its lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Message, Send

from worker.flows.answer_once import keep, let_go, renew
from worker.http.limits import MOST_KEPT_BYTES
from worker.http.services import Services
from worker.store.answers import Claim, KeptAnswer, Withheld
from worker.telemetry import log

_DONE = range(200, 300)
# What says something of the answer itself. All else is of the moment: request id, limits, the server's own.
_HEADERS = frozenset({"content-type", "location", "etag", "retry-after"})
_START = "http.response.start"


def mark_broken_off(request: Request) -> None:
    """Let nobody be told this answer again: a part was not done, and the same request would do it."""
    request.state.broke_off = True


class Holder:
    """The claim of one request: held while it runs, and ended with its answer."""

    def __init__(self, services: Services, claim: Claim, request: Request) -> None:
        self._services = services
        self._claim = claim
        self._request = request

    async def hold(self) -> None:
        """Renew the lease until this is cancelled, in other threads than routes: those may all be taken."""
        given = self._services
        held = True
        while held:
            await asyncio.sleep(given.renew_seconds)
            try:
                held = await asyncio.to_thread(renew, given.database, self._claim, clock=given.clock)
            except SQLAlchemyError as e:
                self._warn("claim.not_renewed", type(e).__name__)

    async def end(self, answer: KeptAnswer | None) -> None:
        """Keep an answer; without one, or where the request broke off, free the key."""
        given = self._services
        if answer is None or getattr(self._request.state, "broke_off", False):
            await self._try(lambda: let_go(given.database, self._claim))
        elif await self._try(lambda: keep(given.database, self._claim, answer, clock=given.clock)) is False:
            self._warn("answer.not_kept", "another took the claim over")

    async def _try(self, act: Callable[[], bool | None]) -> bool | None:
        try:
            return await run_in_threadpool(act)
        except SQLAlchemyError as e:
            self._warn("answer.not_kept", type(e).__name__)
            return None

    def _warn(self, event: str, reason: str) -> None:
        log().warning(event, request_id=self._request.state.request_id, reason=reason)


class Recorder:
    """Sends an answer on, and tells ``end`` of it before its last part goes: None where nothing was done."""

    def __init__(
        self,
        send: Send,
        end: Callable[[KeptAnswer | None], Awaitable[None]],
        *,
        withheld: Withheld | None,
    ) -> None:
        self._send = send
        self._end = end
        self._withheld = withheld
        self._start: Message | None = None
        self._held: list[Message] = []
        self._body = bytearray()
        self._too_long = False

    async def __call__(self, message: Message) -> None:
        """Take one message of the answer."""
        if message["type"] == _START:
            if message["status"] in _DONE:
                self._start = message
                self._held.append(message)
                return
            await self._end(None)
        elif self._start is not None and not await self._take(self._start, message):
            return
        await self._send(message)

    async def _take(self, start: Message, message: Message) -> bool:
        """Take a part of an answer that is kept; returns whether it may go on."""
        if not self._too_long:
            self._body += message.get("body", b"")
        if len(self._body) > MOST_KEPT_BYTES:
            self._too_long = True
            self._withheld = self._withheld or Withheld.TOO_LONG
            self._body.clear()
        if not message.get("more_body", False):
            await self._end(self._answer(start))
        elif not self._too_long:
            self._held.append(message)
            return False
        held, self._held = self._held, []
        for one in held:
            await self._send(one)
        return True

    def _answer(self, start: Message) -> KeptAnswer:
        if self._withheld is not None:
            return KeptAnswer(status=start["status"], headers={}, withheld=self._withheld)
        named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        headers = {name: value for name, value in named.items() if name in _HEADERS}
        return KeptAnswer(status=start["status"], headers=headers, body=bytes(self._body))
