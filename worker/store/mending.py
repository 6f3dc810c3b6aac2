"""What a clock that was ahead dated: no lease, place or wait lasts longer than any that is given.

Leases and places are dated by the clock that ends them. Where that clock is set back, what a dead process
held would last for the step as well. Whoever still works ends no earlier than it counts itself: it holds
nothing for longer than this, and counts from before now. Requests with a key are left out: their leases have
no index, a beat looks every few seconds, and whoever finds a key taken may send another one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, Connection, Table, update

from worker.store import rests
from worker.store.engine import changed, lease_clock
from worker.store.tables import coverage_look, export, fact, thread
from worker.store.work import LONGEST_LEASE


def mend(db: Connection, now: datetime, *, look_every: timedelta, reverify_after: timedelta) -> int:
    """Cut what lasts longer, and let no look and no later read lie further ahead; returns how many did."""
    at = lease_clock(db, now)
    lease = at + LONGEST_LEASE
    cut = _cut(db, export, export.c.lease_until, lease)
    cut += _cut(db, fact, fact.c.at, lease, rests.is_place())
    cut += _cut(db, thread, thread.c.reverify_at, at + max(reverify_after, LONGEST_LEASE))
    # Looks are dated by the machines that take them.
    latest = max(at, now) + max(look_every, LONGEST_LEASE)
    return cut + _cut(db, coverage_look, coverage_look.c.next_at, latest)


def _cut(
    db: Connection, table: Table, column: Column[datetime], latest: datetime, *only: ColumnElement[bool]
) -> int:
    return changed(db, update(table).where(column > latest, *only).values({column: latest}))
