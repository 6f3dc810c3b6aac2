"""A batch stands behind the head in the order given and moves it, or nothing of it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import func, select

from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import make_leaf, subject_pseudonym
from worker.audit.merkle import Frontier
from worker.store import log
from worker.store.appending import Batch, Move, Taken, batch_of, move_head, write_behind_head
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


def _batch(key: bytes) -> tuple[Batch, Frontier]:
    leaves = [
        make_leaf(one, entry_id=f"{n:032x}", salt=bytes(16), pseudonym_key=key)
        for n, one in enumerate(ENTRIES)
    ]
    return batch_of(ENTRIES, leaves), Frontier().extend(one.hash for one in leaves)


def _key(database: Database) -> bytes:
    with database.read() as db:
        return log.pseudonym_key(db)


def _stored(database: Database) -> tuple[int, int, int]:
    with database.read() as db:
        leaves = db.execute(select(func.count()).select_from(audit_leaf)).scalar_one()
        bodies = db.execute(select(func.count()).select_from(audit_body)).scalar_one()
        return log.read_head(db).size, leaves, bodies


def test_rows_stand_behind_the_head_in_the_order_given(database: Database) -> None:
    key = _key(database)
    batch, frontier = _batch(key)
    with database.write() as db:
        taken = write_behind_head(db, batch, key)
        assert (taken.size, taken.news, taken.frontier, taken.key) == (0, 0, Frontier(), key)
        assert taken.written == len(ENTRIES)
        assert move_head(db, Move(old_size=0, frontier=frontier, news=3))
    with database.read() as db:
        head = log.read_head(db)
        assert (head.size, head.news, head.frontier) == (len(ENTRIES), 3, frontier)
        assert list(log.envelopes(db, head.size)) == batch.envelopes
        rows = db.execute(select(audit_body).order_by(audit_body.c.idx)).all()
    assert [(r.idx, r.project, r.subject, r.type, bytes(r.body)) for r in rows] == [
        (n, one.project, one.subject, one.type.value, batch.bodies[n]) for n, one in enumerate(ENTRIES)
    ]


def test_nothing_is_written_with_the_pseudonyms_of_another_key(database: Database) -> None:
    """Who took the head learns the key that is right, and holds the head meanwhile."""
    right, wrong = _key(database), b"k" * 32
    with database.write() as db:
        taken = write_behind_head(db, _batch(wrong)[0], wrong)
        assert (taken.key, taken.written) == (right, 0)
    assert _stored(database) == (0, 0, 0)


def test_entries_made_with_another_key_are_made_anew_under_the_head(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = _key(database)
    monkeypatch.setattr(log, "pseudonym_key", lambda _: b"k" * 32)
    with database.write() as db:
        assert log.append(db, ENTRIES) == range(4)
    with database.read() as db:
        (first, *_) = [json.loads(one) for one in log.envelopes(db, 4) if b'"subject":"' in one]
        assert first["subject"] == subject_pseudonym(right, "thr_1")
        assert log.recompute(db, 4)[1] == log.read_head(db).frontier
    assert _stored(database) == (4, 4, 4)


def test_a_head_that_is_elsewhere_does_not_move(database: Database) -> None:
    _, frontier = _batch(_key(database))
    for elsewhere in (1, 10**6):
        with database.write() as db:
            assert not move_head(db, Move(old_size=elsewhere, frontier=frontier, news=3))
    assert _stored(database) == (0, 0, 0)


@pytest.mark.parametrize("wrong", [partial(replace, size=1), partial(replace, written=0)])
def test_a_head_that_moved_under_its_lock_is_refused_and_the_transaction_with_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Taken], Taken]
) -> None:
    """Only a writer that takes no lock could move it: two entries at one index are never written."""
    before = _stored(database)
    monkeypatch.setattr(
        log,
        "write_behind_head",
        lambda db, batch, key: wrong(write_behind_head(db, batch, key)),
    )
    with pytest.raises(log.LogRaced, match="moved away from size"), database.write() as db:
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
