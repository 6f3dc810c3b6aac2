"""Answer: look how erasure orders stand, record each new standing, and alert where a deadline has passed.

Every tick looks at a few orders, for a bounded time; two ticks at once are harmless. What is kept is how an
order stood when it was looked at: its receipt is always made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.flows.decide import NoBundle
from worker.flows.receipt import receipt
from worker.model.clock import Clock, rfc3339
from worker.model.errors import TenureError
from worker.model.receipt import LineStatus, OrderStatus, Receipt, ReceiptLine, counts_of, status_of
from worker.store import log, needs, orders
from worker.store.engine import Database
from worker.telemetry import log as logger
from worker.telemetry import raise_alert

OVERDUE = "overdue"
_AT_MOST = 50
_SLICE_SECONDS = 1.0
# An open order is looked at this often; one that waits for a hold or a legal rule, or that may still be read
# again, seldom: no deadline runs for it.
_OPEN_EVERY, _OTHERS_EVERY = timedelta(minutes=1), timedelta(hours=1)


def answer_orders(database: Database, *, actor: str, clock: Clock) -> int:
    """Look at the orders whose turn it is; returns how many. None is before policies are in force."""
    began, now, looked = clock.monotonic(), clock.now(), 0
    with database.read() as db:
        turn = orders.to_look_at(
            db, open_before=now - _OPEN_EVERY, others_before=now - _OTHERS_EVERY, limit=_AT_MOST
        )
    for erasure_id in turn:
        try:
            answer_order(database, erasure_id, actor=actor, clock=clock)
        except NoBundle:
            break
        except TenureError as e:
            # One order that cannot be looked at keeps no other waiting.
            logger().warning("erasure.look_failed", erasure=erasure_id, code=e.code, problem=e.problem)
        looked += 1
        if clock.monotonic() - began > _SLICE_SECONDS:
            break
    return looked


def answer_order(database: Database, erasure_id: str, *, actor: str, clock: Clock) -> None:
    """Look at one order, and write what was found unless another process looked at it meanwhile.

    Raises NoBundle before policies are in force.
    """
    now = clock.now()
    with database.read() as db:
        before = orders.get(db, erasure_id)
        if before is None:
            return
        found = receipt(db, erasure_id, now=now)
        settled = not needs.is_unsettled(db, erasure_id)
    closed = settled and found.status is not OrderStatus.OPEN
    alert = found.is_overdue(now) and OVERDUE not in before.told
    with database.write() as db:
        stands = orders.get(db, erasure_id, lock=True)
        if stands is None or stands.looked_at != before.looked_at:
            return
        look = orders.Look(
            status=found.status,
            counts={status.value: count for status, count in found.counts.items()},
            told=[*before.told, OVERDUE] if alert else before.told,
            at=now,
            closed=closed,
        )
        orders.note(db, erasure_id, look)
        if found.status not in {stands.status, OrderStatus.OPEN}:
            log.append(db, list(_entries(found, actor, now)))
    if alert:
        pending = found.counts.get(LineStatus.PENDING, 0)
        parked = found.counts.get(LineStatus.PARKED, 0)
        raise_alert(
            "erasure.overdue",
            erasure=erasure_id,
            deadline=rfc3339(found.deadline),
            pending=pending,
            parked=parked,
        )


def _entries(found: Receipt, actor: str, now: datetime) -> Iterator[Entry]:
    """Yield one entry per project, with its own threads only: an export of a project holds no others'."""
    by_project = sorted(found.lines, key=lambda one: one.project)
    if not by_project:
        yield _entry(found.id, None, (), actor, now)
    for project, lines in groupby(by_project, key=lambda one: one.project):
        yield _entry(found.id, project, tuple(lines), actor, now)


def _entry(
    erasure_id: str, project: str | None, lines: Sequence[ReceiptLine], actor: str, now: datetime
) -> Entry:
    return bodies.erasure_answered(
        id=erasure_id,
        status=status_of(lines),
        counts=counts_of(lines),
        threads=[" ".join((one.id, one.status.value, *([one.grade] if one.grade else ()))) for one in lines],
        at=now,
        actor=actor,
        project=project,
    )
