"""Threads as arming and settling read them: no more of each row than is decided or graded by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, select

from worker.model.evidence import Grade
from worker.model.thread import Thread, ThreadState
from worker.store.among import among
from worker.store.tables import thread
from worker.store.thread_rows import DECIDED, to_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDecide:
    """What arming decides of, and when a person took the thread up again."""

    thread: Thread
    retried_at: datetime | None


_READ: Sequence[Column[Any]] = (*DECIDED, thread.c.retried_at)
_TO_DECIDE = select(*_READ).where(among(thread.c.id, "ids")).order_by(thread.c.id)


def to_decide(db: Connection, ids: Collection[str]) -> dict[str, ToDecide]:
    """Return threads by our ids, as they are decided."""
    rows = db.execute(_TO_DECIDE, {"ids": sorted(ids)}).all()
    return {row[0]: ToDecide(thread=to_thread(row), retried_at=row[-1]) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a thread stands: what its settlement hangs on, without all that was registered of it."""

    state: ThreadState
    grade: Grade | None
    evidence: Mapping[str, Any] | None
    evaluate_at: datetime | None
    has_children: bool


_STANDING = (
    select(
        thread.c.id,
        thread.c.state,
        thread.c.grade,
        thread.c.evidence,
        thread.c.evaluate_at,
        thread.c.children,
    )
    .where(among(thread.c.id, "ids"))
    .order_by(thread.c.id)
    # The weaker lock lets another transaction insert rows that refer to the thread.
    .with_for_update(key_share=True)
)


def lock_standing(db: Connection, ids: Collection[str]) -> dict[str, Standing]:
    """Lock the rows of threads in order, and return where they stand."""
    rows = db.execute(_STANDING, {"ids": sorted(ids)}).all()
    return {
        thread_id: Standing(
            state=ThreadState(state),
            grade=Grade(grade) if grade else None,
            evidence=evidence,
            evaluate_at=evaluate_at,
            has_children=bool(children),
        )
        for thread_id, state, grade, evidence, evaluate_at, children in rows
    }
