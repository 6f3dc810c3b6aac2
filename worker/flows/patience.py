"""Patience: how long a batch waits for permits once its process is told to stop.

What has not begun ends its wait at once and goes back, so that another worker claims it now and not when
the lease runs out. What follows a DELETE that left (re-read, control) may still be sent for a few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from worker.model.clock import Clock
from worker.model.errors import TenureError
from worker.pacing.waiters import Rank

FINISH_SECONDS = 3.0
"""How long after the stop a request may leave that completes what was begun.

With a request's longest time (20 s) it stays inside the 25 s that a worker is given to stop."""

_LOOK_EVERY = 0.1


class LeaseShort(TenureError):
    """Too little time is left to send anything: of the lease, or of the process."""

    code = "lease_short"


def time_short() -> LeaseShort:
    """Return what says that there is none."""
    return LeaseShort("The lease is nearly over, or the process stops.", repair="The item is claimed again.")


class Patience:
    """Belongs to one batch and its loop."""

    def __init__(self, stopping: Callable[[], bool], clock: Clock) -> None:
        self._stopping, self._clock = stopping, clock
        self._waits: dict[asyncio.Timeout, Rank] = {}
        self._stopped_at: float | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether the process is told to stop: then nothing new leaves."""
        return self._stopping()

    def is_over(self, rank: Rank) -> bool:
        """Whether a request of this rank may no longer leave."""
        if not self._stopping():
            return False
        return self._clock.monotonic() >= self._note_stop() + self._seconds(rank)

    @asynccontextmanager
    async def bound(self, rank: Rank, seconds: float) -> AsyncIterator[None]:
        """Wait in it no longer than that, and no longer than the process does; raises LeaseShort."""
        bound = asyncio.timeout(seconds)
        try:
            async with bound:
                self._waits[bound] = rank
                if self._stopping():
                    self._shorten(bound, rank)
                yield
        except TimeoutError:
            if not bound.expired():
                raise
            raise time_short() from None
        finally:
            self._waits.pop(bound, None)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look for the stop while the block runs, and shorten every wait when it comes."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        while not self._stopping():  # noqa: ASYNC110 - a signal, another thread or process says so
            await asyncio.sleep(_LOOK_EVERY)
        for bound, rank in list(self._waits.items()):
            self._shorten(bound, rank)

    def _shorten(self, bound: asyncio.Timeout, rank: Rank) -> None:
        ends = bound.when()
        if bound.expired() or ends is None:
            return  # it ends already, and a bound that does takes no new time
        left = self._note_stop() + self._seconds(rank) - self._clock.monotonic()
        bound.reschedule(min(ends, asyncio.get_running_loop().time() + max(0.0, left)))

    def _note_stop(self) -> float:
        if self._stopped_at is None:
            self._stopped_at = self._clock.monotonic()
        return self._stopped_at

    @staticmethod
    def _seconds(rank: Rank) -> float:
        # A control, and a re-read, which has its rank, completes a DELETE; nothing else does.
        return FINISH_SECONDS if rank is Rank.CONTROL else 0.0
