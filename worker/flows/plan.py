"""Plan: store which threads a sweep is about, window by window, in the order of their dates.

DANGER. What a released plan lists is deleted, unless arming spares it. The database plans at once what its
stored dates decide (`worker/store/due.py` says when they do); all other threads are decided here, in full.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import Connection

from worker.flows.decide import schedule_of
from worker.model.decision import ERASURE, Outcome
from worker.policy.document import Bundle, Mode, Policy
from worker.policy.evaluate import decide
from worker.store import due, protections, sweeps, threads
from worker.store.due import Due, Place, Window
from worker.store.sweeps import Planned, Sweep

# How many threads one transaction plans: from their dates by the database, or decided one by one.
AT_ONCE = 10_000
ONE_BY_ONE = 1000
_IDS = 10_000


def plan_window(db: Connection, one: Sweep, bundle: Bundle, *, now: datetime) -> bool:
    """Plan the next window; False when it was the last. The caller holds the sweep, and shares the bundle."""
    what = _due(db, one, bundle, now)
    after = Place(at=one.cursor_at, id=one.cursor) if one.cursor_at else None
    size = ONE_BY_ONE if what.one_by_one else AT_ONCE
    window = due.next_window(db, what, after=after, size=size)
    planned = due.add_lines(db, what, window, one.id)
    if planned < window.threads:
        planned += _decide_others(db, one, what, window, bundle)
    if window.until is None:
        return False
    sweeps.advance(db, one.id, cursor=window.until.id, cursor_at=window.until.at, planned=planned)
    return True


def _due(db: Connection, one: Sweep, bundle: Bundle, now: datetime) -> Due:
    holds = protections.active_holds(db)
    owing = [rule for rule in bundle.policies if _owes_a_notice(rule)]
    # An erasure's date never stands alone, nor does that of a rule which owes a notice itself.
    by_hand = one.policy == ERASURE or any(rule.name == one.policy for rule in owing)
    return Due(
        policy=one.policy,
        bundle=bundle.digest,
        now=now,
        holds=holds,
        owing=owing,
        one_by_one=by_hand or not due.fits_one_statement(holds),
    )


def _owes_a_notice(rule: Policy) -> bool:
    return rule.mode is Mode.ENFORCE and rule.delete is not None and rule.notify is not None


def _decide_others(db: Connection, one: Sweep, what: Due, window: Window, bundle: Bundle) -> int:
    """Decide what no date alone decides; what is not due any more gets its new date."""
    rest = [stored.thread for stored in due.undecided(db, what, window, one.id)]
    bearing = protections.circumstances(db, [thread.id for thread in rest])
    lines: list[Planned] = []
    moved = {}
    for thread in rest:
        decision = decide(thread, bundle=bundle, circumstances=bearing, now=what.now)
        if decision.outcome is Outcome.DUE and decision.swept_by == one.policy:
            lines.append(Planned(thread_id=thread.id, eligible_at=decision.eligible_at))
        elif decision.outcome is not Outcome.HELD:
            moved[thread.id] = schedule_of(thread, bundle=bundle, circumstances=bearing, now=what.now)
    threads.reschedule(db, moved)
    sweeps.add_plan(db, one.id, lines)
    return len(lines)


def digest_of(db: Connection, one: Sweep) -> tuple[str, int]:
    """Return the digest of a stored plan and how many threads it lists; only a page is in memory.

    It is the SHA-256 over policy, bundle digest and sorted thread ids, one per line. The database sorts them:
    all are of one length, lower-case hex digits behind one prefix, which every collation sorts alike.
    """
    digest = hashlib.sha256(f"{one.policy}\n{one.bundle}\n".encode())
    count, last, more = 0, "", True
    while more:
        page = sweeps.plan_lines(db, one.id, after=last, limit=_IDS)
        digest.update("".join(f"{thread_id}\n" for thread_id in page).encode())
        count, more = count + len(page), len(page) == _IDS
        last = page[-1] if page else last
    return "sha256:" + digest.hexdigest(), count
