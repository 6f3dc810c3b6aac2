"""A thread that makes its worker fail keeps no other from its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.world.world import World
from worker.audit import bodies
from worker.model.thread import Kind, ThreadState
from worker.policy.evaluate import decide
from worker.store.threads import StoredThread

DAY = timedelta(days=1)


def with_a_bad_one(world: World) -> tuple[StoredThread, list[StoredThread]]:
    good = [world.register(kind=Kind.FILE) for _ in range(4)]
    bad = world.register(kind=Kind.FILE)
    good += [world.register(kind=Kind.FILE) for _ in range(4)]
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    return bad, good


def test_one_that_cannot_be_decided_keeps_no_other_from_being_armed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = with_a_bad_one(world)

    def fail(thread: Any, **named: Any) -> Any:
        if thread.id == bad.thread.id:
            raise OverflowError("date value out of range")
        return decide(thread, **named)

    monkeypatch.setattr("worker.flows.arm.decide", fail)
    with pytest.raises(BaseExceptionGroup):
        world.drain(most=1)
    assert {world.grade(one) for one in good} == {"confirmed"}
    assert (world.exists(bad), world.state(bad)) == (True, ThreadState.LIVE)
    assert not world.deletes(bad.thread.external_id)


def test_one_that_cannot_be_settled_keeps_no_other_from_its_grade(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = with_a_bad_one(world)
    graded = bodies.thread_graded

    def fail(thread: Any, *given: Any, **named: Any) -> Any:
        if thread.id == bad.thread.id:
            raise ValueError("no body")
        return graded(thread, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(bodies, "thread_graded", fail)
        with pytest.raises(BaseExceptionGroup):
            world.drain(most=1)
    assert {world.grade(one) for one in good} == {"confirmed"}
    assert world.state(bad) is ThreadState.LIVE
    assert {one["subject"] for one in world.entries("thread.graded")} == {one.thread.id for one in good}
    # Its answer was committed, so nothing of it is lost when it is claimed again.
    world.clock.move(world.lease.length + timedelta(seconds=1))
    world.drain()
    assert world.grade(bad) == "confirmed"
    assert len(world.deletes(bad.thread.external_id)) == 1
    assert not world.entries("delete.late_result")
