"""Transactions on both databases: what a block has from its beginning, and what stays of it at its end."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from worker.store.engine import Database
from worker.store.tables import protection

_STANDS = {"*"}  # what the fixture made


class Broken(Exception):
    """An error that no database knows."""


def _put(db: Connection, *scopes: str, end: Exception | None = None) -> None:
    for one in scopes:
        db.execute(insert(protection).values(scope=one, version=0))
    if end is not None:
        raise end


def _read(db: Connection) -> set[str]:
    return set(db.execute(select(protection.c.scope)).scalars())


def _kept(database: Database) -> set[str]:
    with database.read() as db:
        return _read(db)


def test_a_write_has_sqlites_lock_before_its_first_line_and_readers_look_beside_it(
    database: Database,
) -> None:
    if not database.is_sqlite:
        pytest.skip("PostgreSQL locks rows, each where it is taken")
    with closing(sqlite3.connect(database.place, timeout=0, isolation_level=None)) as other:
        with database.write() as db:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            before = _read(db)
            _put(db, "new")
            assert _kept(database) == before == _STANDS
        other.execute("BEGIN IMMEDIATE")
    assert _kept(database) == {*_STANDS, "new"}


def test_an_error_undoes_the_whole_block_and_comes_out_as_it_was_raised(database: Database) -> None:
    broken = Broken()
    with pytest.raises(Broken) as raised, database.write() as db:
        _put(db, "first", "second", end=broken)
    assert raised.value is broken
    assert _kept(database) == _STANDS


def test_a_statement_that_fails_undoes_the_whole_block(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as db:
        _put(db, "first", "second", "first")
    assert _kept(database) == _STANDS
    with database.write() as db:
        _put(db, "first")
    assert _kept(database) == {*_STANDS, "first"}


def test_a_savepoint_that_fails_undoes_itself_alone(database: Database) -> None:
    with database.write() as db:
        _put(db, "first")
        with suppress(IntegrityError), db.begin_nested():
            _put(db, "second", "first")
        _put(db, "third")
    assert _kept(database) == {*_STANDS, "first", "third"}


def test_a_block_that_takes_all_back_ends_as_any_other(database: Database) -> None:
    with database.write() as db:
        _put(db, "new")
        db.rollback()
    assert _kept(database) == _STANDS


def test_nothing_that_is_written_through_the_readers_door_stays(database: Database) -> None:
    with database.read() as db:
        _put(db, "new")
    assert _kept(database) == _STANDS


def test_a_snapshot_sees_one_instant(database: Database) -> None:
    with database.snapshot() as db:
        assert _read(db) == _STANDS
        with database.write() as other:
            _put(other, "new")
        assert _read(db) == _STANDS
    assert _kept(database) == {*_STANDS, "new"}


def test_a_connection_that_served_a_snapshot_writes_afterwards(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has no such setting of a connection")
    settings = text(
        "SELECT pg_backend_pid(), current_setting('transaction_isolation'),"
        " current_setting('transaction_read_only')"
    )
    with database.snapshot() as db:
        process, *told = db.execute(settings).one()
        assert told == ["repeatable read", "on"]
    with database.write() as db:
        assert tuple(db.execute(settings).one()) == (process, "read committed", "off")
        _put(db, "new")
    assert _kept(database) == {*_STANDS, "new"}
