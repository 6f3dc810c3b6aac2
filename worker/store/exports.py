"""Rows of exports that were asked for, and the pieces of the finished bundles.

Whoever makes one holds a lease and a fence: a maker that came back after its lease writes nothing any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select, update

from worker.store.engine import changed, lease_clock
from worker.store.tables import export, export_piece


class ExportState(StrEnum):
    """Where an export stands."""

    QUEUED = "queued"
    MAKING = "making"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


OPEN = (ExportState.QUEUED.value, ExportState.MAKING.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExport:
    """One export: what was asked, how far it is, and what became of it.

    ``made`` is size, digest and counts of the file; ``problem`` code and detail of a failure.
    """

    id: str
    project: str
    asked: Mapping[str, Any]
    asked_by: str
    asked_at: datetime
    state: ExportState = ExportState.QUEUED
    fence: int = 0
    done: int = 0
    total: int | None = None
    made: Mapping[str, Any] | None = None
    problem: Mapping[str, Any] | None = None
    ended_at: datetime | None = None
    expires_at: datetime | None = None


def add(db: Connection, new: StoredExport) -> None:
    """Insert what was asked for."""
    db.execute(
        insert(export).values(
            id=new.id,
            project=new.project,
            asked=dict(new.asked),
            asked_by=new.asked_by,
            asked_at=new.asked_at,
            state=new.state.value,
            fence=0,
            done=0,
        )
    )


def get(db: Connection, export_id: str) -> StoredExport | None:
    """Return one export."""
    row = db.execute(select(export).where(export.c.id == export_id)).first()
    return None if row is None else _to_export(row)


def count_of(db: Connection, asked_by: str) -> tuple[int, int]:
    """Return how many of a caller's exports are open, and how many take room."""
    mine = select(func.count()).select_from(export).where(export.c.asked_by == asked_by)
    open_ = db.execute(mine.where(export.c.state.in_(OPEN))).scalar_one()
    kept = db.execute(mine.where(export.c.state.in_([*OPEN, ExportState.READY.value]))).scalar_one()
    return int(open_), int(kept)


def claim(db: Connection, *, now: datetime, lease: timedelta) -> StoredExport | None:
    """Take the export that waits longest, or that a crashed maker left; of two makers one gets it."""
    now = lease_clock(db, now)
    ready = or_(
        export.c.state == ExportState.QUEUED.value,
        and_(export.c.state == ExportState.MAKING.value, export.c.lease_until <= now),
    )
    query = select(export).where(ready).order_by(export.c.asked_at, export.c.id).limit(1)
    row = db.execute(query.with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    # What an earlier maker left half done is of no use: it made another file.
    db.execute(delete(export_piece).where(export_piece.c.export_id == row.id))
    moved = update(export).where(export.c.id == row.id)
    db.execute(
        moved.values(
            state=ExportState.MAKING.value,
            fence=row.fence + 1,
            lease_until=now + lease,
            done=0,
            total=None,
        )
    )
    return get(db, row.id)


def anything_to_make(db: Connection, now: datetime) -> bool:
    """Whether `claim` would find one; a reader looks first, so that idle makers take no lock."""
    now = lease_clock(db, now)
    left = and_(export.c.state == ExportState.MAKING.value, export.c.lease_until <= now)
    waits = export.c.state == ExportState.QUEUED.value
    return db.execute(select(export.c.id).where(or_(waits, left)).limit(1)).first() is not None


def renew(
    db: Connection, held: StoredExport, *, done: int, total: int, now: datetime, lease: timedelta
) -> bool:
    """Tell how far it is and hold it longer; False where the fence has moved on."""
    until = lease_clock(db, now) + lease
    told = update(export).where(_held(held)).values(done=done, total=total, lease_until=until)
    return changed(db, told) == 1


def add_piece(db: Connection, held: StoredExport, n: int, data: bytes) -> None:
    """Keep one piece of the file; the caller has renewed the lease in this transaction."""
    db.execute(insert(export_piece).values(export_id=held.id, fence=held.fence, n=n, data=data))


def release(db: Connection, held: StoredExport) -> None:
    """Let another maker begin anew at once."""
    moved = update(export).where(_held(held))
    db.execute(moved.values(state=ExportState.QUEUED.value, lease_until=None, done=0, total=None))


def finish(
    db: Connection, held: StoredExport, *, made: Mapping[str, Any], now: datetime, until: datetime
) -> bool:
    """Let the file be fetched until then; False where the fence has moved on."""
    moved = update(export).where(_held(held))
    values = {"state": ExportState.READY.value, "made": dict(made), "ended_at": now, "expires_at": until}
    return changed(db, moved.values(lease_until=None, **values)) == 1


def fail(db: Connection, held: StoredExport, *, problem: Mapping[str, Any], now: datetime) -> bool:
    """Keep why there will be no file; False where the fence has moved on."""
    db.execute(
        delete(export_piece).where(export_piece.c.export_id == held.id, export_piece.c.fence == held.fence)
    )
    moved = update(export).where(_held(held))
    values = {"state": ExportState.FAILED.value, "problem": dict(problem), "ended_at": now}
    return changed(db, moved.values(lease_until=None, **values)) == 1


def piece(db: Connection, export_id: str, fence: int, n: int) -> bytes | None:
    """Return one piece of a file, None behind the last or once it is gone."""
    query = select(export_piece.c.data).where(
        export_piece.c.export_id == export_id, export_piece.c.fence == fence, export_piece.c.n == n
    )
    found = db.execute(query).scalar_one_or_none()
    return None if found is None else bytes(found)


def any_expired(db: Connection, now: datetime, *, forget: datetime) -> bool:
    """Whether `expire` has anything to do."""
    return (
        db.execute(select(export.c.id).where(or_(_expired(now), _old(forget))).limit(1)).first() is not None
    )


def expire(db: Connection, now: datetime, *, forget: datetime) -> None:
    """Remove the files whose time is up, and rows that ended before ``forget``."""
    gone = list(db.execute(select(export.c.id).where(_expired(now)).with_for_update()).scalars())
    old = list(db.execute(select(export.c.id).where(_old(forget)).with_for_update()).scalars())
    db.execute(delete(export_piece).where(export_piece.c.export_id.in_([*gone, *old])))
    db.execute(update(export).where(export.c.id.in_(gone)).values(state=ExportState.EXPIRED.value))
    db.execute(delete(export).where(export.c.id.in_(old)))


def end_leases(db: Connection, now: datetime) -> None:
    """Let go what a process made that is known to be gone."""
    db.execute(update(export).where(export.c.state == ExportState.MAKING.value).values(lease_until=now))


def _held(held: StoredExport) -> ColumnElement[bool]:
    return and_(
        export.c.id == held.id, export.c.fence == held.fence, export.c.state == ExportState.MAKING.value
    )


def _expired(now: datetime) -> ColumnElement[bool]:
    return and_(export.c.state == ExportState.READY.value, export.c.expires_at <= now)


def _old(before: datetime) -> ColumnElement[bool]:
    ended = [ExportState.FAILED.value, ExportState.EXPIRED.value]
    return and_(export.c.state.in_(ended), export.c.ended_at <= before)


def _to_export(row: Row[Any]) -> StoredExport:
    return StoredExport(
        id=row.id,
        project=row.project,
        asked=row.asked,
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        state=ExportState(row.state),
        fence=row.fence,
        done=row.done,
        total=row.total,
        made=row.made,
        problem=row.problem,
        ended_at=row.ended_at,
        expires_at=row.expires_at,
    )
