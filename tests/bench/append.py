"""One writer of the audit log, or of the same rows by plain INSERT: `python -m tests.bench.append JSON`.

It makes its entries first, says that it is ready, and begins when a line comes, so that all writers begin
together. Plain INSERT has its rows ready and writes them into the same two tables with the same statements;
it hashes nothing, checks nothing and takes no lock.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from tests.bench.audit_log import entries
from worker.audit.entry import Entry
from worker.audit.envelope import Leaf, make_leaf
from worker.store import log
from worker.store.engine import open_database
from worker.store.inserting import insert_all
from worker.store.tables import audit_body, audit_leaf

_SALT = b"0123456789abcdef"


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
    """What plain INSERT writes: one batch for each of the two tables."""

    leaves: Sequence[dict[str, object]]
    bodies: Sequence[dict[str, object]]


def _rows(made: Sequence[Entry], first: int, key: bytes) -> Rows:
    leaves = [
        make_leaf(one, entry_id=f"{n:032x}", salt=_SALT, pseudonym_key=key) for n, one in enumerate(made)
    ]
    numbered = list(enumerate(zip(made, leaves, strict=True), first))
    return Rows(
        leaves=[{"idx": n, "envelope": leaf.envelope} for n, (_, leaf) in numbered],
        bodies=[_body(n, entry, leaf) for n, (entry, leaf) in numbered],
    )


def _body(index: int, entry: Entry, leaf: Leaf) -> dict[str, object]:
    return {
        "idx": index,
        "project": entry.project,
        "subject": entry.subject,
        "type": entry.type.value,
        "body": leaf.body,
    }


def _insert(db: Session, rows: Rows) -> None:
    insert_all(db, audit_leaf, rows.leaves)
    insert_all(db, audit_body, rows.bodies)


if __name__ == "__main__":
    print(json.dumps(write(Writer(**json.loads(sys.argv[1])))))
