"""A clock that is set wrong in the middle of a batch deletes nothing early and loses nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from tests.world.crash import in_background
from tests.world.world import ACTOR, POLICIES, PROJECT, World
from worker.flows.failures import Failure, list_failures
from worker.flows.retry import retry
from worker.flows.seal import seal
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState
from worker.store import stops, work
from worker.store.tables import stopped_pair, sweep, thread, work_item
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
# Keeps what is 40 days old for another half an hour.
FLOOR = """
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: floor, owner: tests}
spec:
  mode: enforce
  match: {all: true}
  retain: {for: P40DT30M}
"""


@pytest.mark.parametrize("wrong", [HOUR, -HOUR], ids=["ahead", "back"])
def test_what_is_due_is_deleted_once_although_the_clock_steps(world: World, wrong: timedelta) -> None:
    due = [world.register(kind=Kind.FILE) for _ in range(3)]
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    world.faults("slow@delete")
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        world.clock.step(wrong)
        worker.result(20)
    world.faults()
    world.clock.step(-wrong)
    for _ in range(3):
        world.clock.move(HOUR + timedelta(seconds=1))
        world.drain()
    assert {world.state(one) for one in due} == {ThreadState.DELETED}
    assert [len(world.deletes(one.thread.external_id)) for one in due] == [1, 1, 1]
    assert {world.grade(one) for one in due} == {"confirmed"}


def test_what_was_planned_by_a_clock_that_ran_ahead_is_spared_when_it_is_right_again(world: World) -> None:
    nearly = world.register(kind=Kind.FILE, age=30 * DAY - HOUR / 2)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.clock.step(HOUR)
    assert world.sweep().planned == 1
    world.clock.step(-HOUR)
    for _ in range(2):
        world.drain()
        assert (world.exists(nearly), world.state(nearly)) == (True, ThreadState.LIVE)
        world.clock.move(timedelta(minutes=10))
    world.clock.move(HOUR)
    world.drain()
    world.sweep()
    world.drain()
    assert world.grade(nearly) == "confirmed"


def test_an_hour_ahead_ends_no_retention_where_the_database_knows_better(world: World) -> None:
    if world.database.is_sqlite:
        pytest.skip("SQLite has no clock of its own")
    due = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    world.rules(POLICIES + FLOOR)
    world.clock.step(HOUR)
    world.drain()
    assert (world.exists(due), world.state(due)) == (True, ThreadState.LIVE)
    assert world.item(due).state == ItemState.SPARED
    assert not world.deletes()


def test_a_clock_ahead_begins_no_slot_ahead_of_the_database(world: World) -> None:
    if world.database.is_sqlite:
        pytest.skip("SQLite has no clock of its own")
    world.clock.move(timedelta(minutes=2))
    world.clock.step(300 * DAY)
    world.tick()
    world.clock.step(-300 * DAY)
    world.clock.move(timedelta(minutes=2))
    due = world.register(kind=Kind.FILE)
    world.tick()
    assert world.item(due).state == ItemState.PLANNED


def test_a_checkpoint_of_a_clock_ahead_keeps_none_back(world: World) -> None:
    world.clock.step(300 * DAY)
    world.register(kind=Kind.FILE)
    first = seal(world.database, world.sealer, clock=world.clock)
    world.clock.step(-300 * DAY)
    world.register(kind=Kind.FILE)
    second = seal(world.database, world.sealer, clock=world.clock)
    assert first is not None
    assert second is not None
    assert second.size > first.size


def test_a_clock_set_back_between_planning_and_arming_spares_and_forgets_nothing(world: World) -> None:
    due = world.register(kind=Kind.FILE, age=30 * DAY + HOUR / 2)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    world.clock.step(-HOUR)
    world.clock.move(timedelta(seconds=1))
    world.drain()
    assert world.exists(due)
    world.clock.step(HOUR)
    world.drain()
    world.sweep()
    world.drain()
    assert world.grade(due) == "confirmed"
    assert world.item(due).state == ItemState.DONE


def test_a_read_from_before_the_clock_was_set_back_supports_nothing_after_it(world: World) -> None:
    world.rules(POLICIES, extra="controls: [sibling]")
    # Two are due; the second stays readable as the first one's support, then goes without any.
    first, second = world.register(kind=Kind.FILE), world.register(kind=Kind.FILE)
    world.sweep()
    world.faults("slow@delete")
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        # The pre-read of the second now looks as if it had been made after the re-read of the first.
        world.clock.step(timedelta(seconds=-2))
        world.vanish(second)
        worker.result(20)
    assert world.grade(first) == "acknowledged"
    assert world.grade(second) != "confirmed"


@pytest.mark.parametrize("wrong", [HOUR, -HOUR], ids=["ahead", "back"])
def test_a_worker_whose_clock_is_wrong_lets_nothing_wait_longer_or_shorter_than_any_other(
    world: World, wrong: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker behind the database would otherwise use up all eight reads of a thread within seconds."""
    monkeypatch.setattr("worker.flows.course.jitter", lambda: 1.0)
    due = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.clock.step(wrong)
    world.sweep()
    before = database_time(world)
    world.faults("error-500@get*1")
    world.drain()
    waited = (world.item(due).state, world.item(due).reads)
    assert waited == (ItemState.WAITING, 1)
    assert timedelta(seconds=20) <= world.item(due).next_at - before < timedelta(seconds=50)
    world.clock.move(timedelta(seconds=51))
    world.drain()
    assert world.grade(due) == "confirmed"
    assert DAY <= reverified_at(world, due) - before < DAY + timedelta(minutes=2)


