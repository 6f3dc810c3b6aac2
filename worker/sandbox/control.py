"""Sandbox-only addresses, outside ``/v1``: look at the truth, read the request log, change faults, seed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from worker.model.errors import Invalid
from worker.sandbox import requests as asked
from worker.sandbox.answers import LANDING, bad_request, landing
from worker.sandbox.fault_book import FaultBook
from worker.sandbox.faults import parse_faults
from worker.sandbox.kinds import CONTAINERS, ObjectKind
from worker.sandbox.request_log import RequestLog
from worker.sandbox.samples import make_sample

__all__ = ["control_routes", "make_sample"]

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
        Route("/sandbox/reappear", reappear, methods=["POST"]),
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
            "reappearing_ids": list(state.reappearing),
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
    """POST /sandbox/seed: make many of a kind and answer their ids.

    ``{kind, count, children, created_at, project, fields}``; ``fields`` replace those of the sample, such
    as ``{"status": "in_progress"}`` for an agent session that runs.
    """
    body = await asked.json_body(request)
    kind, number, children = body.get("kind"), body.get("count", 1), body.get("children", 0)
    if kind not in {container.value for container in CONTAINERS}:
        raise bad_request(f"'kind' must be one of {', '.join(CONTAINERS)}.", param="kind")
    if not _is_count(number) or not _is_count(children):
        raise bad_request(
            f"'count' and 'children' must be integers from 0 to {_LARGEST_SEED}.", param="count"
        )
    fields = body.get("fields", {})
    if not isinstance(fields, dict):
        raise bad_request("'fields' must be a JSON object.", param="fields")
    created_at = asked.unix_seconds(str(body["created_at"])) if "created_at" in body else None
    store = asked.store_of(request)
    ids = [
        make_sample(
            store,
            ObjectKind(kind),
            created_at=created_at,
            project=body.get("project"),
            children=children,
            fields=fields,
        )
        for _ in range(number)
    ]
    return JSONResponse({"ids": ids})


async def reappear(request: Request) -> Response:
    """POST /sandbox/reappear: bring back at once what was deleted under the fault ``reappears``."""
    return JSONResponse({"ids": list(asked.store_of(request).reappear())})


async def land(request: Request) -> Response:
    """Answer whoever followed the fault ``redirect``."""
    return landing(request.query_params)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_SEED
