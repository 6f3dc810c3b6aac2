"""A guard that is exceeded blocks all of a sweep, not what is above the limit."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.world.world import POLICIES, World
from worker.flows.sweep import window_start
from worker.model.clock import parse_rfc3339, rfc3339
from worker.model.thread import Kind
from worker.model.work import SweepState
from worker.policy.document import Guards
from worker.policy.durations import parse_duration
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


@pytest.mark.parametrize(
    ("window", "now", "start"),
    [
        ("24h", "2027-03-01T12:00:00Z", "2027-02-28T12:00:00Z"),
        ("P1D", "2027-03-28T12:00:00Z", "2027-03-27T12:00:00Z"),
        # A month is never less than any month: what went out on the last of January still counts.
        ("P1M", "2027-02-28T00:00:00Z", "2027-01-28T00:00:00Z"),
        ("P1M", "2027-03-31T00:00:00Z", "2027-02-28T00:00:00Z"),
        ("P1M", "2027-03-01T00:00:00Z", "2027-01-29T00:00:00Z"),
        ("P1Y", "2027-03-01T00:00:00Z", "2026-02-28T00:00:00Z"),
    ],
)
def test_a_window_in_calendar_units_is_read_at_its_longest(window: str, now: str, start: str) -> None:
    guards = Guards(max_deletes=1, max_percent=1, min_population=1, window=parse_duration(window))
    assert rfc3339(window_start(guards, parse_rfc3339(now))) == start


def test_sweeps_by_schedule_and_by_hand_share_one_window(world: World) -> None:
    guarded(world, "max_deletes: 3, max_percent: 100, min_population: 100, window: 24h")
    world.register(kind=Kind.FILE, age=3 * DAY)
    due(world, 2)
    world.clock.move(timedelta(minutes=1))
    world.tick()
    world.drain()
    assert len(world.deletes()) >= 2
    second = due(world, 2)
    blocked = world.sweep()
    assert blocked.state is SweepState.BLOCKED
    assert blocked.reasons == ("max_deletes: 2 planned and 2 released in the last P1D exceed 3",)
    world.clock.move(timedelta(minutes=1))
    world.tick()
    world.drain()
    assert {world.exists(one) for one in second} == {True}
    [body] = world.entries("sweep.blocked")[-1:]
    assert "2 planned and 2 released" in str(body)


def test_a_dry_run_and_a_blocked_sweep_use_nothing_up(world: World) -> None:
    guarded(world, "max_deletes: 2, max_percent: 100, min_population: 100, window: 24h")
    world.register(kind=Kind.FILE, age=3 * DAY)
    threads = due(world, 3)
    world.sweep(dry_run=True)
    assert world.sweep().state is SweepState.BLOCKED
    world.withdraw(threads[0])
    assert world.sweep().state is SweepState.RELEASED


_TWO = """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: %(name)s, owner: tests}
spec:
  mode: enforce
  match: {owners: [%(owner)s]}
  delete: {after: 30d}
  schedule: {cron: "* * * * *"}
  guards: {max_deletes: 2, max_percent: 100, min_population: 100, window: 24h}
"""


def test_each_policy_has_a_window_of_its_own(world: World) -> None:
    world.rules("---".join(_TWO % {"name": f"{owner}-30d", "owner": owner} for owner in ("one", "other")))
    for owner in ("one", "other"):
        world.register(kind=Kind.FILE, age=3 * DAY, owner=owner)
    first = [world.register(kind=Kind.FILE, owner="one") for _ in range(2)]
    assert world.sweep("one-30d").state is SweepState.RELEASED
    world.drain()
    second = [world.register(kind=Kind.FILE, owner="other") for _ in range(2)]
    more = world.register(kind=Kind.FILE, owner="one")
    assert world.sweep("one-30d").state is SweepState.BLOCKED
    assert world.sweep("other-30d").state is SweepState.RELEASED
    world.drain()
    assert {world.exists(one) for one in (*first, *second)} == {False}
    assert world.exists(more)
