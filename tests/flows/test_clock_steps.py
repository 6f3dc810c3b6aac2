"""A clock that is set wrong in the middle of a batch deletes nothing early and loses nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.world.crash import in_background
from tests.world.world import POLICIES, World
from worker.flows.seal import seal
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState

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
