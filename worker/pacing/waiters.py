"""Waiters: who waits for one thing, the most urgent first."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class Rank(IntEnum):
    """What goes first: a DELETE completes what was begun, a control ends others' wait, a look can wait."""

    DELETE = 0
    CONTROL = 1
    READ = 2
    LOOK = 3


@dataclass(order=True, slots=True)
class Waiter(Generic[T]):
    """Somebody who waits; ``given`` is what they wait for."""

    rank: Rank
    order: float
    number: int
    given: asyncio.Future[T] = field(compare=False)

    async def wait(self, give_back: Callable[[T], None]) -> T:
        """Return what is given; ``give_back`` takes it from who is cancelled before he saw it."""
        try:
            return await self.given
        except asyncio.CancelledError:
            if self.given.done() and not self.given.cancelled() and self.given.exception() is None:
                give_back(self.given.result())
            raise


class Waiters(Generic[T]):
    """Belongs to one loop. They go by rank, then by the lowest ``order``, then first come.

    Who is cancelled, or was told something, waits no more.
    """

    def __init__(self) -> None:
        self._heap: list[Waiter[T]] = []
        self._numbers = count()

    def add(self, rank: Rank, order: float) -> Waiter[T]:
        """Let somebody wait."""
        waiter = Waiter[T](rank, order, next(self._numbers), asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, waiter)
        return waiter

    def first(self) -> Waiter[T] | None:
        """Return who is next."""
        while self._heap and self._heap[0].given.done():
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def give(self, what: T) -> None:
        """Give it to who is next; there must be one."""
        heapq.heappop(self._heap).given.set_result(what)

    def fail(self, problem: Exception) -> None:
        """Raise it to all who wait."""
        waiting, self._heap = self._heap, []
        for one in waiting:
            if not one.given.done():
                one.given.set_exception(problem)

    def __len__(self) -> int:
        return sum(not one.given.done() for one in self._heap)
