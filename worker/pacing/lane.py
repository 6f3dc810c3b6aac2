"""The gate of one process in front of a pacer: one asks at a time, and the most urgent gets the slot."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import assert_never

from worker.model.clock import Clock
from worker.pacing.base import LONGEST_COOLDOWN_SECONDS, Bucket, Later, Pacer, PacerUnavailable, Reservation

LEAD_SECONDS = 0.1
"""A slot is given to a read only this long before it begins, so that a DELETE can still have it.

One that began longer ago is not used any more: late requests would bunch up."""

LATE_SECONDS = 1.0
"""A request that is later than this for its slot takes another: many late ones would leave together."""

LOOK_EVERY_SECONDS = 0.05
"""How old the last word of a shared pause may be when a slot begins."""

_MOST_COURTESY_SECONDS = 0.25

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
    taken: float
    lane: Lane = field(repr=False, compare=False)

    async def wait(self) -> bool:
        """Return when the slot begins: False where a pause began since it was taken, and nothing may leave.

        Raises PacerUnavailable. Whoever is cancelled leaves the slot to the next.
        """
        try:
            return await self.lane.begin(self)
        except asyncio.CancelledError:
            self.give_back()
            raise

    @property
    def spent(self) -> bool:
        """Whether it is not used any more: it began too long ago, or a pause has begun since."""
        return self.lane.is_spent(self)

    def give_back(self) -> None:
        """Leave the slot to whoever waits, or comes before it begins."""
        self.lane.take_back(self)


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
        # Until when nothing leaves, as far as is known here, and what of it the pacer was not told yet.
        self._paused_until, self._untold_until = 0.0, 0.0
        self._looked_at = float("-inf")
        self._courtesy = min(_MOST_COURTESY_SECONDS, 0.5 / bucket.per_second)
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

    async def permit(self, rank: Rank, order: float) -> Slot:
        """Return a slot that has begun; where a pause began meanwhile, another one after it.

        Raises PacerUnavailable or CoolingDown.
        """
        while True:
            slot = await self.slot(rank, order)
            if await slot.wait():
                return slot

    async def cool_down(self, seconds: float) -> None:
        """Let nobody who uses this bucket, in any process, have a slot for that long.

        A pacer that does not answer is told before it is asked for the next slot; nothing leaves until then.
        """
        if seconds <= 0:
            return
        until = self._clock.monotonic() + min(seconds, LONGEST_COOLDOWN_SECONDS)
        self._pause(until)
        try:
            await self._pacer.cool_down(self._bucket, seconds)
        except PacerUnavailable:
            self._untold_until = max(self._untold_until, until)

    async def begin(self, slot: Slot) -> bool:
        """Wait for a slot's instant; False where it lies in a pause that was not known when it was taken."""
        while (left := slot.at - self._clock.monotonic()) > 0:
            await self._sleep(left)
        asked = self._clock.monotonic()
        if asked - max(slot.taken, self._looked_at) > LOOK_EVERY_SECONDS:
            left = await self._pacer.pause(self._bucket)
            self._looked_at = self._clock.monotonic()
            if left > 0:
                # Counted from the question, so never beyond the pause's end: slots after it stay good.
                self._pause(asked + left)
        return slot.at >= self._paused_until

    def is_spent(self, slot: Slot) -> bool:
        """Whether a slot that has begun is not used any more."""
        return self._clock.monotonic() - slot.at > LATE_SECONDS or slot.at < self._paused_until

    def take_back(self, slot: Slot) -> None:
        """Pass on a slot that is not used, if it still can be."""
        if not self._is_fresh(slot):
            return
        if self._somebody_waits():
            heapq.heappop(self._waiters).given.set_result(slot)
        elif self._held is None:
            self._held = slot

    def _pause(self, until: float) -> None:
        self._paused_until = max(self._paused_until, until)
        if self._held is not None and not self._is_fresh(self._held):
            self._held = None

    async def _ask(self) -> None:
        """Ask the pacer as long as somebody waits."""
        try:
            while self._somebody_waits():
                if not self._holds_fresh_slot():
                    self._held = await self._reserve()
                await self._let_others_come()
                self._hand_over()
        except Exception as problem:  # noqa: BLE001 - whoever waits has to hear of it, whatever it is
            self._fail(problem)

    async def _reserve(self) -> Slot:
        refused = 0
        while True:
            await self._tell()
            granted = await self._pacer.reserve(self._bucket)
            match granted:
                case Reservation(wait=wait):
                    # Counted from the answer, so never too early.
                    now = self._clock.monotonic()
                    return Slot(at=now + wait, taken=now, lane=self)
                case Later(wait=wait):
                    # Whoever was refused more often asks first, so that no process is kept out for ever.
                    # It costs nothing: what they ask for lies two seconds ahead.
                    await self._sleep(wait + self._courtesy / (1 + refused))
                    refused += 1
                case _:
                    assert_never(granted)

    async def _tell(self) -> None:
        """Tell the pacer of a pause that it could not be told of."""
        if (left := self._untold_until - self._clock.monotonic()) > 0:
            await self._pacer.cool_down(self._bucket, left)
        self._untold_until = 0.0

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
        return self._held is not None and self._is_fresh(self._held)

    def _is_fresh(self, slot: Slot) -> bool:
        return slot.at + LEAD_SECONDS >= self._clock.monotonic() and slot.at >= self._paused_until

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
        self.take_back(given.result())

    def _fail(self, problem: Exception) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.given.done():
                waiter.given.set_exception(problem)
