"""Intents and answers: what is committed before a DELETE leaves, and what came back to it.

DANGER. What these rows say decides whether a second DELETE may leave and what is later certified. Invariants:
an attempt is written before its DELETE leaves and never taken back; an answer is recorded only under the
fence that armed it. The caller's transaction has locked the items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, select, tuple_, update
from sqlalchemy.orm import Session

from worker.model.evidence import Children, Class
from worker.model.work import Stage
from worker.store.among import among
from worker.store.inserting import insert_all
from worker.store.tables import attempt, work_item


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back to an armed DELETE, or that nothing was sent."""

    item_id: str
    fence: int
    stage: Stage
    seen: Class
    observation: Mapping[str, Any] | None
    children_deleted: int = 0


_COUNTED = (
    update(work_item).where(among(work_item.c.id, "of_items")).values(attempts=work_item.c.attempts + 1)
)


def arm(db: Session, intents: Sequence[Armed]) -> None:
    """Write the intents; one that could not leave in time is armed anew as the same attempt."""
    # The caller has locked the items, so nobody else writes attempts under their fences.
    known = _attempts_of(db, [(one.item_id, one.fence, one.stage.value) for one in intents])
    new = [one for one in intents if (one.item_id, one.fence, one.stage.value) not in known]
    for one in intents:
        key = (one.item_id, one.fence, one.stage.value)
        if key in known:
            anew = {"armed_at": one.armed_at, "bundle": one.bundle, "answer": None, "answered_at": None}
            db.execute(
                update(attempt)
                .where(tuple_(attempt.c.item_id, attempt.c.fence, attempt.c.stage) == key)
                .values(anew)
            )
    insert_all(db, attempt, [_attempt_row(one) for one in new])
    containers = sorted(one.item_id for one in new if one.stage is Stage.CONTAINER)
    if containers:
        db.execute(_COUNTED, {"of_items": containers})


_ATTEMPTS_OF = select(attempt.c.item_id, attempt.c.fence, attempt.c.stage).where(
    among(attempt.c.item_id, "ids")
)


def _attempts_of(db: Session, keys: Sequence[tuple[str, int, str]]) -> set[tuple[str, int, str]]:
    """Return which of these attempts (item, fence, stage) are written already."""
    rows = db.execute(_ATTEMPTS_OF, {"ids": sorted({item_id for item_id, _, _ in keys})}).all()
    return {(item_id, fence, stage) for item_id, fence, stage in rows} & set(keys)


def _attempt_row(one: Armed) -> dict[str, Any]:
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


_ANSWER = (
    update(attempt)
    .where(
        attempt.c.item_id == bindparam("of_item"),
        attempt.c.fence == bindparam("of_fence"),
        attempt.c.stage == bindparam("of_stage"),
    )
    .values(
        answer=bindparam("seen"),
        answer_observation=bindparam("observation"),
        answered_at=bindparam("at"),
        children_deleted=bindparam("deleted"),
    )
)


def answer(db: Session, answers: Sequence[Answer], now: datetime) -> list[Answer]:
    """Record what came back; returns those whose fence had moved, which change nothing."""
    owned = _owned_attempts(db, sorted({one.item_id for one in answers}))
    rows = [
        {
            "of_item": one.item_id,
            "of_fence": one.fence,
            "of_stage": one.stage.value,
            "seen": one.seen.value,
            "observation": dict(one.observation) if one.observation else None,
            "at": now,
            "deleted": one.children_deleted,
        }
        for one in answers
        if (one.item_id, one.fence, one.stage.value) in owned
    ]
    if rows:
        db.execute(_ANSWER, rows)
    return [one for one in answers if (one.item_id, one.fence, one.stage.value) not in owned]


_OWNED = (
    select(attempt.c.item_id, attempt.c.fence, attempt.c.stage)
    .join(work_item, and_(work_item.c.id == attempt.c.item_id, work_item.c.fence == attempt.c.fence))
    .where(among(attempt.c.item_id, "ids"))
    .order_by(work_item.c.id)
    # Shared, in the order in which everybody takes items: a claim passes over these rows meanwhile.
    .with_for_update(read=True, of=work_item)
)


def _owned_attempts(db: Session, item_ids: Sequence[str]) -> set[tuple[str, int, str]]:
    """Return the attempts whose fence is still the item's; it stays so until the caller commits."""
    rows = db.execute(_OWNED, {"ids": list(item_ids)}).all()
    return {(item_id, fence, stage) for item_id, fence, stage in rows}
