"""Note that somebody read of the log: `access.read`, which is no news and calls for no checkpoint."""

from __future__ import annotations

from worker.audit import bodies
from worker.model.clock import Clock
from worker.store import log
from worker.store.engine import Database


def note_read(
    database: Database, *, what: str, rows: int, project: str | None, actor: str, clock: Clock
) -> None:
    """Append who read what, before it is answered: an answer that cannot be recorded is not given."""
    read = bodies.access_read(what=what, rows=rows, at=clock.now(), actor=actor, project=project)
    with database.write() as db:
        log.append(db, [read])
