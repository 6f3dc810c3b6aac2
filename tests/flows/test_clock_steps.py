"""A clock that is set wrong in the middle of a batch deletes nothing early and loses nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.world.crash import in_background
from tests.world.world import POLICIES, World
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


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
