"""`Idempotency-Key` at the edge: a request that comes again gets the answer that it had (ADR 22).

The body is taken in whole and hashed before anything is done. Work that was begun goes on to its end when the
client is gone: that is the client who comes again.

The key is neither logged nor stored, only the SHA-256 that `row_of` makes of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send

from worker.flows.answer_once import Asked, begin, row_of
from worker.flows.key import Principal
from worker.http.recorder import Holder, Recorder
from worker.http.refusals import MalformedIdempotencyKey
from worker.http.services import Services
from worker.http.spool import Spool, spool
from worker.store.answers import Claim, KeptAnswer, Withheld

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
# The others are idempotent by themselves (RFC 9110 section 9.2.2).
METHODS = frozenset({"POST", "PATCH"})
MOST_CHARACTERS = 255
# A String of RFC 9651 section 3.3.3, as the draft asks for, or without quotes, as many clients send it.
_TEXT = r'(?:[ !#-\[\]-~]|\\["\\])+'
_BARE = r"[A-Za-z0-9._~:+/=-]+"
PATTERN = f'^("{_TEXT}"|{_BARE})$'
_QUOTED_KEY, _BARE_KEY = re.compile(f'"({_TEXT})"'), re.compile(_BARE)
_ESCAPED = re.compile(r'\\(["\\])')
_PIECE = 256 * 1024
_KEYS = "/v1/keys"


def idempotency_key_of(request: Request) -> str | None:
    """Return the key, without quotes; None where none counts. Raises MalformedIdempotencyKey."""
    given = request.headers.getlist(HEADER)
    if not given or request.method not in METHODS:
        return None
    if len(given) > 1:
        raise _malformed("There is more than one Idempotency-Key.")
    text = given[0].strip(" \t")
    quoted = _QUOTED_KEY.fullmatch(text)
    if not (quoted or _BARE_KEY.fullmatch(text)):
        raise _malformed("The Idempotency-Key is no text in double quotes.")
    key = _ESCAPED.sub(r"\1", quoted[1]) if quoted else text
    if len(key) > MOST_CHARACTERS:
        raise _malformed(f"The Idempotency-Key is longer than {MOST_CHARACTERS} characters.")
    return key


def _malformed(problem: str) -> MalformedIdempotencyKey:
    return MalformedIdempotencyKey(problem, repair='Send one such as `Idempotency-Key: "<a new UUID>"`.')


def has_secret(path: str) -> bool:
    """Whether a 2xx of this path shows a secret; all of `/v1/keys` counts but what is known to show none."""
    below = path == _KEYS or path.startswith(f"{_KEYS}/")
    return below and not path.endswith("/revoke")


async def serve_once(
    app: ASGIApp, request: Request, receive: Receive, send: Send, *, services: Services, key: str
) -> None:
    """Serve a request that has a key: do it, or answer it as before.

    Raises IdempotencyKeyReused, StillRunning and AnswerNotKept.
    """
    who: Principal = request.state.principal
    path = str(request.scope["path"])
    digest = hashlib.sha256(_head(request))
    body = await spool(_chunks(receive, digest.update), gzipped=False)
    with body:
        row = row_of(caller=who.actor, route=f"{request.method} {path}", key=key)
        asked = Asked(row=row, digest=digest.hexdigest())
        found = await run_in_threadpool(begin, services.database, asked, clock=services.clock)
        if isinstance(found, KeptAnswer):
            await _as_before(found)(request.scope, receive, send)
            return
        await _do(app, request, _Fed(body), send, services=services, claim=found)


async def _do(
    app: ASGIApp, request: Request, receive: Receive, send: Send, *, services: Services, claim: Claim
) -> None:
    holder = Holder(services, claim, request)
    withheld = Withheld.SECRET if has_secret(str(request.scope["path"])) else None
    holding = asyncio.create_task(holder.hold())
    try:
        await app(request.scope, receive, Recorder(send, holder.end, withheld=withheld))
    except Exception:
        # Where the answer is kept already this changes nothing.
        await holder.end(None)
        raise
    finally:
        # Whatever else ends this (the process stops) says nothing of what was done: the lease runs out.
        holding.cancel()
        await asyncio.wait([holding])


def _head(request: Request) -> bytes:
    """Return what beside the body makes a request another one; a JSON list says itself where it ends."""
    names = ("if-match", "content-encoding")
    told = [request.scope["query_string"].decode("latin-1"), *(request.headers.get(one) for one in names)]
    return json.dumps(told).encode()


async def _chunks(receive: Receive, told: Callable[[bytes], object]) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        told(chunk)
        yield chunk
        more = bool(message.get("more_body", False))


def _as_before(kept: KeptAnswer) -> Response:
    return Response(kept.body, kept.status, headers={**kept.headers, REPLAYED: "true"})


class _Fed:
    """Gives the body that was taken in, and then nothing: that the client is gone stops no work."""

    def __init__(self, body: Spool) -> None:
        self._body = body
        self._more = True

    async def __call__(self) -> Message:
        if not self._more:
            # Whoever asks is cancelled when the answer ends.
            await asyncio.Event().wait()
        piece = await run_in_threadpool(self._body.read, _PIECE)
        self._more = len(piece) == _PIECE
        return {"type": "http.request", "body": piece, "more_body": self._more}
