"""Who gets the next slot of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from worker.pacing.base import Bucket, CoolingDown, Later, PacerUnavailable, Reservation
from worker.pacing.lane import (
    LOOK_AHEAD_SECONDS,
    LOOK_EVERY_SECONDS,
    Lane,
    Slot,
)
from worker.pacing.memory import MemoryPacer
from worker.pacing.waiters import Rank

BUCKET = Bucket(key="b", per_second=10)
Answer = Reservation | Later | Exception


class HandClock:
    """Moves only when somebody sleeps; ``sleeping`` can be held up by ``awake``."""

    def __init__(self) -> None:
        self.at = 100.0
        self.slept: list[float] = []
        self.sleepers: list[float] = []
        self.changes = 0
        self.awake = asyncio.Event()
        self.awake.set()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        raise NotImplementedError  # would stop the loop

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until = self.at + seconds
        self.changes += 1
        self.sleepers.append(until)
        try:
            while self.at < until:
                before = self.changes
                for _ in range(20):
                    await asyncio.sleep(0)
                # Whoever wakes first moves the clock, once nobody has anything else to do.
                if self.at < until == min(self.sleepers) and self.changes == before:
                    await self.awake.wait()
                    self.at = max(self.at, until)
        finally:
            self.changes += 1
            self.sleepers.remove(until)


class HandPacer:
    """Answers what is put into ``answers``, one by one; counts how many ask at a time."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()
        self.asked = 0
        self.asking = 0
        self.most_at_once = 0
        self.told: list[float] | Exception = []
        self.looks = 0
        # How long the pacer's word takes: on the clock that `scenario` gives.
        self.look_seconds = 0.0
        self.clock: HandClock | None = None
        self.paused: float | Exception = 0.0

    async def reserve(self, bucket: Bucket) -> Reservation | Later:
        assert bucket.key == BUCKET.key
        self.asked += 1
        self.asking += 1
        self.most_at_once = max(self.most_at_once, self.asking)
        try:
            answer = await self.answers.get()
        finally:
            self.asking -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def cool_down(self, bucket: Bucket, seconds: float) -> None:
        assert bucket.key == BUCKET.key
        if isinstance(self.told, Exception):
            raise self.told
        self.told.append(seconds)

    async def pause(self, bucket: Bucket) -> float:
        assert bucket.key == BUCKET.key
        self.looks += 1
        if self.clock is not None:
            self.clock.at += self.look_seconds
        if isinstance(self.paused, Exception):
            raise self.paused
        return self.paused

    async def aclose(self) -> None:
        return None

    def grant(self, *waits: float) -> None:
        for wait in waits:
            self.answers.put_nowait(Reservation(wait=wait))


def scenario(
    body: Callable[[Lane, HandPacer, HandClock], Awaitable[None]], *, bucket: Bucket = BUCKET
) -> None:
    async def run() -> None:
        clock, pacer = HandClock(), HandPacer()
        pacer.clock = clock
        await asyncio.wait_for(body(Lane(pacer, bucket, clock, sleep=clock.sleep), pacer, clock), 10)

    asyncio.run(run())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_most_urgent_goes_first_then_the_lowest_order_then_the_first_to_come() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        served: list[str] = []

        async def want(name: str, rank: Rank, order: float) -> None:
            await lane.slot(rank, order)
            served.append(name)

        wanted = [
            ("look", Rank.LOOK, 0.0),
            ("read 1", Rank.READ, 1.0),
            ("control", Rank.CONTROL, 9.0),
            ("delete 2", Rank.DELETE, 2.0),
            ("read 1 again", Rank.READ, 1.0),
            ("delete 1", Rank.DELETE, 1.0),
            ("read 0", Rank.READ, 0.0),
        ]
        tasks = [asyncio.create_task(want(*one)) for one in wanted]
        await settle()
        pacer.grant(*[1.0 + number / 10 for number in range(len(wanted))])
        await asyncio.gather(*tasks)
        assert served == ["delete 1", "delete 2", "control", "read 0", "read 1", "read 1 again", "look"]
        assert (pacer.asked, pacer.most_at_once) == (len(wanted), 1)

    scenario(body)


