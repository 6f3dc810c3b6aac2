"""One request: its permit, its seat, its time, and what the provider asked for in answering it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from worker.flows.ask import Asker
from worker.flows.patience import LeaseShort, Patience
from worker.flows.pauses import Pauses
from worker.model.clock import SystemClock
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Kind
from worker.pacing.base import Bucket, CoolingDown, Later, PacerUnavailable, Reservation
from worker.pacing.lane import Lane
from worker.pacing.memory import MemoryPacer
from worker.pacing.seats import Seats
from worker.pacing.waiters import Rank
from worker.providers.base import Provider

BUCKET = Bucket(key="b", per_second=1000, burst=100)
CLOCK = SystemClock()
Answer = Callable[[], Observation]


class Server:
    """Answers reads with what it is told to; each waits until it is let go."""

    def __init__(self, *answers: Observation) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else seen(Class.PRESENT)
        await self.go_on.wait()
        return answer


class Lost(MemoryPacer):
    """A pacer that grants slots and cannot be told of pauses."""

    async def cool_down(self, bucket: Bucket, seconds: float) -> None:
        raise PacerUnavailable("gone")


def seen(class_: Class, *, status: int = 200, retry_after: float | None = None) -> Observation:
    return Observation(
        step=Step.BEFORE, seen=class_, at=CLOCK.now(), subject="s", status=status, retry_after=retry_after
    )


def asker(
    server: Server,
    *,
    pacer: MemoryPacer | None = None,
    bucket: Bucket = BUCKET,
    seats: int = 16,
    lease: float = 60,
) -> Asker:
    lane = Lane(pacer or MemoryPacer(), bucket, CLOCK)
    return Asker(
        provider=cast("Provider", server),
        reads=lane,
        writes=lane,
        seats=Seats(seats),
        clock=CLOCK,
        timeout=5,
        nothing_leaves_after=CLOCK.monotonic() + lease,
        patience=Patience(lambda: False, CLOCK),
        pauses=Pauses(rest_seconds=7),
    )


async def read(one: Asker) -> Observation:
    return await one.read_object(Kind.FILE, "file-1", Step.BEFORE, rank=Rank.READ)


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (seen(Class.THROTTLED, status=429), 1.0),
        (seen(Class.THROTTLED, status=429, retry_after=0.0), 1.0),
        (seen(Class.THROTTLED, status=429, retry_after=5.0), 5.0),
        (seen(Class.ERROR, status=503, retry_after=5.0), 5.0),
        (seen(Class.ERROR, status=503, retry_after=0.0), 0.0),
        (seen(Class.ERROR, status=503), 0.0),
        (seen(Class.ERROR, status=500), 0.0),
        (seen(Class.PRESENT), 0.0),
    ],
)
def test_a_429_and_a_503_that_names_a_time_pause_everybody(answer: Observation, pause: float) -> None:
    async def scenario() -> None:
        pacer = MemoryPacer()
        one = asker(Server(answer), pacer=pacer)
        assert await read(one) is answer
        left = await pacer.pause(BUCKET)
        assert pause - 0.5 < left <= pause

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [11.0, 3600.0, 31_536_000.0])
def test_a_long_pause_is_known_from_the_answer_and_sends_the_next_home(seconds: float) -> None:
    async def scenario() -> None:
        server = Server(seen(Class.THROTTLED, status=429, retry_after=seconds))
        one = asker(server)
        await read(one)
        assert one.pauses.left == min(seconds, 86_400)
        with pytest.raises(CoolingDown):
            await read(one)
        assert server.asked == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(("told", "kept"), [(11.0, 11.0), (2_592_001.0, 86_400.0), (float("inf"), 86_400.0)])
def test_whoever_is_sent_home_comes_again_after_a_day_at_the_latest(told: float, kept: float) -> None:
    class Pausing(MemoryPacer):
        async def reserve(self, bucket: Bucket) -> Reservation | Later:
            raise CoolingDown(told)

    async def scenario() -> None:
        server = Server()
        one = asker(server, pacer=Pausing())
        with pytest.raises(CoolingDown, match=f"{kept:.0f} s are left") as raised:
            await read(one)
        # By the one the credential rests, by the other each item waits.
        assert (one.pauses.left, raised.value.seconds) == (kept, kept)
        assert server.asked == 0

    asyncio.run(scenario())


def test_an_answer_is_kept_where_the_pacer_cannot_be_told_of_its_pause() -> None:
    async def scenario() -> None:
        one = asker(Server(seen(Class.THROTTLED, status=429, retry_after=5.0)), pacer=Lost())
        assert (await read(one)).seen is Class.THROTTLED
        # And nothing leaves before it has been told.
        with pytest.raises(PacerUnavailable):
            await read(one)

    asyncio.run(scenario())


class Counting(MemoryPacer):
    """A pacer that counts the slots that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def reserve(self, bucket: Bucket) -> Reservation | Later:
        self.asked += 1
        return await super().reserve(bucket)


