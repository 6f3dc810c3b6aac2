"""What is parked: grouped by project, kind and reason, and listed within one group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, case, func, literal, select, update

from worker.model.ids import ThreadId
from worker.model.thread import ThreadState
from worker.store.column_types import UtcDateTime
from worker.store.tables import attempt, thread
from worker.store.threads import StoredThread, to_stored

_REASON = func.coalesce(thread.c.reason, thread.c.grade, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Why some threads of one project and kind are parked, how many they are, and the first of them."""

    project: str
    kind: str
    reason: str
    threads: int
    first: str


def _parked(*, accepted: bool) -> list[ColumnElement[bool]]:
    told = thread.c.accepted_at.is_not(None) if accepted else thread.c.accepted_at.is_(None)
    return [thread.c.state == ThreadState.PARKED, told]


def groups(db: Connection, *, projects: Sequence[str] | None, accepted: bool = False) -> list[Group]:
    """Return what is parked in these projects (None: all): still open, or accepted by a person."""
    query = select(
        thread.c.project,
        thread.c.kind,
        _REASON.label("reason"),
        func.count().label("threads"),
        func.min(thread.c.id).label("first"),
    ).where(*_parked(accepted=accepted))
    if projects is not None:
        query = query.where(thread.c.project.in_(sorted(projects)))
    rows = db.execute(query.group_by(thread.c.project, thread.c.kind, _REASON))
    return sorted(
        (
            Group(project=row.project, kind=row.kind, reason=row.reason, threads=row.threads, first=row.first)
            for row in rows
        ),
        key=lambda one: (one.project, one.kind, one.reason),
    )


def page(
    db: Connection, group: Group, *, after: str = "", limit: int, accepted: bool = False, lock: bool = False
) -> list[StoredThread]:
    """Return threads of one group by id; with ``lock`` their rows are the caller's until he commits."""
    query = (
        select(thread)
        .where(
            *_parked(accepted=accepted),
            thread.c.project == group.project,
            thread.c.kind == group.kind,
            _REASON == group.reason,  # noqa: SIM300 - the column comes first, or it is no SQL
            thread.c.id > after,
        )
        .order_by(thread.c.id)
        .limit(limit)
    )
    return [to_stored(row) for row in db.execute(query.with_for_update(key_share=True) if lock else query)]


def take_up(db: Connection, ids: Iterable[ThreadId], *, at: datetime) -> None:
    """Make parked threads live again; what was tried before ``at`` no longer keeps a DELETE back.

    Nothing is under way for a parked thread, so all that was armed comes before; also what was armed by a
    clock that ran ahead, which would keep the DELETE back until that time.
    """
    armed = select(func.max(attempt.c.armed_at)).where(attempt.c.thread_id == thread.c.id).scalar_subquery()
    now = literal(at, UtcDateTime())
    db.execute(
        update(thread)
        .where(thread.c.id.in_(sorted(ids)))
        .values(
            state=ThreadState.LIVE.value,
            reason=None,
            retried_at=case((armed > now, armed), else_=now),
            accepted_at=None,
            version=thread.c.version + 1,
        )
    )


def accept(db: Connection, ids: Iterable[ThreadId], *, at: datetime) -> None:
    """Keep parked threads parked, and out of what waits for a person."""
    db.execute(
        update(thread)
        .where(thread.c.id.in_(sorted(ids)))
        .values(accepted_at=at, version=thread.c.version + 1)
    )