def test_a_slot_begins_at_its_time() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.25)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        assert (slot.at, clock.at) == (101.25, 100.0)
        await slot.wait()
        assert clock.at == 101.25
        await slot.wait()
        assert sum(clock.slept) == pytest.approx(1.25)

    scenario(body)


def test_beyond_the_horizon_the_lane_waits_and_asks_again() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        for answer in (Later(wait=40), Later(wait=0.5), Reservation(wait=2)):
            pacer.answers.put_nowait(answer)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        # After each refusal a little later, and less so the more of them there were.
        assert clock.slept == [pytest.approx(40.05), pytest.approx(0.525)]
        assert pacer.asked == 3
        assert slot.at == pytest.approx(142.575)

    scenario(body)


def test_a_slot_that_is_kept_for_a_read_goes_to_a_delete_that_comes_in_time() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        clock.awake.clear()
        read = asyncio.create_task(lane.slot(Rank.READ, 0))
        pacer.grant(2.0)
        await settle()
        assert clock.slept == [pytest.approx(1.9)]
        urgent = await lane.slot_ahead(Rank.DELETE, 0)
        assert urgent.at == 102.0
        assert not read.done()
        clock.awake.set()
        pacer.grant(0.6)
        assert (await read).at > 102.0

    scenario(body)


def test_a_slot_for_a_delete_is_given_as_soon_as_it_is_reserved() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(0.4, 0.45, 1.5)
        slots = [await lane.slot_ahead(Rank.DELETE, order) for order in range(3)]
        assert [one.at for one in slots] == [100.4, 100.45, 101.5]
        assert clock.slept == []

    scenario(body)


def test_the_next_slot_is_reserved_when_the_last_one_is_half_a_second_ahead() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.5, 0.6)
        assert (await lane.slot_ahead(Rank.DELETE, 0)).at == 101.5
        assert (await lane.slot_ahead(Rank.DELETE, 1)).at == pytest.approx(101.6)
        assert clock.slept == [pytest.approx(1.0)]

    scenario(body)


def test_a_delete_gets_a_slot_that_leaves_time_to_arm_it_and_reads_get_those_before() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        reads = [asyncio.create_task(lane.slot(Rank.READ, order)) for order in range(3)]
        delete = asyncio.create_task(lane.slot_ahead(Rank.DELETE, 9))
        await settle()
        pacer.grant(0.0, 0.2, 0.4, 0.6)
        assert (await delete).at == pytest.approx(100.0 + 0.4)
        assert [round((await one).at, 6) for one in reads] == [100.0, 100.2, 100.6]
        assert pacer.asked == 4

    scenario(body)


def test_a_delete_that_alone_wants_a_slot_has_the_next_one() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(0.0)
        assert (await lane.slot_ahead(Rank.DELETE, 0)).at == 100.0
        assert (pacer.asked, clock.slept) == (1, [])

    scenario(body)


def test_a_lane_is_open_where_the_next_slot_begins_before_a_delete_can_be_armed() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        assert lane.is_open
        # Ten a second: after this one the next begins in 0.3 s, and after the other in 0.5 s.
        pacer.grant(0.2, 0.4)
        await lane.slot_ahead(Rank.DELETE, 0)
        assert lane.is_open
        await lane.slot_ahead(Rank.DELETE, 0)
        assert not lane.is_open
        clock.at += 0.2
        assert lane.is_open
        await lane.cool_down(3.0)
        assert not lane.is_open
        clock.at += 2.9
        assert lane.is_open

    scenario(body)


def test_no_more_slots_are_kept_in_hand_than_are_wanted_nor_further_ahead_than_half_a_second() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        clock.awake.clear()
        pacer.grant(*[0.25 + number / 10 for number in range(10)])
        few = [asyncio.create_task(lane.slot(Rank.READ, order)) for order in range(2)]
        await settle()
        assert pacer.asked == 2
        many = [asyncio.create_task(lane.slot(Rank.READ, order)) for order in range(8)]
        await settle()
        # At 0.25, 0.35, 0.45 and 0.55 s: the last one reaches far enough.
        assert pacer.asked == 4
        for one in (*few, *many):
            one.cancel()

    scenario(body)


