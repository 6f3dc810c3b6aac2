"""Work items: claim and settle, and the attempts of earlier claims.

DANGER. What these rows say decides whether a DELETE may leave and what is later certified. Invariants:
an item belongs to the worker whose fence it carries, and only that worker moves it; a dead lease is claimed
by the same statement as new work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, TextClause, and_, case, func, or_, select, text, update

from worker.audit.observed import Tried
from worker.model.evidence import Children, Class, Grade, Pass
from worker.model.ids import ItemId, ThreadId
from worker.model.work import OPEN_ITEM_STATES, ItemState, Lease, Stage, WorkItem
from worker.store.among import among
from worker.store.engine import changed, lease_clock
from worker.store.moves import ItemMove
from worker.store.protections import EVERYTHING
from worker.store.rests import rests
from worker.store.tables import attempt, protection, stopped_pair, work_item

LONGEST_WAIT = timedelta(hours=25)
"""Longer than any item waits: a provider that asks for more than a day is asked again after a day."""

LONGEST_LEASE = timedelta(hours=1)
"""No lease is longer (settings: `lease_seconds`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierAttempt:
    """An armed attempt of an earlier claim: how it is folded, and the observations that were kept."""

    tried: Tried
    armed_at: datetime
    observations: Sequence[Mapping[str, Any]]


def _ready(now: datetime) -> ColumnElement[bool]:
    waiting = and_(work_item.c.state.in_((ItemState.PLANNED, ItemState.WAITING)), work_item.c.next_at <= now)
    dead_lease = and_(work_item.c.state == ItemState.CLAIMED, work_item.c.lease_until < now)
    return or_(waiting, dead_lease)


def _allowed(now: datetime) -> ColumnElement[bool]:
    """Paused projects, pairs whose control failed and credentials that rest are left where they are."""
    paused = (
        select(protection.c.scope)
        .where(
            protection.c.paused_at.is_not(None),
            or_(protection.c.scope == EVERYTHING, protection.c.scope == work_item.c.project),
        )
        .exists()
    )
    return and_(~paused, ~_stopped(stopped_pair.c.probe_at > now), ~rests(work_item.c.credential, now))


def _stopped(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the item's project and kind are stopped."""
    same = (stopped_pair.c.project == work_item.c.project, stopped_pair.c.kind == work_item.c.kind)
    return select(stopped_pair.c.project).where(*same, *which).exists()


def claim(
    db: Connection,
    *,
    credential: str,
    limit: int,
    lease: Lease,
    by: str,
    now: datetime,
    turns: Sequence[str] = (),
) -> tuple[list[WorkItem], datetime]:
    """Take lease and fence of up to ``limit`` items of one credential; returns them and the lease's end.

    The same statement selects new, waiting and abandoned items, skipping rows that another worker is taking.
    ``turns`` are the projects on the credential in the order in which they take an equal part; what they
    leave goes to whoever waits longest. A stopped pair whose probe is due gives one item and no more: should
    its control fail again, only that one was read. What two claims in a row have left without a word is
    claimed alone, before anything else.
    """
    now = lease_clock(db, now)
    until = now + lease.length
    if alone := _left_twice(db, credential, now):
        return _claimed(db, alone, until=until, by=by), until
    rows = _probes(db, credential, now)[:limit]
    part = max(1, limit // max(1, len(turns)))
    for project in turns if len(turns) > 1 else ():
        most = min(part, limit - len(rows))
        rows += _take(db, credential, now, most, work_item.c.project == project, ~_stopped())
    others = [work_item.c.id.not_in([row.id for row in rows])] if rows else []
    rows += _take(db, credential, now, limit - len(rows), *others, ~_stopped())
    return _claimed(db, rows, until=until, by=by), until


def _claimed(db: Connection, rows: Sequence[Row[Any]], *, until: datetime, by: str) -> list[WorkItem]:
    """Take lease and fence of locked rows, and count whom their last claim left without a word."""
    if rows:
        left = case((work_item.c.state == ItemState.CLAIMED, work_item.c.abandoned + 1), else_=0)
        db.execute(
            update(work_item)
            .where(among(work_item.c.id, "of_items"))
            .values(
                state=ItemState.CLAIMED.value,
                fence=work_item.c.fence + 1,
                lease_until=until,
                claimed_by=by,
                abandoned=left,
            ),
            {"of_items": [row.id for row in rows]},
        )
    return [_to_item(row, until=until) for row in rows]


def _left_twice(db: Connection, credential: str, now: datetime) -> Sequence[Row[Any]]:
    """Lock one row that two claims in a row have left without a word: it goes alone.

    Something in its batch may end every worker that touches it. Alone it harms no other, and is found out.
    """
    # Written out, so that the planner finds the index of these few rows.
    return _take(db, credential, now, 1, text("work_item.state = 'claimed' and work_item.abandoned > 0"))


def time_of_waits(db: Connection, now: datetime) -> datetime:
    """Return the time that leases and waits are counted from: the database's, where it has a clock.

    Whoever waits is claimed by that clock. Dated by a worker's own that runs behind, a wait would be over
    before it began, and every try of a thread would be used up at once.
    """
    return lease_clock(db, now)


def no_later(db: Connection, now: datetime) -> datetime:
    """Return ``now``, or the database's time where the application's clock is ahead of it (PostgreSQL)."""
    return min(now, lease_clock(db, now))


def end_leases(db: Connection, now: datetime) -> int:
    """End every lease; returns how many. Only for whoever knows that nobody works: the lock's holder.

    Also those of a clock that was ahead: on SQLite they would otherwise last until it is so late.
    """
    held = work_item.c.state == ItemState.CLAIMED
    return changed(db, update(work_item).where(held).values(lease_until=now))


def mend(db: Connection, credentials: Collection[str], now: datetime) -> int:
    """Let no item wait, and no lease last, longer than any does; returns how many a clock had dated ahead.

    On SQLite the clock is the process's own, and may be set back while items wait. A lease that is cut so
    ends no earlier than its holder counts: it was as long as this at most, and counts from before now.
    """
    now = lease_clock(db, now)
    dated_wrong = (
        work_item.c.credential.in_(sorted(credentials)),
        work_item.c.state.in_((ItemState.PLANNED, ItemState.WAITING)),
        work_item.c.next_at > now + LONGEST_WAIT,
    )
    leased_wrong = (
        work_item.c.credential.in_(sorted(credentials)),
        work_item.c.state == ItemState.CLAIMED,
        work_item.c.lease_until > now + LONGEST_LEASE,
    )
    mended = changed(db, update(work_item).where(*dated_wrong).values(next_at=now))
    return mended + changed(
        db, update(work_item).where(*leased_wrong).values(lease_until=now + LONGEST_LEASE)
    )


def _probes(db: Connection, credential: str, now: datetime) -> list[Row[Any]]:
    """Lock one ready row of each stopped pair whose probe is due."""
    due = select(stopped_pair.c.project, stopped_pair.c.kind).where(stopped_pair.c.probe_at <= now)
    found: list[Row[Any]] = []
    for project, kind in db.execute(due.order_by(stopped_pair.c.project, stopped_pair.c.kind)).all():
        found += _take(db, credential, now, 1, work_item.c.project == project, work_item.c.kind == kind)
    return found


# What a worker is told of an item, in the order of `_to_item`.
_TAKEN: Sequence[ColumnElement[Any]] = (
    work_item.c.id,
    work_item.c.thread_id,
    work_item.c.sweep_id,
    work_item.c.policy,
    work_item.c.project,
    work_item.c.credential,
    work_item.c.fence,
    work_item.c.attempts,
    work_item.c.reads,
    work_item.c.rereads,
    work_item.c.rounds,
    work_item.c.abandoned,
    work_item.c.state,
)


def _take(
    db: Connection, credential: str, now: datetime, limit: int, *which: ColumnElement[bool] | TextClause
) -> Sequence[Row[Any]]:
    """Lock up to ``limit`` ready rows, the longest waiting first."""
    if limit < 1:
        return ()
    query = (
        select(*_TAKEN)
        .where(work_item.c.credential == credential, _ready(now), _allowed(now), *which)
        .order_by(work_item.c.next_at, work_item.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return db.execute(query).all()


def credentials_ready(db: Connection, now: datetime) -> list[str]:
    """Return the credentials that have something to claim."""
    now = lease_clock(db, now)
    query = select(work_item.c.credential).where(_ready(now), _allowed(now)).distinct()
    return sorted(db.execute(query).scalars())


def waited(db: Connection, now: datetime, *, claimed_at: datetime | None) -> timedelta | None:
    """Return how long something could have been claimed that nobody claimed since ``claimed_at``, or None."""
    now = lease_clock(db, now)
    # An abandoned item keeps the instant at which its lease ended.
    since = func.coalesce(work_item.c.lease_until, work_item.c.next_at)
    query = select(func.min(since)).where(_ready(now), _allowed(now))
    ready: datetime | None = db.execute(query).scalar_one_or_none()
    if ready is None:
        return None
    return max(timedelta(0), now - (max(ready, claimed_at) if claimed_at else ready))


def busy(db: Connection, policies: Collection[str], now: datetime) -> int:
    """Count the items of these policies that are planned or claimed, and that no pause or stop keeps."""
    query = (
        select(func.count())
        .select_from(work_item)
        .where(
            work_item.c.policy.in_(sorted(policies)),
            work_item.c.state.in_((ItemState.PLANNED, ItemState.CLAIMED)),
            _allowed(lease_clock(db, now)),
        )
    )
    return db.execute(query).scalar_one()


_LOCKED = (
    select(work_item.c.id, work_item.c.fence)
    .where(among(work_item.c.id, "ids"), work_item.c.state == ItemState.CLAIMED)
    .order_by(work_item.c.id)
    .with_for_update()
)


def locked(db: Connection, items: Sequence[WorkItem]) -> set[str]:
    """Lock the items that these fences still own, in sorted order, and return their ids."""
    fences = {item.id: item.fence for item in items}
    rows = db.execute(_LOCKED, {"ids": sorted(fences)}).all()
    return {item_id for item_id, fence in rows if fence == fences[item_id]}


def settle(
    db: Connection,
    item: WorkItem,
    state: ItemState,
    *,
    now: datetime,
    next_at: datetime | None = None,
    reason: str | None = None,
    grade: Grade | None = None,
    counters: Mapping[str, int] | None = None,
) -> bool:
    """Move an item that this fence still owns; False means that the lease was lost and nothing changed."""
    one = ItemMove(
        item=item, state=state, next_at=next_at, reason=reason, grade=grade, counters=dict(counters or {})
    )
    move = (
        update(work_item)
        .where(
            work_item.c.id == item.id,
            work_item.c.fence == item.fence,
            work_item.c.state == ItemState.CLAIMED,
        )
        .values(one.values(now))
    )
    return changed(db, move) == 1


_EARLIER = (
    select(attempt)
    .where(among(attempt.c.thread_id, "ids"), attempt.c.stage == Stage.CONTAINER.value)
    .order_by(attempt.c.armed_at, attempt.c.fence)
)


def earlier_attempts(db: Connection, items: Sequence[WorkItem]) -> dict[ThreadId, list[EarlierAttempt]]:
    """Return the container attempts that earlier claims made at these threads, oldest first."""
    own = {(item.id, item.fence) for item in items}
    rows = db.execute(_EARLIER, {"ids": sorted({item.thread_id for item in items})}).all()
    found: dict[ThreadId, list[EarlierAttempt]] = {}
    for row in rows:
        if (row.item_id, row.fence) not in own:
            found.setdefault(ThreadId(row.thread_id), []).append(_to_earlier(row))
    return found


def _to_earlier(row: Row[Any]) -> EarlierAttempt:
    saw = Pass(
        before=Class(row.before),
        armed=True,
        # Without a recorded answer the DELETE may have left: NONE says so, and folding takes it as lost.
        answer=Class(row.answer) if row.answer else Class.NONE,
        children=Children(row.children),
    )
    kept = [one for one in (row.before_observation, row.answer_observation) if one]
    return EarlierAttempt(
        tried=Tried(item=row.item_id, fence=row.fence, saw=saw), armed_at=row.armed_at, observations=kept
    )


def _to_item(row: Row[Any], *, until: datetime) -> WorkItem:
    (
        item_id,
        thread_id,
        sweep_id,
        policy,
        project,
        credential,
        fence,
        attempts,
        reads,
        rereads,
        rounds,
        abandoned,
        state,
    ) = tuple(row)
    return WorkItem(
        id=ItemId(item_id),
        thread_id=ThreadId(thread_id),
        sweep_id=sweep_id,
        policy=policy,
        project=project,
        credential=credential,
        fence=fence + 1,
        attempts=attempts,
        reads=reads,
        rereads=rereads,
        rounds=rounds,
        abandoned=abandoned + 1 if state == ItemState.CLAIMED else 0,
        lease_until=until,
    )


def count_by_state(db: Connection) -> dict[str, int]:
    """Count work items by state."""
    rows = db.execute(select(work_item.c.state, func.count()).group_by(work_item.c.state))
    return {state: int(count) for state, count in rows}


def cancel_open(db: Connection, thread_id: str, *, now: datetime, reason: str) -> None:
    """Cancel an item of a withdrawn thread that nobody holds."""
    db.execute(
        update(work_item)
        .where(
            work_item.c.thread_id == thread_id, work_item.c.state.in_((ItemState.PLANNED, ItemState.WAITING))
        )
        .values(state=ItemState.CANCELLED.value, reason=reason, settled_at=now)
    )


def relabel(db: Connection, credentials: Mapping[str, str]) -> None:
    """Give open items of each project the credential that the bundle in force names for it."""
    for project, credential in sorted(credentials.items()):
        db.execute(
            update(work_item)
            .where(
                work_item.c.project == project,
                work_item.c.credential != credential,
                work_item.c.state.in_(OPEN_ITEM_STATES),
            )
            .values(credential=credential)
        )
