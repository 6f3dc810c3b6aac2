"""The gate of one process in front of a pacer: one asks at a time, and the most urgent gets the slot.

The lane keeps a few slots in hand, never more than are wanted: those that begin soon go to reads, and a
DELETE gets one that leaves time to arm it. Taken late, slots would bunch up at the provider.
"""

from __future__ import annotations

import asyncio
import heapq
from bisect import insort
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import assert_never

from worker.model.clock import Clock
from worker.pacing.base import LATE_SECONDS, Bucket, Later, Pacer, Reservation

LEAD_SECONDS = LATE_SECONDS
"""A slot is given to a read only this long before it begins, so that a DELETE can still have it.

One that began longer ago is not used any more: late requests would bunch up."""

ARMING_SECONDS = 0.35
"""How far ahead a DELETE's slot begins where there is a choice: its group is armed and committed by then."""

AHEAD_SECONDS = 0.5
"""How far ahead slots are reserved for those who wait."""

MOST_AT_ONCE = 16
"""So many slots are asked for together at most."""

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
        # A DELETE waits for another slot than the rest, so neither stands in the other's way.
        self._deletes: list[_Waiter] = []
        self._others: list[_Waiter] = []
        self._numbers = count()
        # By the time at which they begin.
        self._held: list[Slot] = []
        self._reaches = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._pause: asyncio.Future[None] | None = None

    async def slot(self, rank: Rank, order: float) -> Slot:
        """Return a slot that lies up to two seconds ahead; whoever is cancelled takes none.

        Raises PacerUnavailable or CoolingDown, to everybody who waits at that moment.
        """
        waiter = _Waiter(rank, order, next(self._numbers), asyncio.get_running_loop().create_future())
        heapq.heappush(self._deletes if rank is Rank.DELETE else self._others, waiter)
        self._hand_over()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        elif self._pause is not None and not self._pause.done():
            self._pause.set_result(None)  # one more slot may be wanted
        try:
            return await waiter.given
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise

    async def cool_down(self, seconds: float) -> None:
        """Let nobody who uses this bucket, in any process, have a slot for that long."""
        self._held.clear()  # they lie inside the pause
        self._reaches = 0.0
        await self._pacer.cool_down(self._bucket, seconds)

    async def _ask(self) -> None:
        """Ask the pacer as long as somebody waits."""
        try:
            while self._somebody_waits():
                if self._wants_more():
                    await self._reserve_some()
                else:
                    await self._until_something_is_due()
                self._hand_over()
        except Exception as problem:  # noqa: BLE001 - whoever waits has to hear of it, whatever it is
            self._fail(problem)

    async def _reserve_some(self) -> None:
        """Ask for as many as begin within a tenth of a second, together: a question may take longer."""
        together = max(1, int(self._bucket.per_second * LEAD_SECONDS))
        count = min(MOST_AT_ONCE, together, self._wanted() - len(self._held))
        for slot in await asyncio.gather(*(self._reserve() for _ in range(count))):
            insort(self._held, slot, key=_begins)
            self._reaches = max(self._reaches, slot.at)

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
        return _first(self._deletes) is not None or _first(self._others) is not None

    def _wanted(self) -> int:
        return sum(not one.given.done() for one in (*self._deletes, *self._others))

    def _wants_more(self) -> bool:
        """Whether another slot will be used, and none was reserved far enough ahead yet."""
        self._drop_late()
        return self._left(self._reaches - AHEAD_SECONDS) <= 0 and len(self._held) < self._wanted()

    def _left(self, until: float) -> float:
        return until - self._clock.monotonic()

    def _drop_late(self) -> None:
        now = self._clock.monotonic()
        self._held = [one for one in self._held if one.at + LEAD_SECONDS >= now]

    async def _until_something_is_due(self) -> None:
        """Keep slots back as long as only reads and controls want them, or until somebody comes."""
        due = [self._held[0].at - LEAD_SECONDS] if self._held else []
        if len(self._held) < self._wanted():
            due.append(self._reaches - AHEAD_SECONDS)
        early = self._left(min(due))
        if early <= 0:
            await asyncio.sleep(0)
            return
        self._pause = asyncio.get_running_loop().create_future()
        sleeping = asyncio.ensure_future(self._sleep(early))
        try:
            await asyncio.wait({sleeping, self._pause}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            self._pause = None

    def _hand_over(self) -> None:
        """Give held slots to those who may have them now, the first first."""
        self._drop_late()
        while _first(self._deletes) and (slot := self._slot_to_arm_for()):
            self._give(self._deletes, slot)
        while _first(self._others) and (slot := self._slot_that_begins()):
            self._give(self._others, slot)

    def _give(self, waiters: list[_Waiter], slot: Slot) -> None:
        self._held.remove(slot)
        heapq.heappop(waiters).given.set_result(slot)

    def _slot_to_arm_for(self) -> Slot | None:
        now = self._clock.monotonic()
        for one in self._held:
            if one.at - now >= ARMING_SECONDS:
                return one
        # Where no later one is to come, this is the best.
        return self._held[-1] if self._held and not self._wants_more() else None

    def _slot_that_begins(self) -> Slot | None:
        begins = self._held and self._left(self._held[0].at - LEAD_SECONDS) <= 0
        return self._held[0] if begins else None

    def _give_back(self, waiter: _Waiter) -> None:
        """Keep the slot of a waiter who was cancelled after it was given and before he saw it."""
        given = waiter.given
        if not given.done() or given.cancelled() or given.exception() is not None:
            return
        insort(self._held, given.result(), key=_begins)
        self._hand_over()

    def _fail(self, problem: Exception) -> None:
        waiters = [*self._deletes, *self._others]
        self._deletes, self._others = [], []
        for waiter in waiters:
            if not waiter.given.done():
                waiter.given.set_exception(problem)


def _first(waiters: list[_Waiter]) -> _Waiter | None:
    """Return the first who still waits."""
    while waiters and waiters[0].given.done():
        heapq.heappop(waiters)
    return waiters[0] if waiters else None


def _begins(slot: Slot) -> float:
    return slot.at
