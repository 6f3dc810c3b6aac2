"""A batch moves the head and stands behind it in the order given, or nothing of it is written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import make_leaf
from worker.audit.merkle import Frontier
from worker.store import log
from worker.store.appending import Batch, Move, batch_of, move_and_write
from worker.store.engine import Database
from worker.store.tables import audit_body, audit_leaf

ENTRY = Entry(
    type=EntryType.SWITCH_CHANGED,
    at=datetime(2026, 11, 22, tzinfo=UTC),
    actor="worker tenure/0",
    body={"enabled": False, "reason": 'a "test", {NULL} \\ ü'},
)
ENTRIES = [
    ENTRY,
    replace(ENTRY, project="NULL"),
    replace(ENTRY, project='käse "," {}', subject="thr_1"),
    replace(ENTRY, subject="thr_2"),
]


def _batch() -> tuple[Batch, Frontier]:
    leaves = [
        make_leaf(one, entry_id=f"{n:032x}", salt=bytes(16), pseudonym_key=b"k" * 32)
        for n, one in enumerate(ENTRIES)
    ]
    return batch_of(ENTRIES, leaves), Frontier().extend(one.hash for one in leaves)


def _stored(database: Database) -> tuple[int, int, int]:
    with database.read() as db:
        leaves = db.execute(select(func.count()).select_from(audit_leaf)).scalar_one()
        bodies = db.execute(select(func.count()).select_from(audit_body)).scalar_one()
        return log.read_head(db).size, leaves, bodies


def test_rows_stand_behind_the_old_head_in_the_order_given(database: Database) -> None:
    batch, frontier = _batch()
    with database.write() as db:
        assert move_and_write(db, Move(old_size=0, frontier=frontier, news=3), batch)
    with database.read() as db:
        head = log.read_head(db)
        assert (head.size, head.news, head.frontier) == (len(ENTRIES), 3, frontier)
        assert list(log.envelopes(db, head.size)) == batch.envelopes
        rows = db.execute(select(audit_body).order_by(audit_body.c.idx)).all()
    assert [(r.idx, r.project, r.subject, r.type, bytes(r.body)) for r in rows] == [
        (n, one.project, one.subject, one.type.value, batch.bodies[n]) for n, one in enumerate(ENTRIES)
    ]


def test_nothing_is_written_where_the_head_is_elsewhere(database: Database) -> None:
    batch, frontier = _batch()
    before = _stored(database)
    for elsewhere in (1, 10**6):
        with database.write() as db:
            assert not move_and_write(db, Move(old_size=elsewhere, frontier=frontier, news=3), batch)
        assert _stored(database) == before


def test_a_head_that_moved_under_its_lock_is_refused_and_the_transaction_with_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a writer that takes no lock could move it: two entries at one index are never written."""
    before = _stored(database)
    monkeypatch.setattr(
        log,
        "move_and_write",
        lambda db, move, batch: move_and_write(db, replace(move, old_size=move.old_size + 1), batch),
    )
    with pytest.raises(log.LogRaced, match="moved away from size 0"), database.write() as db:
        log.append(db, [ENTRY])
    assert _stored(database) == before


def test_batches_one_after_the_other_give_the_tree_of_all(database: Database) -> None:
    with database.write() as db:
        assert log.append(db, []) == range(0)
        assert log.append(db, ENTRIES) == range(4)
        assert log.append(db, [ENTRY] * 300) == range(4, 304)
    with database.read() as db:
        head = log.read_head(db)
        assert log.recompute(db, head.size)[1] == head.frontier
    assert _stored(database) == (304, 304, 304)
