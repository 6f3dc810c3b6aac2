"""Intents and answers: what is committed before a DELETE leaves, and what came back to it.

DANGER. What these rows say decides whether a second DELETE may leave and what is later certified. Invariants:
an attempt is written before its DELETE leaves and never taken back; an answer is recorded only under the
fence that armed it. The caller's transaction has locked the items.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select, tuple_, update

from worker.model.evidence import Children, Class
from worker.model.work import Stage
from worker.store.among import among
from worker.store.attempts import AttemptKey
from worker.store.inserting import insert_all
from worker.store.tables import attempt, work_item
from worker.store.updating import EachRow


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


def arm(db: Connection, intents: Sequence[Armed], known: Collection[AttemptKey]) -> None:
    """Write the intents; one that could not leave in time is armed anew as the same attempt.

    ``known`` are the attempts at their threads that are written already, read since the caller locked the
    items: so nobody else writes attempts under their fences.
    """
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


_ANSWERED = EachRow(table=attempt, keys=("item_id", "fence", "stage"))


def answer(db: Connection, answers: Sequence[Answer], now: datetime) -> list[Answer]:
    """Record what came back; returns those whose fence had moved, which change nothing."""
    owned = _owned_attempts(db, sorted({one.item_id for one in answers}))
    rows = [
        {
            "item_id": one.item_id,
            "fence": one.fence,
            "stage": one.stage.value,
            "answer": one.seen.value,
            "answer_observation": dict(one.observation) if one.observation else None,
            "answered_at": now,
            "children_deleted": one.children_deleted,
        }
        for one in answers
        if (one.item_id, one.fence, one.stage.value) in owned
    ]
    _ANSWERED.update(db, rows)
    return [one for one in answers if (one.item_id, one.fence, one.stage.value) not in owned]


_OWNED = (
    select(attempt.c.item_id, attempt.c.fence, attempt.c.stage)
    .join(work_item, and_(work_item.c.id == attempt.c.item_id, work_item.c.fence == attempt.c.fence))
    .where(among(attempt.c.item_id, "ids"))
    .order_by(work_item.c.id)
    # Shared, in the order in which everybody takes items: a claim passes over these rows meanwhile.
    .with_for_update(read=True, of=work_item)
)


def _owned_attempts(db: Connection, item_ids: Sequence[str]) -> set[tuple[str, int, str]]:
    """Return the attempts whose fence is still the item's; it stays so until the caller commits."""
    rows = db.execute(_OWNED, {"ids": list(item_ids)}).all()
    return {(item_id, fence, stage) for item_id, fence, stage in rows}
