"""An erasure and a registration that meet: neither order of commits leaves a thread out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from tests.servers.plugin import Eventually
from tests.world.world import ACTOR, PROJECT, World
from worker.flows.decide import bundle_in_force
from worker.flows.erase import order_erasure
from worker.flows.receipt import receipt
from worker.flows.register import Registration, register
from worker.model.receipt import Receipt
from worker.model.thread import Kind
from worker.store import bundles, threads

SECOND = timedelta(seconds=1)


def erase(world: World, *, owner: str, projects: tuple[str, ...] | None = None) -> Receipt:
    return order_erasure(
        world.database,
        owner=owner,
        ids=(),
        reason="art. 17",
        at=None,
        actor=ACTOR,
        clock=world.clock,
        projects=projects,
    )


def registration(world: World, owner: str = "ann") -> Registration:
    return Registration(external_id=world.make(Kind.FILE), project=PROJECT, owner=owner, kind=Kind.FILE)


def covered(world: World, order: Receipt) -> set[str]:
    with world.database.read() as db:
        return {one.id for one in receipt(db, order.id, now=world.clock.now()).lines}


def register_at(world: World, wanted: Registration, *, seconds: int) -> str:
    with world.database.write() as db:
        done = register(db, wanted, actor=ACTOR, now=world.clock.now() + seconds * SECOND)
    return done.stored.thread.id


def test_an_order_waits_for_a_registration_that_is_on_its_way(world: World, eventually: Eventually) -> None:
    with ThreadPoolExecutor(1) as background:
        with world.database.write() as db:
            late = register(db, registration(world), actor=ACTOR, now=world.clock.now()).stored
            ordering = background.submit(erase, world, owner="ann")
            if not world.database.is_sqlite:  # there BEGIN IMMEDIATE already waits
                eventually(lambda: is_waiting(world))
        order = ordering.result(30)
    assert {one.id for one in order.lines} == {late.thread.id}


def is_waiting(world: World, count: int = 1) -> bool:
    query = text(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    with world.database.read() as db:
        return bool(db.execute(query).scalar_one() >= count)


def only_where_writers_meet(world: World) -> None:
    if world.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")


def put_in_force(db: Connection, world: World, digest: str) -> None:
    found = bundles.in_force(db)
    assert found is not None
    now = world.clock.now()
    bundles.activate(db, digest=digest, canonical=found.canonical, origin=found.origin, now=now)


def test_a_registration_that_waits_for_a_new_bundle_is_registered_under_it(
    world: World, eventually: Eventually
) -> None:
    only_where_writers_meet(world)
    wanted = registration(world)
    with ThreadPoolExecutor(1) as background:
        with world.database.write() as db:
            put_in_force(db, world, "sha256:new")
            registering = background.submit(register_at, world, wanted, seconds=0)
            eventually(lambda: is_waiting(world))
        thread_id = registering.result(30)
    with world.database.read() as db:
        assert threads.get(db, thread_id) is not None


@pytest.mark.parametrize("what", ["erasure", "bundle"])
def test_registrations_that_follow_one_another_keep_nobody_waiting_for_ever(
    world: World, eventually: Eventually, what: str
) -> None:
    only_where_writers_meet(world)

    def change() -> None:
        if what == "erasure":
            erase(world, owner="ann")
        else:
            with world.database.write() as db:
                put_in_force(db, world, "sha256:new")

    def share() -> None:
        with world.database.write() as db:
            bundle_in_force(db, share=True)

    with ThreadPoolExecutor(2) as background:
        with world.database.write() as db:
            bundle_in_force(db, share=True)
            changing = background.submit(change)
            eventually(lambda: is_waiting(world))
            registering = background.submit(share)
            eventually(lambda: is_waiting(world, 2) or registering.done())
            assert not registering.done()
        changing.result(30)
        registering.result(30)


def test_a_registration_that_arrived_before_an_order_and_commits_after_it_is_covered(world: World) -> None:
    order = erase(world, owner="ann")
    late = register_at(world, registration(world), seconds=-1)
    younger = register_at(world, registration(world), seconds=1)
    stranger = register_at(world, registration(world, owner="bob"), seconds=-1)
    assert covered(world, order) == {late}
    world.tick()
    world.drain()
    with world.database.read() as db:
        lines = receipt(db, order.id, now=world.clock.now()).lines
    assert [(one.id, one.status) for one in lines] == [(late, "deleted")]
    assert {younger, stranger}.isdisjoint(covered(world, order))


def test_an_order_of_a_key_for_other_projects_covers_no_late_registration_here(world: World) -> None:
    order = erase(world, owner="ann", projects=("elsewhere",))
    register_at(world, registration(world), seconds=-1)
    assert covered(world, order) == set()
