"""Explain: which rule decides a thread, why, when, and who can stop it; the same decision as everywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from worker.flows.decide import bundle_in_force
from worker.model.thread import Thread
from worker.policy.explain import Explanation, explain
from worker.store import protections


def explain_thread(db: Session, thread: Thread, *, now: datetime) -> Explanation:
    """Explain one thread as it would be decided now."""
    bearing = protections.circumstances(db, [thread.id])
    told = explain(thread, bundle=bundle_in_force(db), circumstances=bearing, now=now)
    paused = protections.paused(db)
    lines = [
        f"Deletes are paused for {where} ({paused[scope] or 'no reason given'}) until `{undo}`."
        for scope, where, undo in (
            (protections.EVERYTHING, "everything", "tenure resume"),
            (thread.project, f"project {thread.project}", f"tenure resume --project {thread.project}"),
        )
        if scope in paused
    ]
    return replace(told, lines=(*told.lines, *lines))
