"""The gate of one process in front of a pacer: the most urgent gets the slot.

One asks at a time, or as many as slots begin within a tenth of a second.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import assert_never

from worker.model.clock import Clock
from worker.pacing.base import Bucket, Later, Pacer, Reservation

LEAD_SECONDS = 0.1
"""A slot is given to a read only this long before it begins, so that a DELETE can still have it.

One that began longer ago is not used any more: late requests would bunch up."""

MOST_AT_ONCE = 16
"""So many slots are asked for together where they begin at once: a question takes longer than they do."""

Sleep = Callable[[float], Awaitable[None]]


class Rank(IntEnum):
    """What goes first: a DELETE completes what was begun, a control ends others' wait, a look can wait."""

    DELETE = 0
    CONTROL = 1
    READ = 2
    LOOK = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The right to send one request at ``at`` (seconds of the lane's monotonic clock) or soon after."""

    at: float
    clock: Clock = field(repr=False)
    sleep: Sleep = field(repr=False, default=asyncio.sleep)

    async def wait(self) -> None:
        """Return when the slot begins."""
        while (left := self.at - self.clock.monotonic()) > 0:
            await self.sleep(left)


@dataclass(order=True, slots=True)
class _Waiter:
    rank: Rank
    order: float
    number: int
    given: asyncio.Future[Slot] = field(compare=False)


class Lane:
    """Belongs to one loop. Slots go by rank, then by the lowest ``order``, then first come."""

    def __init__(self, pacer: Pacer, bucket: Bucket, clock: Clock, *, sleep: Sleep = asyncio.sleep) -> None:
        self._pacer, self._bucket, self._clock, self._sleep = pacer, bucket, clock, sleep
        self._waiters: list[_Waiter] = []
        self._numbers = count()
        self._held: Slot | None = None
        # Whether the newest slot began about when it was asked for.
        self._flows = False
        self._asking: asyncio.Task[None] | None = None

    async def slot(self, rank: Rank, order: float) -> Slot:
        """Return a slot that lies up to two seconds ahead; whoever is cancelled takes none.

        Raises PacerUnavailable or CoolingDown, to everybody who waits at that moment.
        """
        waiter = _Waiter(rank, order, next(self._numbers), asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiters, waiter)
        if rank is Rank.DELETE:
            self._hand_over()  # the slot that is held for a read
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            return await waiter.given
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise

    async def cool_down(self, seconds: float) -> None:
        """Let nobody who uses this bucket, in any process, have a slot for that long."""
        self._held = None  # it lies inside the pause
        await self._pacer.cool_down(self._bucket, seconds)

    async def _ask(self) -> None:
        """Ask the pacer as long as somebody waits."""
        try:
            while self._somebody_waits():
                if not self._holds_fresh_slot():
                    self._held = await self._reserve_some()
                await self._let_others_come()
                self._hand_over()
        except Exception as problem:  # noqa: BLE001 - whoever waits has to hear of it, whatever it is
            self._fail(problem)

    async def _reserve_some(self) -> Slot:
        """Return the last of the slots that were asked for together, the others being handed over.

        Safe: they are no more than begin within the time for which a read is given one, so none of them
        could have been kept for a DELETE.
        """
        together = int(self._bucket.per_second * LEAD_SECONDS) if self._flows else 1
        count = min(MOST_AT_ONCE, together, len(self._waiters))
        first = [await self._reserve()] if count <= 1 else await self._reserve_together(count)
        last = first.pop()
        self._flows = last.at - self._clock.monotonic() <= LEAD_SECONDS
        for self._held in first:
            self._hand_over()
        return last

    async def _reserve_together(self, count: int) -> list[Slot]:
        slots = await asyncio.gather(*(self._reserve() for _ in range(count)))
        return sorted(slots, key=lambda one: one.at)

    async def _reserve(self) -> Slot:
        while True:
            granted = await self._pacer.reserve(self._bucket)
            match granted:
                case Reservation(wait=wait):
                    # Counted from the answer, so never too early.
                    return Slot(at=self._clock.monotonic() + wait, clock=self._clock, sleep=self._sleep)
                case Later(wait=wait):
                    await self._sleep(wait)
                case _:
                    assert_never(granted)

    def _somebody_waits(self) -> bool:
        while self._waiters and self._waiters[0].given.done():
            heapq.heappop(self._waiters)
        return bool(self._waiters)

    async def _let_others_come(self) -> None:
        """Keep the slot back as long as only reads and controls want it."""
        if self._held is not None and self._somebody_waits() and self._waiters[0].rank is not Rank.DELETE:
            early = self._held.at - LEAD_SECONDS - self._clock.monotonic()
            if early > 0:
                await self._sleep(early)

    def _holds_fresh_slot(self) -> bool:
        return self._held is not None and self._held.at + LEAD_SECONDS >= self._clock.monotonic()

    def _hand_over(self) -> None:
        """Give the held slot, if there is one, to the first who still waits."""
        if self._held is not None and self._holds_fresh_slot() and self._somebody_waits():
            heapq.heappop(self._waiters).given.set_result(self._held)
            self._held = None

    def _give_back(self, waiter: _Waiter) -> None:
        """Pass on the slot of a waiter who was cancelled after it was given and before he saw it."""
        given = waiter.given
        if not given.done() or given.cancelled() or given.exception() is not None:
            return
        if self._somebody_waits():
            heapq.heappop(self._waiters).given.set_result(given.result())
        elif self._held is None:
            self._held = given.result()

    def _fail(self, problem: Exception) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.given.done():
                waiter.given.set_exception(problem)
