"""One writer of the audit log, or of the same rows by plain INSERT: `python -m tests.bench.append JSON`.

It makes its entries first, says that it is ready, and begins when a line comes, so that all writers begin
together. Plain INSERT has its rows ready and writes them into the same two tables, on PostgreSQL by one
statement with an array for each column, which is the quickest INSERT that was found; it hashes nothing,
checks nothing and takes no lock.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text

from tests.bench.audit_log import entries
from worker.audit.entry import Entry
from worker.audit.envelope import make_leaf
from worker.store import log
from worker.store.appending import Batch, batch_of, write_rows
from worker.store.engine import open_database

_SALT = b"0123456789abcdef"
_BARE = text("""
WITH leaves AS (
    INSERT INTO audit_leaf (idx, envelope)
    SELECT generate_series(:first, :first + :count - 1), unnest(CAST(:envelopes AS bytea[]))
)
INSERT INTO audit_body (idx, project, subject, type, body)
SELECT generate_series(:first, :first + :count - 1), unnest(CAST(:projects AS text[])),
    unnest(CAST(:subjects AS text[])), unnest(CAST(:types AS text[])), unnest(CAST(:bodies AS bytea[]))
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Which entries one writer writes, and how; ``first`` is a multiple of four."""

    url: str
    plain: bool
    first: int
    count: int
    batch: int


def write(told: Writer) -> float:
    """Write all batches, each in a transaction of its own; returns the seconds since the line came."""
    database = open_database(told.url)
    made = list(entries(told.count, first=told.first))
    starts = range(0, told.count, told.batch)
    with database.read() as db:
        key = log.pseudonym_key(db)
    rows = [
        _rows(made[at : at + told.batch], told.first + at, key) if told.plain else made[at : at + told.batch]
        for at in starts
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    for one in rows:
        with database.write() as db:
            _insert(db, one) if isinstance(one, Rows) else log.append(db, one)
    seconds = time.perf_counter() - begun
    database.dispose()
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What plain INSERT writes behind the first index: one batch for both tables."""

    first: int
    batch: Batch
    columns: Mapping[str, Sequence[object]]


def _rows(made: Sequence[Entry], first: int, key: bytes) -> Rows:
    leaves = [
        make_leaf(one, entry_id=f"{n:032x}", salt=_SALT, pseudonym_key=key) for n, one in enumerate(made)
    ]
    batch = batch_of(made, leaves)
    return Rows(first=first, batch=batch, columns=asdict(batch))


def _insert(db: Connection, rows: Rows) -> None:
    if db.dialect.name == "postgresql":
        db.execute(_BARE, {"first": rows.first, "count": len(rows.batch.envelopes), **rows.columns})
    else:
        write_rows(db, rows.first, rows.batch)


if __name__ == "__main__":
    print(json.dumps(write(Writer(**json.loads(sys.argv[1])))))
