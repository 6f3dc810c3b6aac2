"""Do together what several requests wait for: while one group is under way, the next one gathers.

Nobody waits for company: whoever comes alone is done at once. A group is one transaction and one look instead
of as many as there are requests, and each request is answered when its group is done, never before.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.concurrency import run_in_threadpool

A = TypeVar("A")
R = TypeVar("R")

Outcome: TypeAlias = "R | Exception"
# Where the database itself does not answer, asking it once more for each would only keep all waiting.
_NOBODY = (OperationalError, InterfaceError, PoolExhausted)


@dataclass(slots=True)
class _Line(Generic[A, R]):
    """Who waits on one event loop, in the order in which they came."""

    waiting: list[tuple[A, Future[R]]] = field(default_factory=list)
    working: Task[None] | None = None


class Together(Generic[A, R]):
    """Does what is asked in groups of at most ``most``; ``do`` blocks, and answers each in its place.

    An Exception in a place is that request's alone. Where ``do`` raises, nothing of the group was done, and
    each of it is done anew by itself: one that cannot be done keeps nobody else from it.
    """

    def __init__(self, do: Callable[[Sequence[A]], Sequence[Outcome[R]]], *, most: int) -> None:
        self._do = do
        self._most = most
        # A server has one loop; each test client has its own.
        self._lines: WeakKeyDictionary[AbstractEventLoop, _Line[A, R]] = WeakKeyDictionary()

    async def __call__(self, asked: A) -> R:
        """Return what came of this request; raises its refusal."""
        loop = asyncio.get_running_loop()
        line = self._lines.setdefault(loop, _Line())
        future: Future[R] = loop.create_future()
        line.waiting.append((asked, future))
        if line.working is None:
            line.working = loop.create_task(self._work(line))
        return await future

    async def _work(self, line: _Line[A, R]) -> None:
        try:
            while line.waiting:
                group = line.waiting[: self._most]
                del line.waiting[: self._most]
                told = await run_in_threadpool(self._told, [asked for asked, _ in group])
                for (_, future), outcome in zip(group, told, strict=True):
                    _answer(future, outcome)
        finally:
            line.working = None

    def _told(self, group: Sequence[A]) -> Sequence[Outcome[R]]:
        try:
            return self._do(group)
        except _NOBODY as e:
            return [e] * len(group)
        except Exception as e:  # noqa: BLE001 - whoever asked gets it as it is
            return [e] if len(group) == 1 else [one for asked in group for one in self._told([asked])]


def _answer(future: Future[R], outcome: Outcome[R]) -> None:
    if future.done():
        return  # whoever asked is gone
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
