"""Rows of requests that came with an Idempotency-Key: who does it, and the answer once there is one.

Whoever does a request holds a claim under a lease. A claim that was taken over writes nothing any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from worker.store.engine import changed, lease_clock
from worker.store.tables import kept_answer


class Withheld(StrEnum):
    """Why an answer was not kept, although the request was done."""

    SECRET = "secret"  # noqa: S105 - a word, and no secret
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to do one request; ``id`` is another one at each claim."""

    row: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """How a request was answered; without a body ``withheld`` says why there is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    withheld: Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """One row: ``running_until`` is the end of a lease that lasts, ``answer`` stands once there is one."""

    digest: str
    running_until: datetime | None
    expires_at: datetime
    answer: KeptAnswer | None


def add(
    db: Connection, claim: Claim, *, digest: str, now: datetime, lease: timedelta, until: datetime
) -> bool:
    """Insert a row for a claim; False where the key is known. Waits for another who inserts it just now."""
    insert_ = sqlite_insert if db.dialect.name == "sqlite" else postgresql_insert
    statement = insert_(kept_answer).values(
        id=claim.row,
        digest=digest,
        claim=claim.id,
        lease_until=lease_clock(db, now) + lease,
        expires_at=until,
    )
    added = statement.on_conflict_do_nothing().returning(kept_answer.c.id)
    return db.execute(added).first() is not None


def lock(db: Connection, row_id: str, now: datetime) -> StoredAnswer | None:
    """Return a row that nobody else changes before this transaction ends."""
    row = db.execute(select(kept_answer).where(kept_answer.c.id == row_id).with_for_update()).first()
    return None if row is None else _to_answer(row, lease_clock(db, now))


def take_over(
    db: Connection, claim: Claim, *, digest: str, now: datetime, lease: timedelta, until: datetime
) -> None:
    """Give a row that the caller has locked to another claim, without any answer."""
    db.execute(
        update(kept_answer)
        .where(kept_answer.c.id == claim.row)
        .values(
            digest=digest,
            claim=claim.id,
            lease_until=lease_clock(db, now) + lease,
            status=None,
            headers=null(),
            body=None,
            withheld=None,
            expires_at=until,
        )
    )


def renew(db: Connection, claim: Claim, *, now: datetime, lease: timedelta) -> bool:
    """Hold a claim longer; False where it was taken over or ended."""
    until = lease_clock(db, now) + lease
    return changed(db, update(kept_answer).where(_held(claim)).values(lease_until=until)) == 1


def keep(db: Connection, claim: Claim, answer: KeptAnswer, *, until: datetime) -> bool:
    """Keep the answer until then; False where the claim was taken over."""
    kept = {
        "lease_until": None,
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": None if answer.withheld else answer.body,
        "withheld": answer.withheld.value if answer.withheld else None,
        "expires_at": until,
    }
    return changed(db, update(kept_answer).where(_held(claim)).values(**kept)) == 1


def let_go(db: Connection, claim: Claim) -> None:
    """Free the key, as if the request had never come; nothing happens where the claim was taken over."""
    db.execute(delete(kept_answer).where(_held(claim)))


def any_expired(db: Connection, now: datetime) -> bool:
    """Whether `forget` has anything to do."""
    return db.execute(select(kept_answer.c.id).where(_expired(db, now)).limit(1)).first() is not None


def forget(db: Connection, now: datetime, *, limit: int) -> int:
    """Remove rows whose time is up, ``limit`` at most; returns how many."""
    query = select(kept_answer.c.id).where(_expired(db, now)).order_by(kept_answer.c.expires_at)
    gone = list(db.execute(query.limit(limit).with_for_update(skip_locked=True)).scalars())
    if gone:
        db.execute(delete(kept_answer).where(kept_answer.c.id.in_(gone)))
    return len(gone)


def end_leases(db: Connection, now: datetime) -> None:
    """End the claims of a process that is known to be gone."""
    running = kept_answer.c.lease_until.is_not(None)
    db.execute(update(kept_answer).where(running).values(lease_until=lease_clock(db, now)))


def _held(claim: Claim) -> ColumnElement[bool]:
    return and_(
        kept_answer.c.id == claim.row, kept_answer.c.claim == claim.id, kept_answer.c.lease_until.is_not(None)
    )


def _expired(db: Connection, now: datetime) -> ColumnElement[bool]:
    idle = or_(kept_answer.c.lease_until.is_(None), kept_answer.c.lease_until <= lease_clock(db, now))
    return and_(kept_answer.c.expires_at <= now, idle)


def _to_answer(row: Row[Any], now: datetime) -> StoredAnswer:
    answer = None
    if row.status is not None:
        answer = KeptAnswer(
            status=row.status,
            headers=row.headers,
            body=bytes(row.body or b""),
            withheld=Withheld(row.withheld) if row.withheld else None,
        )
    running = row.lease_until is not None and row.lease_until > now
    return StoredAnswer(
        digest=row.digest,
        running_until=row.lease_until if running else None,
        expires_at=row.expires_at,
        answer=answer,
    )
