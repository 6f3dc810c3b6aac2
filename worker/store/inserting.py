"""Inserting many rows at once, as arming does for each of its groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Connection, Insert, Select, Table, insert, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import ReturningInsert

from worker.store.arrays import as_arrays, given_rows


def insert_all(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns, in their order.

    PostgreSQL takes them as one statement with an array for each column. SQLite is in this process, where a
    statement costs next to nothing.
    """
    if not rows:
        return
    if _is_sqlite(db):
        db.execute(_into(table), list(rows))
        return
    names = tuple(rows[0])
    db.execute(_from_arrays(table, names), as_arrays(names, rows))


def insert_new(db: Connection, key: Column[Any], rows: Sequence[Mapping[str, Any]]) -> set[Any]:
    """Insert rows in their order but those that a unique index refuses; returns the keys of what went in.

    A row that another transaction inserts at this moment is waited for. So whoever inserts several does it in
    one order everywhere, or two could wait for each other.
    """
    if not rows:
        return set()
    if _is_sqlite(db):
        statement = sqlite_insert(key.table).on_conflict_do_nothing().returning(key)
        return set(db.execute(statement, list(rows)).scalars())
    names = tuple(rows[0])
    return set(db.execute(_new_from_arrays(key, names), as_arrays(names, rows)).scalars())


def _is_sqlite(db: Connection) -> bool:
    return db.dialect.name == "sqlite"


@lru_cache(maxsize=16)
def _into(table: Table) -> Insert:
    return insert(table)


@lru_cache(maxsize=16)
def _from_arrays(table: Table, names: tuple[str, ...]) -> Insert:
    return insert(table).from_select(names, _given(table, names))


@lru_cache(maxsize=4)
def _new_from_arrays(key: Column[Any], names: tuple[str, ...]) -> ReturningInsert[Any]:
    table = key.table
    made = postgresql_insert(table).from_select(names, _given(table, names))
    return made.on_conflict_do_nothing().returning(key)


def _given(table: Table, names: tuple[str, ...]) -> Select[Any]:
    # PostgreSQL reads the arrays from their beginning, so the rows go in as they stand.
    given = given_rows(table, names)
    return select(*(given.c[name] for name in names))
