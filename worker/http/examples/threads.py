"""Examples of registering, reading and changing threads."""

from __future__ import annotations

from typing import Any

import orjson

from worker.http.examples.base import (
    BUNDLE,
    COMMIT,
    KEY,
    OTHER,
    THEIRS,
    THREAD,
    Answers,
    Json,
    Requests,
    json,
    lines,
    page,
)


def thread(**other: Any) -> Json:  # noqa: ANN401 - the fields of an answer, whatever each holds
    """Return a thread that was registered with a TTL, with other values where given."""
    return {
        "id": THREAD,
        "object": "thread",
        "kind": "conversation",
        "external_id": THEIRS,
        "project": "support-eu",
        "owner": "team-support",
        "tags": {"env": "prod"},
        "ttl": "P30D",
        "created_at": "2026-11-22T16:24:13Z",
        "last_activity_at": None,
        "registered_at": "2026-11-22T16:24:14.709818Z",
        "state": "live",
        "decision": decision(),
        "evidence": None,
        **other,
    }


def decision(**other: Any) -> Json:  # noqa: ANN401 - as thread
    """Return what is decided of that thread."""
    return {
        "outcome": "PENDING",
        "decided_by": "producer-ttl",
        "eligible_at": "2026-12-22T16:24:13Z",
        "rules": ["producer-ttl", "support-30d"],
        "bundle": BUNDLE,
        **other,
    }


def _seen(step: str, class_: str, status: int, at: str) -> Json:
    return {
        "step": step,
        "child": None,
        "class": class_,
        "status": status,
        "request_id": f"req_{step}_5eb4bc48",
        "at": at,
    }


DELETED = thread(
    state="deleted",
    decision=decision(outcome="SKIP", decided_by=None, eligible_at=None, rules=[]),
    evidence={
        "grade": "confirmed",
        "attempts": 1,
        "observations": [
            _seen("before", "present", 200, "2026-12-22T16:25:02.118204Z"),
            _seen("delete", "acknowledged", 200, "2026-12-22T16:25:02.391117Z"),
            _seen("after", "object_absent", 404, "2026-12-22T16:25:04.002731Z"),
            _seen("control", "present", 200, "2026-12-22T16:25:04.190406Z"),
        ],
        "entry": 1234,
    },
)

EXPLANATION = {
    "object": "explanation",
    "thread": THREAD,
    "decision": decision(),
    "commit": COMMIT,
    "lines": [
        "PENDING, decided by producer-ttl, at 2026-12-22T16:24:13Z.",
        "producer-ttl: created_at 2026-11-22T16:24:13Z + P30D = 2026-12-22T16:24:13Z.",
    ],
}

ENTRY = {
    "id": "13",
    "object": "entry",
    "index": 13,
    "at": "2026-11-22T16:24:14.709818Z",
    "type": "thread.registered",
    "actor": f"key:{KEY}",
    "project": "support-eu",
    "subject": THREAD,
    "body": {
        "account": {
            "base_url": "https://api.openai.com/v1",
            "organization": "",
            "provider": "openai",
            "provider_project": "proj_support",
        },
        "created_at": "2026-11-22T16:24:13Z",
        "external_id": THEIRS,
        "kind": "conversation",
        "last_activity_at": None,
        "owner": "team-support",
        "registered_at": "2026-11-22T16:24:14.709818Z",
        "tags": ["env=prod"],
        "ttl": "P30D",
    },
}

TOUCHED = {
    "object": "touched",
    "data": [
        {
            "id": THEIRS,
            "thread": THREAD,
            "status": "touched",
            "last_activity_at": "2026-11-23T09:12:00Z",
            "code": None,
        },
        {
            "id": "conv_unknown",
            "thread": None,
            "status": "refused",
            "last_activity_at": None,
            "code": "not_found",
        },
    ],
}

_REGISTRATION = {
    "external_id": THEIRS,
    "project": "support-eu",
    "owner": "team-support",
    "ttl": "30d",
    "tags": {"env": "prod"},
    "created_at": "2026-11-22T16:24:13Z",
}
_LINES = lines(
    '{"external_id": "conv_1", "project": "support-eu", "owner": "team-support", "ttl": "30d"}',
    '{"external_id": "file-1", "project": "support-eu", "owner": "team-support", "tags": ["keep"]}',
    '{"external_id": "run_1", "project": "support-eu", "owner": "team-support"}',
)
_NOT_A_THREAD = "This is a run id, not the id of a thread. Register the object that holds the conversation."
_REFUSED = {
    "line": 3,
    "status": "invalid",
    "id": None,
    "error": {
        "code": "wrong_kind",
        "detail": _NOT_A_THREAD,
        "errors": [
            {"in": "body", "pointer": "/external_id", "detail": _NOT_A_THREAD, "code": "wrong_kind"},
        ],
    },
}
_COUNTS = {"lines": 3, "created": 1, "exists": 1, "conflict": 0, "invalid": 1}
_ANSWERED = lines(
    *(
        orjson.dumps(one).decode()
        for one in (
            {"line": 1, "status": "created", "id": THREAD, "error": None},
            {"line": 2, "status": "exists", "id": OTHER, "error": None},
            _REFUSED,
            {"object": "summary", **_COUNTS, "dry_run": False, "error": None},
        )
    )
)
_CSV = f"""id,object,kind,external_id,project,owner\r
{THREAD},thread,conversation,{THEIRS},support-eu,team-support\r
"""
_JSONL = lines(f'{{"id": "{THREAD}", "object": "thread", "kind": "conversation", "external_id": "{THEIRS}"}}')

REQUESTS: Requests = {
    "registerThread": {
        "with a TTL and tags": _REGISTRATION,
        "the least": {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"},
        "with chosen children": {
            "external_id": "thread_1",
            "project": "support-eu",
            "owner": "team-support",
            "children": ["file-1", "vs_1"],
        },
    },
    "registerBulk": {"three lines": _LINES},
    "touchThreads": {"two threads": {"ids": [THEIRS, "conv_unknown"], "at": "2026-11-22T07:12:00Z"}},
    "changeThread": {
        "owner and TTL": {"owner": "team-billing", "ttl": "14d"},
        "all tags": {"tags": {"env": "prod", "escalated": "true"}},
    },
    "touchThread": {"now": {}, "earlier": {"at": "2026-11-22T07:12:00Z"}},
    "withdrawThread": {"a reason": {"reason": "Registered by a test run."}},
}

ANSWERS: Answers = {
    "registerThread": {201: json(thread()), 200: json(thread())},
    "registerBulk": {200: {"application/x-ndjson": _ANSWERED}},
    "getThreads": {
        200: {
            **json({**page(thread()), "total": {"count": 1, "how": "exact"}}),
            "text/csv": _CSV,
            "application/jsonl": _JSONL,
        }
    },
    "getThread": {200: json(DELETED)},
    "changeThread": {200: json(thread(owner="team-billing", ttl="P14D"))},
    "touchThreads": {200: json(TOUCHED)},
    "touchThread": {200: json(thread(last_activity_at="2026-11-23T09:12:00Z"))},
    "withdrawThread": {
        200: json(
            thread(
                state="withdrawn",
                decision=decision(outcome="SKIP", decided_by=None, eligible_at=None, rules=[]),
            )
        )
    },
    "getExplanation": {200: json(EXPLANATION)},
    "getThreadEntries": {200: json(page(ENTRY))},
}
