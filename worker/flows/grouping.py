"""Group many small writes into few short transactions: 25 at once, or whatever came within 250 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

MOST = 25
WINDOW = 0.25

Given = TypeVar("Given")
Told = TypeVar("Told")


class Grouper(Generic[Given, Told]):
    """Collects what coroutines submit and writes it in groups, one transaction at a time.

    ``write`` runs in a thread and answers in order; an error of it reaches every member of its group.
    """

    def __init__(
        self, write: Callable[[Sequence[Given]], Sequence[Told]], *, most: int = MOST, window: float = WINDOW
    ) -> None:
        self._write = write
        self._most = most
        self._window = window
        self._waiting: list[tuple[Given, asyncio.Future[Told]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()

    async def submit(self, given: Given) -> Told:
        """Hand one in and wait until its group is committed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Told] = loop.create_future()
        self._waiting.append((given, future))
        if len(self._waiting) >= self._most:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._window, self._flush)
        # A cancelled waiter must not cancel the group's write, which others wait for too.
        return await asyncio.shield(future)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        if group:
            task = asyncio.get_running_loop().create_task(self._commit(group))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _commit(self, group: Sequence[tuple[Given, asyncio.Future[Told]]]) -> None:
        try:
            async with self._one_at_a_time:
                told = await asyncio.to_thread(self._write, [given for given, _ in group])
        except Exception as e:  # noqa: BLE001 - each waiter raises it in its own place
            for _, future in group:
                if not future.done():
                    future.set_exception(e)
            return
        for (_, future), one in zip(group, told, strict=True):
            if not future.done():
                future.set_result(one)
