"""Examples of problems: which codes a status has, for every operation and for some alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.http.catalogue import CATALOGUE
from worker.http.examples.base import THREAD, Json

Codes = Mapping[int, tuple[str, ...]]

# What any operation with that status may answer.
_ANYWHERE: Codes = {
    400: ("malformed_json",),
    401: ("unauthorized",),
    403: ("forbidden", "project_bound"),
    404: ("not_found",),
    408: ("too_slow",),
    413: ("too_large",),
    415: ("unsupported_media_type",),
    422: ("invalid",),
    429: ("too_many_requests",),
    431: ("headers_too_large",),
    500: ("internal",),
    503: ("unavailable",),
}
# And what any of them may answer to an Idempotency-Key.
_WITH_KEY: Codes = {
    400: ("malformed_idempotency_key",),
    409: ("idempotency_key_in_use", "answer_not_kept"),
    422: ("idempotency_key_reused",),
}
_UNKNOWN_PROJECT: Codes = {422: ("unknown_project",)}
_WITH_BUNDLE: Codes = {503: ("no_bundle", "not_recomputed")}
# And what one of them answers beside.
_ALONE: Mapping[str, Codes] = {
    "registerThread": {
        409: ("conflict", "registered_elsewhere"),
        422: ("unknown_project", "wrong_kind", "unknown_kind", "invalid_id", "gateway_id", "invalid_ttl"),
        503: ("no_bundle",),
    },
    "registerBulk": {400: ("malformed_gzip",), 503: ("no_bundle",)},
    "changeThread": {
        409: ("held", "retained", "ttl_beyond_policy", "in_flight", "not_live", "ambiguous_id"),
        412: ("stale",),
        422: ("invalid_ttl", "created_at_known", "created_at_incredible"),
        428: ("if_match_required",),
    },
    "touchThread": {409: ("in_flight", "not_live", "ambiguous_id"), 422: ("incredible_at",)},
    "touchThreads": {422: ("incredible_at",)},
    "withdrawThread": {409: ("in_flight", "not_live", "ambiguous_id")},
    "createHold": {422: ("empty_scope", "bad_glob")},
    "release": {409: ("already_released",)},
    "putDeletes": _UNKNOWN_PROJECT,
    "createPreview": {422: ("policies_refused",)},
    "approveBundle": {409: ("preview_void", "wrong_digest", "own_proposal", "no_approval_needed")},
    "createSweeps": _WITH_BUNDLE,
    "approveSweep": {409: ("not_approvable",), **_WITH_BUNDLE},
    "postKey": {403: ("wider_than_own",), 422: ("duties_not_separate",)},
    "postRevoke": {409: ("already_revoked",)},
    "postRotate": {403: ("wider_than_own",), 409: ("key_ended",)},
    "createExport": {**_UNKNOWN_PROJECT, 429: ("too_many_exports",)},
    "getExportFile": {409: ("export_not_ready",), 410: ("export_expired",)},
    "getPolicies": {503: ("no_bundle",)},
}
_POINTERS: Mapping[str, str] = {
    "unknown_project": "/project",
    "wrong_kind": "/external_id",
    "unknown_kind": "/external_id",
    "invalid_id": "/external_id",
    "gateway_id": "/external_id",
    "invalid_ttl": "/ttl",
    "created_at_known": "/created_at",
    "created_at_incredible": "/created_at",
    "incredible_at": "/at",
    "empty_scope": "/scope",
    "bad_glob": "/scope/projects/0",
    "policies_refused": "/files/retention.yaml",
    "duties_not_separate": "/scopes",
}


def codes_of(operation: str, status: int, *, with_key: bool) -> tuple[str, ...]:
    """Return the codes of problems that an operation answers with this status, the commonest first.

    ``with_key``: whether it takes an Idempotency-Key.
    """
    keyed = _WITH_KEY.get(status, ()) if with_key else ()
    return (*_ALONE.get(operation, {}).get(status, ()), *_ANYWHERE.get(status, ()), *keyed)


def problem(code: str, status: int) -> Json:
    """Return a problem of this code as a caller gets it."""
    title, repair = CATALOGUE[code]
    return {
        "type": f"/docs/problems/{code}",
        "title": title,
        "status": status,
        "detail": f"{title}. {repair}",
        "instance": "/v1/threads",
        "code": code,
        "request_id": "req_0193a1b2c3d47e5f8a9b0c1d2e3f4a5b",
        "errors": _errors(code),
        **_more(code),
    }


def _errors(code: str) -> list[Json]:
    if code == "invalid":
        told = "Extra inputs are not permitted"
        return [{"in": "body", "pointer": "/owners", "detail": told, "code": "unknown_field"}]
    if code in _POINTERS:
        title, repair = CATALOGUE[code]
        return [{"in": "body", "pointer": _POINTERS[code], "detail": f"{title}. {repair}", "code": code}]
    return []


def _more(code: str) -> dict[str, Any]:
    if code != "conflict":
        return {}
    return {
        "diff": [{"field": "owner", "registered": "team-support", "given": "team-billing"}],
        "existing": THREAD,
    }
