"""Examples of policies, previews of them, and sweeps."""

from __future__ import annotations

from typing import Any

from worker.http.examples.base import (
    BUNDLE,
    COMMIT,
    KEY,
    OTHER,
    PLAN,
    PREVIEW,
    PROPOSED,
    SWEEP,
    THREAD,
    Answers,
    Json,
    Requests,
    json,
    page,
)

_BY = {"begun_at": "2026-12-22T02:30:00.184211Z", "ordered_by": f"policy:support-30d@{COMMIT}"}

BUNDLE_IN_FORCE = {
    "object": "bundle",
    "digest": BUNDLE,
    "commit": COMMIT,
    "author": "Ada Lovelace",
    "dirty": False,
    "activated_at": "2026-11-20T07:00:00.118822Z",
    "recomputed": True,
    "documents": [
        {
            "apiVersion": "retention/v1",
            "kind": "RetentionPolicy",
            "metadata": {"name": "support-30d", "owner": "team-support"},
            "spec": {
                "mode": "enforce",
                "tier": "specific",
                "match": {"projects": ["support-*"]},
                "delete": {"after": "P30D", "from": "created_at", "producer_ttl": "shorten"},
                "guards": {"max_deletes": 500, "max_percent": 10, "min_population": 100, "window": "P1D"},
            },
        }
    ],
    "sources": {"support-30d": "retention.yaml:1"},
    "awaiting": None,
}


def sweep(**other: Any) -> Json:  # noqa: ANN401 - as thread
    """Return a sweep that came to its end."""
    return {
        "id": SWEEP,
        "object": "sweep",
        "policy": "support-30d",
        "slot": "2026-12-22T02:30:00Z",
        "state": "done",
        "dry_run": False,
        "bundle": BUNDLE,
        **_BY,
        "released_at": "2026-12-22T02:30:00.612093Z",
        "population": 1200,
        "planned": 40,
        "done": 39,
        "spared": 1,
        "waiting": 0,
        "parked": 0,
        "busy": 0,
        "grades": {"confirmed": 39},
        "reasons": [],
        "paused": [],
        "plan": {"digest": PLAN, "threads": [THREAD, OTHER]},
        **other,
    }


WAITING_SWEEP = sweep(state="awaiting_approval", released_at=None, done=0, spared=0, grades={})
APPROVED_SWEEP = sweep(state="released", done=0, spared=0, busy=40, grades={})

_POLICY = """apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: support-30d, owner: team-support}
spec:
  mode: enforce
  match: {projects: ["support-*"]}
  delete: {after: 14d}
  guards: {max_deletes: 500, max_percent: 10, min_population: 100, window: 24h}
---
apiVersion: retention/v1
kind: Project
metadata: {name: support-eu, owner: team-support}
spec:
  provider: openai
  base_url: https://api.openai.com/v1
  provider_project: proj_support
  api_key: {env: TENURE_KEY_SUPPORT}
"""


def _due(now: int, week: int, month: int) -> Json:
    """Return counts under both bundles: seven more under the proposed one."""
    return {
        "now": {"before": now, "after": now + 7, "newly": 7},
        "in_7_days": {"before": week, "after": week + 7, "newly": 7},
        "in_30_days": {"before": month, "after": month + 7, "newly": 7},
    }


_CHANGE = {
    "document": "RetentionPolicy support-30d",
    "path": "delete.after",
    "before": "P30D",
    "after": "P14D",
    "effect": "loosening",
    "why": "Threads are deleted earlier.",
    "source": "retention.yaml:1",
    "line": "loosening: support-30d delete.after P30D -> P14D",
}
_GUARD = {
    "policy": "support-30d",
    "verdict": "fits",
    "planned": 7,
    "released": 0,
    "population": 1200,
    "limits": {"max_deletes": 500, "max_percent": 10, "min_population": 100, "window": "P1D"},
    "reasons": [],
}


def preview(**other: Any) -> Json:  # noqa: ANN401 - the fields of an answer, whatever each holds
    """Return a preview of a bundle that deletes earlier."""
    return {
        "object": "preview",
        "id": PREVIEW,
        "state": "open",
        "made_at": "2026-12-01T09:00:02.114820Z",
        "made_by": f"key:{KEY}",
        "snapshot_at": "2026-12-01T09:00:00.004182Z",
        "base": {"digest": BUNDLE, "commit": COMMIT},
        "head": {"digest": PROPOSED, "commit": "41d0c0ffee41d0c0ffee41d0c0ffee41d0c0ffee"},
        "changed": True,
        "loosening": True,
        "approval": None,
        "awaiting": PROPOSED,
        "changes": [_CHANGE],
        "more_changes": 0,
        "threads": 1200,
        "held": 41,
        "unaffected": 780,
        "outcomes": {"before": {"DUE": 0, "PENDING": 1159}, "after": {"DUE": 7, "PENDING": 1152}},
        "policies": [
            {
                "policy": "support-30d",
                "due": _due(0, 60, 310),
                "earlier": 420,
                "later": 0,
                "projects": [{"project": "support-eu", "due": _due(0, 60, 310), "earlier": 420, "later": 0}],
                "more_projects": 0,
            }
        ],
        "newly_due": {"threads": 7, "ids": [THREAD]},
        "earlier": {"threads": 420, "ids": [THREAD, OTHER]},
        "protection_removed": {"threads": 0, "ids": [], "rules": []},
        "guards": [_GUARD],
        "overlaps": [],
        "warnings": [],
        **other,
    }


_APPROVAL = {
    "approved_by": "key:rL7wQ2nT5vX8",
    "at": "2026-12-01T10:00:00.331960Z",
    "expires_at": "2026-12-04T10:00:00.331960Z",
    "reason": "RET-117, reviewed",
    "lives": True,
}

REQUESTS: Requests = {
    "createPreview": {"one file": {"files": {"retention.yaml": _POLICY}, "commit": COMMIT}},
    "approveBundle": {"a digest": {"digest": PROPOSED, "reason": "RET-117, reviewed"}},
    "createSweeps": {
        "a dry run of one policy": {"policy": "support-30d", "dry_run": True},
        "everything": {"policy": None},
    },
    "approveSweep": {"a digest": {"digest": PLAN, "reason": "RET-118, looked at the list"}},
}

ANSWERS: Answers = {
    "getPolicies": {200: json(BUNDLE_IN_FORCE)},
    "createPreview": {201: json(preview())},
    "getPreview": {200: json(preview())},
    "approveBundle": {200: json(preview(state="approved", approval=_APPROVAL))},
    "createSweeps": {201: json({"sweeps": [WAITING_SWEEP]})},
    "getSweeps": {200: json(page(sweep()))},
    "getSweep": {200: json(sweep())},
    "approveSweep": {200: json(APPROVED_SWEEP)},
}
