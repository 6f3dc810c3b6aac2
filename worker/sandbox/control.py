"""Sandbox-only addresses, outside ``/v1``: look at the truth, read the request log, change faults, seed."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from worker.model.errors import Invalid
from worker.sandbox import requests as asked
from worker.sandbox.answers import LANDING, bad_request, landing
from worker.sandbox.fault_book import FaultBook
from worker.sandbox.faults import parse_faults
from worker.sandbox.kinds import CHILDREN, CONTAINERS, ObjectKind
from worker.sandbox.request_log import RequestLog
from worker.sandbox.shapes import file_fields, item_fields, message_fields, response_fields
from worker.sandbox.store import SandboxStore

_LARGEST_SEED = 100_000


def control_routes() -> list[Route]:
    """Return every sandbox-only route; none of them asks for a key."""
    return [
        Route("/", greet, methods=["GET"]),
        Route("/sandbox/state", show_state, methods=["GET"]),
        Route("/sandbox/requests", show_requests, methods=["GET"]),
        Route("/sandbox/faults", show_faults, methods=["GET"]),
        Route("/sandbox/faults", change_faults, methods=["POST"]),
        Route("/sandbox/seed", seed, methods=["POST"]),
        Route(LANDING, land, methods=["GET", "POST", "DELETE"]),
    ]


async def greet(_request: Request) -> Response:
    """GET /: say what this is."""
    return PlainTextResponse("Tenure sandbox: nothing here is a real provider\n")


async def show_state(request: Request) -> Response:
    """GET /sandbox/state: counts and ids by kind, and what deleted conversations left behind."""
    state = asked.store_of(request).state()
    return JSONResponse(
        {
            "object": "sandbox.state",
            "live": {kind: len(ids) for kind, ids in state.live.items()},
            "children": state.children,
            "orphaned_items": len(state.orphaned_items),
            "ids": {kind: list(ids) for kind, ids in state.live.items()},
            "orphaned_item_ids": list(state.orphaned_items),
        }
    )


async def show_requests(request: Request) -> Response:
    """GET /sandbox/requests?since=N: the requests after number N, oldest first, without secrets."""
    since = request.query_params.get("since", "0")
    if not since.isdigit():
        raise bad_request("'since' is the number of a request.", param="since")
    log: RequestLog = request.app.state.log
    return JSONResponse({"object": "list", "data": [entry.as_json() for entry in log.since(int(since))]})


async def show_faults(request: Request) -> Response:
    """GET /sandbox/faults: the faults in force."""
    book: FaultBook = request.app.state.faults
    return JSONResponse({"faults": [str(rule) for rule in book.rules()]})


async def change_faults(request: Request) -> Response:
    """POST /sandbox/faults ``{"faults": ["lost-reply:conversation*1"]}``: these and no others."""
    names = (await asked.json_body(request)).get("faults")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise bad_request(
            "'faults' must be an array of names; an empty one ends every fault.", param="faults"
        )
    try:
        rules = parse_faults(names)
    except Invalid as unknown:
        raise bad_request(str(unknown), param="faults") from unknown
    request.app.state.faults.replace(rules)
    return await show_faults(request)


async def seed(request: Request) -> Response:
    """POST /sandbox/seed ``{kind, count, children, created_at, project}``: make many, answer their ids."""
    body = await asked.json_body(request)
    kind, number, children = body.get("kind"), body.get("count", 1), body.get("children", 0)
    if kind not in {container.value for container in CONTAINERS}:
        raise bad_request(f"'kind' must be one of {', '.join(CONTAINERS)}.", param="kind")
    if not _is_count(number) or not _is_count(children):
        raise bad_request(
            f"'count' and 'children' must be integers from 0 to {_LARGEST_SEED}.", param="count"
        )
    created_at = asked.unix_seconds(str(body["created_at"])) if "created_at" in body else None
    store = asked.store_of(request)
    ids = [
        make_sample(
            store, ObjectKind(kind), created_at=created_at, project=body.get("project"), children=children
        )
        for _ in range(number)
    ]
    return JSONResponse({"ids": ids})


async def land(_request: Request) -> Response:
    """Answer whoever followed the fault ``redirect``."""
    return landing()


def make_sample(
    store: SandboxStore,
    kind: ObjectKind,
    *,
    created_at: int | None = None,
    project: str | None = None,
    children: int = 0,
) -> str:
    """Make one container with sample content and return its id; only two kinds take children."""
    made = store.create(kind, fields=_sample_fields(store, kind), created_at=created_at, project=project)
    if kind in CHILDREN:
        store.add_children(made, [_sample_child(kind, made.id) for _ in range(children)])
    return made.id


def _sample_fields(store: SandboxStore, kind: ObjectKind) -> dict[str, Any]:
    match kind:
        case ObjectKind.FILE:
            return file_fields(filename="sample.txt", purpose="user_data", size=6)
        case ObjectKind.RESPONSE:
            return response_fields({"model": "sandbox"}, store.ids.make(ObjectKind.ITEM))
        case ObjectKind.THREAD:
            return {"metadata": {}, "tool_resources": {}}
        case _:
            return {"metadata": {}}


def _sample_child(kind: ObjectKind, parent_id: str) -> dict[str, Any]:
    given = {"role": "user", "content": "a sample"}
    return message_fields(parent_id, given) if kind is ObjectKind.THREAD else item_fields(given)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_SEED
