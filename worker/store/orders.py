"""Rows of erasure orders: what was ordered, how it stood when it was last looked at, and lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)

from worker.model.decision import Erasure
from worker.model.receipt import OrderStatus
from worker.store.tables import erasure, erasure_thread, thread

# Both databases allow a bounded number of parameters in one statement.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOrder:
    """An order. ``status``, ``counts`` and ``told`` are those of the last look; ``told`` tells of alerts.

    ``deadline`` is None only where no version that knows deadlines wrote the row.
    """

    id: str
    erasure: Erasure
    reason: str
    ordered_at: datetime
    ordered_by: str
    deadline: datetime | None
    status: OrderStatus = OrderStatus.OPEN
    looked_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    told: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found; ``closed`` is whether nothing about the order can change any more."""

    status: OrderStatus
    counts: Mapping[str, int]
    told: Sequence[str]
    at: datetime
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which orders a list shows; ``overdue`` those that are so at ``now``, or that are not.

    ``projects`` is what the caller may see (None: everything), and ``actor`` whose own orders it sees always.
    """

    projects: Sequence[str] | None = None
    actor: str = ""
    owner: str | None = None
    status: OrderStatus | None = None
    overdue: bool | None = None
    now: datetime | None = None


def add(
    db: Connection,
    order: Erasure,
    *,
    erasure_id: str,
    reason: str,
    deadline: datetime,
    ordered_at: datetime,
    ordered_by: str,
    threads: Iterable[str],
    projects: Sequence[str] | None = None,
) -> None:
    """Insert an order, expanded to the threads that it covers; it reaches ``projects``, or all."""
    db.execute(
        insert(erasure).values(
            id=erasure_id,
            owner=order.owner,
            ids=list(order.ids),
            reason=reason,
            at=order.at,
            deadline=deadline,
            ordered_at=ordered_at,
            ordered_by=ordered_by,
            projects=None if projects is None else list(projects),
        )
    )
    rows = [{"erasure_id": erasure_id, "thread_id": thread_id} for thread_id in threads]
    if rows:
        db.execute(insert(erasure_thread), rows)


def get(db: Connection, erasure_id: str, *, lock: bool = False) -> StoredOrder | None:
    """Return one order, its row locked where the caller writes what it found."""
    query = select(erasure).where(erasure.c.id == erasure_id)
    row = db.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _to_order(row)


def page(
    db: Connection, wanted: Wanted, *, limit: int, ascending: bool, after: str | None, before: str | None
) -> list[StoredOrder]:
    """Return one page by id, which sorts by time; with ``before`` it ends just before that one."""
    backwards = before is not None and after is None
    rising = ascending is not backwards
    query = _paged(select(erasure).where(*_clauses(wanted)), ascending, after, before)
    query = query.order_by(erasure.c.id if rising else erasure.c.id.desc()).limit(limit)
    found = [_to_order(row) for row in db.execute(query)]
    return found[::-1] if backwards else found


def _paged(query: Select[Any], ascending: bool, after: str | None, before: str | None) -> Select[Any]:  # noqa: FBT001 - the list's own order
    if after is not None:
        query = query.where(erasure.c.id > after if ascending else erasure.c.id < after)
    if before is not None:
        query = query.where(erasure.c.id < before if ascending else erasure.c.id > before)
    return query


def _clauses(wanted: Wanted) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if wanted.owner is not None:
        clauses.append(erasure.c.owner == wanted.owner)
    if wanted.status is not None:
        clauses.append(erasure.c.status == wanted.status.value)
    if wanted.overdue is not None and wanted.now is not None:
        overdue = _is_overdue(wanted.now)
        clauses.append(overdue if wanted.overdue else not_(overdue))
    if wanted.projects is not None:
        within = _covers(thread.c.project.in_(wanted.projects))
        beyond = _covers(thread.c.project.not_in(wanted.projects))
        clauses.append(or_(erasure.c.ordered_by == wanted.actor, and_(within, ~beyond)))
    return clauses


def _covers(which: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(
        erasure_thread.c.erasure_id == erasure.c.id, thread.c.id == erasure_thread.c.thread_id, which
    )


def _is_overdue(now: datetime) -> ColumnElement[bool]:
    return and_(
        erasure.c.status == OrderStatus.OPEN.value, erasure.c.deadline.is_not(None), erasure.c.deadline <= now
    )


def count_overdue(db: Connection, now: datetime) -> int:
    """Count the orders whose deadline has passed and that were open when last looked at."""
    return db.execute(select(func.count()).select_from(erasure).where(_is_overdue(now))).scalar_one()


def to_look_at(db: Connection, *, open_before: datetime, others_before: datetime, limit: int) -> list[str]:
    """Return the orders whose turn it is: new ones first, then those that were looked at longest ago.

    Open ones are due again once they were looked at before the first instant, all others that may change
    before the second.
    """
    is_open = erasure.c.status == OrderStatus.OPEN.value
    turn = or_(
        erasure.c.looked_at.is_(None),
        and_(is_open, erasure.c.looked_at <= open_before),
        erasure.c.looked_at <= others_before,
    )
    query = select(erasure.c.id).where(erasure.c.closed_at.is_(None), turn)
    order = (erasure.c.looked_at.asc().nulls_first(), erasure.c.id)
    return list(db.execute(query.order_by(*order).limit(limit)).scalars())


def note(db: Connection, erasure_id: str, look: Look) -> None:
    """Keep what a look found; the row is the caller's already."""
    db.execute(
        update(erasure)
        .where(erasure.c.id == erasure_id)
        .values(
            status=look.status.value,
            answer={"counts": dict(look.counts), "told": list(look.told)},
            looked_at=look.at,
            closed_at=look.at if look.closed else None,
        )
    )


def look_again(db: Connection, thread_ids: Sequence[str]) -> None:
    """Have the orders that cover these threads looked at anew: one of them was at its end, and is not."""
    for start in range(0, len(thread_ids), _AT_ONCE):
        named = erasure_thread.c.thread_id.in_(thread_ids[start : start + _AT_ONCE])
        covering = select(erasure_thread.c.erasure_id).where(named)
        db.execute(update(erasure).where(erasure.c.id.in_(covering)).values(looked_at=None, closed_at=None))


def _to_order(row: Row[Any]) -> StoredOrder:
    answer = row.answer or {}
    return StoredOrder(
        id=row.id,
        erasure=Erasure(at=row.at, owner=row.owner, ids=tuple(row.ids)),
        reason=row.reason,
        ordered_at=row.ordered_at,
        ordered_by=row.ordered_by,
        deadline=row.deadline,
        status=OrderStatus(row.status),
        looked_at=row.looked_at,
        counts=answer.get("counts", {}),
        told=answer.get("told", ()),
    )
