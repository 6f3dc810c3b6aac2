"""A guard that is exceeded blocks all of a sweep, not what is above the limit."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.world.world import POLICIES, World
from worker.model.thread import Kind
from worker.model.work import SweepState
from worker.store import sweeps
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
GUARDS = "guards: {max_deletes: 1000, max_percent: 100, min_population: 0, window: 24h}"


def guarded(world: World, guards: str) -> None:
    world.rules(POLICIES.replace(GUARDS, f"guards: {{{guards}}}"))


def due(world: World, count: int) -> list[StoredThread]:
    return [world.register(kind=Kind.FILE) for _ in range(count)]


@pytest.mark.parametrize(
    ("guards", "young", "blocked"),
    [
        ("max_deletes: 2, max_percent: 100, min_population: 0, window: 24h", 0, True),
        ("max_deletes: 3, max_percent: 100, min_population: 0, window: 24h", 0, False),
        ("max_deletes: 0, max_percent: 100, min_population: 0, window: 24h", 0, True),
        ("max_deletes: 9, max_percent: 0, min_population: 0, window: 24h", 0, True),
        ("max_deletes: 9, max_percent: 50, min_population: 0, window: 24h", 2, True),
        ("max_deletes: 9, max_percent: 50, min_population: 0, window: 24h", 3, False),
        ("max_deletes: 9, max_percent: 50, min_population: 6, window: 24h", 2, False),
        ("max_deletes: 9, max_percent: 50, min_population: 5, window: 24h", 2, True),
    ],
)
def test_a_guard_that_is_exceeded_blocks_the_whole_sweep(
    world: World, guards: str, young: int, blocked: bool
) -> None:
    guarded(world, guards)
    threads = due(world, 3)
    for _ in range(young):
        world.register(kind=Kind.FILE, age=3 * DAY)
    made = world.sweep()
    world.drain()
    assert (made.state is SweepState.BLOCKED) == blocked
    assert {world.exists(one) for one in threads} == {blocked}
    assert bool(world.entries("sweep.blocked")) == blocked


def test_the_guards_window_rolls_over_all_sweeps_of_the_policy(world: World) -> None:
    guarded(world, "max_deletes: 3, max_percent: 100, min_population: 100, window: 24h")
    world.register(kind=Kind.FILE, age=3 * DAY)
    due(world, 2)
    assert world.sweep().state is SweepState.RELEASED
    world.drain()
    second = due(world, 2)
    assert world.sweep().state is SweepState.BLOCKED
    world.clock.move(timedelta(hours=24, seconds=1))
    assert world.sweep().state is SweepState.RELEASED
    world.drain()
    assert {world.exists(one) for one in second} == {False}


def test_percent_counts_against_the_largest_population_of_the_window(world: World) -> None:
    guarded(world, "max_deletes: 100, max_percent: 50, min_population: 0, window: 24h")
    due(world, 2)
    for _ in range(4):
        world.register(kind=Kind.FILE, age=3 * DAY)
    assert world.sweep().state is SweepState.RELEASED  # 2 of 6
    world.drain()
    due(world, 1)
    assert world.sweep().state is SweepState.RELEASED  # 3 of 6, though only 5 are left
    world.drain()
    due(world, 1)
    assert world.sweep().state is SweepState.BLOCKED  # 4 of 6


def test_a_sweep_that_is_still_being_released_counts_in_the_window(world: World) -> None:
    guarded(world, "max_deletes: 3, max_percent: 100, min_population: 100, window: 24h")
    due(world, 2)
    first = world.sweep()
    with world.database.write() as db:
        # As after a crash behind the first page.
        sweeps.set_state(db, first.id, SweepState.RELEASING, released_at=None)
    due(world, 2)
    assert world.sweep().state is SweepState.BLOCKED
