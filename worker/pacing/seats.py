"""Seats: how many requests of one batch are under way at most, and who may ask for a slot meanwhile.

A slot that is taken while every seat is taken, too, is late when one comes free, and has to be taken anew. So
only as many come, to ask for a slot, as will find a seat; the most urgent come first. A DELETE does not come:
it is armed when it wants a seat, most often with a slot, and takes the next one before whoever has come.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.pacing.waiters import Rank, Waiters


class Seats:
    """Belongs to one loop. Never more than ``most`` are taken."""

    def __init__(self, most: int) -> None:
        self._free = most
        # Who may ask for a slot and has no seat yet.
        self._coming = 0
        self._to_come, self._to_sit = Waiters[None](), Waiters[None]()

    async def come(self, rank: Rank, order: float) -> None:
        """Return once a seat is to be expected; `taken` must follow, or `turn_back`."""
        waiter = self._to_come.add(rank, order)
        self._seat()
        await waiter.wait(self.turn_back)

    def turn_back(self, _: None = None) -> None:
        """Let another come instead of one who will take no seat."""
        self._coming -= 1
        self._seat()

    @asynccontextmanager
    async def taken(self, rank: Rank, order: float, *, came: bool = False) -> AsyncIterator[None]:
        """Sit on a seat within it; ``came`` says that `come` went before."""
        waiter = self._to_sit.add(rank, order)
        self._coming -= came
        self._seat()
        await waiter.wait(self._stand_up)
        try:
            yield
        finally:
            self._stand_up()

    def _stand_up(self, _: None = None) -> None:
        self._free += 1
        self._seat()

    def _seat(self) -> None:
        """Give seats to those who are here, and let others come for what is left."""
        while self._free and self._to_sit.first():
            self._free -= 1
            self._to_sit.give(None)
        while self._free > self._coming and self._to_come.first():
            self._coming += 1
            self._to_come.give(None)
