"""A canary proves a route where no live sibling is left; it never proves more, and none is left behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.world.stepping import Passing
from tests.world.world import PROJECT, World
from worker.model.evidence import Control, Observation
from worker.model.thread import Kind, ThreadState
from worker.providers.base import Provider
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import parse_faults
from worker.store import canaries
from worker.store.canaries import Canary
from worker.store.tables import canary

_TOO_MANY = 429


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


@pytest.mark.parametrize("method", ["post", "get", "delete"])
def test_a_canary_that_is_throttled_once_is_asked_again_and_proves_its_route(
    world: World, method: str
) -> None:
    due = world.register()
    world.sweep()
    if method == "post":
        world.faults("throttled-silent@post*1")
    else:
        _when_the_canary_is_made(world, f"throttled-silent@{method}*1")
    world.drain()
    assert _throttled(world) == [method.upper()]
    assert [one["control"] for one in world.entries("control.probed")] == [Control.ROUTE_ONLY.value]
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    assert world.sandbox.store.every(ObjectKind.CONVERSATION) == []
    assert _kept(world) == 0


@pytest.mark.parametrize("method", ["post", "get", "delete"])
def test_a_canary_that_is_only_throttled_fails_no_control_and_is_not_forgotten(
    world: World, method: str
) -> None:
    due = world.register()
    world.sweep()
    if method == "post":
        world.faults("throttled-silent@post")
    else:
        _when_the_canary_is_made(world, f"throttled-silent@{method}")
    world.drain()
    assert set(_throttled(world)) == {method.upper()}
    # Nothing was said of the route, so nothing is said against it: no pair stops.
    assert world.entries("control.probed") == []
    assert world.grade(due) == "acknowledged"
    left = len(world.sandbox.store.every(ObjectKind.CONVERSATION))
    made = method != "post"
    assert (left, _kept(world)) == (made, made)
    world.faults()
    world.forget_cooldown()
    world.clock.move(timedelta(minutes=10))
    world.drain()
    assert world.sandbox.store.every(ObjectKind.CONVERSATION) == []
    assert _kept(world) == 0


def _when_the_canary_is_made(world: World, *names: str) -> None:
    """Let these faults begin when the first POST has been answered."""
    inner = world.wrap
    world.wrap = lambda provider: _AfterCanary(inner(provider), lambda: world.faults(*names)).provider


class _AfterCanary(Passing):
    def __init__(self, inner: Provider, then: Callable[[], object]) -> None:
        super().__init__(inner)
        self.then = then

    async def create_canary(self, kind: Kind, *, timeout: float) -> tuple[Observation, str | None]:
        made = await self.inner.create_canary(kind, timeout=timeout)
        self.then()
        return made


def _throttled(world: World) -> list[str]:
    return [one.method for one in world.sandbox.requests() if one.status == _TOO_MANY]


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
