"""Group many small writes into few short transactions: 25 at once, or fewer where nobody more comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

MOST = 25
WINDOW = 0.25
"""No group waits longer than this before it is written."""

QUIET = 0.02
"""Who comes at all comes soon after the others: after so long without anybody a group is complete."""

# Nobody knows what was committed then, and alone it would go no better.
_SILENT = (OperationalError, InterfaceError, PoolTimeout)

Given = TypeVar("Given")
Told = TypeVar("Told")


class Grouper(Generic[Given, Told]):
    """Collects what coroutines submit and writes it in groups, one transaction at a time.

    ``write`` runs in a thread and answers in order. It raises only where nothing was committed, but for a
    database that does not answer. Where it raises, each member is written alone, so that one that cannot be
    written keeps no other back; what it raises then reaches that one. Who comes while a group is written is
    of the next one.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Given]], Sequence[Told]],
        *,
        most: int = MOST,
        window: float = WINDOW,
        quiet: float = QUIET,
    ) -> None:
        self._write = write
        self._most = most
        self._window = window
        self._quiet = quiet
        self._waiting: list[tuple[Given, asyncio.Future[Told]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, given: Given) -> Told:
        """Hand one in and wait until its group is committed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Told] = loop.create_future()
        self._waiting.append((given, future))
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._write_all())
        # A waiter that is cancelled takes only its own future with it; the group is written for the others.
        return await future

    async def _write_all(self) -> None:
        while self._waiting:
            await self._complete()
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            await self._commit(group)

    async def _complete(self) -> None:
        """Return once the group is full, nobody came for a while, or the window is over."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._window
        known = 0
        while known < len(self._waiting) < self._most and (left := ends - loop.time()) > 0:
            known = len(self._waiting)
            await asyncio.sleep(min(self._quiet, left))

    async def _commit(self, group: Sequence[tuple[Given, asyncio.Future[Told]]]) -> None:
        try:
            told = await asyncio.to_thread(self._write, [given for given, _ in group])
        except Exception as e:  # noqa: BLE001 - each waiter raises it in its own place
            if len(group) > 1 and not isinstance(e, _SILENT):
                for alone in group:
                    await self._commit([alone])
                return
            for _, future in group:
                if not future.done():
                    future.set_exception(e)
            return
        for (_, future), one in zip(group, told, strict=True):
            if not future.done():
                future.set_result(one)
