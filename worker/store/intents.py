"""Intents and answers: what is committed before a DELETE leaves, and what came back to it.

DANGER. What these rows say decides whether a second DELETE may leave and what is later certified. Invariants:
an attempt is written before its DELETE leaves and never taken back; an answer is recorded only under the
fence that armed it. Groups go in few statements; the caller's transaction has locked the items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, insert, select, update
from sqlalchemy.orm import Session

from worker.model.evidence import Children, Class
from worker.model.work import Stage
from worker.store.attempts import AttemptKey
from worker.store.tables import attempt, work_item

_KEY = (
    attempt.c.item_id == bindparam("its_item"),
    attempt.c.fence == bindparam("its_fence"),
    attempt.c.stage == bindparam("its_stage"),
)
_ARM = insert(attempt)
_ARM_ANEW = (
    update(attempt)
    .where(*_KEY)
    .values(armed_at=bindparam("armed"), bundle=bindparam("under"), answer=None, answered_at=None)
)
_ANSWER = (
    update(attempt)
    .where(*_KEY)
    .values(
        answer=bindparam("seen"),
        answer_observation=bindparam("observation"),
        answered_at=bindparam("at"),
        children_deleted=bindparam("deleted"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Armed:
    """One intent to DELETE, as it is committed before the request leaves."""

    item_id: str
    fence: int
    stage: Stage
    thread_id: str
    project: str
    armed_at: datetime
    bundle: str
    before: Class
    before_observation: Mapping[str, Any]
    children: Children
    children_found: int

    @property
    def key(self) -> AttemptKey:
        """Which attempt this is."""
        return self.item_id, self.fence, self.stage.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back to an armed DELETE, or that nothing was sent."""

    item_id: str
    fence: int
    stage: Stage
    seen: Class
    observation: Mapping[str, Any] | None
    children_deleted: int = 0

    @property
    def key(self) -> AttemptKey:
        """Whose answer this is."""
        return self.item_id, self.fence, self.stage.value


def arm(db: Session, intents: Sequence[Armed]) -> None:
    """Write the intents; one that could not leave in time is armed anew as the same attempt.

    The caller has locked the items, so nobody else writes an attempt of these fences meanwhile.
    """
    if not intents:
        return
    known = _written(db, intents)
    new = {one.key: one for one in intents if one.key not in known}
    again = [one for one in intents if one is not new.get(one.key)]
    if new:
        db.execute(_ARM, [_row(one) for one in new.values()])
        _count(db, [one.item_id for one in new.values() if one.stage is Stage.CONTAINER])
    if again:
        db.execute(_ARM_ANEW, [{**_of(one), "armed": one.armed_at, "under": one.bundle} for one in again])


def _written(db: Session, intents: Sequence[Armed]) -> set[AttemptKey]:
    items = sorted({one.item_id for one in intents})
    rows = db.execute(
        select(attempt.c.item_id, attempt.c.fence, attempt.c.stage).where(attempt.c.item_id.in_(items))
    )
    return {(row.item_id, row.fence, row.stage) for row in rows}


def _count(db: Session, items: Sequence[str]) -> None:
    if items:
        counted = update(work_item).where(work_item.c.id.in_(sorted(items)))
        db.execute(counted.values(attempts=work_item.c.attempts + 1))


def _row(one: Armed) -> dict[str, Any]:
    return {
        "item_id": one.item_id,
        "fence": one.fence,
        "stage": one.stage.value,
        "thread_id": one.thread_id,
        "project": one.project,
        "armed_at": one.armed_at,
        "bundle": one.bundle,
        "before": one.before.value,
        "before_observation": dict(one.before_observation),
        "children": one.children.value,
        "children_found": one.children_found,
        "children_deleted": 0,
    }


def _of(one: Armed | Answer) -> dict[str, Any]:
    return {"its_item": one.item_id, "its_fence": one.fence, "its_stage": one.stage.value}


def answer(db: Session, answers: Sequence[Answer], now: datetime) -> list[Answer]:
    """Record what came back; returns those whose fence had moved, which change nothing."""
    owned = _owned(db, answers)
    told = [one for one in answers if one.key in owned]
    if told:
        rows = [
            {
                **_of(one),
                "seen": one.seen.value,
                "observation": dict(one.observation) if one.observation else None,
                "at": now,
                "deleted": one.children_deleted,
            }
            for one in told
        ]
        db.execute(_ANSWER, rows)
    return [one for one in answers if one.key not in owned]


def _owned(db: Session, answers: Sequence[Answer]) -> set[AttemptKey]:
    """Return the attempts whose fence stands, and keep it so: no claim moves a fence under this lock."""
    same = and_(work_item.c.id == attempt.c.item_id, work_item.c.fence == attempt.c.fence)
    query = (
        select(attempt.c.item_id, attempt.c.fence, attempt.c.stage)
        .join(work_item, same)
        .where(attempt.c.item_id.in_(sorted({one.item_id for one in answers})))
        .order_by(attempt.c.item_id)
        .with_for_update(of=work_item)
    )
    return {(row.item_id, row.fence, row.stage) for row in db.execute(query)}
