"""COPY: what bulk registration wrote, taken out of one database and put into the same tables of another."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from worker.flows.register import MOST_AT_ONCE

# The tables that a registration writes, and the order in which COPY fills each. A trigger fills thread_tag.
_TABLES = {"thread": "id", "audit_leaf": "idx", "audit_body": "idx"}
_WRITTEN = (*_TABLES, "thread_tag")


def taken_out(url: str) -> dict[str, bytes]:
    """Return the rows of each table, whole, in the form that COPY reads."""
    made: dict[str, bytes] = {}
    with _connect(url) as connection, connection.cursor() as cursor:
        for table, key in _TABLES.items():
            wanted = sql.SQL("COPY (SELECT * FROM {} ORDER BY {}) TO STDOUT")
            with cursor.copy(wanted.format(sql.Identifier(table), sql.Identifier(key))) as copy:
                made[table] = b"".join(bytes(piece) for piece in copy)
    return made


def put_in(url: str, rows: Mapping[str, bytes]) -> float:
    """COPY the rows in, in transactions of as many threads as Tenure's; returns the seconds that took."""
    split = {table: text.splitlines(keepends=True) for table, text in rows.items()}
    most = max(len(lines) for lines in split.values())
    pieces = [
        {table: b"".join(lines[start : start + MOST_AT_ONCE]) for table, lines in split.items()}
        for start in range(0, most, MOST_AT_ONCE)
    ]
    with _connect(url) as connection, connection.cursor() as cursor:
        begun = time.perf_counter()
        for piece in pieces:
            for table, text in piece.items():
                with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                    copy.write(text)
            connection.commit()
        return time.perf_counter() - begun


def counted(url: str) -> dict[str, int]:
    """Return how many rows each table has that a registration writes."""
    with _connect(url) as connection:
        found = {}
        for table in _WRITTEN:
            row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            found[table] = int((row.fetchone() or (0,))[0])
    return found


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
