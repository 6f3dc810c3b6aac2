"""Examples of holds, erasures, the switch of deletes, and what is parked."""

from __future__ import annotations

from typing import Any

import orjson

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


def _around(before: int, after: int) -> Json:
    """Return how many of 41 live threads a hold covered before and after."""
    return {"before": {"threads": 41, "held": before}, "after": {"threads": 41, "held": after}}


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
        "live": _around(0, 41),
        "live_at_release": None,
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
    live_at_release=_around(41, 0),
)

_ERASED: Json = {
    "id": THREAD,
    "external_id": THEIRS,
    "kind": "conversation",
    "project": "support-eu",
    "status": "deleted",
    "reason": None,
    "until": None,
    "grade": "confirmed",
    "entry": 1234,
    "accepted": False,
}
_REFUSED: Json = {
    "id": OTHER,
    "external_id": "file-7c1d2e3f",
    "kind": "file",
    "project": "support-eu",
    "status": "refused",
    "reason": "retain:finance-7y",
    "until": "2033-11-22T00:00:00Z",
    "grade": None,
    "entry": None,
    "accepted": False,
}
_PENDING: Json = {**_ERASED, "status": "pending", "grade": None, "entry": None}
_ORDER: Json = {
    "object": "erasure",
    "id": ERASURE,
    "owner": "customer-4711",
    "ids": [],
    "reason": "GDPR art. 17, ticket 8812",
    "at": "2026-11-24T09:00:00Z",
    "ordered_at": "2026-11-24T09:00:04.331960Z",
    "ordered_by": f"key:{KEY}",
    "deadline": "2026-12-24T09:00:00Z",
    "overdue": False,
}
_ANSWERED: Json = {
    **_ORDER,
    "status": "answered",
    "counts": {"deleted": 1, "refused": 1},
    "threads": [_ERASED, _REFUSED],
    "unknown": [],
}
_ORDERED: Json = {
    **_ORDER,
    "status": "open",
    "counts": {"pending": 1},
    "threads": [_PENDING],
    "unknown": [],
}
_HEAD: Json = {
    **_ORDER,
    "status": "answered",
    "counts": {"deleted": 1, "refused": 1},
    "looked_at": "2026-11-24T09:15:00.118204Z",
}
_CSV = (
    "erasure,order_status,deadline,id,external_id,kind,project,status,reason,until,grade,entry,accepted\r\n"
    f"{ERASURE},answered,2026-12-24T09:00:00Z,"
    f"{THREAD},{THEIRS},conversation,support-eu,deleted,,,confirmed,1234,no\r\n"
)
_JSONL = orjson.dumps(_ERASED).decode() + "\n"

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
        "an owner": {"owner": "customer-4711", "reason": _ORDER["reason"]},
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
    "createErasure": {201: json(_ORDERED)},
    "getErasures": {200: json(page(_HEAD))},
    "getErasure": {200: {**json(_ANSWERED), "text/csv": _CSV, "application/jsonl": _JSONL}},
    "putDeletes": {200: json(_SWITCH)},
    "getFailures": {200: json(page(FAILURE))},
    "getParked": {200: json(page(PARKED))},
    "retryFailure": {200: json(moved("retry"))},
    "acceptFailure": {200: json(moved("accept"))},
}
