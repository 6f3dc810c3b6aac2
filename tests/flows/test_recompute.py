"""Stored dates under a new bundle: in chunks, resumable, and never a sweep before the last one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, select, text, update
from structlog.testing import capture_logs

from tests.world.approving import let_in
from tests.world.crash import until
from tests.world.world import ACTOR, POLICIES, World, project_document
from worker.flows import activate
from worker.flows.activate import recompute, refresh
from worker.flows.decide import schedule_of
from worker.flows.sweep import NotRecomputed
from worker.model.clock import SystemClock
from worker.model.decision import ERASURE, Erasure
from worker.store import bundles, orders, protections, threads
from worker.store.tables import thread
from worker.store.threads import Schedule, StoredThread

LATER = POLICIES.replace("30d", "60d")
LATEST = POLICIES.replace("30d", "90d")


class Cut(Exception):
    """The process ended here."""


class CutClock(SystemClock):
    """A clock that can be read so many times before the process ends."""

    def __init__(self, world: World, reads: int) -> None:
        self.world, self.reads = world, reads

    def now(self) -> datetime:
        if self.reads == 0:
            raise Cut
        self.reads -= 1
        return self.world.clock.now()


@pytest.fixture
def chunks_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activate, "_CHUNK", 2)


def _register(world: World, number: int) -> list[StoredThread]:
    made = [world.register(age=timedelta(days=10 * one)) for one in range(number)]
    return sorted(made, key=lambda one: one.thread.id)


def _dates(world: World) -> dict[str, tuple[datetime | None, str | None, str]]:
    columns = (thread.c.id, thread.c.evaluate_at, thread.c.due_policy, thread.c.evaluated_under)
    with world.database.read() as db:
        return {row[0]: (row[1], row[2], row[3]) for row in db.execute(select(*columns))}


def _assert_scheduled(world: World, stored: list[StoredThread]) -> None:
    """Every date is the one that the function gives."""
    found, now = _dates(world), world.clock.now()
    with world.database.read() as db:
        bearing = protections.circumstances(db, [one.thread.id for one in stored], with_holds=False)
    for one in stored:
        due = schedule_of(one.thread, bundle=world.bundle, circumstances=bearing, now=now)
        assert found[one.thread.id] == (due.evaluate_at, due.due_policy, due.under)


def _look_at(world: World, policies: str) -> None:
    text = policies + project_document(world.sandbox.base_url)
    let_in(world.database, world.source, text, clock=world.clock)
    assert world.look_at(text).changed


def test_every_thread_is_dated_anew_whatever_the_chunks(world: World, chunks_of_two: None) -> None:
    stored = _register(world, 5)
    _look_at(world, LATER)
    assert recompute(world.database, clock=world.clock)
    _assert_scheduled(world, stored)


def test_a_recompute_that_was_cut_goes_on_where_it_stood(world: World, chunks_of_two: None) -> None:
    stored = _register(world, 5)
    _look_at(world, LATER)
    with pytest.raises(Cut):
        recompute(world.database, clock=CutClock(world, 1))
    with world.database.read() as db:
        found = bundles.in_force(db)
    assert found is not None
    assert (found.recomputed, found.recompute_after) == (False, stored[1].thread.id)
    with pytest.raises(NotRecomputed):
        world.sweep()
    done = stored[0].thread.id
    with world.database.write() as db:
        db.execute(update(thread).where(thread.c.id == done).values(due_policy="not touched again"))
    assert recompute(world.database, clock=world.clock)
    _assert_scheduled(world, stored[1:])
    assert _dates(world)[done][1] == "not touched again"


def test_a_newer_bundle_starts_anew(world: World, chunks_of_two: None) -> None:
    stored = _register(world, 5)
    _look_at(world, LATER)
    with pytest.raises(Cut):
        recompute(world.database, clock=CutClock(world, 2))
    _look_at(world, LATEST)
    assert recompute(world.database, clock=world.clock)
    _assert_scheduled(world, stored)


def test_two_workers_take_turns_and_end_where_one_would(world: World, chunks_of_two: None) -> None:
    stored = _register(world, 9)
    _look_at(world, LATER)
    with ThreadPoolExecutor(3) as pool:
        ended = [pool.submit(recompute, world.database, clock=world.clock) for _ in range(3)]
    assert [one.result() for one in ended] == [True, True, True]
    _assert_scheduled(world, stored)


def test_each_chunk_is_told_in_the_log(world: World, chunks_of_two: None) -> None:
    _register(world, 5)
    _look_at(world, LATER)
    with capture_logs() as lines:
        recompute(world.database, clock=world.clock)
    told = [(one["threads"], one["finished"]) for one in lines if one["event"] == "dates.recomputed"]
    assert told == [(2, False), (4, False), (5, True)]


def test_a_date_that_has_come_in_no_sweep_is_computed_anew(world: World, chunks_of_two: None) -> None:
    world.rules(POLICIES.replace("retain: {for: forever}", "retain: {for: 50d}"))
    kept = [world.register(tags={"keep": "yes"}) for _ in range(5)]
    other = world.register()
    assert {one.due_policy for one in kept} == {None}
    world.clock.move(timedelta(days=11))
    before = _dates(world)[other.thread.id]
    assert refresh(world.database, clock=world.clock) == 5
    _assert_scheduled(world, kept)
    assert {_dates(world)[one.thread.id][1] for one in kept} == {"all-30d"}
    assert _dates(world)[other.thread.id] == before
    assert refresh(world.database, clock=world.clock) == 0


def test_an_erasure_that_is_placed_meanwhile_is_not_overwritten(world: World) -> None:
    [one] = _register(world, 1)
    _look_at(world, LATER)
    now = world.clock.now()
    with ThreadPoolExecutor(1) as pool:
        with world.database.write() as db:
            _place(db, one, now)
            recomputing = pool.submit(recompute, world.database, clock=world.clock)
            until(lambda: recomputing.running() and _waits(world))
        assert recomputing.result()
    _assert_scheduled(world, [one])
    assert _dates(world)[one.thread.id][1] == ERASURE


def _place(db: Connection, one: StoredThread, now: datetime) -> None:
    orders.add(
        db,
        Erasure(at=now, ids=(one.thread.id,)),
        erasure_id="era_1",
        reason="asked for",
        deadline=now + timedelta(days=30),
        ordered_at=now,
        ordered_by=ACTOR,
        threads=[one.thread.id],
    )
    due = Schedule(evaluate_at=now, due_policy=ERASURE, under="an older bundle")
    threads.reschedule(db, {one.thread.id: due})


def _waits(world: World) -> bool:
    """Whether somebody waits for a lock; on SQLite whoever writes waits, and nobody can tell."""
    if world.database.is_sqlite:
        return True
    waiting = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    with world.database.read() as db:
        return bool(db.execute(text(waiting)).scalar_one())
