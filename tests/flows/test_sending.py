"""A DELETE leaves at its slot and under a fresh arming, whatever it had to wait for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
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
from worker.pacing.base import Bucket
from worker.pacing.lane import Lane, Rank, Slot
from worker.pacing.memory import MemoryPacer
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

    async def slot(self, rank: Rank, order: float) -> Slot:
        found = await super().slot(rank, order)
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

    def __init__(self, takes: float, says: ArmVerdict | None = None, lease: float = 225) -> None:
        self.clock = Hands()
        self.lane = Watched(MemoryPacer(self.clock.monotonic), BUCKET, self.clock, sleep=self.clock.sleep)
        self.arm = Committing(self.clock, takes, says)
        self.asker = Asker(
            provider=cast("Provider", None),
            reads=self.lane,
            writes=self.lane,
            seats=asyncio.Semaphore(1),
            clock=self.clock,
            timeout=5,
            nothing_leaves_after=self.clock.at + lease,
            patience=Patience(lambda: False, self.clock),
        )
        desk = SimpleNamespace(asker=self.asker, arm=self.arm, clock=self.clock)
        self.arming = Arming(desk=cast("Desk", desk), intent=lambda: cast("Intent", None))

    async def leave(self, *, seat_is_taken_for: float = 0.0) -> bool:
        """Let a DELETE leave, behind somebody who keeps the seat that long after the slot began."""
        if seat_is_taken_for:
            await self.asker.seats.acquire()
        leaving = asyncio.create_task(self._leave())
        if seat_is_taken_for:
            while not self.asker.seats._waiters and not leaving.done():  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
            self.clock.at += seat_is_taken_for
            self.asker.seats.release()
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
