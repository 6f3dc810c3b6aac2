"""Processes that start at once on a new database make one log and one first admin key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import func, select

from worker.flows.key import first_admin_key
from worker.model.clock import SystemClock
from worker.store import log, migrate
from worker.store.engine import Database
from worker.store.tables import audit_head

_AT_ONCE = 4


def test_starts_at_once_make_one_log_and_one_first_key(empty: Database) -> None:
    migrate.upgrade(empty)
    together = Barrier(_AT_ONCE)

    def start(_number: int) -> bool:
        together.wait()
        with empty.write() as db:
            log.create_head(db)
        return first_admin_key(empty, clock=SystemClock()) is not None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        made = list(pool.map(start, range(_AT_ONCE)))
    assert sum(made) == 1
    with empty.read() as db:
        assert db.execute(select(func.count()).select_from(audit_head)).scalar_one() == 1
