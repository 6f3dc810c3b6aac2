"""The application: routes, the edge around them, and one handler for every refusal."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from fastapi.telemetry import TelemetryConfig
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException

from worker.flows.key import Principal
from worker.http.description import describe, operation_id
from worker.http.edge import Edge
from worker.http.lists import Answer
from worker.http.problems import answer_problem
from worker.http.readiness import Watch
from worker.http.routes import (
    audit,
    bulk,
    changes,
    docs,
    erasures,
    exports,
    failures,
    health,
    holds,
    keys,
    metrics,
    policies,
    previews,
    sweeps,
    switches,
    threads,
)
from worker.http.services import Services
from worker.model.errors import TenureError
from worker.telemetry import traces

# Bulk stands before threads, so that "bulk" is never taken for an id.
_WITH_KEY = (
    bulk,
    changes,
    threads,
    holds,
    erasures,
    policies,
    previews,
    sweeps,
    failures,
    switches,
    keys,
    audit,
    exports,
)


# Asked every few seconds by machines that want no trace.
_NO_SPANS = frozenset({"/healthz", "/readyz", "/metrics"})


class _App(FastAPI):
    """FastAPI with a description that tells every status, and which scopes a route asks for."""

    def openapi(self) -> dict[str, Any]:
        return describe(self, [module.router for module in _WITH_KEY])


def _telemetry() -> TelemetryConfig:
    """Return what the framework may tell of a request: spans, and only where this process makes any.

    Its logs would hold the words of errors, and its own set-up would send what `telemetry.listed` keeps back.
    """
    tracer = traces.tracing()
    return {
        "tracing": tracer is not None,
        "tracer_provider": tracer.provider if tracer else None,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: scope.get("path") in _NO_SPANS,
    }


def create_app(services: Services, *, local: Principal | None = None) -> FastAPI:
    """Make the application; with ``local`` no key is asked for, and that principal is who calls."""
    app = _App(
        title="Tenure",
        version=services.version,
        description="Decides how long an AI provider may keep a thread, deletes it, and proves what it saw.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=Answer,
        generate_unique_id_function=operation_id,
        telemetry=_telemetry(),
    )
    app.state.services = services
    app.state.registrar = threads.registrar_of(services)
    app.state.watch = Watch(services.database, services.ask_redis)
    key = Depends(HTTPBearer(auto_error=False, description="tnr_<id>_<secret>_<crc>"))
    for module in _WITH_KEY:
        app.include_router(module.router, dependencies=[key])
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(docs.router)
    for refusal in (TenureError, HTTPException, RequestValidationError, DBAPIError, PoolExhausted):
        app.add_exception_handler(refusal, answer_problem)
    app.add_middleware(Edge, services=services, local=local)
    return app
