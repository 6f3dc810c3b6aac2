"""The provider's routes: threads, conversations, responses and files, under ``/v1``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.sandbox import requests as asked
from worker.sandbox.answers import deletion, not_found
from worker.sandbox.faults import Fault
from worker.sandbox.kinds import CHILDREN, ObjectKind
from worker.sandbox.shapes import (
    CANNED_ANSWER,
    conversation_of,
    file_fields,
    item_fields,
    message_fields,
    response_fields,
    shown,
)
from worker.sandbox.store import StoredObject

_LARGEST_FILE_PAGE = 10_000


def provider_routes() -> list[Route]:
    """Return every route of the provider."""
    return [
        Route("/v1/threads", create_thread, methods=["POST"]),
        *_read_and_delete("/v1/threads", ObjectKind.THREAD),
        *_children("/v1/threads", "messages", ObjectKind.THREAD),
        Route("/v1/threads/{id}/messages", add_message, methods=["POST"]),
        Route("/v1/conversations", create_conversation, methods=["POST"]),
        *_read_and_delete("/v1/conversations", ObjectKind.CONVERSATION),
        *_children("/v1/conversations", "items", ObjectKind.CONVERSATION),
        Route("/v1/conversations/{id}/items", add_items, methods=["POST"]),
        Route("/v1/responses", create_response, methods=["POST"]),
        *_read_and_delete("/v1/responses", ObjectKind.RESPONSE),
        Route("/v1/files", create_file, methods=["POST"]),
        Route("/v1/files", list_files, methods=["GET"]),
        *_read_and_delete("/v1/files", ObjectKind.FILE),
    ]


async def create_thread(request: Request) -> Response:
    """POST /v1/threads ``{messages, metadata, tool_resources}``."""
    body = await asked.json_body(request)
    fields = {"metadata": body.get("metadata") or {}, "tool_resources": body.get("tool_resources") or {}}
    given = asked.objects_in(body, "messages")
    thread = _created(request, ObjectKind.THREAD, fields)
    asked.store_of(request).add_children(thread, [message_fields(thread.id, message) for message in given])
    return JSONResponse(shown(thread))


async def add_message(request: Request) -> Response:
    """POST /v1/threads/{id}/messages ``{role, content}``."""
    thread = asked.visible(request, ObjectKind.THREAD, request.path_params["id"])
    fields = message_fields(thread.id, await asked.json_body(request))
    [message] = asked.store_of(request).add_children(thread, [fields])
    return JSONResponse(shown(message))


async def create_conversation(request: Request) -> Response:
    """POST /v1/conversations ``{items, metadata}``."""
    body = await asked.json_body(request)
    items = [item_fields(given) for given in asked.objects_in(body, "items")]
    fields = {"metadata": body.get("metadata") or {}}
    return JSONResponse(shown(_created(request, ObjectKind.CONVERSATION, fields, items)))


async def add_items(request: Request) -> Response:
    """POST /v1/conversations/{id}/items ``{items}``."""
    conversation = asked.visible(request, ObjectKind.CONVERSATION, request.path_params["id"])
    body = await asked.json_body(request)
    given = [item_fields(item) for item in asked.objects_in(body, "items")]
    made = [shown(item) for item in asked.store_of(request).add_children(conversation, given)]
    ends = {"first_id": made[0]["id"] if made else None, "last_id": made[-1]["id"] if made else None}
    return JSONResponse({"object": "list", "data": made, **ends, "has_more": False})


async def create_response(request: Request) -> Response:
    """POST /v1/responses ``{model, input, store, conversation}``: finished at once, kept if stored.

    One that names a conversation leaves its input and answer there as items, and they outlive it.
    """
    body = await asked.json_body(request)
    store = asked.store_of(request)
    fields = response_fields(body, store.ids.make(ObjectKind.ITEM))
    if (named := conversation_of(body)) is not None:
        conversation = asked.visible(request, ObjectKind.CONVERSATION, named)
        answer = {"role": "assistant", "content": CANNED_ANSWER}
        exchange = [{"role": "user", "content": body.get("input", "")}, answer]
        store.add_children(conversation, [item_fields(item) for item in exchange])
    made = _created(request, ObjectKind.RESPONSE, fields)
    if not fields["store"]:
        store.delete(ObjectKind.RESPONSE, made.id)
    return JSONResponse(shown(made))


async def create_file(request: Request) -> Response:
    """POST /v1/files: multipart ``file`` and ``purpose``, or JSON ``{filename, purpose, content}``."""
    filename, purpose, size = await asked.upload(request)
    fields = file_fields(filename=filename, purpose=purpose, size=size)
    return JSONResponse(shown(_created(request, ObjectKind.FILE, fields)))


async def list_files(request: Request) -> Response:
    """GET /v1/files."""
    project = asked.project_of(request)
    files = [file for file in asked.store_of(request).every(ObjectKind.FILE) if file.is_visible_to(project)]
    return asked.page_of(request, files, largest=_LARGEST_FILE_PAGE)


def _created(
    request: Request,
    kind: ObjectKind,
    fields: dict[str, object],
    children: list[dict[str, object]] | None = None,
) -> StoredObject:
    return asked.store_of(request).create(
        kind,
        fields=fields,
        created_at=asked.backdated(request),
        project=asked.project_of(request),
        children=children or (),
    )


def _read_and_delete(path: str, kind: ObjectKind) -> list[Route]:
    async def read(request: Request) -> Response:
        return JSONResponse(shown(asked.visible(request, kind, request.path_params["id"])))

    async def delete(request: Request) -> Response:
        stored = asked.visible(request, kind, request.path_params["id"])
        match asked.fault_of(request):
            case Fault.LYING_200:
                return deletion(kind, stored.id)
            case Fault.DELETED_FALSE:
                return deletion(kind, stored.id, deleted=False)
            case _:
                asked.store_of(request).delete(kind, stored.id)
                return deletion(kind, stored.id)

    own = f"{path}/{{id}}"
    return [Route(own, read, methods=["GET"]), Route(own, delete, methods=["DELETE"])]


def _children(path: str, collection: str, parent_kind: ObjectKind) -> list[Route]:
    kind = CHILDREN[parent_kind]

    async def page(request: Request) -> Response:
        parent = asked.visible(request, parent_kind, request.path_params["id"])
        return asked.page_of(request, asked.store_of(request).children(parent.id))

    async def read(request: Request) -> Response:
        return JSONResponse(shown(_child(request, parent_kind)[1]))

    async def delete(request: Request) -> Response:
        parent, child = _child(request, parent_kind)
        fault = asked.fault_of(request)
        if fault is Fault.DELETED_FALSE:
            return deletion(kind, child.id, deleted=False)
        if fault is not Fault.LYING_200:
            asked.store_of(request).delete_child(parent.id, child.id)
        # An item's DELETE is answered with the conversation it was in, a message's with a deletion.
        return JSONResponse(shown(parent)) if kind is ObjectKind.ITEM else deletion(kind, child.id)

    all_of_them, one = f"{path}/{{id}}/{collection}", f"{path}/{{id}}/{collection}/{{child_id}}"
    return [
        Route(all_of_them, page, methods=["GET"]),
        Route(one, read, methods=["GET"]),
        Route(one, delete, methods=["DELETE"]),
    ]


def _child(request: Request, parent_kind: ObjectKind) -> tuple[StoredObject, StoredObject]:
    parent = asked.visible(request, parent_kind, request.path_params["id"])
    child_id = request.path_params["child_id"]
    child = asked.store_of(request).child(parent.id, child_id)
    if child is None:
        raise not_found(CHILDREN[parent_kind], child_id)
    return parent, child
