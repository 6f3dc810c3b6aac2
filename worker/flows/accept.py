"""Accept: a person takes note of why threads are parked. They stay parked, and their ids are kept."""

from __future__ import annotations

from collections.abc import Sequence

from worker.audit import bodies
from worker.flows.failures import find_failure
from worker.model.clock import Clock
from worker.store import failures, log
from worker.store.engine import Database

_AT_ONCE = 500


def accept(
    database: Database,
    fingerprint: str,
    *,
    reason: str,
    actor: str,
    clock: Clock,
    projects: Sequence[str] | None = None,
) -> int:
    """Accept everything that is parked under a fingerprint; returns how many. Raises NotFound."""
    with database.read() as db:
        group = find_failure(db, fingerprint, projects=projects).group
    count, last = 0, ""
    while True:
        with database.write() as db:
            found = failures.page(db, group, after=last, limit=_AT_ONCE, lock=True)
            if not found:
                return count
            now = clock.now()
            failures.accept(db, [one.thread.id for one in found], at=now)
            told = [bodies.thread_accepted(one.thread, reason=reason, at=now, actor=actor) for one in found]
            log.append(db, told)
            count, last = count + len(found), found[-1].thread.id
