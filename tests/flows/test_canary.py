"""A canary proves a route where no live sibling is left; it never proves more, and none is left behind."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.world.world import PROJECT, World
from worker.model.evidence import Control
from worker.model.thread import Kind, ThreadState
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import parse_faults
from worker.store import canaries
from worker.store.canaries import Canary
from worker.store.tables import canary


def _kept(world: World) -> int:
    with world.database.read() as db:
        return len(db.execute(select(canary)).all())


@pytest.mark.parametrize("kind", [Kind.CONVERSATION, Kind.FILE, Kind.VECTOR_STORE])
def test_the_last_thread_of_its_kind_is_confirmed_beside_a_canary_that_is_gone_afterwards(
    world: World, kind: Kind
) -> None:
    due = world.register(kind=kind)
    world.sweep()
    world.drain()
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    probed = world.entries("control.probed")
    assert [one["control"] for one in probed] == [Control.ROUTE_ONLY.value]
    assert world.sandbox.store.every(ObjectKind(kind.value)) == []
    assert _kept(world) == 0


def test_a_kind_without_a_cheap_canary_stays_acknowledged(world: World) -> None:
    due = world.register(kind=Kind.RESPONSE)
    world.sweep()
    world.drain()
    assert (world.grade(due), world.state(due)) == ("acknowledged", ThreadState.ACKNOWLEDGED)


def test_a_canary_never_vouches_for_a_thread_that_was_gone_at_first_sight(world: World) -> None:
    gone = world.register()
    world.sandbox.store.delete(ObjectKind.CONVERSATION, gone.thread.external_id)
    world.sweep()
    world.drain()
    assert world.grade(gone) == "unverifiable/control_failed"
    assert not any(one.method == "POST" for one in world.sandbox.requests())


def test_a_provider_that_lies_about_canaries_confirms_nothing(world: World) -> None:
    due = world.register(kind=Kind.FILE)
    # The first DELETE, of the thread, works; that of the canary only says so.
    world.sandbox.set_faults(parse_faults(["lying-200:file"]))
    world.sweep()
    world.drain()
    assert world.grade(due) not in {"confirmed", "inferred", "sustained", "absent"}


def test_a_canary_that_fails_for_ever_certifies_nothing_and_is_not_made_for_ever(world: World) -> None:
    due = world.register()
    world.sweep()
    world.faults("error-500@post")
    for _ in range(12):
        world.drain()
        world.clock.move(timedelta(hours=1, minutes=1))
    assert (world.state(due), world.grade(due)) == (ThreadState.PARKED, "acknowledged")
    asked = len(world.sandbox.requests())
    world.clock.move(timedelta(days=2))
    world.drain()
    assert len(world.sandbox.requests()) == asked


def test_a_canary_that_a_crash_left_is_deleted_in_a_later_turn(world: World) -> None:
    left = world.make(Kind.CONVERSATION)
    with world.database.write() as db:
        bird = Canary(project=PROJECT, kind=Kind.CONVERSATION, external_id=left)
        canaries.keep(db, bird, world.clock.now())
    world.clock.move(timedelta(minutes=10))
    world.register()
    world.sweep()
    world.drain()
    assert not world.sandbox.store.exists(ObjectKind.CONVERSATION, left)
    assert _kept(world) == 0
