"""The clock that leases run on is set back: what a dead process held ends within the longest lease."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Column, Table, select, update

from worker.model.clock import SystemClock
from worker.store import coverages, exports, mending, rests
from worker.store.engine import Database, lease_clock
from worker.store.exports import ExportState, StoredExport
from worker.store.tables import coverage_look, export, fact

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
# Each row that lasts, and the column that says how long.
LASTING: dict[str, tuple[Table, Column[datetime]]] = {
    "an export under way": (export, export.c.lease_until),
    "a place of a credential": (fact, fact.c.at),
    "a look at a project": (coverage_look, coverage_look.c.next_at),
}


@pytest.fixture
def held(database: Database) -> Database:
    """One row of each, held for five minutes."""
    now = SystemClock().now()
    lease = 5 * MINUTE
    with database.write() as db:
        exports.add(
            db,
            StoredExport(
                id="exp_1", project="p", asked={}, asked_by="key:1", asked_at=now, state=ExportState.QUEUED
            ),
        )
        assert exports.claim(db, now=now, lease=lease) is not None
        assert rests.enter(db, "env:KEY", most=1, length=lease, now=now) is not None
        assert coverages.take(db, "p", now=now, until=now + lease) is not None
        # No lease, and nothing that a clock ends.
        db.execute(fact.insert().values(name="work.claimed", value=None, at=now + 30 * DAY))
    return database


def _mend(database: Database) -> int:
    with database.write() as db:
        return mending.mend(db, SystemClock().now(), look_every=HOUR, reverify_after=DAY)


def test_what_lasts_as_long_as_it_may_is_left_alone(held: Database) -> None:
    assert _mend(held) == 0


@pytest.mark.parametrize("which", LASTING)
def test_what_a_clock_dated_ahead_ends_within_the_longest_lease(held: Database, which: str) -> None:
    table, column = LASTING[which]
    places = (rests.is_place(),) if table is fact else ()
    with held.write() as db:
        now = lease_clock(db, SystemClock().now())
        db.execute(update(table).where(*places).values({column: now + 30 * DAY}))
    assert _mend(held) == 1
    with held.read() as db:
        ends = db.execute(select(column).where(*places)).scalar_one()
        assert db.execute(select(fact.c.at).where(fact.c.name == "work.claimed")).scalar_one() > now + DAY
    assert timedelta(0) <= ends - now - HOUR < MINUTE
    assert _mend(held) == 0
