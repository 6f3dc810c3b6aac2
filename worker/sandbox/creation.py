"""What the provider's POST requests make, and what is put into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.sandbox import requests as asked
from worker.sandbox.answers import bad_request
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.resource_shapes import (
    agent_session_fields,
    container_fields,
    file_fields,
    vector_store_fields,
)
from worker.sandbox.shapes import (
    CANNED_ANSWER,
    completion_fields,
    completion_message_fields,
    conversation_of,
    item_fields,
    message_fields,
    response_fields,
    shown,
)
from worker.sandbox.store import StoredObject


async def create_thread(request: Request) -> Response:
    """POST /threads ``{messages, metadata, tool_resources}``."""
    body = await asked.json_body(request)
    fields = {"metadata": body.get("metadata") or {}, "tool_resources": body.get("tool_resources") or {}}
    given = asked.objects_in(body, "messages")
    thread = _created(request, ObjectKind.THREAD, fields)
    asked.store_of(request).add_children(thread, [message_fields(thread.id, message) for message in given])
    return JSONResponse(shown(thread))


async def add_message(request: Request) -> Response:
    """POST /threads/{id}/messages ``{role, content}``."""
    thread = asked.visible(request, ObjectKind.THREAD, request.path_params["id"])
    fields = message_fields(thread.id, await asked.json_body(request))
    [message] = asked.store_of(request).add_children(thread, [fields])
    return JSONResponse(shown(message))


async def create_conversation(request: Request) -> Response:
    """POST /conversations ``{items, metadata}``; an item with the id of another conversation's is shared."""
    body = await asked.json_body(request)
    items = _items(request, asked.objects_in(body, "items"))
    fields = {"metadata": body.get("metadata") or {}}
    return JSONResponse(shown(_created(request, ObjectKind.CONVERSATION, fields, items)))


async def add_items(request: Request) -> Response:
    """POST /conversations/{id}/items ``{items}``."""
    conversation = asked.visible(request, ObjectKind.CONVERSATION, request.path_params["id"])
    body = await asked.json_body(request)
    given = _items(request, asked.objects_in(body, "items"))
    made = [shown(item) for item in asked.store_of(request).add_children(conversation, given)]
    ends = {"first_id": made[0]["id"] if made else None, "last_id": made[-1]["id"] if made else None}
    return JSONResponse({"object": "list", "data": made, **ends, "has_more": False})


async def create_response(request: Request) -> Response:
    """POST /responses ``{model, input, store, conversation}``: finished at once, kept if stored.

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


async def create_completion(request: Request) -> Response:
    """POST /chat/completions ``{model, messages, store, metadata}``: kept only where ``store`` is true."""
    body = await asked.json_body(request)
    messages = [completion_message_fields(given) for given in asked.objects_in(body, "messages")]
    made = _created(request, ObjectKind.CHAT_COMPLETION, completion_fields(body), messages)
    if body.get("store") is not True:
        asked.store_of(request).delete(ObjectKind.CHAT_COMPLETION, made.id)
    return JSONResponse(shown(made))


async def create_agent_session(request: Request) -> Response:
    """POST /agents/sessions ``{environment, agent_id, input, metadata}``: with input it runs at once."""
    body = await asked.json_body(request)
    fields = agent_session_fields(body, agent_id="agent_sandbox")
    return JSONResponse(shown(_created(request, ObjectKind.AGENT_SESSION, fields)))


async def create_file(request: Request) -> Response:
    """POST /files: multipart ``file`` and ``purpose``, or JSON ``{filename, purpose, content}``."""
    filename, purpose, size = await asked.upload(request)
    fields = file_fields(filename=filename, purpose=purpose, size=size)
    return JSONResponse(shown(_created(request, ObjectKind.FILE, fields)))


async def create_vector_store(request: Request) -> Response:
    """POST /vector_stores ``{name, file_ids, metadata, expires_after}``."""
    body = await asked.json_body(request)
    wanted = body.get("file_ids") or []
    if not isinstance(wanted, list):
        raise bad_request("Invalid type for 'file_ids': expected an array of strings.", param="file_ids")
    files = [asked.visible(request, ObjectKind.FILE, str(file_id)) for file_id in wanted]
    made = _created(request, ObjectKind.VECTOR_STORE, vector_store_fields(body))
    for file in files:
        asked.store_of(request).attach(made, file)
    return JSONResponse(asked.as_read(request, made))


async def attach_file(request: Request) -> Response:
    """POST /vector_stores/{id}/files ``{file_id}``."""
    vector_store = asked.visible(request, ObjectKind.VECTOR_STORE, request.path_params["id"])
    body = await asked.json_body(request)
    file = asked.visible(request, ObjectKind.FILE, str(body.get("file_id")))
    return JSONResponse(shown(asked.store_of(request).attach(vector_store, file)))


async def create_container(request: Request) -> Response:
    """POST /containers ``{name, expires_after, memory_limit}``."""
    fields = container_fields(await asked.json_body(request))
    return JSONResponse(shown(_created(request, ObjectKind.CONTAINER, fields)))


def _items(request: Request, given: list[dict[str, Any]]) -> list[Mapping[str, Any] | StoredObject]:
    """Take each item as a new one, or as the very one that its id names in another conversation."""
    taken: list[Mapping[str, Any] | StoredObject] = []
    for item in given:
        shared = _held_already(request, item["id"]) if isinstance(item.get("id"), str) else None
        taken.append(shared or item_fields(item))
    return taken


def _held_already(request: Request, item_id: str) -> StoredObject | None:
    store = asked.store_of(request)
    for holder in store.holders(item_id):
        conversation = store.get(ObjectKind.CONVERSATION, holder)
        if conversation is not None and conversation.is_visible_to(asked.project_of(request)):
            return store.child(holder, item_id)
    return None


def _created(
    request: Request,
    kind: ObjectKind,
    fields: Mapping[str, Any],
    children: Sequence[Mapping[str, Any] | StoredObject] = (),
) -> StoredObject:
    return asked.store_of(request).create(
        kind,
        fields=fields,
        created_at=asked.backdated(request),
        project=asked.project_of(request),
        children=children,
    )
