"""Moving the log's head and writing the rows behind it, which is what every other writer waits for.

All that does not hang on the head is made ready before it is taken. Under it PostgreSQL gets one statement,
since each one more is a message to and fro while everybody waits; SQLite is in this process, where a
statement costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, insert, text, update
from sqlalchemy.orm import Session

from worker.audit.entry import Entry
from worker.audit.envelope import Leaf
from worker.audit.merkle import Frontier
from worker.store.engine import changed
from worker.store.tables import audit_body, audit_head, audit_leaf

# No row is written unless the head was where it was read; the rows take their places in the order given.
_POSTGRES = text("""
WITH moved AS (
    UPDATE audit_head SET size = :new_size, frontier = :frontier, news = :news
    WHERE id = 1 AND size = :old_size RETURNING 1
), given AS (
    SELECT :old_size + n - 1 AS idx, envelope, project, subject, type, body
    FROM moved, unnest(
        CAST(:envelopes AS bytea[]), CAST(:projects AS text[]), CAST(:subjects AS text[]),
        CAST(:types AS text[]), CAST(:bodies AS bytea[])
    ) WITH ORDINALITY AS one (envelope, project, subject, type, body, n)
), leaves AS (
    INSERT INTO audit_leaf (idx, envelope) SELECT idx, envelope FROM given
)
INSERT INTO audit_body (idx, project, subject, type, body)
SELECT idx, project, subject, type, body FROM given
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where the head was read, and where it goes; ``news`` is the new count."""

    old_size: int
    frontier: Frontier
    news: int


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
        [one.type.value for one in entries],
        [one.body for one in leaves],
    )


def move_and_write(db: Session, move: Move, batch: Batch) -> bool:
    """Move the head and write the batch behind it; False and nothing written, where the head is elsewhere."""
    if db.get_bind().dialect.name == "postgresql":
        given = {
            "old_size": move.old_size,
            "new_size": move.frontier.size,
            "frontier": move.frontier.to_bytes(),
            "news": move.news,
            "envelopes": batch.envelopes,
            "projects": batch.projects,
            "subjects": batch.subjects,
            "types": batch.types,
            "bodies": batch.bodies,
        }
        written = cast("CursorResult[Any]", db.execute(_POSTGRES, given)).rowcount
        return written == len(batch.envelopes)
    if not _move(db, move):
        return False
    write_rows(db, move.old_size, batch)
    return True


def _move(db: Session, move: Move) -> bool:
    at_old_size = update(audit_head).where(audit_head.c.id == 1, audit_head.c.size == move.old_size)
    moved = at_old_size.values(size=move.frontier.size, frontier=move.frontier.to_bytes(), news=move.news)
    return changed(db, moved) == 1


def write_rows(db: Session, first: int, batch: Batch) -> None:
    """Write the rows of both layers from index ``first`` on, on any database."""
    leaves = [{"idx": n, "envelope": one} for n, one in enumerate(batch.envelopes, first)]
    columns = zip(batch.projects, batch.subjects, batch.types, batch.bodies, strict=True)
    bodies = [
        {"idx": n, "project": project, "subject": subject, "type": type_, "body": body}
        for n, (project, subject, type_, body) in enumerate(columns, first)
    ]
    db.execute(insert(audit_leaf), leaves)
    db.execute(insert(audit_body), bodies)