def test_whoever_will_find_no_seat_takes_no_slot() -> None:
    """A slow provider: slots that were taken meanwhile would be late, and taken from everybody else."""

    async def scenario() -> None:
        pacer, server = Counting(), Server()
        server.go_on.clear()
        one = asker(server, pacer=pacer, seats=2)
        reading = [asyncio.create_task(read(one)) for _ in range(6)]
        while server.asked < 2:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert (pacer.asked, server.asked) == (2, 2)
        server.go_on.set()
        await asyncio.gather(*reading)
        assert (pacer.asked, server.asked) == (6, 6)

    asyncio.run(scenario())


def test_a_request_whose_slot_passed_while_it_waited_for_its_seat_takes_another() -> None:
    """Its seat went to a DELETE. Many that are late would leave together."""
    narrow = replace(BUCKET, late_seconds=0.0)

    class Slow(Counting):
        answers = asyncio.Event()

        async def reserve(self, bucket: Bucket) -> Reservation | Later:
            told = await super().reserve(bucket)
            await self.answers.wait()
            return told

    async def scenario() -> None:
        pacer, server = Slow(), Server()
        one = asker(server, pacer=pacer, bucket=narrow, seats=1)
        reading = asyncio.create_task(read(one))
        while not pacer.asked:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0)
        async with one.seats.taken(Rank.DELETE, 0):
            pacer.answers.set()
            while not len(one.seats._to_sit):  # noqa: ASYNC110 - nor have the seats
                await asyncio.sleep(0)
            asked = pacer.asked
            assert server.asked == 0
        await reading
        assert server.asked == 1
        assert pacer.asked > asked

    asyncio.run(scenario())


def test_a_process_that_stops_waits_for_no_seat() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        server = Server()
        server.go_on.clear()
        one = replace(asker(server, seats=1), patience=Patience(stop.is_set, CLOCK))
        async with one.patience.watched():
            sitting, waiting = (asyncio.create_task(read(one)) for _ in range(2))
            while not server.asked:  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0)
            stop.set()
            with pytest.raises(LeaseShort):
                await waiting
            server.go_on.set()
            await sitting
        assert server.asked == 1

    asyncio.run(scenario())


def test_a_slot_that_lies_beyond_the_lease_is_not_waited_for() -> None:
    slow = Bucket(key="slow", per_second=1 / 3600)

    async def scenario() -> None:
        server = Server()
        one = asker(server, bucket=slow, lease=0.2)
        await read(one)
        with pytest.raises(LeaseShort):
            await read(one)
        assert server.asked == 1

    asyncio.run(scenario())


def test_a_batch_is_given_up_after_three_pauses_in_a_row_and_an_answer_renews_it() -> None:
    refused, fine = seen(Class.THROTTLED, status=429), seen(Class.PRESENT)
    pauses = Pauses(rest_seconds=7)
    for at in (0.0, 0.1, 0.9):  # one pause, heard of three times
        pauses.heard(refused, 1.0, at)
    pauses.heard(refused, 1.0, 1.0)
    assert not pauses.over
    pauses.heard(fine, 1.0, 1.5)
    for at in (2.0, 3.0, 3.5):
        pauses.heard(refused, 1.0, at)
    assert not pauses.over
    pauses.check()
    pauses.heard(refused, 1.0, 4.0)
    assert pauses.over
    assert pauses.left == 7
    with pytest.raises(CoolingDown):
        pauses.check()


def test_a_connection_that_fails_is_no_answer_and_renews_nothing() -> None:
    pauses = Pauses()
    for at in (0.0, 1.0):
        pauses.heard(seen(Class.THROTTLED, status=429), 1.0, at)
    lost = Observation(step=Step.BEFORE, seen=Class.ERROR, at=CLOCK.now(), subject="s")
    pauses.heard(lost, 1.0, 1.5)
    pauses.heard(seen(Class.THROTTLED, status=429), 1.0, 2.0)
    assert pauses.over
    assert not pauses.answered


def test_a_turn_knows_of_a_pause_that_began_within_it() -> None:
    """Arming happens within a turn, and takes as long as a transaction does."""

    async def scenario() -> None:
        one = asker(Server())
        async with one.turn(one.writes, Rank.DELETE) as slot:
            assert not slot.overtaken
            await one.writes.cool_down(1.0)
            assert slot.overtaken

    asyncio.run(scenario())
