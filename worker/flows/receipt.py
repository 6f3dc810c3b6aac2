"""Receipt: what became of each thread that an erasure covers, made anew whenever it is asked for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from worker.flows.decide import decide_now
from worker.model.decision import ERASURE, Decision, Outcome
from worker.model.errors import NotFound
from worker.model.receipt import LineStatus, Receipt, ReceiptLine
from worker.model.thread import ThreadState
from worker.policy.durations import parse_duration
from worker.store import orders, protections, threads
from worker.store.threads import StoredThread

# Art. 12(3) GDPR: one month of receipt of the request.
DEADLINE = parse_duration("P1M")
_GONE = {ThreadState.DELETED: LineStatus.DELETED, ThreadState.ABSENT: LineStatus.ABSENT}


def no_such_order() -> NotFound:
    """Return the one answer to whoever names an order that is not there, or that they may not see."""
    repair = "The answer to the order names it; `tenure erasures list` shows those that you may see."
    return NotFound("No erasure has this id.", repair=repair)


def receipt(db: Connection, erasure_id: str, *, now: datetime) -> Receipt:
    """Return an order with the present standing of its threads; raises NotFound."""
    found = orders.get(db, erasure_id)
    if found is None:
        raise no_such_order()
    stored = threads.many(db, protections.threads_of_erasure(db, erasure_id))
    decided = decide_now(db, [one.thread for one in stored.values()], now=now)
    named = {name for one in stored.values() for name in (one.thread.id, one.thread.external_id)}
    return Receipt(
        id=found.id,
        owner=found.erasure.owner,
        ids=found.erasure.ids,
        reason=found.reason,
        at=found.erasure.at,
        ordered_at=found.ordered_at,
        ordered_by=found.ordered_by,
        deadline=found.deadline or DEADLINE.add_to(found.erasure.at),
        lines=tuple(_line(one, decided[one.thread.id]) for _, one in sorted(stored.items())),
        unknown=tuple(one for one in found.erasure.ids if one not in named),
    )


def _line(stored: StoredThread, decision: Decision) -> ReceiptLine:
    status, reason, until = _standing(stored, decision)
    return ReceiptLine(
        id=stored.thread.id,
        external_id=stored.thread.external_id,
        kind=stored.thread.kind.value,
        project=stored.thread.project,
        status=status,
        reason=reason,
        until=until,
        grade=stored.grade.value if stored.grade else None,
        entry=(stored.evidence or {}).get("entry"),
        accepted=stored.accepted_at is not None,
    )


def _standing(stored: StoredThread, decision: Decision) -> tuple[LineStatus, str | None, datetime | None]:
    state = stored.thread.state
    if state in _GONE:
        return _GONE[state], None, None
    if state is ThreadState.WITHDRAWN:
        return LineStatus.REFUSED, "withdrawn: registered by mistake", None
    if state is ThreadState.PARKED:
        return LineStatus.PARKED, stored.reason, None
    if decision.outcome is Outcome.HELD:
        return LineStatus.HELD, decision.decided_by, None
    if decision.outcome is Outcome.RETAINED:
        return LineStatus.REFUSED, decision.decided_by, decision.eligible_at
    if decision.outcome in {Outcome.QUARANTINED, Outcome.UNKNOWN}:
        # Under an erasure only a legal rule asks for a date; where that is not known, nobody knows its end.
        rules = ", ".join(one for one in decision.rules if one != ERASURE)
        return LineStatus.REFUSED, f"{rules}: {decision.outcome.value}", None
    return LineStatus.PENDING, None, None
