"""Rest: a credential that may not be asked for a while is left alone, by all processes and without a place.

Its items keep their instants; nothing of it is claimed before the rest is over, and then work goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from worker.flows.pauses import Pauses
from worker.flows.tools import Tools
from worker.flows.verdict import backoff
from worker.model.clock import Clock
from worker.model.ids import jitter
from worker.model.work import Lease
from worker.store import rests
from worker.store.engine import Database
from worker.telemetry import log


@contextmanager
def place_of(database: Database, credential: str, *, most: int, lease: Lease, clock: Clock) -> Iterator[bool]:
    """Take one of the credential's places, which all processes share; False where they are taken.

    A place ends with the lease, should its holder die; then somebody else may drain besides, which is safe.
    """
    with database.write() as db:
        place = rests.enter(db, credential, most=most, length=lease.length, now=clock.now())
    try:
        yield place is not None
    finally:
        if place is not None:
            with database.write() as db:
                rests.leave(db, place)


def is_left_alone(tools: Tools, credential: str) -> bool:
    """Whether the credential rests; it blocks, so a loop calls it in a thread."""
    with tools.database.read() as db:
        return rests.is_resting(db, credential, tools.clock.now())


def pauses(rounds: int) -> Pauses:
    """Return how a batch hears of pauses, a batch after so many rounds of nothing but refusals."""
    return Pauses(rest_seconds=backoff(rounds, jitter()).total_seconds())


async def keep_rest(tools: Tools, credential: str, heard: Pauses, *, rounds: int) -> None:
    """Keep how long the credential is left alone after what was heard, or that it answers again."""
    if heard.left > 0:
        again = rounds + 1 if heard.over else 0 if heard.answered else rounds
        await asyncio.to_thread(_rest, tools, credential, heard.left, again)
        log().info("credential.rested", credential=credential, seconds=round(heard.left), rounds=again)
    elif rounds and heard.answered:
        await asyncio.to_thread(_forget, tools, credential)


def _rest(tools: Tools, credential: str, seconds: float, rounds: int) -> None:
    with tools.database.write() as db:
        rests.rest(db, credential, seconds=seconds, rounds=rounds, now=tools.clock.now())


def _forget(tools: Tools, credential: str) -> None:
    with tools.database.write() as db:
        rests.forget(db, credential, tools.clock.now())
