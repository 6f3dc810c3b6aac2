"""Erase: an order to delete now, expanded to the threads it covers, and its receipt.

An order covers what is registered no later than its instant. It beats business floors, never a legal one
or a hold; each thread's line of the receipt says what happened, or why not and until when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from worker.audit import bodies
from worker.flows.decide import bundle_in_force, decide_now, schedule_of
from worker.model.clock import Clock
from worker.model.decision import Decision, Erasure, Outcome
from worker.model.errors import Invalid, NotFound
from worker.model.ids import new_id
from worker.model.thread import ThreadState
from worker.store import bundles, log, protections, threads
from worker.store.engine import Database
from worker.store.threads import StoredThread

_GONE = {ThreadState.DELETED: "deleted", ThreadState.ABSENT: "absent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLine:
    """What became of one thread: deleted, absent, refused (with reason and date), parked or pending."""

    id: str
    external_id: str
    project: str
    status: str
    reason: str | None = None
    until: datetime | None = None
    grade: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An order and how each of its threads stands now."""

    id: str
    owner: str | None
    ids: tuple[str, ...]
    reason: str
    at: datetime
    ordered_at: datetime
    lines: tuple[ReceiptLine, ...]
    unknown: tuple[str, ...] = ()


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
) -> Receipt:
    """Order the deletion of an owner's, or of named, threads; ``projects`` is what the caller may see.

    Raises Invalid for neither or both of owner and ids, and for an instant that lies ahead.
    """
    now = clock.now()
    instant = at or now
    if (owner is None) == (not ids):
        problem = "An erasure names either an owner or ids."
        raise Invalid(problem, repair="Give exactly one of them.", pointer="/owner")
    if instant > now:
        problem = "An erasure cannot lie ahead: it covers what is registered at its instant."
        raise Invalid(problem, repair="Leave `at` out, or give an instant that has passed.", pointer="/at")
    erasure_id = new_id("era", now)
    order = Erasure(at=instant, owner=owner, ids=tuple(ids))
    with database.write() as db:
        # A registration shares this row until it commits: what was registered before is read below, and
        # what commits later finds this order.
        bundles.in_force(db, lock=True)
        covered = _covered(db, order, projects)
        protections.take(db, {one.thread.project for one in covered})
        protections.add_erasure(
            db,
            erasure_id=erasure_id,
            owner=owner,
            ids=ids,
            reason=reason,
            at=instant,
            ordered_at=now,
            ordered_by=actor,
            threads=[one.thread.id for one in covered],
            projects=projects,
        )
        _reschedule(db, covered, now)
        entry = bodies.erasure_ordered(
            order, id=erasure_id, reason=reason, threads=len(covered), at=now, actor=actor
        )
        log.append(db, [entry])
    with database.read() as db:
        return receipt(db, erasure_id, now=now)


def _covered(db: Session, order: Erasure, projects: Sequence[str] | None) -> list[StoredThread]:
    found = threads.of_owner(db, order.owner) if order.owner else threads.live_matching_ids(db, order.ids)
    return [
        one
        for one in found
        if one.thread.registered_at <= order.at and (projects is None or one.thread.project in projects)
    ]


def _reschedule(db: Session, covered: Sequence[StoredThread], now: datetime) -> None:
    # Shared, as in register: a date under an older bundle must not outlast the newer one's recompute.
    bundle = bundle_in_force(db, share=True)
    bearing = protections.circumstances(db, [one.thread.id for one in covered], with_holds=False)
    live = [one.thread for one in covered if one.thread.state is ThreadState.LIVE]
    threads.reschedule(
        db, {one.id: schedule_of(one, bundle=bundle, circumstances=bearing, now=now) for one in live}
    )


def receipt(db: Session, erasure_id: str, *, now: datetime) -> Receipt:
    """Return an order with the present standing of its threads; raises NotFound."""
    row = protections.get_erasure(db, erasure_id)
    if row is None:
        problem = "No erasure has this id."
        raise NotFound(problem, repair="The answer to the order names it.")
    stored = threads.many(db, protections.threads_of_erasure(db, erasure_id))
    decided = decide_now(db, [one.thread for one in stored.values()], now=now)
    named = {name for one in stored.values() for name in (one.thread.id, one.thread.external_id)}
    return Receipt(
        id=row.id,
        owner=row.owner,
        ids=tuple(row.ids),
        reason=row.reason,
        at=row.at,
        ordered_at=row.ordered_at,
        lines=tuple(_line(one, decided[one.thread.id]) for _, one in sorted(stored.items())),
        unknown=tuple(one for one in row.ids if one not in named),
    )


def _line(stored: StoredThread, decision: Decision) -> ReceiptLine:
    status, reason, until = _standing(stored, decision)
    return ReceiptLine(
        id=stored.thread.id,
        external_id=stored.thread.external_id,
        project=stored.thread.project,
        status=status,
        reason=reason,
        until=until,
        grade=stored.grade.value if stored.grade else None,
    )


def _standing(stored: StoredThread, decision: Decision) -> tuple[str, str | None, datetime | None]:
    state = stored.thread.state
    if state in _GONE:
        return _GONE[state], None, None
    if state is ThreadState.WITHDRAWN:
        return "refused", "withdrawn: registered by mistake", None
    if state is ThreadState.PARKED:
        return "parked", stored.reason, None
    if decision.outcome in {Outcome.HELD, Outcome.RETAINED, Outcome.QUARANTINED, Outcome.UNKNOWN}:
        return "refused", decision.decided_by or decision.outcome.value, decision.eligible_at
    return "pending", None, None
