"""A thread that makes its worker fail keeps no other from its end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.world.stepping import Passing
from tests.world.world import ACTOR, World
from worker.audit import bodies
from worker.flows import dispose
from worker.flows.claim import claim
from worker.flows.failures import list_failures
from worker.flows.retry import retry
from worker.flows.turn import turn
from worker.model.evidence import Observation, Step
from worker.model.ids import ThreadId
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


def abandon(world: World, most: int = 1) -> list[list[ThreadId]]:
    """Let claim after claim end without a word, as a worker does that is killed; returns who was claimed."""
    claimed = []
    for _ in range(most):
        batch = claim(world.database, world.credential, by="w", lease=world.lease, clock=world.clock)
        claimed.append(sorted(one.thread_id for one in batch.items))
        world.clock.move(world.lease.length + timedelta(seconds=1))
    return claimed


def test_what_two_claims_left_without_a_word_is_claimed_alone_and_the_others_reach_their_end(
    world: World,
) -> None:
    """One of a batch ends every worker that touches it, and takes the whole batch with it."""
    bad, good = with_a_bad_one(world)
    everybody = sorted(one.thread.id for one in (bad, *good))
    assert abandon(world, 2) == [everybody, everybody]
    asyncio.run(until_the_bad_one_is_parked(world, bad))
    world.drain()
    assert {world.grade(one) for one in good} == {"confirmed"}
    assert (world.state(bad), world.thread(bad).reason) == (ThreadState.PARKED, "abandoned")
    assert not world.deletes(bad.thread.external_id)


async def until_the_bad_one_is_parked(world: World, bad: StoredThread) -> None:
    """Take turns as workers do, each of which ends when the bad one is read."""
    tools = world.tools()
    ended = asyncio.Event()

    class Deadly(Passing):
        async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
            if external_id == bad.thread.external_id and step is Step.BEFORE:
                ended.set()
                await asyncio.get_running_loop().create_future()
            return await self.inner.read(kind, external_id, step=step, timeout=timeout)

    world.wrap = lambda inner: Deadly(inner).provider
    for _ in range(100):
        ended.clear()
        working = asyncio.create_task(turn(tools, world.credential))
        dying = asyncio.create_task(ended.wait())
        await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
        for one in (working, dying):
            one.cancel()
        await asyncio.gather(working, dying, return_exceptions=True)
        world.clock.move(world.lease.length + timedelta(seconds=1))
        if world.state(bad) is ThreadState.PARKED:
            break
    await tools.close()


def test_what_ends_its_worker_five_times_is_parked_untouched_and_a_person_may_take_it_up(
    world: World,
) -> None:
    due = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    assert abandon(world, dispose.MOST_ABANDONED) == [[due.thread.id]] * dispose.MOST_ABANDONED
    world.drain()
    assert (world.state(due), world.thread(due).reason) == (ThreadState.PARKED, "abandoned")
    assert not world.sandbox.requests()
    with world.database.read() as db:
        [failure] = list_failures(db)
    retry(world.database, failure.fingerprint, reason="mended", actor=ACTOR, clock=world.clock)
    world.sweep()
    world.drain()
    assert world.grade(due) == "confirmed"


def test_a_word_in_between_begins_the_count_anew(world: World) -> None:
    due = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    for _ in range(2):
        abandon(world, dispose.MOST_ABANDONED - 1)
        world.faults("error-500@get*1")
        world.drain()
        world.clock.move(timedelta(minutes=2))
    world.drain()
    assert world.grade(due) == "confirmed"
