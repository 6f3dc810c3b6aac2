"""A turn claims its next batch while the end of one waits for re-reads and controls, in the time of one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.world.world import World
from worker.flows import course
from worker.flows.drain import drain
from worker.flows.tools import Tools
from worker.model.evidence import Observation, Step
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState
from worker.providers.base import Provider
from worker.sandbox.faults import Fault, FaultRule
from worker.store.threads import StoredThread

AT_ONCE = 4


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.flows.claim.MOST_ITEMS", AT_ONCE)


def due(world: World, count: int) -> list[StoredThread]:
    world.register(kind=Kind.FILE, age=timedelta(days=1))
    threads = [world.register(kind=Kind.FILE) for _ in range(count)]
    world.sweep()
    return threads


class Watched:
    """A provider that tells of each read; those after a DELETE wait until they are let go."""

    def __init__(self, inner: Provider, told: Callable[[Step], None], go_on: asyncio.Event) -> None:
        self._inner, self._told, self._go_on = inner, told, go_on

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        self._told(step)
        if step is Step.AFTER:
            await self._go_on.wait()
        return await self._inner.read(kind, external_id, step=step, timeout=timeout)


def drained(world: World, change: Callable[[Tools], Tools] = lambda tools: tools) -> Counter[str]:
    async def scenario() -> Counter[str]:
        tools = change(world.tools())
        try:
            return await drain(tools, world.credential)
        finally:
            await tools.close()

    return asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_backlog_is_worked_off_in_one_turn(world: World) -> None:
    threads = due(world, 3 * AT_ONCE + 1)
    assert drained(world) == {ItemState.DONE.value: len(threads)}
    assert {world.grade(one) for one in threads} == {"confirmed"}


def test_the_next_batch_begins_while_the_end_of_one_waits(world: World) -> None:
    """Nothing of the first may be settled before the second is read: its re-reads wait until then."""
    threads = due(world, 2 * AT_ONCE)
    steps: Counter[Step] = Counter()

    async def scenario() -> Counter[str]:
        go_on = asyncio.Event()

        def told(step: Step) -> None:
            steps[step] += 1
            if steps[Step.BEFORE] == len(threads):
                go_on.set()

        world.wrap = lambda inner: Watched(inner, told, go_on)  # type: ignore[assignment,return-value]
        tools = world.tools()
        try:
            return await drain(tools, world.credential)
        finally:
            await tools.close()

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == {ItemState.DONE.value: len(threads)}


def test_no_more_than_two_batches_are_under_way_at_once(world: World) -> None:
    threads = due(world, 3 * AT_ONCE)

    async def scenario() -> None:
        go_on, sent = asyncio.Event(), asyncio.Event()
        steps: Counter[Step] = Counter()

        def told(step: Step) -> None:
            steps[step] += 1
            # All that can be sent has been: one of each batch stays back for the others.
            if steps[Step.AFTER] == 2 * (AT_ONCE - 1):
                sent.set()

        world.wrap = lambda inner: Watched(inner, told, go_on)  # type: ignore[assignment,return-value]
        tools = world.tools()
        working = asyncio.create_task(drain(tools, world.credential))
        await sent.wait()
        claimed = Counter(world.item(one).state for one in threads)
        assert claimed == {ItemState.CLAIMED: 2 * AT_ONCE, ItemState.PLANNED: AT_ONCE}
        go_on.set()
        assert (await working).total() == len(threads)
        await tools.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize(
    "change",
    [
        lambda tools: replace(tools, stopping=lambda: True),
        # The deadline of a batch is 0.4 of its lease: with this one half of it is over at once.
        lambda tools: replace(tools, lease=replace(tools.lease, length=timedelta(microseconds=1))),
    ],
    ids=["the process stops", "time is short"],
)
def test_a_turn_ends_with_its_batch_where(world: World, change: Callable[[Tools], Tools]) -> None:
    due(world, 3 * AT_ONCE)
    assert drained(world, change).total() <= AT_ONCE


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.WRONG_KEY_401, Fault.ENDPOINT_RETIRED])
def test_what_keeps_a_credential_back_keeps_its_next_batch_back(world: World, fault: Fault) -> None:
    threads = due(world, 3 * AT_ONCE)
    world.sandbox.set_faults([FaultRule(fault=fault)])
    assert drained(world).total() == AT_ONCE
    assert Counter(world.item(one).state for one in threads)[ItemState.PLANNED] == 2 * AT_ONCE
    assert {world.state(one) for one in threads} <= {ThreadState.LIVE, ThreadState.PARKED}


def test_one_that_fails_ends_the_turn_and_costs_no_other_its_settlement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = due(world, 3 * AT_ONCE)
    broken = threads[0].thread.id
    run = course.run

    async def breaks(desk: object, one: object, **more: object) -> object:
        if one.thread.id == broken:  # type: ignore[attr-defined]
            raise RuntimeError("a defect")
        return await run(desk, one, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(course, "run", breaks)
    with pytest.raises(BaseExceptionGroup, match="some items failed"):
        drained(world)
    states = Counter(world.item(one).state for one in threads)
    assert states[ItemState.CLAIMED] == 1
    assert states[ItemState.DONE] >= AT_ONCE - 1
