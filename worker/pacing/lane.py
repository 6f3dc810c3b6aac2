"""The gate of one process in front of a pacer: one asks at a time, and the most urgent gets the slot.

The lane keeps a few slots in hand, never more than are wanted: those that begin soon go to reads, and a
DELETE gets one that leaves time to arm it. Taken late, slots would bunch up at the provider.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import assert_never

from worker.model.clock import Clock
from worker.pacing.base import (
    LONGEST_COOLDOWN_SECONDS,
    Bucket,
    Later,
    Pacer,
    PacerUnavailable,
    Reservation,
)
from worker.pacing.waiters import Rank, Waiters

LEAD_SECONDS = 0.1
"""A slot is given to a read only this long before it begins, so that a DELETE can still have it."""

ARMING_SECONDS = 0.35
"""How far ahead a DELETE's slot begins where there is a choice: its group is armed and committed by then."""

AHEAD_SECONDS = 0.5
"""How far ahead slots are reserved for those who wait."""

MOST_AT_ONCE = 16
"""So many slots are asked for together at most."""

LOOK_EVERY_SECONDS = 0.05
"""How old the last word of a shared pause may be when a slot begins."""

LOOK_AHEAD_SECONDS = 0.03
"""How long before its slot a request asks for that word, so less than what it may be old."""

_MOST_COURTESY_SECONDS = 0.25

Sleep = Callable[[float], Awaitable[None]]


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

    @property
    def overtaken(self) -> bool:
        """Whether a pause has begun since it was taken."""
        return self.lane.is_overtaken(self)

    def give_back(self) -> None:
        """Leave the slot to whoever waits, or comes before it begins."""
        self.lane.take_back(self)


