"""A process that is told to stop finishes what it began and gives the rest back, without waiting."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.world.world import POLICIES, World, project_document
from worker.flows.drain import drain
from worker.flows.patience import FINISH_SECONDS, LeaseShort, Patience
from worker.flows.reverify import reverify
from worker.flows.turn import turn
from worker.model.clock import SystemClock
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState
from worker.pacing.waiters import Rank

DAY = timedelta(days=1)


class HandClock(SystemClock):
    """Monotonic seconds that a test sets."""

    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


async def _wait_for_ever(patience: Patience, rank: Rank) -> None:
    async with patience.bound(rank, 60.0):
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("rank", [Rank.DELETE, Rank.READ, Rank.LOOK])
def test_what_has_not_begun_waits_no_longer_once_the_process_stops(rank: Rank) -> None:
    stop = threading.Event()
    patience = Patience(stop.is_set, HandClock())

    async def waiting() -> None:
        async with patience.watched():
            task = asyncio.create_task(_wait_for_ever(patience, rank))
            await asyncio.sleep(0)
            assert not patience.is_over(rank)
            stop.set()
            with pytest.raises(LeaseShort):
                await task

    asyncio.run(waiting())
    assert patience.is_over(rank)


def test_what_completes_a_delete_may_leave_for_some_seconds_after_the_stop() -> None:
    clock = HandClock()
    patience = Patience(lambda: True, clock)
    assert not patience.is_over(Rank.CONTROL)
    clock.seconds += FINISH_SECONDS - 0.1
    assert not patience.is_over(Rank.CONTROL)
    clock.seconds += 0.1
    assert patience.is_over(Rank.CONTROL)
    with pytest.raises(LeaseShort):
        asyncio.run(_wait_for_ever(patience, Rank.CONTROL))


def test_a_wait_that_ends_already_keeps_the_stop_from_no_other() -> None:
    async def two_waits() -> None:
        patience = Patience(lambda: True, HandClock())
        waits = [asyncio.create_task(_wait_for_ever(patience, Rank.DELETE)) for _ in range(2)]
        await asyncio.sleep(0)
        bounds = list(patience._waits)
        first = bounds[0]
        first.reschedule(0)
        while not first.expired():  # noqa: ASYNC110 - a timer of the loop says so
            await asyncio.sleep(0)
        for bound in bounds:
            patience._shorten(bound, Rank.DELETE)
        for wait in waits:
            with pytest.raises(LeaseShort):
                await wait

    asyncio.run(two_waits())


def test_a_time_out_of_somebody_else_is_not_taken_for_the_stop() -> None:
    async def fails() -> None:
        async with Patience(lambda: False, HandClock()).bound(Rank.READ, 60.0):
            raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(fails())


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.CONVERSATION])
def test_a_batch_in_the_middle_gives_back_what_was_not_begun_and_reads_what_was_deleted(
    world: World, kind: Kind
) -> None:
    slow = project_document(world.sandbox.base_url).replace("1000/s, burst: 50", "40/s, burst: 1")
    world.policies(POLICIES + slow)
    due = [world.register(kind=kind, children=2 if kind is Kind.CONVERSATION else 0) for _ in range(14)]
    world.register(kind=kind, age=3 * DAY)
    world.sweep()
    told = asyncio.run(_stopped_after(world, deletes=4))
    deletes = len(world.deletes())
    assert set(told) <= {ItemState.WAITING, ItemState.DONE, ItemState.SPARED}
    assert told[ItemState.WAITING] >= 6
    items = Counter(world.item(one).state for one in due)
    assert items[ItemState.CLAIMED] == 0
    given_back = [one for one in due if world.item(one).state == ItemState.WAITING and world.exists(one)]
    assert all(world.item(one).next_at <= world.clock.now() + timedelta(seconds=11) for one in given_back)
    gone = [one for one in due if not world.exists(one)]
    assert all(world.state(one) in {ThreadState.DELETED, ThreadState.ACKNOWLEDGED} for one in gone)
    world.clock.move(timedelta(minutes=2))
    world.drain()
    assert {world.grade(one) for one in due} == {"confirmed"}
    sent = Counter(path.rsplit("/", 1)[1] for path in world.deletes())
    assert set(sent.values()) == {1}
    assert deletes < len(world.deletes())


async def _stopped_after(world: World, *, deletes: int) -> Counter[str]:
    def stopping() -> bool:
        return len(world.deletes()) >= deletes

    tools = replace(world.tools(), stopping=stopping)
    try:
        return await drain(tools, world.credential)
    finally:
        await tools.close()


def test_a_process_that_stops_begins_no_batch_of_later_reads(world: World) -> None:
    due = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    world.drain()
    world.clock.move(timedelta(hours=25))
    reads = world.reads(due.thread.external_id)

    async def stops() -> None:
        tools = replace(world.tools(), stopping=lambda: True)
        assert (await turn(tools, world.credential)).total() == 0
        assert (await reverify(tools, world.credential)).total() == 0
        await tools.close()

    asyncio.run(stops())
    assert world.reads(due.thread.external_id) == reads
