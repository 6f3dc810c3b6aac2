"""A credential that may not be asked takes no place, no lease and no time from anybody, and then goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.world.world import POLICIES, PROJECT, World, make_world, project_document
from worker.flows.claim import anything_ready
from worker.flows.grouping import Grouper
from worker.flows.pauses import Pauses
from worker.flows.rest import keep_rest, place_of
from worker.flows.stall import stalled_for
from worker.flows.tools import Tools
from worker.flows.turn import turn
from worker.model.evidence import Observation, Step
from worker.model.thread import Kind, ThreadState
from worker.pacing.memory import MemoryPacer
from worker.providers.base import Provider
from worker.sandbox.faults import Fault, FaultRule
from worker.sandbox.options import SandboxOptions
from worker.store import rests, work
from worker.store.keys import note_fact
from worker.store.threads import StoredThread

HOURS = timedelta(hours=3)
OTHER = "other"


@pytest.fixture
def world(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose provider asks for three hours, and whose pacer runs on its clock."""
    monkeypatch.setitem(Grouper.__init__.__kwdefaults__ or {}, "window", 0.01)
    with make_world(database_url, tmp_path / "policies", SandboxOptions(retry_after=HOURS)) as made:
        for one in (work, rests):
            monkeypatch.setattr(one, "lease_clock", made.clock.lease_clock)
        made.pacer = MemoryPacer(made.clock.monotonic)
        yield made


def two_credentials(world: World) -> None:
    """Give the world a second project, with a key of its own."""
    first = project_document(world.sandbox.base_url)
    second = project_document(world.sandbox.base_url, name=OTHER).replace("KEY_TEST", "KEY_OTHER")
    world.policies(POLICIES + first + second)


def due(world: World, count: int, *, kind: Kind = Kind.FILE, project: str = PROJECT) -> list[StoredThread]:
    """Register threads that are due, with a live sibling."""
    world.register(kind=kind, project=project, age=timedelta(days=1))
    return [world.register(kind=kind, project=project) for _ in range(count)]


def states(world: World, threads: list[StoredThread]) -> Counter[ThreadState]:
    return Counter(world.state(one) for one in threads)


async def work_off(world: World, tools: Tools) -> Counter[str]:
    told: Counter[str] = Counter()
    while ready := anything_ready(world.database, world.clock):
        for credential in ready:
            told += await turn(tools, credential)
    return told


def test_a_pause_of_hours_frees_every_lease_starts_no_drain_and_is_followed_by_work(world: World) -> None:
    threads = due(world, 40)
    world.sweep()

    async def scenario() -> None:
        tools = world.tools()  # one process from beginning to end
        try:
            world.faults("throttled")
            told = await turn(tools, world.credential)
            assert set(told) == {"waiting"}
            asked = len(world.sandbox.requests())
            assert asked <= 16  # as many as have a seat: the rest heard of the pause before they left

            world.faults()
            assert {world.item(one).lease_until for one in threads} == {None}
            for _ in range(5):
                world.clock.jump(HOURS / 6)
                assert world.tick() == []
                assert (await turn(tools, world.credential)).total() == 0
                assert stalled_for(world.database, world.clock) is None
            assert len(world.sandbox.requests()) == asked

            world.clock.jump(HOURS)
            assert world.tick() == [world.credential]
            await work_off(world, tools)
        finally:
            await tools.close()

    asyncio.run(scenario())
    assert states(world, threads) == {ThreadState.DELETED: 40}


def test_what_was_not_claimed_before_the_pause_is_left_untouched_by_it(world: World) -> None:
    due(world, 1)
    world.sweep()
    world.faults("throttled")
    world.drain()
    late = due(world, 3)
    world.sweep()
    assert world.drain() == {}
    assert {(world.item(one).state, world.item(one).fence) for one in late} == {("planned", 0)}


def test_a_credential_that_rests_keeps_no_other_from_working(world: World) -> None:
    two_credentials(world)
    throttled = due(world, 5)
    good = due(world, 20, kind=Kind.RESPONSE, project=OTHER)
    world.sweep()
    world.faults("throttled:file")
    world.drain()
    assert states(world, good) == {ThreadState.DELETED: 20}
    assert states(world, throttled) == {ThreadState.LIVE: 5}


