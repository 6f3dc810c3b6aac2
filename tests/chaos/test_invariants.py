"""Each invariant is one statement for both databases, and finds what it is there to find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.chaos.invariants import broken
from tests.chaos.truth import fill, make_tables
from tests.world.databases import database_url, emptied_postgres, sqlite_template
from worker.store import log
from worker.store.engine import open_database

__all__ = ["database_url", "emptied_postgres", "sqlite_template"]

Rows = Mapping[str, Sequence[Mapping[str, Any]]]

TOLD = {
    "thread_id": "thr_1",
    "external_id": "file-1",
    "kind": "file",
    "project": "chaos-main",
    "fate": "due",
    "due_at": 100.0,
    "held_at": None,
    "withdrawn_at": None,
    "ordered": 0,
}
SENT = {"n": 1, "external_id": "file-1", "child": None, "at": 200.0, "status": 200, "request_id": "req_1"}
ENTRY = {"idx": 0, "type": "thread.graded", "subject": "thr_1", "item": "itm_1", "fence": 1, "control": 1}

PLANTED: Mapping[str, Rows] = {
    "a registration that was answered is in the registry, with all that was given": {"told": [TOLD]},
    "no DELETE of a thread reached the provider without an intent of its own": {
        "told": [TOLD],
        "wire": [SENT],
    },
    "no DELETE of a child reached the provider without an intent for the children": {
        "told": [TOLD],
        "wire": [{**SENT, "child": "msg_1"}],
    },
    "no child got more DELETEs than its thread was armed for the children": {
        "told": [TOLD],
        "wire": [{**SENT, "child": "msg_1"}],
    },
    "nothing is deleted before it is due, whatever the clocks say": {
        "told": [TOLD],
        "wire": [{**SENT, "at": 99.0}],
    },
    "nothing that a rule keeps is deleted": {"told": [{**TOLD, "fate": "kept"}], "wire": [SENT]},
    "no DELETE leaves after a hold was answered": {"told": [{**TOLD, "held_at": 199.0}], "wire": [SENT]},
    "no DELETE leaves after a withdrawal was answered": {
        "told": [{**TOLD, "withdrawn_at": 199.0}],
        "wire": [SENT],
    },
    "no DELETE leaves while deletes are paused": {
        "told": [TOLD],
        "wire": [SENT],
        "pause": [{"project": "chaos-main", "begun": 199.0, "ended": 201.0}],
    },
    "what nobody registered is still there": {"bystander": [{"external_id": "file-2"}]},
    "what Tenure has no right to delete is still there": {"told": [{**TOLD, "fate": "young"}]},
    "every intent is an entry, with its fence, and every entry an intent": {
        "entry": [{**ENTRY, "type": "delete.intended", "stage": "container"}]
    },
    "a grade that rests on a 404 names its control": {
        "entry": [{**ENTRY, "grade": "confirmed", "control": 0}]
    },
    "no thread has two ends": {
        "entry": [{**ENTRY, "grade": "confirmed"}, {**ENTRY, "idx": 1, "grade": "inferred"}]
    },
    "an end was written under the fence that the item has, and the thread's grade is its entry's": {
        "entry": [{**ENTRY, "grade": "absent"}]
    },
    "every answer in the log is one that the provider gave to that very request": {
        "told": [TOLD],
        "wire": [SENT],
        "entry": [{**ENTRY, "type": "delete.answered", "stage": "container", "request_id": "req_2"}],
    },
    "an answer comes after its intent": {
        "entry": [{**ENTRY, "type": "delete.answered", "stage": "container"}]
    },
}


@pytest.fixture
def truth(database_url: str) -> Iterator[Connection]:
    """An empty database with an empty log, and the harness's tables beside it."""
    database = open_database(database_url)
    with database.write() as db:
        log.create_head(db)
    with database.engine.connect() as connection:
        make_tables(connection)
        yield connection
        connection.rollback()
    database.dispose()


def test_before_anything_happened_every_invariant_holds(truth: Connection) -> None:
    assert broken(truth) == {}


@pytest.mark.parametrize("name", PLANTED)
def test_what_breaks_an_invariant_is_found(truth: Connection, name: str) -> None:
    for table, rows in PLANTED[name].items():
        fill(truth, table, rows)
    assert name in broken(truth)
