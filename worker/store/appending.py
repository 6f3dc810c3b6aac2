"""Writing rows behind the log's head and moving it, which is what every other writer waits for.

All that does not hang on the head is made ready before it is taken. PostgreSQL gets the rows in the statement
that takes the head: so they are at the server, read and planned, while it waits for its turn, and go in the
moment it has it. SQLite is in this process, where a statement costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, text, update

from worker.audit.entry import Entry
from worker.audit.envelope import Leaf
from worker.audit.merkle import Frontier
from worker.store.tables import audit_body, audit_head, audit_leaf

# The rows take their places in the order given, behind the head as it stands once it is locked. Lists that
# are unnested side by side in a SELECT are kept nowhere in between, and so cost a third less than as a table.
_POSTGRES = text("""
WITH head AS (
    SELECT size, news, frontier, pseudonym_key FROM audit_head WHERE id = 1 FOR UPDATE
), ours AS (
    SELECT size FROM head WHERE pseudonym_key = :key
), leaves AS (
    INSERT INTO audit_leaf (idx, envelope)
    SELECT generate_series(size, size + :count - 1), unnest(CAST(:envelopes AS bytea[])) FROM ours
), bodies AS (
    INSERT INTO audit_body (idx, project, subject, type, body)
    SELECT generate_series(size, size + :count - 1), unnest(CAST(:projects AS text[])),
        unnest(CAST(:subjects AS text[])), unnest(CAST(:types AS text[])), unnest(CAST(:bodies AS bytea[]))
    FROM ours
    RETURNING 1
)
SELECT size, news, frontier, pseudonym_key, (SELECT count(*) FROM bodies) FROM head
""")
_HEAD = select(audit_head.c.size, audit_head.c.news, audit_head.c.frontier, audit_head.c.pseudonym_key)
# Made once: to put it together takes three times as long as to run it, while every other writer waits.
_MOVE = (
    update(audit_head)
    .where(audit_head.c.id == 1, audit_head.c.size == bindparam("old_size"))
    .values(size=bindparam("new_size"), frontier=bindparam("new_frontier"), news=bindparam("new_news"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where the head was read, and where it goes; ``news`` is the new count."""

    old_size: int
    frontier: Frontier
    news: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The head as it stood when its row was locked, and how many rows were written behind it.

    ``key`` makes the log's pseudonyms.
    """

    size: int
    news: int
    frontier: Frontier
    key: bytes
    written: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of some entries, a list for each column, made before the head is taken."""

    envelopes: Sequence[bytes]
    projects: Sequence[str | None]
    subjects: Sequence[str | None]
    types: Sequence[str]
    bodies: Sequence[bytes]


def batch_of(entries: Sequence[Entry], leaves: Sequence[Leaf]) -> Batch:
    """Return the rows of these entries and their leaves."""
    return Batch(
        [one.envelope for one in leaves],
        [one.project for one in entries],
        [one.subject for one in entries],
        [str(one.type) for one in entries],
        [one.body for one in leaves],
    )


def write_behind_head(db: Connection, batch: Batch, key: bytes) -> Taken:
    """Take the head and write the batch behind it; nothing is written where the log's key is another."""
    if db.dialect.name == "postgresql":
        given = {
            "key": key,
            "count": len(batch.envelopes),
            "envelopes": batch.envelopes,
            "projects": batch.projects,
            "subjects": batch.subjects,
            "types": batch.types,
            "bodies": batch.bodies,
        }
        return _taken(*db.execute(_POSTGRES, given).one())
    size, news, frontier, own = db.execute(_HEAD).one()
    ours = bytes(own) == key
    if ours:
        write_rows(db, size, batch)
    return _taken(size, news, frontier, own, len(batch.envelopes) if ours else 0)


def move_head(db: Connection, move: Move) -> bool:
    """Move the head over the rows behind it; False where it is not at the size at which it was taken."""
    given = {
        "old_size": move.old_size,
        "new_size": move.frontier.size,
        "new_frontier": move.frontier.to_bytes(),
        "new_news": move.news,
    }
    return db.execute(_MOVE, given).rowcount == 1


def _taken(size: int, news: int, frontier: bytes, key: bytes, written: int) -> Taken:
    return Taken(
        size=size, news=news, frontier=Frontier.from_bytes(frontier), key=bytes(key), written=written
    )


def write_rows(db: Connection, first: int, batch: Batch) -> None:
    """Write the rows of both layers from index ``first`` on, on any database."""
    leaves = [{"idx": n, "envelope": one} for n, one in enumerate(batch.envelopes, first)]
    columns = zip(batch.projects, batch.subjects, batch.types, batch.bodies, strict=True)
    bodies = [
        {"idx": n, "project": project, "subject": subject, "type": type_, "body": body}
        for n, (project, subject, type_, body) in enumerate(columns, first)
    ]
    db.execute(insert(audit_leaf), leaves)
    db.execute(insert(audit_body), bodies)
