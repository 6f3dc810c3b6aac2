"""The keys that sign the log, by origin, from which tree size on, and until which."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from worker.audit.keys import BOTH_SIGN, LogKey
from worker.store.tables import audit_checkpoint, audit_key


def keys(db: Connection, origin: str) -> list[LogKey]:
    """Return the log's keys, the oldest first.

    A key that was replaced is valid up to the last of the checkpoints that both sign; until those are made
    it has no end.
    """
    rows = db.execute(select(audit_key).where(audit_key.c.origin == origin).order_by(audit_key.c.since)).all()
    ends = [_last_of_both(db, row.since) for row in rows[1:]]
    return [
        LogKey(vkey=row.vkey, since=row.since, until=until)
        for row, until in zip(rows, [*ends, None], strict=False)
    ]


def add_key(db: Connection, origin: str, vkey: str, *, since: int, at: datetime) -> None:
    """Let a key sign from this tree size on."""
    db.execute(insert(audit_key).values(origin=origin, since=since, vkey=vkey, at=at))


def signed_since(db: Connection, size: int) -> int:
    """Return how many checkpoints of at least this size are stored."""
    query = select(func.count()).select_from(audit_checkpoint).where(audit_checkpoint.c.size >= size)
    return int(db.execute(query).scalar_one())


def _last_of_both(db: Connection, since: int) -> int | None:
    """Return the size of the last checkpoint that the key before also signs, or None while some are left."""
    query = select(audit_checkpoint.c.size).where(audit_checkpoint.c.size >= since)
    size: int | None = db.execute(
        query.order_by(audit_checkpoint.c.size).offset(BOTH_SIGN - 1).limit(1)
    ).scalar_one_or_none()
    return size