def test_a_provider_that_only_throttles_ends_the_batch_and_is_asked_ever_less(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Retry-After: three pauses of a second in a row, then a rest that grows with each round."""
    monkeypatch.setattr("worker.flows.rest.jitter", lambda: 0.99)
    threads = due(world, 60)
    world.sweep()
    world.faults("throttled-silent")
    ends: list[float] = []

    async def scenario() -> None:
        tools = replace(world.tools(), lease=world.lease)
        try:
            for expected in (10, 20):
                await turn(tools, world.credential)
                with world.database.read() as db:
                    until = rests.resting(db, world.clock.now())[world.credential]
                ends.append((until - world.clock.now()).total_seconds())
                assert expected * 0.8 < ends[-1] < expected
                assert world.tick() == []
                world.clock.jump(timedelta(seconds=expected))
            assert len(world.sandbox.requests()) <= 2 * 3 * 16
            world.faults()
            for _ in range(30):
                await work_off(world, tools)
                world.clock.jump(timedelta(minutes=1))
        finally:
            await tools.close()

    asyncio.run(scenario())
    assert states(world, threads) == {ThreadState.DELETED: 60}
    with world.database.read() as db:
        assert rests.rounds(db, world.credential) == 0


class Stuck:
    """A provider that answers nothing about files until it is let go."""

    def __init__(self, inner: Provider, began: asyncio.Event, go_on: asyncio.Event) -> None:
        self._inner, self._began, self._go_on = inner, began, go_on

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        if kind is Kind.FILE:
            self._began.set()
            await self._go_on.wait()
        return await self._inner.read(kind, external_id, step=step, timeout=timeout)


@pytest.mark.parametrize("most", [1, 2])
def test_a_credential_that_hangs_fills_its_own_places_and_none_of_another(world: World, most: int) -> None:
    """Messages outnumber the pool, and those of the hanging credential come first."""
    two_credentials(world)
    slow = due(world, 8)
    good = due(world, 8, kind=Kind.RESPONSE, project=OTHER)
    world.sweep()
    mine = world.credential
    theirs = world.bundle.projects[OTHER].credential
    pool = asyncio.Semaphore(most + 1)

    async def scenario() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()
        world.wrap = lambda inner: Stuck(inner, began, go_on)  # type: ignore[assignment,return-value]
        tools = replace(world.tools(), drains=most)
        entered: Counter[str] = Counter()

        async def drain(credential: str) -> None:
            async with pool:
                with place_of(
                    world.database, credential, most=most, lease=world.lease, clock=world.clock
                ) as taken:
                    entered[credential] += taken
                    if taken:
                        await turn(tools, credential)

        hanging = [asyncio.create_task(drain(mine)) for _ in range(10)]
        await began.wait()
        while states(world, good) != {ThreadState.DELETED: 8}:
            await drain(theirs)
        assert entered[mine] <= most
        assert states(world, slow) == {ThreadState.LIVE: 8}
        assert sum(not one.done() for one in hanging) <= most
        go_on.set()
        await asyncio.gather(*hanging)
        await tools.close()

    asyncio.run(scenario())
    world.drain()
    assert states(world, slow) == {ThreadState.DELETED: 8}


def test_places_are_counted_over_processes_given_back_and_end_with_a_dead_holder(world: World) -> None:
    def place(credential: str = "a", most: int = 2) -> rests.Place | None:
        with world.database.write() as db:
            return rests.enter(db, credential, most=most, length=world.lease.length, now=world.clock.now())

    first, second = place(), place()
    assert first is not None
    assert second is not None
    assert place() is None
    assert place("b") is not None
    with world.database.write() as db:
        rests.leave(db, first)
    third = place()
    assert third is not None
    assert place() is None

    world.clock.jump(world.lease.length + timedelta(seconds=1))
    assert place() is not None
    # Who held it until then comes late, and takes nothing away from its new holder.
    with world.database.write() as db:
        rests.leave(db, third)
        rests.leave(db, second)
    assert place() is not None
    assert place() is None


def test_a_rest_is_only_ever_made_longer(world: World) -> None:
    with world.database.write() as db:
        now = world.clock.now()
        rests.rest(db, "a", seconds=3600, rounds=0, now=now)
        rests.rest(db, "a", seconds=5, rounds=1, now=now)
    with world.database.read() as db:
        assert rests.resting(db, now)["a"] >= now + timedelta(minutes=59)
        assert rests.rounds(db, "a") == 1


def test_a_rest_that_began_while_the_clock_was_ahead_ends_as_it_should(world: World) -> None:
    [thread] = due(world, 1)
    world.sweep()
    ahead = world.clock.now() + timedelta(hours=1)
    with world.database.write() as db:
        rests.rest(db, world.credential, seconds=30, rounds=1, now=ahead)
    assert world.tick() == []  # it rests, but from now on no longer than it was to
    world.clock.jump(timedelta(seconds=31))
    assert world.tick() == [world.credential]
    world.drain()
    assert states(world, [thread]) == {ThreadState.DELETED: 1}


@pytest.mark.parametrize("value", [{"rounds": 1, "seconds": 3600}, {"rounds": 1}])
def test_a_tick_shortens_no_rest_that_is_dated_rightly_or_by_an_older_release(
    world: World, value: dict[str, int]
) -> None:
    due(world, 1)
    world.sweep()
    ends = world.clock.now() + timedelta(hours=1)
    with world.database.write() as db:
        note_fact(db, f"rest:{world.credential}", value, ends)
    for _ in range(2):
        world.clock.jump(timedelta(minutes=10))
        assert world.tick() == []
    with world.database.read() as db:
        assert rests.resting(db, world.clock.now()) == {world.credential: ends}


def test_a_revoked_key_stops_after_one_batch_and_takes_nothing_from_another(world: World) -> None:
    two_credentials(world)
    refused = due(world, 6)
    good = due(world, 6, kind=Kind.RESPONSE, project=OTHER)
    world.sweep()
    world.faults("refused-key:file")
    world.drain()
    asked = len(world.sandbox.requests())
    late = due(world, 6)
    world.sweep()
    assert world.tick() == []
    assert len(world.sandbox.requests()) == asked
    assert states(world, good) == {ThreadState.DELETED: 6}
    assert ThreadState.DELETED not in states(world, refused)
    assert states(world, late) == {ThreadState.LIVE: 6}


def test_many_poisoned_threads_that_come_first_sink_and_the_good_ones_go_in_the_first_rounds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W7: a hundred that fail for ever, oldest first. Each is looked at once, and then the rest is due."""
    monkeypatch.setattr("worker.flows.claim.MOST_ITEMS", 20)
    poisoned = due(world, 100)
    good = due(world, 20)
    world.sandbox.set_faults(
        FaultRule(fault=Fault.ERROR_500, object_id=one.thread.external_id) for one in poisoned
    )
    world.sweep()

    async def scenario() -> None:
        tools = world.tools()
        for _ in range(6):  # 120 items by 20
            await turn(tools, world.credential)
        await tools.close()

    asyncio.run(scenario())
    assert states(world, good) == {ThreadState.DELETED: 20}
    assert states(world, poisoned) == {ThreadState.LIVE: 100}
    for _ in range(10):
        world.clock.jump(timedelta(hours=1, minutes=1))
        world.drain()
    assert states(world, poisoned) == {ThreadState.PARKED: 100}
    assert {world.grade(one) for one in poisoned} == {"unverifiable/provider_error"}
    assert not any(one.thread.external_id in path for one in poisoned for path in world.deletes())


def test_who_hears_nothing_of_a_pause_ends_no_rest_that_another_began(world: World) -> None:
    heard = Pauses(answered=True)
    with world.database.write() as db:
        rests.rest(db, "a", seconds=3600, rounds=3, now=world.clock.now())
    asyncio.run(keep_rest(world.tools(), "a", heard, rounds=2))
    with world.database.read() as db:
        assert "a" in rests.resting(db, world.clock.now())
    world.clock.jump(timedelta(hours=1, seconds=1))
    asyncio.run(keep_rest(world.tools(), "a", heard, rounds=3))
    with world.database.read() as db:
        assert rests.rounds(db, "a") == 0


def test_a_message_that_is_older_than_the_rest_asks_nothing(world: World) -> None:
    """Also not for what is to be read again after a day, and for canaries that were left."""
    [read_again] = due(world, 1)
    world.sweep()
    world.drain()
    world.clock.jump(timedelta(hours=25))
    asked = len(world.sandbox.requests())
    with world.database.write() as db:
        rests.rest(db, world.credential, seconds=3600, rounds=0, now=world.clock.now())
    world.drain()
    assert len(world.sandbox.requests()) == asked
    assert world.grade(read_again) == "confirmed"
    world.clock.jump(timedelta(hours=2))
    world.drain()
    assert world.grade(read_again) == "sustained"


def test_a_pause_that_deletions_hear_of_keeps_the_same_turn_from_reading_again(world: World) -> None:
    [read_again] = due(world, 1)
    world.sweep()
    world.drain()
    world.clock.jump(timedelta(hours=25))
    due(world, 60)
    world.sweep()
    world.faults("throttled-silent")
    asked = world.reads(read_again.thread.external_id)
    world.drain(most=1)
    assert world.reads(read_again.thread.external_id) == asked
