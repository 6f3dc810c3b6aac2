"""Retry: parked threads are live again, each with an entry; their policies decide on them anew.

Safe: nothing is deleted here. A sweep plans them like any live thread, inside the guards, and arming decides
again. What was tried before stays part of their evidence; only the count of attempts begins anew, and an
acknowledged DELETE of before no longer keeps a new one back, should the thread be there.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.audit import bodies
from worker.flows.decide import bundle_in_force, schedule_of
from worker.flows.failures import find_failure
from worker.model.clock import Clock
from worker.store import failures, log, orders, protections, threads, work
from worker.store.engine import Database

_AT_ONCE = 500


def retry(
    database: Database,
    fingerprint: str,
    *,
    reason: str,
    actor: str,
    clock: Clock,
    projects: Sequence[str] | None = None,
) -> int:
    """Take up everything that waits under a fingerprint, or else what was accepted; returns how many.

    Raises NotFound.
    """
    with database.read() as db:
        failure = find_failure(db, fingerprint, projects=projects, accepted=None)
    count, last = 0, ""
    while True:
        with database.write() as db:
            # Shared, as for a registration: a recompute that has passed must not leave these out.
            bundle = bundle_in_force(db, share=True)
            found = failures.page(
                db, failure.group, after=last, limit=_AT_ONCE, accepted=failure.accepted, lock=True
            )
            if not found:
                return count
            now = clock.now()
            failures.take_up(db, [one.thread.id for one in found], at=work.time_of_waits(db, now))
            orders.look_again(db, [one.thread.id for one in found])
            live = threads.many(db, [one.thread.id for one in found])
            bearing = protections.circumstances(db, sorted(live), with_holds=False)
            threads.reschedule(
                db,
                {
                    one.thread.id: schedule_of(one.thread, bundle=bundle, circumstances=bearing, now=now)
                    for one in live.values()
                },
            )
            told = [bodies.thread_retried(one.thread, reason=reason, at=now, actor=actor) for one in found]
            log.append(db, told)
            count, last = count + len(found), found[-1].thread.id
