"""Rows of sweeps, their plans, and the work items that a released plan becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, case, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.model.clock import rfc3339
from worker.model.ids import new_id
from worker.model.thread import ThreadState
from worker.model.work import OPEN_ITEM_STATES, ItemState, SweepState
from worker.store.tables import sweep, sweep_plan, thread, work_item


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One evaluation of one policy slot; ``slot`` is its UTC instant, or `manual:<id>`."""

    id: str
    policy: str
    slot: str
    state: SweepState
    bundle: str
    dry_run: bool
    planned: int
    begun_at: datetime
    ordered_by: str
    plan_digest: str | None = None
    population: int | None = None
    released: int = 0
    reasons: tuple[str, ...] = ()
    cursor: str = ""
    cursor_at: datetime | None = None
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One line of a plan."""

    thread_id: str
    eligible_at: datetime | None


def begin(db: Connection, new: Sweep) -> bool:
    """Insert a sweep; False when this policy's slot is taken, so that two beats are harmless."""
    try:
        with db.begin_nested():
            db.execute(
                insert(sweep).values(
                    id=new.id,
                    policy=new.policy,
                    slot=new.slot,
                    state=new.state.value,
                    bundle=new.bundle,
                    dry_run=new.dry_run,
                    planned=0,
                    released=0,
                    reasons=[],
                    cursor="",
                    begun_at=new.begun_at,
                    ordered_by=new.ordered_by,
                )
            )
    except IntegrityError:
        return False
    return True


def get(db: Connection, sweep_id: str, *, lock: bool = False) -> Sweep | None:
    """Return one sweep, with its row locked where the caller moves it."""
    query = select(sweep).where(sweep.c.id == sweep_id)
    row = db.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _to_sweep(row)


def page(db: Connection, *, limit: int, policy: str | None = None) -> list[Sweep]:
    """Return the newest sweeps."""
    query = select(sweep).order_by(sweep.c.id.desc()).limit(limit)
    if policy is not None:
        query = query.where(sweep.c.policy == policy)
    return [_to_sweep(row) for row in db.execute(query)]


def unfinished(db: Connection, *, begun_before: datetime) -> list[Sweep]:
    """Return sweeps that a crash left in the middle."""
    states = (SweepState.PLANNING, SweepState.RELEASING)
    query = select(sweep).where(sweep.c.state.in_(states), sweep.c.begun_at < begun_before)
    return [_to_sweep(row) for row in db.execute(query.order_by(sweep.c.id))]


def newest_slot(db: Connection, policy: str, *, until: datetime) -> datetime | None:
    """Return the newest scheduled slot of a policy up to then that was begun; manual sweeps do not count.

    What lies further ahead was begun while a clock was ahead. The slots before it come all the same, and it
    is not begun twice.
    """
    # Slots are whole minutes, so both are written alike, and compare as the instants do.
    latest = rfc3339(until.replace(microsecond=0))
    begun = (sweep.c.policy == policy, sweep.c.slot.not_like("manual:%"), sweep.c.slot <= latest)
    query = select(func.max(sweep.c.slot)).where(*begun)
    newest = db.execute(query).scalar_one_or_none()
    return None if newest is None else datetime.fromisoformat(newest)


def set_state(db: Connection, sweep_id: str, state: SweepState, **values: object) -> None:
    """Move a sweep; the caller holds its row."""
    db.execute(update(sweep).where(sweep.c.id == sweep_id).values(state=state.value, **values))


def advance(
    db: Connection,
    sweep_id: str,
    *,
    cursor: str,
    cursor_at: datetime | None = None,
    planned: int = 0,
    released: int = 0,
) -> None:
    """Move a sweep's cursor and counts by one page."""
    db.execute(
        update(sweep)
        .where(sweep.c.id == sweep_id)
        .values(
            cursor=cursor,
            cursor_at=cursor_at,
            planned=sweep.c.planned + planned,
            released=sweep.c.released + released,
        )
    )


def begin_anew(db: Connection, sweep_id: str, *, bundle: str, limit: int) -> None:
    """Forget a page of a plan; with nothing of it left, the sweep plans from the start under the bundle."""
    some = plan_ids(db, sweep_id, limit=limit)
    if some:
        db.execute(
            delete(sweep_plan).where(sweep_plan.c.sweep_id == sweep_id, sweep_plan.c.thread_id <= some[-1])
        )
    if len(some) < limit:
        fresh = {"bundle": bundle, "cursor": "", "cursor_at": None, "planned": 0}
        db.execute(update(sweep).where(sweep.c.id == sweep_id).values(fresh))


def add_plan(db: Connection, sweep_id: str, lines: Sequence[Planned]) -> None:
    """Store a page of the plan."""
    if lines:
        rows = [
            {"sweep_id": sweep_id, "thread_id": line.thread_id, "eligible_at": line.eligible_at}
            for line in lines
        ]
        db.execute(insert(sweep_plan), rows)


def plan_ids(db: Connection, sweep_id: str, *, after: str = "", limit: int | None = None) -> list[str]:
    """Return thread ids of a plan in order."""
    query = _plan_ids(sweep_id, after)
    return list(db.execute(query.limit(limit) if limit is not None else query).scalars().all())


