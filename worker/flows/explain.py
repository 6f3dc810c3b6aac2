"""Explain: which rule decides a thread, why, when, and who can stop it; the same decision as everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from worker.flows.decide import bundle_in_force
from worker.model.evidence import Grade
from worker.model.thread import ThreadState
from worker.policy.explain import Explanation, explain
from worker.store import bundles, protections
from worker.store.threads import StoredThread

_SHORT_DIGEST = len("sha256:") + 12
_SHORT_COMMIT = 12
_PARKED = {
    Grade.ENDPOINT_RETIRED: "The provider answered that it has no such endpoint. It says so of a thread "
    "that is there and of one that is gone alike, so nothing is certified.",
    Grade.FORBIDDEN: "The provider refused the key, so nothing was seen.",
    Grade.CONTROL_FAILED: "It was not found, and neither was anything else that should be there: the key "
    "or the address may be another's.",
    Grade.PROVIDER_ERROR: "The provider gave no answer that says whether it is there.",
    Grade.STILL_PRESENT: "It was read again after its deletion, and it is still there.",
    Grade.PARTIAL: "Some of what it contains would not go.",
}


def explain_thread(db: Connection, stored: StoredThread, *, now: datetime) -> Explanation:
    """Explain one thread as it would be decided now, by which commit, and why it is parked if it is."""
    thread = stored.thread
    bearing = protections.circumstances(db, [thread.id])
    told = explain(thread, bundle=bundle_in_force(db), circumstances=bearing, now=now)
    found = bundles.in_force(db)
    origin: Mapping[str, Any] = found.origin if found else {}
    paused = protections.paused(db)
    lines = [
        f"Deletes are paused for {where} ({paused[scope] or 'no reason given'}) until `{undo}`."
        for scope, where, undo in (
            (protections.EVERYTHING, "everything", "tenure resume"),
            (thread.project, f"project {thread.project}", f"tenure resume --project {thread.project}"),
        )
        if scope in paused
    ]
    of_commit = _of_commit(told.decision.bundle, origin)
    every = (*told.lines, *_why_parked(stored), of_commit, *lines)
    return replace(told, lines=every, commit=origin.get("commit"))


def _of_commit(bundle: str, origin: Mapping[str, Any]) -> str:
    """Say where the files and lines that were named can be read."""
    short = f"bundle {bundle[:_SHORT_DIGEST]}"
    if not origin.get("commit"):
        return f"The policies are {short}, whose commit is not known."
    author = f" by {origin['author']}" if origin.get("author") else ""
    dirty = ", with changes that were not committed" if origin.get("dirty") else ""
    return f"The policies are {short}, commit {origin['commit'][:_SHORT_COMMIT]}{author}{dirty}."


def _why_parked(stored: StoredThread) -> list[str]:
    if stored.thread.state is not ThreadState.PARKED:
        return []
    reason = stored.reason or (stored.grade.value if stored.grade else "no reason is kept")
    words = _PARKED.get(stored.grade) if stored.grade and reason == stored.grade.value else None
    return [
        f"It is parked for a person: {reason}.",
        *([words] if words else []),
        "`tenure failures list --each` tells when it was last seen; `failures retry` takes it up again.",
    ]
