"""Rows that are updated at once, each to values of its own, on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DBAPIError

from worker.store.engine import Database
from worker.store.tables import kept_answer, stopped_pair
from worker.store.updating import EachRow, RowsMoved

NOW = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
PAIRS = EachRow(
    table=stopped_pair,
    keys=("project", "kind"),
    where=stopped_pair.c.failures < 3,
    also={"failures": stopped_pair.c.failures + 1},
)
ANSWERS = EachRow(table=kept_answer, keys=("id",))


def _pair(project: str, kind: str, **values: object) -> dict[str, Any]:
    return {"project": project, "kind": kind, "since": NOW, "probe_at": NOW, "failures": 1, **values}


@pytest.fixture
def stopped(database: Database) -> Database:
    """Three stopped pairs, of which two share a project and two a kind."""
    with database.write() as db:
        db.execute(insert(stopped_pair), [_pair("a", "file"), _pair("a", "thread"), _pair("b", "file")])
    return database


def _pairs(db: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    rows = [dict(row) for row in db.execute(select(stopped_pair)).mappings()]
    return {(row["project"], row["kind"]): row for row in rows}


def test_each_row_goes_to_its_own_values_and_no_other_is_touched(stopped: Database) -> None:
    there = timezone(timedelta(hours=-5))
    with stopped.write() as db:
        PAIRS.update(
            db,
            [
                {"project": "b", "kind": "file", "reason": "käse, {NULL} \\ \"'", "probe_at": NOW},
                {"kind": "file", "project": "a", "probe_at": NOW.astimezone(there), "reason": None},
            ],
        )
    with stopped.read() as db:
        found = _pairs(db)
    assert [found[key]["failures"] for key in (("a", "file"), ("b", "file"), ("a", "thread"))] == [2, 2, 1]
    assert found["b", "file"]["reason"] == "käse, {NULL} \\ \"'"
    assert found["a", "file"]["reason"] is None
    assert found["a", "file"]["probe_at"] == NOW
    assert found["a", "file"]["probe_at"].tzinfo is UTC


def test_rows_that_name_unlike_columns_keep_what_they_do_not_name(stopped: Database) -> None:
    later = NOW + timedelta(days=1)
    with stopped.write() as db:
        PAIRS.update(
            db,
            [
                {"project": "a", "kind": "file", "reason": "one"},
                {"project": "a", "kind": "thread", "probe_at": later},
                {"project": "b", "kind": "file", "reason": "two"},
            ],
        )
    with stopped.read() as db:
        found = _pairs(db)
    assert [found[key]["reason"] for key in (("a", "file"), ("a", "thread"), ("b", "file"))] == [
        "one",
        None,
        "two",
    ]
    assert found["a", "thread"]["probe_at"] == later
    assert {found[key]["probe_at"] for key in (("a", "file"), ("b", "file"))} == {NOW}


@pytest.mark.parametrize(
    "missed",
    [
        {"project": "b", "kind": "thread", "reason": "not there"},
        {"project": "a", "kind": "thread", "reason": "moved on"},
        {"project": "b", "kind": "file", "reason": "given twice"},
    ],
    ids=lambda one: one["reason"],
)
def test_fewer_rows_than_were_given_undo_the_transaction(
    stopped: Database, missed: Mapping[str, Any]
) -> None:
    with stopped.write() as db:
        db.execute(text("UPDATE stopped_pair SET failures = 3 WHERE kind = 'thread'"))
        db.execute(text("UPDATE stopped_pair SET failures = 2 WHERE kind = 'file'"))
    given = [{"project": "b", "kind": "file", "reason": "there"}, missed]
    with pytest.raises(RowsMoved, match="1 of 2 rows of stopped_pair"), stopped.write() as db:
        PAIRS.update(db, given)
    with stopped.read() as db:
        assert {row["reason"] for row in _pairs(db).values()} == {None}


def test_no_rows_are_no_statement(stopped: Database) -> None:
    with stopped.write() as db:
        PAIRS.update(db, [])
        assert {row["failures"] for row in _pairs(db).values()} == {1}


@pytest.mark.parametrize("headers", [{"a": ["ä", None, {"b": 1}]}, [], [1, [2, 3]], "text", 5, None])
def test_json_bytes_and_null_are_read_back_as_one_by_one(database: Database, headers: object) -> None:
    values = {"headers": headers, "body": b"\x00{NULL}\xff", "status": 200, "lease_until": None}
    with database.write() as db:
        db.execute(insert(kept_answer), [_answer(name) for name in ("alone", "x", "y")])
        db.execute(kept_answer.update().where(kept_answer.c.id == "alone").values(**values))
        ANSWERS.update(db, [{"id": "x", **values}, {"id": "y", **values, "headers": {"other": True}}])
    with database.read() as db:
        rest = text("SELECT id, CAST(headers AS TEXT), body, status, lease_until FROM kept_answer")
        found = {row[0]: tuple(row[1:]) for row in db.execute(rest)}
        read = {row.id: row.headers for row in db.execute(select(kept_answer))}
    assert found["x"] == found["alone"]
    assert read["x"] == headers
    assert read["y"] == {"other": True}


def test_a_text_too_long_for_its_column_is_refused_and_not_cut(stopped: Database) -> None:
    """SQLite knows no such limit and keeps the whole text."""
    long = "k" * 201
    with stopped.write() as db:
        db.execute(insert(kept_answer), [_answer("x")])
    given = [{"id": "x", "claim": long}]
    if stopped.is_sqlite:
        with stopped.write() as db:
            ANSWERS.update(db, given)
            assert db.execute(select(kept_answer.c.claim)).scalar_one() == long
        return
    with pytest.raises(DBAPIError, match="too long"), stopped.write() as db:
        ANSWERS.update(db, given)


def _answer(name: str) -> dict[str, Any]:
    return {"id": name, "digest": "d", "claim": "c", "lease_until": NOW, "expires_at": NOW}
