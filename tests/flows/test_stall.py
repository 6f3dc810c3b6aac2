"""Work that could be claimed and that nobody claims."""

from __future__ import annotations

from datetime import timedelta

from tests.world.world import PROJECT, World
from worker.flows.claim import claim
from worker.flows.pause import set_deletes
from worker.flows.stall import stalled_for
from worker.model.thread import Kind

MINUTE = timedelta(minutes=1)


def planned(world: World) -> None:
    world.register(kind=Kind.FILE, age=timedelta(days=1))
    world.register(kind=Kind.FILE)
    world.sweep()


def test_nothing_waits_where_nothing_is_ready(world: World) -> None:
    assert stalled_for(world.database, world.clock) is None
    planned(world)
    world.drain()
    world.clock.move(60 * MINUTE)
    assert stalled_for(world.database, world.clock) is None


def test_ready_work_waits_until_somebody_claims(world: World) -> None:
    planned(world)
    world.clock.move(5 * MINUTE)
    assert 5 * MINUTE <= (stalled_for(world.database, world.clock) or timedelta(0)) < 6 * MINUTE
    claim(world.database, world.credential, by="w", lease=world.lease, clock=world.clock)
    assert stalled_for(world.database, world.clock) is None


def test_what_a_dead_worker_left_waits_from_the_end_of_its_lease(world: World) -> None:
    planned(world)
    claim(world.database, world.credential, by="w", lease=world.lease, clock=world.clock)
    world.clock.move(world.lease.length + 5 * MINUTE)
    assert 5 * MINUTE <= (stalled_for(world.database, world.clock) or timedelta(0)) < 6 * MINUTE


def test_a_claim_of_other_work_shows_that_somebody_works(world: World) -> None:
    planned(world)
    world.clock.move(5 * MINUTE)
    claim(world.database, world.credential, by="w", lease=world.lease, clock=world.clock)
    late = world.register(kind=Kind.FILE)
    world.sweep()
    world.clock.move(2 * MINUTE)
    assert world.item(late).state == "planned"
    assert 2 * MINUTE <= (stalled_for(world.database, world.clock) or timedelta(0)) < 3 * MINUTE


def test_what_is_paused_waits_for_a_person_and_not_for_a_worker(world: World) -> None:
    planned(world)
    set_deletes(
        world.database,
        enabled=False,
        project=PROJECT,
        reason="incident",
        actor="test tenure/0",
        clock=world.clock,
        lease=world.lease,
    )
    world.clock.move(5 * MINUTE)
    assert stalled_for(world.database, world.clock) is None
