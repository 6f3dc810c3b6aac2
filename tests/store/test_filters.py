"""Every filter of a list is answered from an index, at a registry where reading all of it would show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Select, text

from worker.model.thread import Kind, ThreadState
from worker.store.engine import Database
from worker.store.listing import COUNTED, Filter, How, paged, total

MANY = 20_000
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
FILTERS = {
    "project": Filter(project="rare"),
    "projects of a key": Filter(projects=["rare"]),
    "owner": Filter(owner="rare"),
    "kind": Filter(kind=Kind.FILE),
    "state": Filter(state=ThreadState.PARKED),
    "external_id": Filter(external_id="conv_77"),
    "tag": Filter(tag=("env", "rare")),
    "due_before": Filter(due_before=datetime(2026, 1, 1, tzinfo=UTC)),
    "outcome=DUE": Filter(state=ThreadState.LIVE, evaluate_by=datetime(2026, 1, 1, tzinfo=UTC)),
    "outcome=SKIP": Filter(skipped=True),
}
# One in 2,000 is of every rare sort, so that a page over the primary key would read nearly all.
ROWS = """
insert into thread (id, kind, external_id, project, owner, tags, registered_at, state, provider, base_url,
    organization, provider_project, children, evaluate_at, due_policy)
select {id}, case when rare then 'file' else 'conversation' end, 'conv_' || n,
    case when rare then 'rare' else 'p' end, case when rare then 'rare' else 'o' end,
    {tags}, '2026-11-22 08:00:00', case when rare then 'parked' else 'live' end, 'x', 'y', '', '', '[]',
    case when n % 2000 = 1 then '2025-01-01 00:00:00' else '2027-01-01 00:00:00' end{stamp}, 'policy'
from (select n, n % 2000 = 0 as rare from {series}) as made
"""
SQLITE = {
    "id": "printf('thr_%032x', n)",
    "tags": 'case when rare then \'{"env":"rare"}\' else \'{"env":"prod"}\' end',
    "stamp": "",
    "series": "(with recursive one(n) as (select 1 union all select n + 1 from one where n < :many) "
    "select n from one)",
}
POSTGRESQL = {
    "id": "'thr_' || lpad(to_hex(n), 32, '0')",
    "tags": """case when rare then '{"env":"rare"}'::jsonb else '{"env":"prod"}'::jsonb end""",
    "stamp": "",
    "series": "generate_series(1, :many) as one(n)",
}


@pytest.fixture
def large(database: Database) -> Iterator[Connection]:
    parts = SQLITE if database.is_sqlite else POSTGRESQL
    rows = ROWS.format(**parts)
    if not database.is_sqlite:
        rows = rows.replace("'2026-11-22 08:00:00'", "timestamptz '2026-11-22 08:00:00+00'")
        rows = rows.replace("else '2027-01-01 00:00:00' end", "else timestamptz '2027-01-01' end")
        rows = rows.replace("'[]'", "'[]'::jsonb")
    with database.write() as db:
        db.execute(text(rows).bindparams(many=MANY))
        if not database.is_sqlite:
            db.execute(text("analyze thread"))
            db.execute(text("analyze thread_tag"))
    with database.read() as db:
        yield db


def explained(db: Connection, query: Select[tuple[object, ...]]) -> str:
    dialect = db.dialect
    sql = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    prefix = "explain query plan " if dialect.name == "sqlite" else "explain "
    return "\n".join(str(row) for row in db.exec_driver_sql(prefix + sql.replace("%", "%%")))


def reads_all(plan: str) -> bool:
    """Whether a plan walks the table, or its primary key without a bound."""
    lines = plan.splitlines()
    walks = any("Seq Scan on thread" in one or "SCAN thread" in one for one in lines)
    unbounded = any(
        "using pk_thread on" in one and not any("Index Cond" in two for two in lines[number : number + 2])
        for number, one in enumerate(lines)
    )
    return walks or unbounded


def test_a_filter_reads_an_index(large: Connection) -> None:
    for name, wanted in FILTERS.items():
        plan = explained(large, paged(wanted, limit=21))
        assert not reads_all(plan), (name, plan)
        assert large.execute(paged(wanted, limit=21)).first() is not None, name


def test_a_page_without_any_filter_reads_its_own_rows_only(large: Connection) -> None:
    plan = explained(large, paged(Filter(), limit=21, after="thr_00000000000000000000000000004000"))
    assert not reads_all(plan), plan


def test_the_probe_sees_a_scan(large: Connection) -> None:
    scan = paged(Filter(), limit=21).where(text("thread.ttl = 'x'"))
    assert reads_all(explained(large, scan))


def test_a_total_is_exact_while_small_and_says_so_beyond(large: Connection, database: Database) -> None:
    assert total(large, Filter(owner="rare")) == (MANY // 2000, How.EXACT)
    count, how = total(large, Filter())
    if database.is_sqlite:
        assert (count, how) == (COUNTED, How.AT_LEAST)
    else:
        assert how is How.ESTIMATE
        assert 0.8 * MANY < count < 1.2 * MANY


def test_tags_that_change_are_found_by_what_they_are_now(large: Connection) -> None:
    some = "thr_" + format(7, "032x")
    changed = text("""update thread set tags = '{"env":"moved"}' where id = :id""")
    large.execute(changed.bindparams(id=some))
    found = [row.id for row in large.execute(paged(Filter(tag=("env", "moved")), limit=5))]
    assert found == [some]
    assert some not in {row.id for row in large.execute(paged(Filter(tag=("env", "prod")), limit=MANY))}
