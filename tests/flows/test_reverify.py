"""What was called deleted is read again a day later."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from tests.world.world import World
from worker.model.thread import Kind, ThreadState
from worker.sandbox.kinds import ObjectKind
from worker.store.tables import thread
from worker.store.threads import StoredThread

_A_DAY = timedelta(hours=24, minutes=1)


def _deleted(world: World) -> StoredThread:
    due = world.register(kind=Kind.RESPONSE)
    world.register(kind=Kind.RESPONSE, age=timedelta(days=1))
    world.sweep()
    world.drain()
    assert world.grade(due) == "confirmed"
    return due


def test_gone_again_beside_a_live_sibling_is_sustained(world: World) -> None:
    due = _deleted(world)
    world.drain()
    assert world.grade(due) == "confirmed"
    world.clock.move(_A_DAY)
    world.drain()
    assert (world.grade(due), world.state(due)) == ("sustained", ThreadState.DELETED)
    grades = [one["grade"] for one in world.entries("thread.graded", due)]
    assert grades == ["confirmed", "sustained"]
    assert len(world.deletes(due.thread.external_id)) == 1


def test_a_thread_that_reappears_is_still_present_and_parked(world: World) -> None:
    due = _deleted(world)
    world.sandbox.store.restore(ObjectKind.RESPONSE, due.thread.external_id)
    world.clock.move(_A_DAY)
    world.drain()
    assert (world.grade(due), world.state(due)) == ("still_present", ThreadState.PARKED)


def test_without_a_good_control_the_grade_stays_and_it_is_tried_again(world: World) -> None:
    due = world.register(kind=Kind.RESPONSE)
    sibling = world.register(kind=Kind.RESPONSE, age=timedelta(days=1))
    world.sweep()
    world.drain()
    world.sandbox.store.delete(ObjectKind.RESPONSE, sibling.thread.external_id)
    world.clock.move(_A_DAY)
    world.drain()
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    world.register(kind=Kind.RESPONSE, age=timedelta(days=1))
    world.clock.move(timedelta(hours=7))
    world.drain()
    assert world.grade(due) == "sustained"


def test_a_read_that_is_dated_less_than_a_day_later_sustains_nothing(world: World) -> None:
    """A machine's clock may be behind the database's; who reads the log sees what is dated."""
    due = _deleted(world)
    with world.database.write() as db:
        db.execute(update(thread).values(reverify_at=world.clock.now()))
    world.clock.move(timedelta(hours=23))
    world.drain()
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    world.clock.move(timedelta(hours=7))
    world.drain()
    assert world.grade(due) == "sustained"
