"""Stopped pairs: a project and kind of which nothing is deleted until a control holds again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from worker.store.engine import changed
from worker.store.tables import stopped_pair

LONGEST_STOP = timedelta(hours=1)
"""So long a pair waits for its next probe at most."""


def stop_pair(
    db: Connection, *, project: str, kind: str, probe_at: datetime, now: datetime, reason: str
) -> bool:
    """Stop deleting one kind of one project; True when it was not stopped before (alert once)."""
    values = {"probe_at": probe_at, "failures": stopped_pair.c.failures + 1, "reason": reason}
    where = (stopped_pair.c.project == project, stopped_pair.c.kind == kind)
    if changed(db, update(stopped_pair).where(*where).values(values)):
        return False
    db.execute(
        insert(stopped_pair).values(
            project=project, kind=kind, since=now, probe_at=probe_at, failures=1, reason=reason
        )
    )
    return True


def mend(db: Connection, now: datetime) -> None:
    """Let no probe be later than the longest wait for one: it was dated by a clock that was ahead."""
    latest = now + LONGEST_STOP
    db.execute(update(stopped_pair).where(stopped_pair.c.probe_at > latest).values(probe_at=latest))


def stopped_pairs(db: Connection) -> dict[tuple[str, str], int]:
    """Return the stopped pairs with how often their control failed."""
    rows = db.execute(select(stopped_pair.c.project, stopped_pair.c.kind, stopped_pair.c.failures))
    return {(row.project, row.kind): row.failures for row in rows}


def restart_pair(db: Connection, *, project: str, kind: str) -> None:
    """Let a pair go on: a registered thread of it was read present again."""
    db.execute(stopped_pair.delete().where(stopped_pair.c.project == project, stopped_pair.c.kind == kind))
