"""Attempts that may be on the wire: what a hold, a pause or a withdrawal has to wait for and to name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from worker.model.evidence import Class
from worker.model.thread import ThreadState
from worker.model.work import Stage
from worker.store.among import among
from worker.store.tables import attempt, thread

# Which attempt: (item, fence, stage).
AttemptKey = tuple[str, int, str]

# SQLite allows a bounded number of parameters in one statement.
_IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAttempt:
    """An attempt that has no recorded answer yet: its DELETE may be on the wire."""

    item_id: str
    thread_id: str
    project: str
    stage: Stage
    armed_at: datetime
    children_deleted: int
    answer: Class | None


def attempts_named(db: Connection, keys: Collection[AttemptKey]) -> list[OpenAttempt]:
    """Return attempts by (item, fence, stage) as they stand now."""
    items = sorted({item_id for item_id, _, _ in keys})
    found: list[OpenAttempt] = []
    for start in range(0, len(items), _IDS_AT_ONCE):
        rows = db.execute(select(attempt).where(attempt.c.item_id.in_(items[start : start + _IDS_AT_ONCE])))
        found += [_to_open(row) for row in rows if (row.item_id, row.fence, row.stage) in keys]
    return found


def unsettled_keys(db: Connection, thread_ids: Collection[str]) -> dict[AttemptKey, str]:
    """Return the attempts at these threads whose DELETE may have left, with the thread of each.

    The threads are unsettled, so each such attempt is one that no final grade has spoken of yet.
    """
    found: dict[AttemptKey, str] = {}
    ids = sorted(thread_ids)
    for start in range(0, len(ids), _IDS_AT_ONCE):
        query = select(attempt.c.item_id, attempt.c.fence, attempt.c.stage, attempt.c.thread_id)
        rows = db.execute(query.where(attempt.c.thread_id.in_(ids[start : start + _IDS_AT_ONCE])))
        found |= {(row.item_id, row.fence, row.stage): row.thread_id for row in rows}
    return found


def unanswered_of(db: Connection, projects: Collection[str] | None) -> set[AttemptKey]:
    """Return the attempts at unsettled threads without an answer, in these projects (None: in all).

    What a crash left without an answer stays so; once its thread is settled, its grade has told.
    """
    query = (
        select(attempt.c.item_id, attempt.c.fence, attempt.c.stage)
        .join(thread, thread.c.id == attempt.c.thread_id)
        .where(attempt.c.answer.is_(None), thread.c.state.in_((ThreadState.LIVE, ThreadState.ACKNOWLEDGED)))
    )
    if projects is not None:
        query = query.where(attempt.c.project.in_(sorted(projects)))
    return {(row.item_id, row.fence, row.stage) for row in db.execute(query)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmedBefore:
    """The attempts that are written already, and when the newest at each thread was armed."""

    keys: frozenset[AttemptKey]
    last: Mapping[str, datetime]


_ARMED_BEFORE = (
    select(attempt.c.item_id, attempt.c.fence, attempt.c.stage, attempt.c.thread_id, attempt.c.armed_at)
    .where(among(attempt.c.thread_id, "ids"))
    .order_by(attempt.c.armed_at)
)


def armed_before(db: Connection, thread_ids: Collection[str]) -> ArmedBefore:
    """Return what was armed at these threads, whichever item and claim it was for."""
    rows = db.execute(_ARMED_BEFORE, {"ids": sorted(thread_ids)}).all()
    return ArmedBefore(
        keys=frozenset((item_id, fence, stage) for item_id, fence, stage, _, _ in rows),
        last={thread_id: armed_at for _, _, _, thread_id, armed_at in rows},
    )


def _to_open(row: Row[Any]) -> OpenAttempt:
    return OpenAttempt(
        item_id=row.item_id,
        thread_id=row.thread_id,
        project=row.project,
        stage=Stage(row.stage),
        armed_at=row.armed_at,
        children_deleted=row.children_deleted,
        answer=Class(row.answer) if row.answer else None,
    )
