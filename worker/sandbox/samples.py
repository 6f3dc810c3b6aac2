"""Sample objects of every kind, for seeding a sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from worker.sandbox.kinds import CHILDREN, ObjectKind
from worker.sandbox.resource_shapes import (
    agent_session_fields,
    container_fields,
    file_fields,
    vector_store_fields,
)
from worker.sandbox.shapes import (
    chatkit_item_fields,
    chatkit_thread_fields,
    completion_fields,
    completion_message_fields,
    item_fields,
    message_fields,
    response_fields,
)
from worker.sandbox.store import SandboxStore, StoredObject

_GIVEN = {"role": "user", "content": "a sample"}


def make_sample(
    store: SandboxStore,
    kind: ObjectKind,
    *,
    created_at: int | None = None,
    project: str | None = None,
    children: int = 0,
    fields: Mapping[str, Any] | None = None,
) -> str:
    """Make one container with sample content and return its id.

    ``fields`` replace those of the sample. Children are made where the kind has some; those of a vector
    store are files of their own.
    """
    content = {**_SAMPLES[kind](store), **(fields or {})}
    made = store.create(kind, fields=content, created_at=created_at, project=project)
    if kind is ObjectKind.VECTOR_STORE:
        for _ in range(children):
            file = store.create(ObjectKind.FILE, fields=_SAMPLES[ObjectKind.FILE](store), project=project)
            store.attach(made, file)
    elif kind in CHILDREN:
        store.add_children(made, [_sample_child(store, made) for _ in range(children)])
    return made.id


_SAMPLES: Mapping[ObjectKind, Callable[[SandboxStore], dict[str, Any]]] = {
    ObjectKind.THREAD: lambda _store: {"metadata": {}, "tool_resources": {}},
    ObjectKind.CONVERSATION: lambda _store: {"metadata": {}},
    ObjectKind.RESPONSE: lambda store: response_fields({"model": "sandbox"}, store.ids.make(ObjectKind.ITEM)),
    ObjectKind.CHAT_COMPLETION: lambda _store: completion_fields({"model": "sandbox"}),
    ObjectKind.CHATKIT_THREAD: lambda _store: chatkit_thread_fields(user="user_sandbox"),
    ObjectKind.AGENT_SESSION: lambda _store: agent_session_fields({}, agent_id="agent_sandbox"),
    ObjectKind.FILE: lambda _store: file_fields(filename="sample.txt", purpose="user_data", size=6),
    ObjectKind.VECTOR_STORE: lambda _store: vector_store_fields({"name": "sample"}),
    ObjectKind.CONTAINER: lambda _store: container_fields({"name": "sample"}),
}


def _sample_child(store: SandboxStore, parent: StoredObject) -> dict[str, Any]:
    match parent.kind:
        case ObjectKind.THREAD:
            return message_fields(parent.id, _GIVEN)
        case ObjectKind.CHATKIT_THREAD:
            return chatkit_item_fields(parent.id, _GIVEN["content"], store.ids.attachment())
        case ObjectKind.CHAT_COMPLETION:
            return completion_message_fields(_GIVEN)
        case _:
            return item_fields(_GIVEN)
