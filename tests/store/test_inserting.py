from __future__ import annotations

from typing import Any

from sqlalchemy import select

from worker.store.engine import Database
from worker.store.inserting import insert_all
from worker.store.tables import audit_body

ROWS: list[dict[str, Any]] = [
    {"idx": 7, "project": "a,b", "subject": None, "type": 'quote " and \\', "body": b"\x00{NULL}\\"},
    {"idx": 8, "project": None, "subject": "NULL", "type": "", "body": b""},
    {"idx": 9, "project": "käse", "subject": "{}", "type": "t", "body": bytes(range(256))},
]


def test_rows_that_are_inserted_at_once_are_read_back_as_they_were(database: Database) -> None:
    with database.write() as db:
        insert_all(db, audit_body, ROWS)
    with database.read() as db:
        found = db.execute(select(audit_body).order_by(audit_body.c.idx)).mappings().all()
    assert [{**dict(one), "body": bytes(one["body"])} for one in found] == ROWS


def test_no_rows_are_no_statement(database: Database) -> None:
    with database.write() as db:
        insert_all(db, audit_body, [])
        assert db.execute(select(audit_body)).first() is None
