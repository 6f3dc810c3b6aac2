"""A database that takes nothing says why by its code, and each reason has its own repair."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg.errors
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from worker.model.errors import Unavailable
from worker.store.unwritable import Unwritable, cannot_write, unavailable


def _failure(url: str, *statements: str) -> DBAPIError:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            for one in statements:
                connection.execute(text(one))
    except DBAPIError as e:
        return e
    finally:
        engine.dispose()
    pytest.fail("nothing failed")


def test_a_full_file_is_named_with_its_repair(tmp_path: Path) -> None:
    rows = "with recursive n(x) as (select 1 union all select x + 1 from n where x < 999) select x from n"
    failed = _failure(
        f"sqlite:///{tmp_path / 'tenure.db'}",
        "pragma max_page_count = 2",
        "create table a (b)",
        f"insert into a {rows}",
    )
    told = unavailable(failed, "/data/tenure.db")
    assert isinstance(told, Unwritable)
    assert "/data/tenure.db is full" in told.problem
    assert "Make room at /data/tenure.db" in told.repair


def test_a_file_that_may_not_be_written_is_named_with_its_repair(tmp_path: Path) -> None:
    file = tmp_path / "tenure.db"
    sqlite3.connect(file).execute("create table a (b)").connection.close()
    failed = _failure(f"sqlite:///file:{file}?mode=ro&uri=true", "insert into a values (1)")
    told = unavailable(failed)
    assert isinstance(told, Unwritable)
    assert "TENURE_DATA_DIR" in told.repair


@pytest.mark.parametrize(
    ("orig", "kind", "word"),
    [
        (psycopg.errors.DiskFull("could not extend file"), OperationalError, "Make room"),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT"), InternalError, "standby"),
    ],
)
def test_a_server_that_cannot_write_is_told_by_its_state(
    orig: psycopg.Error, kind: type[DBAPIError], word: str
) -> None:
    failed = kind("insert", {}, orig)
    assert cannot_write(failed)
    assert word in unavailable(failed).repair


def test_a_server_that_is_gone_is_no_full_disk() -> None:
    failed = OperationalError("select", {}, psycopg.OperationalError("connection refused\nIs it running?"))
    told = unavailable(failed)
    assert not cannot_write(failed)
    assert (type(told), told.problem) == (Unavailable, "The database does not answer: connection refused")
