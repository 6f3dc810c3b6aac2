"""What is counted in the database for those who watch Tenure; each is one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, not_, select

from worker.model.decision import Hold
from worker.model.evidence import Grade
from worker.model.thread import ThreadState
from worker.store.due import is_held
from worker.store.tables import coverage, thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Live threads whose date has come and that no hold covers, and the oldest of these dates."""

    threads: int
    oldest: datetime | None


def overdue(db: Connection, *, policies: Collection[str], holds: Sequence[Hold], now: datetime) -> Overdue:
    """Count what the sweeps of these policies should have taken or are working on."""
    # A list of policies lets the index `ix_thread_due` pass over what is not due yet.
    due = (
        thread.c.state == ThreadState.LIVE,
        thread.c.due_policy.in_(sorted(policies)),
        thread.c.evaluate_at <= now,
        not_(is_held(holds)),
    )
    row = db.execute(select(func.count(), func.min(thread.c.evaluate_at)).where(*due)).one()
    return Overdue(threads=row[0], oldest=row[1])


def unverified(db: Connection) -> int:
    """Count the threads that nobody could prove gone: acknowledged, or parked as unverifiable."""
    graded = thread.c.grade.in_(
        (Grade.ACKNOWLEDGED, *(one for one in Grade if one.startswith("unverifiable")))
    )
    return db.execute(
        select(func.count())
        .select_from(thread)
        .where(thread.c.state.in_((ThreadState.ACKNOWLEDGED, ThreadState.PARKED)), graded)
    ).scalar_one()


def covered(db: Connection) -> tuple[int, int]:
    """Return how many objects were found at providers when last looked, and how many nobody registered."""
    row = db.execute(select(func.sum(coverage.c.found), func.sum(coverage.c.unregistered))).one()
    return int(row[0] or 0), int(row[1] or 0)
