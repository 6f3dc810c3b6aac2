"""Stored objects as the provider's JSON, and what may be stored from a request's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.sandbox.kinds import ObjectKind
from worker.sandbox.store import StoredObject

CANNED_ANSWER = "This is a canned answer of the Tenure sandbox; no model was asked."
_LITERALS = {
    ObjectKind.THREAD: "thread",
    ObjectKind.CONVERSATION: "conversation",
    ObjectKind.RESPONSE: "response",
    ObjectKind.FILE: "file",
    ObjectKind.MESSAGE: "thread.message",
}


def shown(stored: StoredObject) -> dict[str, Any]:
    """Return an object as its GET shows it; conversation items have neither literal nor date."""
    if stored.kind is ObjectKind.ITEM:
        return {"id": stored.id, **stored.fields}
    return {
        "id": stored.id,
        "object": _LITERALS[stored.kind],
        "created_at": stored.created_at,
        **stored.fields,
    }


def item_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Take a conversation item as the Conversations API accepts it: text or a list of parts."""
    role = str(given.get("role", "user"))
    part_type = "output_text" if role == "assistant" else "input_text"
    content = given.get("content", "")
    parts = [{"type": part_type, "text": content}] if isinstance(content, str) else content
    return {
        **given,
        "type": given.get("type", "message"),
        "status": "completed",
        "role": role,
        "content": parts,
    }


def message_fields(thread_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Take a thread's message as the Assistants API accepts it."""
    content = given.get("content", "")
    parts = (
        [{"type": "text", "text": {"value": content, "annotations": []}}]
        if isinstance(content, str)
        else content
    )
    return {
        "thread_id": thread_id,
        "role": str(given.get("role", "user")),
        "content": parts,
        "assistant_id": None,
        "run_id": None,
        "attachments": given.get("attachments") or [],
        "metadata": given.get("metadata") or {},
    }


def response_fields(given: Mapping[str, Any], message_id: str) -> dict[str, Any]:
    """Make a finished response without any model."""
    conversation = conversation_of(given)
    text = {"type": "output_text", "text": CANNED_ANSWER, "annotations": []}
    message = {
        "id": message_id,
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [text],
    }
    return {
        "status": "completed",
        "model": str(given.get("model") or "sandbox"),
        "output": [message],
        "store": given.get("store", True) is not False,
        "conversation": {"id": conversation} if conversation else None,
        "previous_response_id": given.get("previous_response_id"),
        "metadata": given.get("metadata") or {},
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
    }


def conversation_of(given: Mapping[str, Any]) -> str | None:
    """Return the conversation that a response is to be attached to: an id, or an object with one."""
    named = given.get("conversation")
    found = named.get("id") if isinstance(named, Mapping) else named
    return found if isinstance(found, str) else None


def file_fields(*, filename: str, purpose: str, size: int) -> dict[str, Any]:
    """Describe an uploaded file; ``size`` is in bytes."""
    return {
        "bytes": size,
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        "expires_at": None,
    }
