"""A list that is one parameter finds the same rows as a list of parameters, and by the same index."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from worker.store import protections
from worker.store.among import among
from worker.store.engine import Database
from worker.store.tables import protection

_QUERY = select(protection.c.scope).where(among(protection.c.scope, "scopes")).order_by(protection.c.scope)


@pytest.mark.parametrize(
    ("given", "found"),
    [([], []), (["b"], ["b"]), (["c", "a", "unknown", 'a "quoted" one'], ["a", 'a "quoted" one', "c"])],
)
def test_the_rows_with_one_of_the_values_are_found(
    database: Database, given: list[str], found: list[str]
) -> None:
    with database.write() as db:
        protections.ensure_rows(db, ["a", "b", "c", 'a "quoted" one'])
    with database.read() as db:
        assert sorted(db.execute(_QUERY, {"scopes": given}).scalars()) == sorted(found)


def test_sqlite_looks_into_the_index_for_each_value(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("with few rows PostgreSQL reads all of them whatever is asked")
    sql = f"EXPLAIN QUERY PLAN {_QUERY.compile(database.engine)}"
    with database.read() as db:
        plan = " ".join(row.detail for row in db.exec_driver_sql(sql, ('["a"]',)))
    assert "SEARCH protection USING" in plan
    assert "SCAN protection" not in plan
