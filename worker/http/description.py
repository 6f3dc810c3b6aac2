"""The OpenAPI description: what every route answers, whom it asks for, and an example of each body.

Rules, not lists, so that a new route is described like the others: a route with a key answers 401 and 403,
one with an id 404, one that is told something 400, 408, 409, 413 and 415; a POST and a PATCH take an
Idempotency-Key. A route adds its own (`responses=`); examples stand in `worker.http.examples`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from worker.http.auth import Needs
from worker.http.examples import ANSWERS, REQUESTS
from worker.http.examples.refusals import codes_of, problem
from worker.http.once import HEADER, METHODS, MOST_CHARACTERS, PATTERN, REPLAYED
from worker.http.problems import MEDIA_TYPE, ProblemShape

# What a route says of itself beyond the rules is a problem too from here on.
_LEAST_PROBLEM = 400
_WRITES = frozenset({"post", "put", "patch"})
_TITLES = {
    200: "Done.",
    201: "Made.",
    202: "Accepted: it is made meanwhile.",
    400: "Malformed JSON, gzip that breaks off, or an Idempotency-Key that is none.",
    401: "There is no valid API key.",
    403: "The key lacks a scope or a project.",
    404: "Nothing is there that this key may see.",
    408: "The body did not go on.",
    409: "It stands otherwise than the request takes it to, or the same request is under way.",
    410: "It was there, and is gone.",
    412: "It was changed since its ETag was read.",
    413: "The body is too large.",
    415: "The body has another type.",
    422: "A field or parameter is not valid (`errors` points to each), or the Idempotency-Key was used.",
    428: "`If-Match` is missing.",
    429: "Too many requests; `Retry-After` says when to come back.",
    431: "The address and the headers are too long.",
    500: "Something broke inside Tenure.",
    503: "A service that Tenure needs does not answer, or no policies are in force yet.",
}
_TAGS = {
    "threads": "Register, read, change and withdraw threads; everything else is about these.",
    "holds": "Indefinite protection for a matter. It beats every policy and erasure until it is released.",
    "erasures": "Orders to delete now, by owner or ids, and the receipt for each thread.",
    "policies": "The bundle in force.",
    "previews": "What a proposed bundle would do to the live registry, and the approval of one that loosens.",
    "sweeps": "Evaluations of one policy: the plan, its guards, its approval, and what came of it.",
    "failures": "What is parked for a person to look at.",
    "switches": "The pause of all deletions.",
    "keys": "API keys. A key never hands out what it lacks.",
    "audit": "The append-only log, its signed checkpoints, and exports that verify offline.",
    "operations": "For those who run Tenure; no key is asked for.",
}
_HEADERS: Mapping[str, tuple[str, str]] = {
    "X-Request-ID": (
        "The request's id: the one that was sent, or a new one. Problems and logs name it.",
        "string",
    ),
    "Retry-After": ("Seconds until it is worth asking again.", "integer"),
    "RateLimit": ("What is left of the key's limit, and seconds until it grows.", "string"),
    "RateLimit-Policy": ("The key's limit and its window in seconds.", "string"),
    "WWW-Authenticate": ("Asks for a bearer key.", "string"),
    "Location": ("Where the thread, or the export, is read.", "string"),
    "ETag": ("How it stands; a change of a thread sends it in `If-Match`.", "string"),
    REPLAYED: ("`true` where this answer was given before, and nothing was done again.", "string"),
    "Link": ('The next page, `rel="next"`, while there is one.', "string"),
}
_OF_STATUS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}
_OF_KEY: Mapping[int, tuple[str, ...]] = {409: ("Retry-After",)}
_OF_OPERATION: Mapping[str, tuple[str, ...]] = {
    "registerThread": ("Location", "ETag"),
    "getThread": ("ETag",),
    "changeThread": ("ETag",),
    "touchThread": ("ETag",),
    "createExport": ("Location", "Retry-After"),
    "getExport": ("Retry-After",),
    "getExportFile": ("ETag",),
}
_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": (
        "A new UUID for each thing to be done (draft-ietf-httpapi-idempotency-key-header). Sent again within"
        f" 24 hours, the same request gets the 2xx that it had, with `{REPLAYED}: true`; it is done once."
    ),
    "schema": {"type": "string", "pattern": PATTERN, "maxLength": MOST_CHARACTERS + 2},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
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
            tags=[{"name": name, "description": about} for name, about in _TAGS.items()],
        )
        parts = made.setdefault("components", {})
        _add_problem(parts.setdefault("schemas", {}))
        parts["headers"] = {
            name: {"description": about, "schema": {"type": type_}}
            for name, (about, type_) in _HEADERS.items()
        }
        parts["examples"] = examples = dict[str, Any]()
        scopes = dict(_scopes(routers))
        for path, method, operation in _operations(made):
            _complete(path, method, operation, scopes.get(operation["operationId"], ()))
            _show(operation, examples)
        app.openapi_schema = made
    return app.openapi_schema


def _add_problem(schemas: Node) -> None:
    made = ProblemShape.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(made.pop("$defs", {}))
    schemas["Problem"] = made
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


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
    if path.startswith("/v1/") and method.upper() in METHODS:
        _take_idempotency_key(operation)
    own = [int(one) for one in answers if int(one) >= _LEAST_PROBLEM]
    for status in (*statuses, *own):
        answers[str(status)] = {
            "description": _TITLES.get(status, "A problem."),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    operation["responses"] = dict(sorted(answers.items()))


def _show(operation: Node, examples: Node) -> None:
    """Give every body its examples, and every answer its headers."""
    name = operation["operationId"]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["examples"] = {what: {"value": body} for what, body in REQUESTS.get(name, {}).items()}
    for text, answer in operation["responses"].items():
        status = int(text)
        if answer["description"] == "Successful Response":
            answer["description"] = _TITLES[status]
        if status < _LEAST_PROBLEM:
            for media, body in ANSWERS.get(name, {}).get(status, {}).items():
                answer["content"][media]["example"] = body
        else:
            codes = codes_of(name, status, with_key=_has_key(operation))
            _show_problems(answer["content"][MEDIA_TYPE], codes, status, examples)
        answer["headers"] = {
            header: {"$ref": f"#/components/headers/{header}"} for header in _headers(operation, status)
        }


def _show_problems(content: Node, codes: Sequence[str], status: int, examples: Node) -> None:
    for code in codes:
        examples[code] = {"value": problem(code, status)}
    if codes:
        content["examples"] = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}


def _headers(operation: Node, status: int) -> tuple[str, ...]:
    own = _OF_OPERATION.get(operation["operationId"], ()) if status < _LEAST_PROBLEM else ()
    listed = status < _LEAST_PROBLEM and any(
        one["name"] == "limit" for one in operation.get("parameters", ())
    )
    keyed: tuple[str, ...] = ()
    if _has_key(operation):
        # A second one that comes too early is told when to come again.
        keyed = (REPLAYED,) if status < _LEAST_PROBLEM else _OF_KEY.get(status, ())
    return ("X-Request-ID", *own, *(("Link",) if listed else ()), *keyed, *_OF_STATUS.get(status, ()))


def _has_key(operation: Node) -> bool:
    return any(one["name"] == HEADER for one in operation.get("parameters", ()))


def _take_idempotency_key(operation: Node) -> None:
    operation.setdefault("parameters", []).append(dict(_IDEMPOTENCY_KEY))
