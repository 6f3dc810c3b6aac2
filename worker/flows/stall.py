"""Stall: work that could be claimed for a while, and that nobody claims."""

from __future__ import annotations

from datetime import timedelta

from worker.flows.claim import LAST_CLAIM
from worker.model.clock import Clock
from worker.store import keys, work
from worker.store.engine import Database


def stalled_for(database: Database, clock: Clock) -> timedelta | None:
    """Return how long ready work has been waiting without any claim by anybody, None where none waits.

    What is paused, stopped or not yet due is not waiting.
    """
    with database.read() as db:
        claimed = keys.read_fact(db, LAST_CLAIM)
        return work.waited(db, clock.now(), claimed_at=claimed[1] if claimed else None)