class Lane:
    """Belongs to one loop. Slots go by rank, then by the lowest ``order``, then first come."""

    def __init__(self, pacer: Pacer, bucket: Bucket, clock: Clock, *, sleep: Sleep = asyncio.sleep) -> None:
        self._pacer, self._bucket, self._clock, self._sleep = pacer, bucket, clock, sleep
        # Who has to arm first waits for another slot than the rest, so neither stands in the other's way.
        self._to_arm, self._others = Waiters[Slot](), Waiters[Slot]()
        # By the time at which they begin.
        self._held: list[Slot] = []
        self._reaches = 0.0
        # Until when nothing leaves, as far as is known here, and what of it the pacer was not told yet.
        self._paused_until, self._untold_until = 0.0, 0.0
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        # When the pacer, which refused, may be asked again, and how often in a row it has refused.
        self._ask_again, self._refused = 0.0, 0
        self._courtesy = min(_MOST_COURTESY_SECONDS, 0.5 / bucket.per_second)
        self._asking: asyncio.Task[None] | None = None
        self._woken: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a slot that is taken now begins so soon that it would be over before a DELETE is armed."""
        next_at = max(self._reaches + 1 / self._bucket.per_second, self._paused_until)
        return self._left(next_at) < ARMING_SECONDS

    async def slot(self, rank: Rank, order: float) -> Slot:
        """Return the next slot, a moment before it begins; whoever is cancelled takes none.

        Raises PacerUnavailable or CoolingDown, to everybody who waits at that moment.
        """
        return await self._slot(self._others, rank, order)

    async def slot_ahead(self, rank: Rank, order: float) -> Slot:
        """Return a slot that leaves time to arm, up to two seconds ahead; else as `slot`."""
        return await self._slot(self._to_arm, rank, order)

    async def _slot(self, waiters: Waiters[Slot], rank: Rank, order: float) -> Slot:
        waiter = waiters.add(rank, order)
        self._hand_over()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        self._wake()  # one more slot may be wanted
        return await waiter.wait(self.take_back)

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
        # The question is asked ahead: its way to the pacer and back would make the request late.
        await self._sleep_until(slot.at - LOOK_AHEAD_SECONDS)
        async with self._looking:
            # Of many slots that begin together the first one looks; the others find its word fresh.
            asked = self._clock.monotonic()
            if max(asked, slot.at) - max(slot.taken, self._looked_at) > LOOK_EVERY_SECONDS:
                left = await self._pacer.pause(self._bucket)
                self._looked_at = self._clock.monotonic()
                if left > 0:
                    # Counted from the question, so never beyond the pause's end: slots after it stay good.
                    self._pause(asked + left)
        await self._sleep_until(slot.at)
        return not self.is_overtaken(slot)

    async def _sleep_until(self, at: float) -> None:
        while (left := self._left(at)) > 0:
            await self._sleep(left)

    def is_spent(self, slot: Slot) -> bool:
        """Whether a slot that has begun is not used any more: late requests would leave together."""
        return self._left(slot.at) < -self._bucket.late_seconds or self.is_overtaken(slot)

    def is_overtaken(self, slot: Slot) -> bool:
        """Whether a pause began, as far as is known here, after the slot was taken."""
        return slot.at < self._paused_until

    def take_back(self, slot: Slot) -> None:
        """Pass on a slot that is not used, if it still can be."""
        insort(self._held, slot, key=_begins)
        self._hand_over()
        self._wake()

    def _pause(self, until: float) -> None:
        self._paused_until = max(self._paused_until, until)
        self._drop_stale()
        self._reaches = self._held[-1].at if self._held else 0.0

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
        told = await asyncio.gather(*(self._reserve() for _ in range(count)))
        wait = max(told)
        if wait <= 0:
            self._refused = 0
            return
        # Whoever was refused more often asks first, so that no process is kept out for ever. It costs
        # nothing: what they ask for lies two seconds ahead.
        self._ask_again = self._clock.monotonic() + wait + self._courtesy / (1 + self._refused)
        self._refused = 0 if min(told) <= 0 else self._refused + 1

    async def _reserve(self) -> float:
        """Keep a slot, and return 0; or return after how many seconds one may be asked for."""
        await self._tell()
        granted = await self._pacer.reserve(self._bucket)
        match granted:
            case Reservation(wait=wait, since=since):
                now = self._clock.monotonic()
                # Never before the answer: a process that is so busy that it reads each one late would drop
                # every slot that began at once, and ask for ever.
                at = now + wait if since is None else max(now, since + wait)
                slot = Slot(at=at, taken=now, lane=self)
                insort(self._held, slot, key=_begins)
                self._reaches = max(self._reaches, slot.at)
                return 0
            case Later(wait=wait):
                return wait
            case _:
                assert_never(granted)

    async def _tell(self) -> None:
        """Tell the pacer of a pause that it could not be told of."""
        until = self._untold_until
        if (left := self._left(until)) > 0:
            await self._pacer.cool_down(self._bucket, left)
        # Another may have been missed meanwhile, and that one is still to be told.
        if self._untold_until == until:
            self._untold_until = 0.0

    def _somebody_waits(self) -> bool:
        return self._to_arm.first() is not None or self._others.first() is not None

    def _wanted(self) -> int:
        return len(self._to_arm) + len(self._others)

    def _wants_more(self) -> bool:
        """Whether another slot will be used, and none was reserved far enough ahead yet."""
        self._drop_stale()
        return self._left(self._asks_at()) <= 0 and len(self._held) < self._wanted()

    def _asks_at(self) -> float:
        return max(self._reaches - AHEAD_SECONDS, self._ask_again)

    def _left(self, until: float) -> float:
        return until - self._clock.monotonic()

    def _drop_stale(self) -> None:
        """Keep what is neither late nor inside a pause."""
        earliest = max(self._clock.monotonic() - self._bucket.late_seconds, self._paused_until)
        self._held = [one for one in self._held if one.at >= earliest]

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _until_something_is_due(self) -> None:
        """Keep slots back as long as only reads and controls want them, or until somebody comes."""
        due = [self._held[0].at - LEAD_SECONDS] if self._held else []
        if len(self._held) < self._wanted():
            due.append(self._asks_at())
        early = self._left(min(due))
        if early <= 0:
            await asyncio.sleep(0)
            return
        self._woken = asyncio.get_running_loop().create_future()
        sleeping = asyncio.ensure_future(self._sleep(early))
        try:
            await asyncio.wait({sleeping, self._woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            self._woken = None

    def _hand_over(self) -> None:
        """Give held slots to those who may have them now, the first first."""
        self._drop_stale()
        while self._to_arm.first() and (slot := self._slot_to_arm_for()):
            self._give(self._to_arm, slot)
        while self._others.first() and (slot := self._slot_that_begins()):
            self._give(self._others, slot)

    def _give(self, waiters: Waiters[Slot], slot: Slot) -> None:
        self._held.remove(slot)
        waiters.give(slot)

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

    def _fail(self, problem: Exception) -> None:
        self._to_arm.fail(problem)
        self._others.fail(problem)


def _begins(slot: Slot) -> float:
    return slot.at
