"""Planning walks what is due, not what is stored."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import event, text

from worker.model.work import SweepState
from worker.store import due, sweeps
from worker.store.due import Due, Place, Window
from worker.store.engine import Database
from worker.store.sweeps import Sweep

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def statements(database: Database) -> list[tuple[str, object]]:
    """Return each statement that planning a window runs, with its values."""
    seen: list[tuple[str, object]] = []

    def note(_: object, __: object, statement: str, values: object, *___: object) -> None:
        if "SAVEPOINT" not in statement:
            seen.append((statement, values))

    what = Due(policy="all", bundle="sha256:0", now=NOW)
    after, until = Place(at=NOW, id="thr_1"), Place(at=NOW, id="thr_9")
    with database.write() as db:
        begun = Sweep(
            id="swp_1",
            policy="all",
            slot="manual:1",
            state=SweepState.PLANNING,
            bundle="sha256:0",
            dry_run=True,
            planned=0,
            begun_at=NOW,
            ordered_by="test",
        )
        sweeps.begin(db, begun)
        event.listen(database.engine, "before_cursor_execute", note)
        due.next_window(db, what, after=after, size=10)
        due.add_lines(db, what, Window(after=after, until=until, threads=10), "swp_1")
        event.remove(database.engine, "before_cursor_execute", note)
    return seen


# Many policies, and dates of which few have come: an index without the policy would read what others own.
_MANY = """
insert into thread (id, kind, external_id, project, owner, tags, registered_at, state, provider, base_url,
    organization, provider_project, children, evaluate_at, due_policy)
select 'thr_many_' || n, 'file', 'file-' || n, 'p', 'o', '{}', timestamptz '2026-11-01 00:00:00+00', 'live',
    'x', 'y', '', '', '[]', timestamptz '2026-11-01 00:00:00+00' + n * interval '1 hour',
    case n % 50 when 0 then 'all' else 'policy-' || n % 50 end
from generate_series(1, 10000) as one(n)
"""


def test_every_statement_of_a_plan_walks_the_index_in_its_own_order(database: Database) -> None:
    if not database.is_sqlite:
        with database.write() as db:
            db.execute(text(_MANY))
            db.execute(text("analyze thread"))
    for statement, values in statements(database):
        if database.is_sqlite:
            explained = f"EXPLAIN QUERY PLAN {statement}"
        else:
            explained = f"EXPLAIN (COSTS OFF) {statement}"
        with database.engine.connect() as connection:
            if not database.is_sqlite:
                connection.execute(text("set local enable_seqscan = off"))
                connection.execute(text("set local enable_bitmapscan = off"))
            told = connection.exec_driver_sql(explained, values)  # type: ignore[arg-type]
            plan = "\n".join(str(row) for row in told)
        assert "ix_thread_due" in plan
        assert "B-TREE" not in plan
        assert "Sort" not in plan
