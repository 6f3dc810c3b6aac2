"""Tools: what a worker works with, made once per process by wiring."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from worker.flows.ask import Asker
from worker.flows.control import FindSiblings, IsExpected
from worker.flows.keeping import Keeping, keeping
from worker.flows.patience import Patience
from worker.flows.pauses import Pauses
from worker.model.clock import Clock
from worker.model.thread import Thread
from worker.model.work import Lease
from worker.pacing.base import shared_rate
from worker.pacing.lane import Lane
from worker.pacing.seats import Seats
from worker.policy.document import Project
from worker.providers.base import Provider
from worker.store import protections, siblings
from worker.store.engine import Database

_MOST_SEATS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The objects that work needs.

    ``provider_for`` reads the key at each call, and raises a TenureError where there is none. What it returns
    may be used for one lease: whoever begins a batch calls it once and asks with nothing else in that batch.
    ``lanes_for`` returns the lanes of reads and writes, which all projects on one credential share. ``close``
    ends every connection, on the loop that used it. ``stopping`` says that nothing new is to be begun.
    ``drains`` is how many drains of one credential run at once, over all processes.
    ``reverify_after`` is how long after a grade the thread is read again, ``look_every`` how often a
    project's coverage is looked at (zero: never).
    """

    database: Database
    clock: Clock
    lease: Lease
    actor: str
    provider_for: Callable[[Project], Provider]
    lanes_for: Callable[[Project], tuple[Lane, Lane]]
    close: Callable[[], Coroutine[Any, Any, None]]
    stopping: Callable[[], bool] = lambda: False
    drains: int = 1
    reverify_after: timedelta = timedelta(hours=24)
    look_every: timedelta = timedelta()


def asker_of(
    tools: Tools,
    projects: Collection[Project],
    nothing_leaves_after: float,
    *,
    pauses: Pauses | None = None,
) -> Asker:
    """Return what the projects of one credential are asked with; raises KeyMissing or KeyNotAllowed.

    ``projects`` are all on that credential: they share one budget.
    """
    project = next(iter(projects))
    reads, writes = tools.lanes_for(replace(project, rate=shared_rate([one.rate for one in projects])))
    return Asker(
        provider=tools.provider_for(project),
        reads=reads,
        writes=writes,
        seats=Seats(min(_MOST_SEATS, max(one.concurrency for one in projects))),
        clock=tools.clock,
        timeout=tools.lease.request_timeout.total_seconds(),
        nothing_leaves_after=nothing_leaves_after,
        patience=Patience(tools.stopping, tools.clock),
        pauses=pauses or Pauses(),
    )


def find_siblings(tools: Tools) -> FindSiblings:
    """Return how a control finds registered live threads to read."""

    async def find(thread: Thread, exclude: Collection[str], limit: int) -> Sequence[Thread]:
        def look() -> list[Thread]:
            with tools.database.read() as db:
                return siblings.find(db, thread, exclude=exclude, limit=limit)

        return await asyncio.to_thread(look)

    return find


def find_supported(tools: Tools) -> Callable[[Sequence[Thread]], Awaitable[Sequence[bool]]]:
    """Return how a batch finds whether a thread that nobody works on could be a control."""

    async def find(of: Sequence[Thread]) -> Sequence[bool]:
        def look() -> list[bool]:
            with tools.database.read() as db:
                return [siblings.has_free(db, one) for one in of]

        return await asyncio.to_thread(look)

    return find


def is_expected(tools: Tools) -> IsExpected:
    """Return how a control tells a sibling that failed from one that a worker deletes."""

    async def look(thread: Thread) -> bool:
        def ask() -> bool:
            with tools.database.read() as db:
                return siblings.is_expected(db, thread.id)

        return await asyncio.to_thread(ask)

    return look


def find_kept(tools: Tools) -> Callable[[Thread, Sequence[str]], Awaitable[Keeping]]:
    """Return how a worker looks which chosen children are kept, before it arms anything."""

    async def find(thread: Thread, children: Sequence[str]) -> Keeping:
        def look() -> Keeping:
            with tools.database.read() as db:
                return keeping(db, thread, children, protections.active_holds(db))

        return await asyncio.to_thread(look)

    return find
