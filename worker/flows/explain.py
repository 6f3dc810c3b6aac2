"""Explain: which rule decides a thread, why, when, and who can stop it; the same decision as everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from worker.flows.decide import bundle_in_force
from worker.model.thread import Thread
from worker.policy.explain import Explanation, explain
from worker.store import bundles, protections

_SHORT_DIGEST = len("sha256:") + 12
_SHORT_COMMIT = 12


def explain_thread(db: Session, thread: Thread, *, now: datetime) -> Explanation:
    """Explain one thread as it would be decided now, by the policies of which commit."""
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
    return replace(told, lines=(*told.lines, of_commit, *lines), commit=origin.get("commit"))


def _of_commit(bundle: str, origin: Mapping[str, Any]) -> str:
    """Say where the files and lines that were named can be read."""
    short = f"bundle {bundle[:_SHORT_DIGEST]}"
    if not origin.get("commit"):
        return f"The policies are {short}, whose commit is not known."
    author = f" by {origin['author']}" if origin.get("author") else ""
    dirty = ", with changes that were not committed" if origin.get("dirty") else ""
    return f"The policies are {short}, commit {origin['commit'][:_SHORT_COMMIT]}{author}{dirty}."