def test_who_is_cancelled_before_the_grant_leaves_it_to_the_next() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        first = asyncio.create_task(lane.slot_ahead(Rank.DELETE, 0))
        second = asyncio.create_task(lane.slot_ahead(Rank.DELETE, 1))
        await settle()
        first.cancel()
        pacer.grant(0.5)
        assert (await second).at == 100.5
        assert first.cancelled()
        assert pacer.asked == 1

    scenario(body)


def test_who_is_cancelled_after_the_grant_but_before_he_saw_it_leaves_it_to_the_next() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        granted: list[Slot] = []

        async def want() -> None:
            granted.append(await lane.slot_ahead(Rank.DELETE, 0))

        first = asyncio.create_task(want())
        await settle()
        second = asyncio.create_task(lane.slot_ahead(Rank.DELETE, 1))
        pacer.grant(0.5)
        # Step by step, until the slot is given and nobody has seen it.
        for _ in range(20):
            if (next_one := lane._to_arm.first()) is not None and next_one.order == 1:
                break
            await asyncio.sleep(0)
        first.cancel()
        assert (await second).at == 100.5
        assert granted == []

    scenario(body)


def test_a_slot_that_nobody_wanted_serves_the_next_who_comes_in_time() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        gone = asyncio.create_task(lane.slot_ahead(Rank.DELETE, 0))
        await settle()
        gone.cancel()
        pacer.grant(1.0)
        await settle()
        clock.at += 0.9
        assert (await lane.slot(Rank.READ, 0)).at == 101.0
        assert pacer.asked == 1

    scenario(body)


def test_a_slot_that_nobody_wanted_in_time_is_not_used_late() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        gone = asyncio.create_task(lane.slot_ahead(Rank.DELETE, 0))
        await settle()
        gone.cancel()
        pacer.grant(1.0)
        await settle()
        clock.at += 5
        pacer.grant(0.2)
        assert (await lane.slot_ahead(Rank.DELETE, 0)).at == pytest.approx(105.2)
        assert pacer.asked == 2

    scenario(body)


@pytest.mark.parametrize("problem", [PacerUnavailable("gone"), CoolingDown(90), RuntimeError("unforeseen")])
def test_everybody_who_waits_hears_that_there_is_no_permit_and_the_lane_goes_on(problem: Exception) -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        waiting = [asyncio.create_task(lane.slot(rank, 0)) for rank in Rank]
        await settle()
        pacer.answers.put_nowait(problem)
        heard = await asyncio.gather(*waiting, return_exceptions=True)
        assert heard == [problem] * len(Rank)
        pacer.grant(0.0)
        assert (await lane.slot_ahead(Rank.DELETE, 0)).at == clock.at

    scenario(body)


def test_a_slot_that_a_pause_overtakes_is_not_used_and_another_is_taken_after_it() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        await lane.cool_down(3.0)
        assert pacer.told == [3.0]
        assert not await slot.wait()

        pacer.grant(0.5, 4.0)
        assert (await lane.permit(Rank.DELETE, 0)).at == 105.0
        assert pacer.asked == 3

    scenario(body)


def test_a_pause_that_another_process_began_is_seen_before_a_waiting_slot_is_used() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        pacer.paused = 2.0
        assert not await slot.wait()
        assert pacer.looks == 1

    scenario(body)


def test_the_pacers_word_is_asked_for_ahead_so_that_its_way_makes_no_request_late() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        pacer.look_seconds = LOOK_AHEAD_SECONDS * 0.9
        assert await slot.wait()
        assert pacer.looks == 1
        assert clock.at == pytest.approx(slot.at)

    scenario(body)