@pytest.mark.parametrize("wrong", [HOUR, -HOUR], ids=["ahead", "back"])
def test_a_retry_and_an_arming_by_clocks_that_differ_still_send_no_second_delete(
    world: World, wrong: timedelta
) -> None:
    """What was acknowledged after a person's retry is only read again, whoever armed it."""
    due = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.faults("lying-200@delete")
    world.sweep()
    for _ in range(3):
        world.drain()
        world.clock.move(timedelta(minutes=11))
    assert world.grade(due) == "still_present"
    [failure] = failures_of(world)
    retry(world.database, failure.fingerprint, reason="asked", actor=ACTOR, clock=world.clock)
    sent = len(world.deletes())
    world.clock.step(wrong)
    world.sweep()
    for _ in range(3):
        world.drain()
        world.clock.move(timedelta(minutes=11))
    assert world.grade(due) == "still_present"
    assert len(world.deletes()) == sent + 1


def test_what_waits_by_a_clock_that_was_a_year_ahead_goes_on_with_the_next_tick(world: World) -> None:
    if not world.database.is_sqlite:
        pytest.skip("what waits is dated by the database's clock, which is right")
    due = [world.register(kind=Kind.FILE) for _ in range(2)]
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    world.clock.step(365 * DAY)
    world.faults("error-500@get*1")
    world.drain(most=1)
    with world.database.write() as db:
        stops.stop_pair(
            db,
            project=PROJECT,
            kind=Kind.RESPONSE.value,
            probe_at=world.clock.now(),
            now=world.clock.now(),
            reason="",
        )
    world.clock.step(-365 * DAY)
    world.drain()
    assert ItemState.WAITING in {world.item(one).state for one in due}
    world.tick()
    world.drain()
    assert {world.grade(one) for one in due} == {"confirmed"}
    with world.database.read() as db:
        probe_at = db.execute(select(stopped_pair.c.probe_at)).scalar_one()
    assert probe_at <= world.clock.now() + HOUR


def test_a_dead_workers_lease_that_a_clock_dated_ahead_ends_within_the_longest_that_there_is(
    world: World,
) -> None:
    """The clock that leases run on was set back by a month; a lease of a living worker is not cut short."""
    due = [world.register(kind=Kind.FILE) for _ in range(3)]
    world.sweep()
    now = database_time(world)
    lengths = (29 * DAY, work.LONGEST_LEASE, timedelta(minutes=5))
    with world.database.write() as db:
        for one, lasts in zip(due, lengths, strict=True):
            item = update(work_item).where(work_item.c.thread_id == one.thread.id)
            db.execute(item.values(state=ItemState.CLAIMED, lease_until=now + lasts))
    world.tick()
    longest, as_it_was, short = (world.item(one).lease_until - now for one in due)
    assert timedelta(0) <= longest - work.LONGEST_LEASE < timedelta(minutes=1)
    assert (as_it_was, short) == lengths[1:]


def test_a_later_read_that_a_clock_dated_ahead_comes_within_the_time_that_is_set(world: World) -> None:
    due = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    world.drain()
    assert world.grade(due) == "confirmed"
    as_it_was = reverified_at(world, due)
    world.tick()
    assert reverified_at(world, due) == as_it_was
    with world.database.write() as db:
        db.execute(
            update(thread).where(thread.c.id == due.thread.id).values(reverify_at=as_it_was + 30 * DAY)
        )
    world.tick()
    assert timedelta(0) <= reverified_at(world, due) - database_time(world) <= DAY


def test_a_schedule_goes_on_after_the_clock_was_a_year_ahead(world: World) -> None:
    """The slot that was begun then lies ahead; those before it come all the same, and none comes twice."""
    if not world.database.is_sqlite:
        pytest.skip("no slot begins later than the database's clock has it")
    world.tick()
    world.clock.step(365 * DAY)
    world.tick()
    world.clock.step(-365 * DAY)
    before = _slots(world)
    for _ in range(2):
        world.clock.move(timedelta(minutes=1))
        world.tick()
        world.tick()
    assert len(_slots(world)) == len(set(_slots(world))) == len(before) + 2


def _slots(world: World) -> list[tuple[str, str]]:
    with world.database.read() as db:
        return [(row.policy, row.slot) for row in db.execute(select(sweep.c.policy, sweep.c.slot))]


def database_time(world: World) -> datetime:
    with world.database.read() as db:
        return world.clock.lease_clock(db, world.clock.now())


def reverified_at(world: World, stored: StoredThread) -> datetime:
    with world.database.read() as db:
        at = db.execute(select(thread.c.reverify_at).where(thread.c.id == stored.thread.id)).scalar_one()
    assert isinstance(at, datetime)
    return at


def failures_of(world: World) -> list[Failure]:
    with world.database.read() as db:
        return list_failures(db)
