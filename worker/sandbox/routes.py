"""The provider's routes: every kind under ``/v1`` and below a Foundry project, threads with a list there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.sandbox import creation
from worker.sandbox import requests as asked
from worker.sandbox.agent_sessions import refuse_while_running, take_events
from worker.sandbox.answers import Refused, deletion, error, not_found
from worker.sandbox.faults import Fault
from worker.sandbox.kinds import CHILDREN, CONTAINERS, FACTS, ObjectKind
from worker.sandbox.pages import filtered, page_of
from worker.sandbox.store import StoredObject

Handler = Callable[[Request], Awaitable[Response]]
_LARGEST_FILE_PAGE = 10_000
FOUNDRY = "/api/projects/{project}"
_OPENAI = "/v1"
_API_VERSION = "api-version"

_CREATES: Mapping[ObjectKind, Handler] = {
    ObjectKind.THREAD: creation.create_thread,
    ObjectKind.CONVERSATION: creation.create_conversation,
    ObjectKind.RESPONSE: creation.create_response,
    ObjectKind.CHAT_COMPLETION: creation.create_completion,
    ObjectKind.AGENT_SESSION: creation.create_agent_session,
    ObjectKind.FILE: creation.create_file,
    ObjectKind.VECTOR_STORE: creation.create_vector_store,
    ObjectKind.CONTAINER: creation.create_container,
}
# What can be listed, and by which parameter of the query each list can be filtered.
_LISTS: Mapping[ObjectKind, Mapping[str, str]] = {
    ObjectKind.CHAT_COMPLETION: {"model": "model"},
    ObjectKind.CHATKIT_THREAD: {"user": "user"},
    ObjectKind.AGENT_SESSION: {"agent_id": "agent.id"},
    ObjectKind.FILE: {"purpose": "purpose"},
    ObjectKind.VECTOR_STORE: {},
    ObjectKind.CONTAINER: {"name": "name"},
}
_CHILD_CREATES: Mapping[ObjectKind, Handler] = {
    ObjectKind.THREAD: creation.add_message,
    ObjectKind.CONVERSATION: creation.add_items,
    ObjectKind.VECTOR_STORE: creation.attach_file,
}
# Of these the provider offers the list alone, not a single child.
_ONLY_LISTED = frozenset({ObjectKind.CHATKIT_ITEM, ObjectKind.COMPLETION_MESSAGE})
_OLDEST_FIRST = frozenset({ObjectKind.CHAT_COMPLETION, ObjectKind.COMPLETION_MESSAGE})


def provider_routes() -> list[Route]:
    """Return every route of the provider."""
    openai = [*_below(_OPENAI), *_below(f"{FOUNDRY}/openai{_OPENAI}")]
    threads = f"{FOUNDRY}/threads"
    foundry = [
        Route(threads, _versioned(_lists(ObjectKind.THREAD, {})), methods=["GET"]),
        *_kind_routes(FOUNDRY, ObjectKind.THREAD, wrap=_versioned),
    ]
    return [*openai, *foundry]


def _below(base: str) -> list[Route]:
    routes = [route for kind in CONTAINERS for route in _kind_routes(base, kind)]
    sessions = f"{base}/{FACTS[ObjectKind.AGENT_SESSION].path}"
    return [*routes, Route(f"{sessions}/{{id}}/events", take_events, methods=["POST"])]


def _kind_routes(
    base: str, kind: ObjectKind, *, wrap: Callable[[Handler], Handler] = lambda handler: handler
) -> list[Route]:
    path = f"{base}/{FACTS[kind].path}"
    own = f"{path}/{{id}}"
    routes = [
        Route(own, wrap(_reads(kind)), methods=["GET"]),
        Route(own, wrap(_deletes(kind)), methods=["DELETE"]),
    ]
    if kind in _CREATES:
        routes.append(Route(path, wrap(_CREATES[kind]), methods=["POST"]))
    if kind in _LISTS:
        routes.append(Route(path, wrap(_lists(kind, _LISTS[kind])), methods=["GET"]))
    if kind in CHILDREN:
        routes += _child_routes(own, kind, wrap)
    return routes


def _child_routes(own: str, parent_kind: ObjectKind, wrap: Callable[[Handler], Handler]) -> list[Route]:
    kind = CHILDREN[parent_kind]
    path = f"{own}/{FACTS[kind].path}"
    one = f"{path}/{{child_id}}"
    routes = [Route(path, wrap(_lists_children(parent_kind)), methods=["GET"])]
    if parent_kind in _CHILD_CREATES:
        routes.append(Route(path, wrap(_CHILD_CREATES[parent_kind]), methods=["POST"]))
    if kind not in _ONLY_LISTED:
        routes.append(Route(one, wrap(_reads_child(parent_kind)), methods=["GET"]))
        routes.append(Route(one, wrap(_deletes_child(parent_kind)), methods=["DELETE"]))
    return routes


def _versioned(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        if not request.query_params.get(_API_VERSION):
            missing = f"The query parameter '{_API_VERSION}' is required."
            raise Refused(error(400, missing, code="MissingApiVersionParameter"))
        return await handler(request)

    return answer


def _reads(kind: ObjectKind) -> Handler:
    async def read(request: Request) -> Response:
        return JSONResponse(asked.as_read(request, asked.visible(request, kind, request.path_params["id"])))

    return read


def _lists(kind: ObjectKind, fields: Mapping[str, str]) -> Handler:
    largest = _LARGEST_FILE_PAGE if kind is ObjectKind.FILE else 100
    order = "asc" if kind in _OLDEST_FIRST else "desc"

    async def page(request: Request) -> Response:
        rows = filtered(request, asked.all_visible(request, kind), fields)
        return page_of(request, rows, largest=largest, order=order)

    return page


def _deletes(kind: ObjectKind) -> Handler:
    async def delete(request: Request) -> Response:
        stored = asked.visible(request, kind, request.path_params["id"])
        refuse_while_running(stored)
        store, fault = asked.store_of(request), asked.fault_of(request)
        match fault:
            case Fault.LYING_200:
                return deletion(kind, stored.id)
            case Fault.DELETED_FALSE:
                return deletion(kind, stored.id, deleted=False)
            case Fault.WRONG_ID:
                return deletion(kind, store.ids.make(kind))
            case _:
                store.delete(kind, stored.id, reappears=fault is Fault.REAPPEARS)
                return deletion(kind, stored.id)

    return delete


def _lists_children(parent_kind: ObjectKind) -> Handler:
    order = "asc" if CHILDREN[parent_kind] in _OLDEST_FIRST else "desc"

    async def page(request: Request) -> Response:
        parent = asked.visible(request, parent_kind, request.path_params["id"])
        return page_of(request, asked.store_of(request).children(parent.id), order=order)

    return page


def _reads_child(parent_kind: ObjectKind) -> Handler:
    async def read(request: Request) -> Response:
        return JSONResponse(asked.as_read(request, _child(request, parent_kind)[1]))

    return read


def _deletes_child(parent_kind: ObjectKind) -> Handler:
    kind = CHILDREN[parent_kind]

    async def delete(request: Request) -> Response:
        parent, child = _child(request, parent_kind)
        store, fault = asked.store_of(request), asked.fault_of(request)
        if fault is Fault.DELETED_FALSE:
            return deletion(kind, child.id, deleted=False)
        if fault not in {Fault.LYING_200, Fault.WRONG_ID}:
            store.delete_child(parent.id, child.id, reappears=fault is Fault.REAPPEARS)
        # An item's DELETE is answered with the conversation it was in, any other with a deletion.
        if kind is ObjectKind.ITEM:
            return JSONResponse(asked.as_read(request, parent))
        return deletion(kind, store.ids.make(kind) if fault is Fault.WRONG_ID else child.id)

    return delete


def _child(request: Request, parent_kind: ObjectKind) -> tuple[StoredObject, StoredObject]:
    parent = asked.visible(request, parent_kind, request.path_params["id"])
    child_id = request.path_params["child_id"]
    child = asked.store_of(request).child(parent.id, child_id)
    if child is None:
        raise not_found(CHILDREN[parent_kind], child_id)
    return parent, child
