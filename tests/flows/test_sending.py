"""A DELETE leaves at its slot and under a fresh arming, whatever it had to wait for."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from types import SimpleNamespace
from typing import cast

import pytest

from worker.flows.arm import Armed, Intent, NotNow
from worker.flows.arm import Verdict as ArmVerdict
from worker.flows.ask import Asker
from worker.flows.desk import Desk
from worker.flows.patience import LeaseShort, Patience
from worker.flows.sending import ARMED_FOR_SECONDS, Arming
from worker.model.clock import SystemClock
from worker.model.decision import Decision
from worker.model.evidence import Class, Observation, Step
from worker.pacing.base import Bucket, CoolingDown
from worker.pacing.lane import Lane, Slot
from worker.pacing.memory import MemoryPacer
from worker.pacing.seats import Seats
from worker.pacing.waiters import Rank, Waiters
from worker.providers.base import Provider

BUCKET = Bucket(key="b", per_second=10, burst=1)


class Hands(SystemClock):
    """A clock that moves when somebody waits, and when it is moved."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


class Watched(Lane):
    """Keeps the slots that it gave out."""

    given: list[Slot]

    async def _slot(self, waiters: Waiters[Slot], rank: Rank, order: float) -> Slot:
        found = await super()._slot(waiters, rank, order)
        self.given = [*getattr(self, "given", []), found]
        return found


class Committing:
    """Arms, each time taking so long; ``says`` is what it answers after the first."""

    def __init__(self, clock: Hands, takes: float, says: ArmVerdict | None = None) -> None:
        self.clock, self.takes, self.says = clock, takes, says
        self.times: list[float] = []

    async def submit(self, _: Intent) -> ArmVerdict:
        began = self.clock.at
        self.times.append(began)
        self.clock.at += self.takes
        if self.says is not None and len(self.times) > 1:
            return self.says
        return Armed(at=began, decision=cast("Decision", None))


class Place:
    """One batch's desk with one seat."""

    def __init__(
        self, takes: float, says: ArmVerdict | None = None, lease: float = 225, *, stops: bool = False
    ) -> None:
        self.clock = Hands()
        self.lane = Watched(MemoryPacer(self.clock.monotonic), BUCKET, self.clock, sleep=self.clock.sleep)
        self.arm = Committing(self.clock, takes, says)
        self.asker = Asker(
            provider=cast("Provider", None),
            reads=self.lane,
            writes=self.lane,
            seats=Seats(1),
            clock=self.clock,
            timeout=5,
            nothing_leaves_after=self.clock.at + lease,
            patience=Patience(lambda: stops, self.clock),
        )
        desk = SimpleNamespace(asker=self.asker, arm=self.arm, clock=self.clock)
        self.arming = Arming(desk=cast("Desk", desk), intent=lambda: cast("Intent", None))

    async def leave(self, *, seat_is_taken_for: float = 0.0) -> bool:
        """Let a DELETE leave, behind somebody who keeps the seat that long after it asks for it."""
        async with AsyncExitStack() as stack:
            if seat_is_taken_for:
                await stack.enter_async_context(self.asker.seats.taken(Rank.DELETE, 0))
            leaving = asyncio.create_task(self._leave())
            if seat_is_taken_for:
                while not len(self.asker.seats._to_sit) and not leaving.done():  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0)
                self.clock.at += seat_is_taken_for
        return await leaving

    async def _leave(self) -> bool:
        async with self.arming.leaving(0) as now:
            if now:
                late = self.clock.at - self.lane.given[-1].at
                assert 0 <= late <= BUCKET.late_seconds, "it left beside its slot"
                assert self.clock.at - self.arm.times[-1] < ARMED_FOR_SECONDS, "it left under an old arming"
            return now


@pytest.mark.parametrize("takes", [0.02, 0.3, 1.5])
@pytest.mark.parametrize("waits", [0.0, 0.05, 1.0, 6.0])
def test_it_leaves_at_a_slot_and_under_a_fresh_arming(takes: float, waits: float) -> None:
    async def scenario() -> None:
        place = Place(takes)
        assert await place.leave(seat_is_taken_for=waits)
        assert len(place.arm.times) == (2 if waits > ARMED_FOR_SECONDS - takes else 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("takes", [0.02, 0.3, 1.5])
def test_where_slots_begin_at_once_it_is_armed_first_and_takes_one(takes: float) -> None:
    """Taken before, its slot would be over, and somebody else's as well where the limit is near."""

    async def scenario() -> None:
        place = Place(takes)
        assert place.lane.is_open
        assert await place.leave()
        assert len(place.lane.given) == 1
        assert place.lane.given[0].taken >= 1000.0 + takes

    asyncio.run(scenario())


@pytest.mark.parametrize("why", ["the lease is over", "the process stops", "the batch is given up"])
def test_nothing_is_armed_where_nothing_will_leave_any_more(why: str) -> None:
    """Where slots begin at once, nobody who waits for one has said so before."""

    async def scenario() -> None:
        over = why == "the lease is over"
        place = Place(0.02, lease=0 if over else 225, stops=why == "the process stops")
        if why == "the batch is given up":
            refused = Observation(step=Step.BEFORE, seen=Class.THROTTLED, at=place.clock.now(), subject="s")
            for at in range(4):
                place.asker.pauses.heard(refused, 1.0, float(at))
        assert place.lane.is_open
        with pytest.raises((LeaseShort, CoolingDown)):
            await place.leave()
        assert place.arm.times == []

    asyncio.run(scenario())


@pytest.mark.parametrize("takes", [0.02, 0.3])
def test_where_slots_are_to_be_waited_for_it_is_armed_meanwhile(takes: float) -> None:
    async def scenario() -> None:
        place = Place(takes)
        for order in range(5):
            await place.lane.slot_ahead(Rank.READ, order)
        assert not place.lane.is_open
        assert await place.leave()
        [ours] = place.lane.given[5:]
        assert ours.taken < ours.at
        # It left at its slot: arming took none of the time behind it.
        assert place.clock.at == pytest.approx(ours.at)

    asyncio.run(scenario())


def test_a_second_delete_under_a_fresh_arming_is_not_armed_again() -> None:
    async def scenario() -> None:
        place = Place(0.02)
        assert await place.leave()
        assert await place.leave()
        assert len(place.arm.times) == 1

    asyncio.run(scenario())


def test_where_deciding_again_says_no_nothing_leaves_and_it_was_armed_all_the_same() -> None:
    async def scenario() -> None:
        place = Place(0.02, says=NotNow(reason="paused"))
        assert not await place.leave(seat_is_taken_for=6.0)
        assert place.arming.verdict == NotNow(reason="paused")
        assert place.arming.was_armed

    asyncio.run(scenario())


def test_an_arming_that_always_takes_too_long_ends_with_the_lease() -> None:
    async def scenario() -> None:
        place = Place(ARMED_FOR_SECONDS, lease=60)
        with suppress(LeaseShort):
            assert not await place.leave()
        assert 55 < place.clock.at - 1000.0 <= 60 + ARMED_FOR_SECONDS

    asyncio.run(scenario())
