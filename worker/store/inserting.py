"""Inserting many rows at once: what the log does several times for each deletion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, Table, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session


def insert_all(db: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns, in their order.

    PostgreSQL takes them as one statement with an array for each column: as many statements as rows would be
    as many messages. SQLite is in this process, where a statement costs next to nothing.
    """
    if not rows:
        return
    names = tuple(rows[0])
    if db.get_bind().dialect.name != "postgresql":
        db.execute(insert(table), list(rows))
        return
    db.execute(_from_arrays(table, names), {f"all_{name}": [row[name] for row in rows] for name in names})


@lru_cache(maxsize=16)
def _from_arrays(table: Table, names: tuple[str, ...]) -> Insert:
    arrays = [bindparam(f"all_{name}", type_=ARRAY(table.c[name].type)) for name in names]
    given = func.unnest(*arrays).table_valued(*names).render_derived()
    return insert(table).from_select(names, select(*(given.c[name] for name in names)))
