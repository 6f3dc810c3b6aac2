"""Examples of holds, erasures, the switch of deletes, and what is parked."""

from __future__ import annotations

from typing import Any

from worker.http.examples.base import (
    ERASURE,
    FINGERPRINT,
    HOLD,
    KEY,
    OTHER,
    THEIRS,
    THREAD,
    Answers,
    Json,
    Requests,
    json,
    page,
)


def hold(**other: Any) -> Json:  # noqa: ANN401 - as thread
    """Return a hold as it stands."""
    return {
        "id": HOLD,
        "object": "hold",
        "matter": "M-2026-114",
        "reason": "Litigation: preserve what team-support keeps in production.",
        "scope": {
            "ids": [],
            "owners": ["team-support"],
            "projects": ["support-*"],
            "tags": [{"key": "env", "operator": "In", "values": ["prod"]}],
        },
        "state": "active",
        "placed_at": "2026-11-23T10:00:00.204117Z",
        "placed_by": f"key:{KEY}",
        "released_at": None,
        "released_by": None,
        "release_reason": None,
        "matched": 41,
        "unknown": [],
        "too_late": [{"id": OTHER, "what": "thread", "children_deleted": 0}],
        "uncertain": [],
        **other,
    }


RELEASED_HOLD = hold(
    state="released",
    released_at="2027-03-01T08:30:00.512004Z",
    released_by="key:rL7wQ2nT5vX8",
    release_reason="Matter closed on 2027-02-26.",
)

_ERASED: Json = {
    "id": THREAD,
    "external_id": THEIRS,
    "project": "support-eu",
    "status": "deleted",
    "reason": None,
    "until": None,
    "grade": "confirmed",
}
ERASURE_RECEIPT: Json = {
    "object": "erasure",
    "id": ERASURE,
    "owner": "customer-4711",
    "ids": [],
    "reason": "GDPR art. 17, ticket 8812",
    "at": "2026-11-24T09:00:00Z",
    "ordered_at": "2026-11-24T09:00:04.331960Z",
    "threads": [
        _ERASED,
        {
            "id": OTHER,
            "external_id": "file-7c1d2e3f",
            "project": "support-eu",
            "status": "refused",
            "reason": "retain:finance-7y",
            "until": "2033-11-22T00:00:00Z",
            "grade": None,
        },
    ],
    "unknown": [],
}

FAILURE = {
    "id": FINGERPRINT,
    "object": "failure",
    "fingerprint": FINGERPRINT,
    "project": "support-eu",
    "kind": "thread",
    "reason": "unverifiable/endpoint_retired",
    "threads": 12,
    "first": THREAD,
    "accepted": False,
}
PARKED = {
    "id": THREAD,
    "object": "parked_thread",
    "external_id": "thread_93a2eaffb9f6aef8",
    "kind": "thread",
    "project": "support-eu",
    "reason": "unverifiable/endpoint_retired",
    "created_at": "2026-08-01T08:00:00Z",
    "registered_at": "2026-08-01T08:00:02.401552Z",
    "last_seen_at": None,
    "looked_at": "2026-09-01T02:31:07.118390Z",
    "request_id": "req_5eb4bc48a7d1",
}


def moved(action: str) -> Json:
    """Return how many parked threads were moved."""
    return {"object": "failure.moved", "fingerprint": FINGERPRINT, "action": action, "threads": 12}


_SWITCH = {
    "object": "switch",
    "enabled": False,
    "project": None,
    "reason": "Incident 42",
    "too_late": [THREAD],
    "uncertain": [],
}

REQUESTS: Requests = {
    "createHold": {
        "by owner, project and tag": {name: hold()[name] for name in ("matter", "reason", "scope")},
        "by id": {"matter": "M-2026-115", "reason": "Complaint 221", "scope": {"ids": [THEIRS, OTHER]}},
    },
    "release": {"a reason": {"reason": RELEASED_HOLD["release_reason"]}},
    "createErasure": {
        "an owner": {"owner": "customer-4711", "reason": ERASURE_RECEIPT["reason"]},
        "ids": {"ids": [THEIRS], "reason": "Asked on the phone, ticket 8813"},
    },
    "putDeletes": {
        "off everywhere": {"enabled": False, "reason": "Incident 42"},
        "on in one project": {"enabled": True, "project": "support-eu", "reason": "Incident 42 is over"},
    },
    "retryFailure": {"a reason": {"reason": "The key was wrong until today."}},
    "acceptFailure": {"a reason": {"reason": "The endpoint is retired; nothing can be read there."}},
}

ANSWERS: Answers = {
    "createHold": {201: json(hold())},
    "getHolds": {200: json(page(hold()))},
    "getHold": {200: json(hold())},
    "release": {200: json(RELEASED_HOLD)},
    "createErasure": {
        201: json({**ERASURE_RECEIPT, "threads": [{**_ERASED, "status": "pending", "grade": None}]})
    },
    "getErasure": {200: json(ERASURE_RECEIPT)},
    "putDeletes": {200: json(_SWITCH)},
    "getFailures": {200: json(page(FAILURE))},
    "getParked": {200: json(page(PARKED))},
    "retryFailure": {200: json(moved("retry"))},
    "acceptFailure": {200: json(moved("accept"))},
}