def test_the_pacers_word_is_fresh_when_the_slot_begins() -> None:
    assert 0 < LOOK_AHEAD_SECONDS < LOOK_EVERY_SECONDS

    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.0, 1.0 + LOOK_EVERY_SECONDS)
        slots = [await lane.slot_ahead(Rank.DELETE, 0) for _ in range(2)]
        for slot in slots:
            assert await slot.wait()
        # The first one's word is too old by the time at which the second begins.
        assert pacer.looks == 2

    scenario(body)


def test_a_slot_that_begins_after_the_pause_is_good() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        await lane.cool_down(1.0)
        assert await slot.wait()

    scenario(body)


def test_slots_that_are_used_at_once_cost_no_second_question() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        for _ in range(20):
            pacer.grant(0.0)
            await lane.permit(Rank.DELETE, 0)
        assert (pacer.asked, pacer.looks) == (20, 0)

    scenario(body)


def test_without_the_pacers_word_a_slot_that_waited_is_no_permit() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        pacer.paused = PacerUnavailable("gone")
        with pytest.raises(PacerUnavailable):
            await slot.wait()

    scenario(body)


def test_a_pacer_that_missed_a_pause_hears_of_it_before_it_is_asked_again() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.told = PacerUnavailable("gone")
        await lane.cool_down(30.0)
        waiting = asyncio.create_task(lane.slot(Rank.READ, 0))
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], PacerUnavailable)
        assert pacer.asked == 0

        clock.at += 10
        pacer.told = []
        pacer.grant(25.0)
        await lane.slot_ahead(Rank.DELETE, 0)
        assert pacer.told == [20.0]

    scenario(body)


