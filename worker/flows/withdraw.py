"""Withdraw: take back a registration that was a mistake. The thread is never deleted; its entries stay."""

from __future__ import annotations

from worker.audit import bodies
from worker.flows.in_flight import may_have_left, wait_for_armed
from worker.model.clock import Clock
from worker.model.errors import NotFound, TenureError
from worker.model.thread import ThreadState
from worker.model.work import Lease
from worker.store import attempts, log, protections, threads, work
from worker.store.engine import Database
from worker.store.threads import StoredThread


class InFlight(TenureError):
    """A DELETE of this thread may have left already."""

    code = "in_flight"


class NotLive(TenureError):
    """Only a live thread can be withdrawn."""

    code = "not_live"


def withdraw(
    database: Database, thread_id: str, *, reason: str, actor: str, clock: Clock, lease: Lease
) -> StoredThread:
    """Withdraw a live thread; raises NotFound, NotLive, and InFlight where its DELETE may have left."""
    with database.read() as db:
        keys = attempts.unsettled_keys(db, [thread_id])
    wait_for_armed(database, keys, clock=clock, lease=lease)
    now = clock.now()
    with database.write() as db:
        known = threads.get(db, thread_id)
        if known is None:
            problem = "No thread has this id."
            raise NotFound(problem, repair="`tenure threads list` shows them.")
        protections.take(db, [known.thread.project])
        # Read again under both rows: from here on until this commits nothing is armed and nothing settled.
        stored = threads.get(db, thread_id, lock=True)
        assert stored is not None  # noqa: S101 - threads are never removed
        armed = attempts.attempts_named(db, attempts.unsettled_keys(db, [thread_id]))
        if any(may_have_left(one) for one in armed):
            problem = "A DELETE of this thread was armed; it may be gone."
            raise InFlight(problem, repair="Look at its evidence in a moment.")
        if stored.thread.state is not ThreadState.LIVE:
            problem = f"The thread is {stored.thread.state.value}."
            raise NotLive(problem, repair="Only live threads can be withdrawn.")
        threads.set_state(db, thread_id, ThreadState.WITHDRAWN, reason=reason)
        work.cancel_open(db, thread_id, now=now, reason="withdrawn")
        log.append(db, [bodies.thread_withdrawn(stored.thread, reason=reason, at=now, actor=actor)])
        found = threads.get(db, thread_id)
    assert found is not None  # noqa: S101 - it was read in this very transaction
    return found
