"""A gateway in front of the provider: few routes, threads that cannot be deleted, ids of its own.

After the LiteLLM proxy, as it was seen to answer: no conversations at all, 500 in plain text for an absent
thread, and an id for every response that is made anew on each call and wraps the provider's. An opaque
gateway seals that id, as LiteLLM does where it guards responses by user: only the gateway can read it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from itertools import count

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.sandbox.answers import error, no_route, wrong_method
from worker.sandbox.bodies import rewritten
from worker.sandbox.kinds import FACTS, ObjectKind, Target, read_target

_SERVED = frozenset({ObjectKind.RESPONSE, ObjectKind.FILE, ObjectKind.THREAD, ObjectKind.MESSAGE})
_PREFIX = FACTS[ObjectKind.RESPONSE].prefix
_WRAPPED = re.compile(r"litellm:custom_llm_provider:openai;model_id:sandbox-[0-9]+;response_id:(?P<id>.+)")


class GatewayFront:
    """ASGI middleware between the gate and the routes."""

    def __init__(self, app: ASGIApp, *, opaque: bool = False) -> None:
        self._app = app
        self._opaque = opaque
        self._calls = count()
        self._sealed: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on with the provider's id."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        target = read_target(scope["method"], scope["path"])
        if target.kind not in _SERVED:
            await no_route()(scope, receive, send)
        elif target.family is ObjectKind.THREAD:
            await self._thread(target, scope, receive, send)
        elif target.kind is ObjectKind.RESPONSE:
            await self._response(target, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _thread(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        if target.method == "DELETE":
            await wrong_method(target)(scope, receive, send)
            return
        absent = False

        async def sent(message: Message) -> None:
            nonlocal absent
            if message["type"] == "http.response.start":
                absent = message["status"] == 404  # noqa: PLR2004 - RFC 9110
            if not absent:
                await send(message)

        await self._app(scope, receive, sent)
        if absent:
            await PlainTextResponse("Internal Server Error", status_code=500)(scope, receive, send)

    async def _response(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        if target.object_id is not None:
            own = self._sealed.get(target.object_id) if self._opaque else _unwrapped(target.object_id)
            if own is None:
                await error(400, "There are no healthy deployments for this model.")(scope, receive, send)
                return
            scope = {**scope, "path": scope["path"].replace(target.object_id, own), "raw_path": b""}
        # A deletion is answered with the provider's id, everything else with a new one of the gateway.
        await self._app(scope, receive, send if target.method == "DELETE" else rewritten(send, self._wrap))

    def _wrap(self, body: bytes) -> bytes:
        answer = json.loads(body)
        if not isinstance(answer.get("id"), str):
            return body
        answer["id"] = self._seal(answer["id"]) if self._opaque else self._named(answer["id"])
        return json.dumps(answer).encode()

    def _seal(self, own: str) -> str:
        made = _PREFIX + hashlib.sha256(f"{next(self._calls)} {own}".encode()).hexdigest()
        self._sealed[made] = own
        return made

    def _named(self, own: str) -> str:
        told = f"litellm:custom_llm_provider:openai;model_id:sandbox-{next(self._calls)};response_id:{own}"
        return _PREFIX + base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def _unwrapped(object_id: str) -> str | None:
    """Return the provider's id inside the gateway's, or None if it is not one of the gateway's."""
    text = object_id.removeprefix(_PREFIX)
    try:
        told = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    match = _WRAPPED.fullmatch(told)
    return match["id"] if match else None