def test_a_pause_that_the_pacer_misses_while_it_is_told_of_another_is_told_next() -> None:
    async def body(lane: Lane, pacer: HandPacer, _: HandClock) -> None:
        pacer.told = PacerUnavailable("gone")
        await lane.cool_down(5.0)
        told: list[float] = []

        async def cool_down(bucket: Bucket, seconds: float) -> None:
            assert bucket.key == BUCKET.key
            told.append(seconds)
            if len(told) == 1:
                await lane.cool_down(30.0)
            elif len(told) == 2:
                raise PacerUnavailable("gone again")

        pacer.cool_down = cool_down  # type: ignore[method-assign]
        pacer.grant(25.0, 35.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        # Asked again after 24.5 s: what is left of the second one by then.
        assert told == [5.0, 30.0, 5.5]
        assert not slot.overtaken

    scenario(body)


@pytest.mark.parametrize("seconds", [0.0, -3.0])
def test_a_pause_of_no_length_voids_nothing(seconds: float) -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(0.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        await lane.cool_down(seconds)
        assert await slot.wait()
        assert pacer.told == []

    scenario(body)


def test_a_slot_that_is_given_back_serves_whoever_waits() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        other = asyncio.create_task(lane.slot_ahead(Rank.DELETE, 1))
        await settle()
        slot.give_back()
        assert (await other).at == slot.at

    scenario(body)


def test_who_is_cancelled_while_his_slot_is_ahead_leaves_it_to_the_next() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(1.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        clock.awake.clear()
        waiting = asyncio.create_task(slot.wait())
        await settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (await lane.slot_ahead(Rank.DELETE, 1)).at == slot.at
        assert pacer.asked == 1

    scenario(body)


@pytest.mark.parametrize("late_seconds", [0.1, 0.06])
def test_a_slot_is_spent_a_moment_after_it_began_or_when_a_pause_began(late_seconds: float) -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(0.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        clock.at += late_seconds - 0.001
        assert not slot.spent
        clock.at += 0.01
        assert slot.spent
        pacer.grant(0.0)
        fresh = await lane.slot_ahead(Rank.DELETE, 0)
        assert not fresh.spent
        await lane.cool_down(1.0)
        assert fresh.spent

    scenario(body, bucket=replace(BUCKET, late_seconds=late_seconds))


def test_a_held_slot_that_is_too_late_for_its_bucket_is_given_to_nobody() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(0.0)
        (await lane.slot_ahead(Rank.DELETE, 0)).give_back()
        clock.at += 0.08
        pacer.grant(0.0)
        assert (await lane.slot_ahead(Rank.DELETE, 0)).at == clock.at

    scenario(body, bucket=replace(BUCKET, late_seconds=0.06))


def test_a_lane_in_front_of_a_pacer_keeps_the_rate_and_loses_nothing_of_it() -> None:
    async def run() -> None:
        clock = HandClock()
        lane = Lane(MemoryPacer(clock.monotonic), BUCKET, clock, sleep=clock.sleep)
        begun: list[float] = []

        async def work(rank: Rank, order: float) -> None:
            slot = await lane.slot(rank, order)
            await slot.wait()
            begun.append(slot.at)

        await asyncio.gather(*(work(list(Rank)[n % 3], n) for n in range(60)))
        begun.sort()
        assert all(late - early == pytest.approx(0.1, abs=1e-4) for early, late in pairwise(begun))

    asyncio.run(run())


class CountingPacer(MemoryPacer):
    """Answers a little later, and counts how many ask at a time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__(monotonic)
        self.asking, self.most_at_once = 0, 0

    async def reserve(self, bucket: Bucket) -> Reservation | Later:
        self.asking += 1
        self.most_at_once = max(self.most_at_once, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        return await super().reserve(bucket)


@pytest.mark.parametrize(("per_second", "at_once"), [(10_000, 16), (50, 5), (10, 1)])
def test_no_more_slots_are_asked_for_together_than_begin_within_the_lead(
    per_second: float, at_once: int
) -> None:
    async def run() -> None:
        clock = HandClock()
        pacer = CountingPacer(clock.monotonic)
        lane = Lane(pacer, Bucket(key="fast", per_second=per_second), clock, sleep=clock.sleep)
        slots = await asyncio.gather(*(lane.slot(list(Rank)[n % 3], n) for n in range(60)))
        assert pacer.most_at_once == at_once
        begun = sorted(slot.at for slot in slots)
        # Each slot is one waiter's alone, and the rate is kept.
        assert all(late - early >= 0.99 / per_second for early, late in pairwise(begun))

    asyncio.run(run())


class Refusing(MemoryPacer):
    """Refuses for a second every second time it is asked."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__(monotonic)
        self.asked = 0

    async def reserve(self, bucket: Bucket) -> Reservation | Later:
        self.asked += 1
        return Later(wait=1.0) if self.asked % 2 == 0 else await super().reserve(bucket)


def test_a_refusal_holds_no_slot_back_that_was_granted_beside_it() -> None:
    async def run() -> None:
        clock = HandClock()
        lane = Lane(Refusing(clock.monotonic), Bucket(key="fast", per_second=100), clock, sleep=clock.sleep)
        begun = clock.at
        slots = await asyncio.gather(*(lane.slot(Rank.READ, n) for n in range(2)))
        assert [one.at - begun < 0.1 for one in slots] == [True, False]
        assert 1.0 <= slots[1].at - begun < 1.5

    asyncio.run(run())


def test_a_slot_is_overtaken_by_a_pause_and_not_by_time() -> None:
    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        pacer.grant(0.0)
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        clock.at += 9.0
        assert not slot.overtaken
        await lane.cool_down(1.0)
        assert slot.overtaken

    scenario(body)


@pytest.mark.parametrize(("told", "begins"), [(-5.0, 0.0), (-0.2, 0.0), (-0.2 + 1.0, 0.8)])
def test_a_slot_begins_by_the_pacers_clock_but_not_before_its_answer(told: float, begins: float) -> None:
    """A process that reads every answer late could use none that had begun, and would ask for ever."""

    async def body(lane: Lane, pacer: HandPacer, clock: HandClock) -> None:
        since = clock.at - 0.2
        pacer.answers.put_nowait(Reservation(wait=told + 0.2, since=since))
        slot = await lane.slot_ahead(Rank.DELETE, 0)
        assert slot.at == pytest.approx(clock.at + begins)
        assert not slot.spent

    scenario(body)
