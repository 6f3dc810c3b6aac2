"""The sandbox as an ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from worker.sandbox.answers import Refused, invalid_url, wrong_method
from worker.sandbox.control import control_routes
from worker.sandbox.dialects import Dialect
from worker.sandbox.fault_book import FaultBook
from worker.sandbox.gate import Gate
from worker.sandbox.gateway import GatewayFront
from worker.sandbox.kinds import read_target
from worker.sandbox.options import SandboxOptions
from worker.sandbox.organization import organization_routes
from worker.sandbox.post import GatePost
from worker.sandbox.request_log import RequestLog
from worker.sandbox.routes import provider_routes
from worker.sandbox.store import SandboxStore


def create_app(options: SandboxOptions, *, store: SandboxStore | None = None) -> Starlette:
    """Return the app; its ``state`` holds ``store``, ``log``, ``faults`` and ``post``.

    The faults that drop a connection need SandboxServer, which can reach it.
    """
    store = store or SandboxStore(seed=options.seed, reappears_after=options.reappears_after)
    faults = FaultBook(options.faults)
    log = RequestLog(options.keep_requests)
    post = GatePost(options=options, ids=store.ids, faults=faults, log=log)
    dialect, gateway = options.dialect, list[Middleware]()
    if dialect in {Dialect.GATEWAY, Dialect.GATEWAY_OPAQUE}:
        gateway = [Middleware(GatewayFront, opaque=dialect is Dialect.GATEWAY_OPAQUE)]
    app = Starlette(
        routes=[*provider_routes(), *organization_routes(), *control_routes()],
        middleware=[Middleware(Gate, post=post), *gateway],
        exception_handlers={Refused: _refused, HTTPException: _unserved},
    )
    app.router.redirect_slashes = False
    app.state.store, app.state.log, app.state.faults, app.state.post = store, log, faults, post
    return app


async def _refused(_request: Request, refused: Exception) -> Response:
    if not isinstance(refused, Refused):
        raise refused
    return refused.answer


async def _unserved(request: Request, unserved: Exception) -> Response:
    target = read_target(request.method, request.url.path)
    is_method = isinstance(unserved, HTTPException) and unserved.status_code == 405  # noqa: PLR2004 - RFC 9110
    return wrong_method(target) if is_method else invalid_url(target)
