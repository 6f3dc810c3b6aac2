"""Examples of keys, the audit log, its exports, and the service's own health."""

from __future__ import annotations

from typing import Any

from worker.http.examples.base import BUNDLE, EXPORT, KEY, Answers, Json, Requests, json, page
from worker.http.examples.threads import ENTRY


def key(**other: Any) -> Json:  # noqa: ANN401 - as thread
    """Return a key without its text."""
    return {
        "id": KEY,
        "object": "key",
        "label": "support producer",
        "scopes": ["threads:read", "threads:write"],
        "projects": ["support-eu"],
        "created_at": "2026-11-20T07:10:00.004182Z",
        "expires_at": "2027-11-20T00:00:00Z",
        "revoked_at": None,
        "last_used_at": "2026-11-22T16:24:14.700032Z",
        **other,
    }


def text_of(key_id: str) -> str:
    """Return the text of a key, cut: an example must never look like one that leaked."""
    return f"tnr_{key_id}_…"


ASKED: Json = {
    "project": "support-eu",
    "from": "2026-11-01T00:00:00Z",
    "to": "2026-12-01T00:00:00Z",
    "owner": None,
    "erasure": None,
    "begin_at": 0,
    "with_policies": False,
    "anchors": {},
}


def export(**other: Any) -> Json:  # noqa: ANN401 - as thread
    """Return an export that nobody has begun."""
    return {
        "object": "export",
        "id": EXPORT,
        "project": "support-eu",
        "state": "queued",
        "asked": ASKED,
        "asked_by": f"key:{KEY}",
        "asked_at": "2026-12-01T08:00:00.118204Z",
        "progress": {"done": 0, "total": None},
        "made": None,
        "problem": None,
        "ended_at": None,
        "expires_at": None,
        "file": None,
        **other,
    }


READY_EXPORT = export(
    state="ready",
    progress={"done": 4200, "total": 4200},
    made={
        "bytes": 611840,
        "sha256": "7d1a5f0e9c8b7a6958473625140f9e8d7c6b5a49382716050f1e2d3c4b5a6978",
        "size": 4200,
        "root": "8d3d78da3c1fca29b6a5948372615040f1e2d3c4b5a697887766554433221100",
        "entries": 3100,
        "grades": {"confirmed": 612, "inferred": 3},
    },
    ended_at="2026-12-01T08:00:41.902117Z",
    expires_at="2026-12-02T08:00:41.902117Z",
    file=f"/v1/audit/exports/{EXPORT}/file",
)

_CHECKPOINT = {
    "object": "checkpoint",
    "size": 4200,
    "sealed_at": "2026-12-01T08:00:00.118204Z",
    "note": (
        "tenure.local/retention\n4200\njT142jwfyim2pZSDcmFQQPHi08S1ppd4h3ZlVEMyIRA=\n\n"
        "— tenure.local/retention <key hash and signature in base64>\n"
    ),
}
_SUCCESSOR = "mN4cR8sD1fG6"
_METRICS = """# HELP tenure_threads Threads by state.
# TYPE tenure_threads gauge
tenure_threads{state="live"} 1200.0
"""

REQUESTS: Requests = {
    "postKey": {
        "a producer": {
            "label": "support producer",
            "scopes": ["threads:write", "threads:read"],
            "projects": ["support-eu"],
            "expires_at": "2027-11-20T00:00:00Z",
        }
    },
    "postRotate": {"a day": {}, "until an instant": {"ends_at": "2026-11-23T06:00:00Z"}},
    "createExport": {
        "a month": {"project": "support-eu", "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"},
        "an owner": {"project": "support-eu", "owner": "customer-4711"},
    },
}

ANSWERS: Answers = {
    "postKey": {201: json({**key(last_used_at=None), "key": text_of(KEY)})},
    "getKeys": {200: json(page(key()))},
    "postRevoke": {200: json(key(revoked_at="2026-12-01T08:00:00.004182Z"))},
    "postRotate": {
        201: json(
            {
                **key(id=_SUCCESSOR, created_at="2026-11-22T07:10:00.004182Z", last_used_at=None),
                "key": text_of(_SUCCESSOR),
                "replaces": KEY,
                "replaced_ends_at": "2026-11-23T07:10:00.004182Z",
            }
        )
    },
    "getEntries": {200: json(page(ENTRY))},
    "getCheckpoint": {200: json(_CHECKPOINT)},
    "createExport": {202: json(export())},
    "getExport": {200: json(READY_EXPORT)},
    "healthz": {200: json({"status": "ok", "version": "0.1.0"})},
    "readyz": {
        200: json(
            {
                "status": "ready",
                "bundle": BUNDLE,
                "beat_ticked_at": "2026-12-01T08:00:00Z",
                "checks": {"database": "ok", "schema": "ok", "bundle": "ok", "redis": "ok"},
            }
        )
    },
    "metrics": {200: {"text/plain": _METRICS}},
}
