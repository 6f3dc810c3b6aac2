"""Erase: an order to delete now, expanded to the threads it covers.

An order covers what is registered no later than its instant. It beats business floors, never a legal one
or a hold; each thread's line of its receipt says what happened, or why not and until when.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from worker.audit import bodies
from worker.flows.answer import answer_order
from worker.flows.decide import bundle_in_force, schedule_of
from worker.flows.receipt import DEADLINE, receipt
from worker.model.clock import Clock, rfc3339
from worker.model.decision import Erasure
from worker.model.errors import Invalid
from worker.model.ids import new_id
from worker.model.receipt import Receipt
from worker.model.thread import ThreadState
from worker.policy.durations import parse_duration
from worker.store import bundles, log, orders, protections, threads
from worker.store.engine import Database
from worker.store.threads import StoredThread

# Art. 12(3) GDPR: the month may be extended by two further months.
_LONGEST = parse_duration("P3M")


def order_erasure(
    database: Database,
    *,
    owner: str | None,
    ids: Sequence[str],
    reason: str,
    at: datetime | None,
    actor: str,
    clock: Clock,
    projects: Sequence[str] | None = None,
    deadline: datetime | None = None,
) -> Receipt:
    """Order the deletion of an owner's, or of named, threads; ``projects`` is what the caller may see.

    Without a deadline of its own it has one month from its instant. Raises Invalid for neither or both of
    owner and ids, for an instant that lies ahead, and for a deadline that cannot be one.
    """
    now = clock.now()
    instant = at or now
    _check(owner, ids, instant, now)
    until = _deadline(deadline, instant, now)
    erasure_id = new_id("era", now)
    order = Erasure(at=instant, owner=owner, ids=tuple(ids))
    with database.write() as db:
        # A registration shares this row until it commits: what was registered before is read below, and
        # what commits later finds this order.
        bundles.in_force(db, lock=True)
        covered = _covered(db, order, projects)
        protections.take(db, {one.thread.project for one in covered})
        orders.add(
            db,
            order,
            erasure_id=erasure_id,
            reason=reason,
            deadline=until,
            ordered_at=now,
            ordered_by=actor,
            threads=[one.thread.id for one in covered],
            projects=projects,
        )
        _reschedule(db, covered, now)
        entry = bodies.erasure_ordered(
            order, id=erasure_id, reason=reason, threads=len(covered), deadline=until, at=now, actor=actor
        )
        log.append(db, [entry])
    # So that lists, and the log where nothing is left to do, say at once how it stands.
    answer_order(database, erasure_id, actor=actor, clock=clock)
    with database.read() as db:
        return receipt(db, erasure_id, now=now)


def _check(owner: str | None, ids: Sequence[str], instant: datetime, now: datetime) -> None:
    if (owner is None) == (not ids):
        problem = "An erasure names either an owner or ids."
        raise Invalid(problem, repair="Give exactly one of them.", pointer="/owner")
    if instant > now:
        problem = "An erasure cannot lie ahead: it covers what is registered at its instant."
        raise Invalid(problem, repair="Leave `at` out, or give an instant that has passed.", pointer="/at")


def _deadline(given: datetime | None, instant: datetime, now: datetime) -> datetime:
    """Return the order's deadline; one that lies behind is the truth of a request that came late."""
    if given is None:
        return DEADLINE.add_to(instant)
    latest = _LONGEST.add_to(now)
    if not instant <= given <= latest:
        problem = "The deadline lies before the order's instant, or more than three months ahead."
        repair = (
            f"Give one from {rfc3339(instant)} to {rfc3339(latest)}, or leave it out: then it is one month."
        )
        raise Invalid(problem, repair=repair, pointer="/deadline")
    return given


def _covered(db: Connection, order: Erasure, projects: Sequence[str] | None) -> list[StoredThread]:
    found = threads.of_owner(db, order.owner) if order.owner else threads.live_matching_ids(db, order.ids)
    return [
        one
        for one in found
        if one.thread.registered_at <= order.at and (projects is None or one.thread.project in projects)
    ]


def _reschedule(db: Connection, covered: Sequence[StoredThread], now: datetime) -> None:
    # Shared, as in register: a date under an older bundle must not outlast the newer one's recompute.
    bundle = bundle_in_force(db, share=True)
    bearing = protections.circumstances(db, [one.thread.id for one in covered], with_holds=False)
    live = [one.thread for one in covered if one.thread.state is ThreadState.LIVE]
    threads.reschedule(
        db, {one.id: schedule_of(one, bundle=bundle, circumstances=bearing, now=now) for one in live}
    )
