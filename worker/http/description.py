"""The OpenAPI description: what every route answers, whom it asks for, and an example of each body.

Rules, not lists, so that a new route is described like the others: a route with a key answers 401 and 403,
one with an id 404, one that is told something 400, 408, 409, 413 and 415. A route adds its own
(`responses=`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from worker.http.auth import Needs
from worker.http.problems import MEDIA_TYPE, ProblemShape

# What a route says of itself beyond the rules is a problem too from here on.
_LEAST_PROBLEM = 400
_WRITES = frozenset({"post", "put", "patch"})
_TITLES = {
    400: "Malformed JSON, or gzip that breaks off.",
    401: "There is no valid API key.",
    403: "The key lacks a scope or a project.",
    404: "Nothing is there that this key may see.",
    408: "The body did not go on.",
    409: "It stands otherwise than the request takes it to.",
    412: "It was changed since its ETag was read.",
    413: "The body is too large.",
    415: "The body has another type.",
    422: "A field or parameter is not valid; `errors` points to each.",
    428: "`If-Match` is missing.",
    429: "Too many requests; `Retry-After` says when to come back.",
    431: "The address and the headers are too long.",
    500: "Something broke inside Tenure.",
    503: "A service that Tenure needs does not answer, or no policies are in force yet.",
}
_EXAMPLE = {
    "type": "/docs/problems/not_found",
    "title": "Nothing is there",
    "status": 404,
    "detail": "No thread has this id. `tenure threads list` shows them.",
    "instance": "/v1/threads/conv_unknown",
    "code": "not_found",
    "request_id": "req_0193a1b2c3d47e5f8a9b0c1d2e3f4a5b",
    "errors": [],
}
Node = MutableMapping[str, Any]


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> dict[str, Any]:
    """Return the description of all routes; made once, since routes never change while it serves."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version="v1",
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        parts = made.setdefault("components", {})
        schemas = parts.setdefault("schemas", {})
        problem = ProblemShape.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs", {})
        schemas["Problem"] = problem | {"example": _EXAMPLE}
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        scopes = dict(_scopes(routers))
        for path, method, operation in _operations(made):
            _complete(path, method, operation, scopes.get(operation["operationId"], ()))
        app.openapi_schema = made
    return app.openapi_schema


def _operations(made: Mapping[str, Any]) -> Iterator[tuple[str, str, Node]]:
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _scopes(routers: Sequence[APIRouter]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the scopes of each operation, any of which is enough."""
    for route in (one for router in routers for one in router.routes if isinstance(one, APIRoute)):
        for one in route.dependant.dependencies:
            if isinstance(one.call, Needs):
                yield operation_id(route), one.call.scopes


def operation_id(route: APIRoute) -> str:
    """Return the name of a route in generated clients: `register_thread` is `registerThread`."""
    head, *rest = route.name.split("_")
    return head + "".join(part.title() for part in rest)


def _complete(path: str, method: str, operation: Node, scopes: Sequence[str]) -> None:
    statuses = [431, 500, 503]
    if path.startswith("/v1/"):
        # Role names: OpenAPI 3.1 allows them beside any scheme. Of several entries one is enough.
        operation["security"] = [{"HTTPBearer": [scope]} for scope in scopes]
        statuses += [401, 403, 422, 429]
    if "{" in path:
        statuses.append(404)
    if method in _WRITES:
        statuses += [400, 404, 408, 409, 413, 415]
    answers: Node = operation["responses"]
    answers.pop("default", None)
    own = [int(one) for one in answers if int(one) >= _LEAST_PROBLEM]
    for status in (*statuses, *own):
        answers[str(status)] = {
            "description": _TITLES.get(status, "A problem."),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    operation["responses"] = dict(sorted(answers.items()))
