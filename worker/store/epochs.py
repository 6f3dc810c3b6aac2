"""Epochs of the log: after a restore the same tree goes on under a new origin, and says so in an entry.

Epoch 1 has no row: it is the log from its first leaf on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from worker.store.tables import audit_epoch

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The epoch's number, and the index of its first leaf, which is its `log.epoch` entry."""

    number: int = 1
    first: int = 0


def current(db: Connection) -> Epoch:
    """Return the epoch that the log is in."""
    query = select(audit_epoch).order_by(audit_epoch.c.number.desc()).limit(1)
    row = db.execute(query).first()
    return Epoch() if row is None else Epoch(number=row.number, first=row.first)


def open_next(db: Connection, epoch: Epoch, at: datetime) -> None:
    """Keep an epoch that was opened; in the transaction that appends its first leaf."""
    db.execute(insert(audit_epoch).values(number=epoch.number, first=epoch.first, opened_at=at))


def origin_of(base: str, number: int) -> str:
    """Return the origin that an epoch's checkpoints carry: the setting's own, then `.../2`, `.../3`."""
    return base if number == 1 else f"{base}/{number}"


def number_of(base: str, origin: str) -> int | None:
    """Return which epoch of the log ``base`` an origin names; None where it is another log's."""
    if origin == base:
        return 1
    head, _, tail = origin.rpartition("/")
    return int(tail) if head == base and _NUMBER.fullmatch(tail) and tail != "1" else None


def firsts(db: Connection) -> list[int]:
    """Return the index of every epoch's first leaf, in order."""
    return list(db.execute(select(audit_epoch.c.first).order_by(audit_epoch.c.first)).scalars())
