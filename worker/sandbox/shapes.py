"""Stored objects as the provider's JSON, and what may be stored of a conversation from a request's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.sandbox.kinds import FACTS, ObjectKind
from worker.sandbox.store import StoredObject

CANNED_ANSWER = "This is a canned answer of the Tenure sandbox; no model was asked."
_NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def shown(stored: StoredObject) -> dict[str, Any]:
    """Return an object as its GET shows it.

    Conversation items and messages of a completion have neither literal nor date; a completion calls
    its date ``created``.
    """
    if stored.kind in {ObjectKind.ITEM, ObjectKind.COMPLETION_MESSAGE}:
        return {"id": stored.id, **stored.fields}
    date = "created" if stored.kind is ObjectKind.CHAT_COMPLETION else "created_at"
    facts = {"id": stored.id, "object": FACTS[stored.kind].literal, date: stored.created_at}
    if stored.kind in {ObjectKind.AGENT_SESSION, ObjectKind.CONTAINER, ObjectKind.VECTOR_STORE}:
        facts["last_active_at"] = stored.created_at
    return {**facts, **stored.fields}


def item_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Take a conversation item as the Conversations API accepts it: text or a list of parts."""
    role = str(given.get("role", "user"))
    part_type = "output_text" if role == "assistant" else "input_text"
    content = given.get("content", "")
    parts = [{"type": part_type, "text": content}] if isinstance(content, str) else content
    return {
        **{name: value for name, value in given.items() if name != "id"},
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


def completion_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a finished chat completion without any model."""
    answer: dict[str, Any] = {
        "role": "assistant",
        "content": CANNED_ANSWER,
        "refusal": None,
        "annotations": [],
    }
    return {
        "model": str(given.get("model") or "sandbox"),
        "choices": [{"index": 0, "message": answer, "finish_reason": "stop", "logprobs": None}],
        "usage": _NO_TOKENS,
        "metadata": given.get("metadata") or {},
        "service_tier": "default",
    }


def completion_message_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Take a message as a stored completion lists it."""
    content = given.get("content")
    parts = content if isinstance(content, list) else None
    text = content if isinstance(content, str) else None
    return {"role": str(given.get("role", "user")), "name": None, "content": text, "content_parts": parts}


def chatkit_thread_fields(*, user: str) -> dict[str, Any]:
    """Describe a ChatKit thread, which a ChatKit session makes for its user."""
    return {"status": {"type": "active"}, "title": None, "user": user}


def chatkit_item_fields(thread_id: str, text: str, attachment_id: str) -> dict[str, Any]:
    """Describe a user's message with one attachment, which is stored with it."""
    attachment = {
        "id": attachment_id,
        "mime_type": "text/plain",
        "name": "note.txt",
        "preview_url": None,
        "type": "file",
    }
    return {
        "type": "chatkit.user_message",
        "thread_id": thread_id,
        "content": [{"type": "input_text", "text": text}],
        "attachments": [attachment],
        "inference_options": None,
    }