def _plan_ids(sweep_id: str, after: str) -> Select[Any]:
    query = select(sweep_plan.c.thread_id)
    query = query.where(sweep_plan.c.sweep_id == sweep_id, sweep_plan.c.thread_id > after)
    return query.order_by(sweep_plan.c.thread_id)


def plan_lines(db: Connection, sweep_id: str, *, after: str, limit: int) -> list[str]:
    """Return thread ids of a plan in order, as `plan_ids` does, but sent as one text.

    A row for each id would cost more than all the rest of a digest. No id holds a line break.
    """
    page = _plan_ids(sweep_id, after).limit(limit).subquery()
    text = db.execute(select(func.aggregate_strings(page.c.thread_id, "\n"))).scalar_one()
    # The page is the next one in order; in which order it is joined, no database promises.
    return sorted(text.split("\n")) if text else []


def released_since(db: Connection, policy: str, since: datetime) -> int:
    """Return how many threads this policy's sweeps released in a window; one under way counts whole."""
    releasing = sweep.c.state == SweepState.RELEASING
    counted = case((releasing, sweep.c.planned), else_=sweep.c.released)
    query = select(func.coalesce(func.sum(counted), 0)).where(
        sweep.c.policy == policy, or_(releasing, sweep.c.released_at > since)
    )
    return int(db.execute(query).scalar_one())


def largest_population(db: Connection, policy: str, since: datetime) -> int:
    """Return the largest population that a sweep of this policy recorded in a window."""
    query = select(func.coalesce(func.max(sweep.c.population), 0)).where(
        sweep.c.policy == policy, sweep.c.begun_at > since
    )
    return int(db.execute(query).scalar_one())


def release(
    db: Connection, of: Sweep, thread_ids: Sequence[str], *, credentials: Mapping[str, str], now: datetime
) -> int:
    """Turn a page of the plan into work items.

    A thread that somebody works on already, or that has come to its end since it was planned, is left out.
    """
    open_now = set(
        db.execute(
            select(work_item.c.thread_id).where(
                work_item.c.thread_id.in_(thread_ids), work_item.c.state.in_(OPEN_ITEM_STATES)
            )
        ).scalars()
    )
    query = select(thread.c.id, thread.c.project, thread.c.kind).where(
        thread.c.id.in_(thread_ids), thread.c.state == ThreadState.LIVE
    )
    rows = [
        _item(of, row, credentials.get(row.project, ""), now)
        for row in db.execute(query.order_by(thread.c.id))
        if row.id not in open_now
    ]
    if rows:
        db.execute(insert(work_item), rows)
    return len(rows)


def _item(of: Sweep, row: Row[Any, Any, Any], credential: str, now: datetime) -> dict[str, object]:
    return {
        "id": new_id("itm", now),
        "sweep_id": of.id,
        "thread_id": row.id,
        "policy": of.policy,
        "project": row.project,
        "kind": row.kind,
        "credential": credential,
        "state": ItemState.PLANNED.value,
        "next_at": now,
        "fence": 0,
        "attempts": 0,
        "reads": 0,
        "rereads": 0,
        "rounds": 0,
    }


def item_counts(db: Connection, sweep_id: str) -> dict[ItemState, int]:
    """Count a sweep's work items by state."""
    rows = db.execute(
        select(work_item.c.state, func.count())
        .where(work_item.c.sweep_id == sweep_id)
        .group_by(work_item.c.state)
    )
    return {ItemState(state): int(count) for state, count in rows}


def open_projects(db: Connection, policy: str) -> set[str]:
    """Return the projects in which this policy has items to be worked off, whichever sweep planned them."""
    query = select(work_item.c.project).where(
        work_item.c.policy == policy, work_item.c.state.in_(OPEN_ITEM_STATES)
    )
    return set(db.execute(query.distinct()).scalars())


def worked_on(db: Connection, thread_ids: Sequence[str]) -> set[str]:
    """Return which of these threads have an open work item: no sweep plans them a second time."""
    query = select(work_item.c.thread_id).where(
        work_item.c.thread_id.in_(thread_ids), work_item.c.state.in_(OPEN_ITEM_STATES)
    )
    return set(db.execute(query).scalars())


def grade_counts(db: Connection, sweep_id: str) -> dict[str, int]:
    """Count a sweep's graded items by the word of their grade."""
    rows = db.execute(
        select(work_item.c.grade, func.count())
        .where(work_item.c.sweep_id == sweep_id, work_item.c.grade.is_not(None))
        .group_by(work_item.c.grade)
    )
    counts: dict[str, int] = {}
    for grade, count in rows:
        word = str(grade).partition("/")[0]
        counts[word] = counts.get(word, 0) + int(count)
    return counts


def _to_sweep(row: Row[Any]) -> Sweep:
    return Sweep(
        id=row.id,
        policy=row.policy,
        slot=row.slot,
        state=SweepState(row.state),
        bundle=row.bundle,
        dry_run=row.dry_run,
        planned=row.planned,
        begun_at=row.begun_at,
        ordered_by=row.ordered_by,
        plan_digest=row.plan_digest,
        population=row.population,
        released=row.released,
        reasons=tuple(row.reasons),
        cursor=row.cursor,
        cursor_at=row.cursor_at,
        released_at=row.released_at,
    )
