"""Rows of threads that are to be read again; taking one moves its date, which is the lease."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from worker.model.evidence import Grade
from worker.model.thread import ThreadState
from worker.store.engine import changed
from worker.store.tables import thread
from worker.store.threads import StoredThread, to_stored


def projects_to_reverify(db: Connection, now: datetime) -> list[str]:
    """Return the projects that have something to read again."""
    query = select(thread.c.project).where(thread.c.reverify_at <= now).distinct()
    return sorted(db.execute(query).scalars())


def take(
    db: Connection, projects: Collection[str], *, now: datetime, until: datetime, limit: int
) -> list[StoredThread]:
    """Take up to ``limit`` threads of these projects until ``until``; nobody else takes them before that."""
    rows = db.execute(
        select(thread)
        .where(
            thread.c.reverify_at <= now,
            thread.c.state == ThreadState.DELETED,
            thread.c.project.in_(sorted(projects)),
        )
        .order_by(thread.c.reverify_at, thread.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    ids = [row.id for row in rows]
    if ids:
        db.execute(update(thread).where(thread.c.id.in_(ids)).values(reverify_at=until))
    return [to_stored(row) for row in rows]


def plan(db: Connection, thread_id: str, at: datetime) -> None:
    """Say when a thread that was called deleted is read again."""
    db.execute(update(thread).where(thread.c.id == thread_id).values(reverify_at=at, reverified=0))


def tries(db: Connection, thread_ids: Sequence[str]) -> dict[str, int]:
    """Return how often each thread was read again without an answer that counts."""
    rows = db.execute(select(thread.c.id, thread.c.reverified).where(thread.c.id.in_(thread_ids)))
    return {row.id: row.reverified for row in rows}


def settle(
    db: Connection,
    thread_id: str,
    *,
    taken_until: datetime,
    next_at: datetime | None,
    state: ThreadState,
    grade: Grade,
    evidence: Mapping[str, Any],
    reason: str | None = None,
) -> bool:
    """Write what a later read said; False when another reader took the thread meanwhile."""
    mine = (thread.c.id == thread_id, thread.c.reverify_at == taken_until)
    values = {
        "reverify_at": next_at,
        "reverified": thread.c.reverified + 1,
        "state": state.value,
        "grade": grade.value,
        "evidence": dict(evidence),
        "reason": reason,
        "version": thread.c.version + 1,
    }
    return changed(db, update(thread).where(*mine).values(values)) == 1
