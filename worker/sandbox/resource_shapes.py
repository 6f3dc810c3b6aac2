"""What may be stored of files, vector stores, containers and agent sessions from a request's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RUNNING = "in_progress"
IDLE = "idle"


def file_fields(*, filename: str, purpose: str, size: int) -> dict[str, Any]:
    """Describe an uploaded file; ``size`` is in bytes."""
    return {
        "bytes": size,
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        "expires_at": None,
    }


def vector_store_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a vector store; its file counts are taken when it is shown."""
    return {
        "name": str(given.get("name") or ""),
        "usage_bytes": 0,
        "status": "completed",
        "expires_after": given.get("expires_after"),
        "expires_at": None,
        "metadata": given.get("metadata") or {},
    }


def file_counts(number: int) -> dict[str, int]:
    """Count the files of a vector store, all of them read at once."""
    return {"in_progress": 0, "completed": number, "failed": 0, "cancelled": 0, "total": number}


def container_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a container, which OpenAI ends after 20 idle minutes unless told otherwise."""
    return {
        "name": str(given.get("name") or "sandbox"),
        "status": "running",
        "expires_after": given.get("expires_after") or {"anchor": "last_active_at", "minutes": 20},
        "memory_limit": given.get("memory_limit") or "1g",
        "network_policy": {"type": "disabled"},
    }


def agent_session_fields(given: Mapping[str, Any], *, agent_id: str) -> dict[str, Any]:
    """Describe an agent session; one with input runs until it is cancelled, as no model ends its turn."""
    agent: dict[str, Any] = {
        "id": str(given.get("agent_id") or agent_id),
        "name": None,
        "instructions": None,
        "model": "sandbox",
        "multi_agent": {"enabled": False},
        "reasoning": {"effort": None},
        "service_tier": "auto",
        "text": {"format": {"type": "text"}},
        "tools": [],
    }
    return {
        "agent": agent,
        "environment": given.get("environment") or {"type": "none"},
        "error": None,
        "metadata": given.get("metadata") or {},
        "required_actions": [],
        "status": RUNNING if given.get("input") else IDLE,
        "usage": None,
        "vault_ids": given.get("vault_ids") or [],
    }
