"""What is remembered or left out so that a deletion costs less, and what that must not change."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import select

from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import project_pseudonym
from worker.store import log, protections
from worker.store.engine import Database
from worker.store.tables import protection

ENTRY = Entry(
    type=EntryType.SWITCH_CHANGED,
    at=datetime(2026, 11, 22, tzinfo=UTC),
    actor="worker tenure/0",
    project="demo",
    body={"enabled": False, "reason": "a test"},
)


def _append(database: Database) -> tuple[str, bytes]:
    """Append an entry; return the pseudonym in its envelope, and the database's key."""
    with database.write() as db:
        (index,) = log.append(db, [ENTRY])
    with database.read() as db:
        envelope = log.envelope_at(db, index)
        assert envelope is not None
        return json.loads(envelope)["project"], log.pseudonym_key(db)


def test_entries_bear_the_key_of_their_own_log_whatever_was_remembered(database: Database) -> None:
    told, key = _append(database)
    assert told == project_pseudonym(key, "demo")
    log._keys[database.engine] = b"\x01" * 32
    told, key = _append(database)
    assert told == project_pseudonym(key, "demo")
    assert log._keys[database.engine] == key


def test_sharing_makes_the_rows_that_are_missing(database: Database) -> None:
    with database.write() as db:
        assert set(protections.share(db, ["new", "newer"])) == {"*", "new", "newer"}
    with database.read() as db:
        assert set(db.execute(select(protection.c.scope)).scalars()) >= {"*", "new", "newer"}


def test_a_shared_row_tells_its_version_and_why_its_deletes_are_paused(database: Database) -> None:
    with database.write() as db:
        protections.take(db, ["new", "other"])
        protections.set_pause(db, "new", paused_at=ENTRY.at, by="a", reason="")
        protections.set_pause(db, "*", paused_at=None, by="a", reason="released")
    with database.write() as db:
        shared = protections.share(db, ["new", "other"])
    assert {scope: (one.version, one.paused) for scope, one in shared.items()} == {
        "*": (0, None),
        "new": (1, ""),
        "other": (1, None),
    }
