"""Bodies that go: which are there, and emptying them under entries that name their leaves.

DANGER. What is emptied does not come back. Invariants, which triggers hold too: a body is emptied in the
transaction that appends the entry which names its leaf, or not at all; an entry names exactly the leaves
whose bodies were emptied under it; what excuses others, epochs and key rotations stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, or_, select, text, update

from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import canonical
from worker.audit.gone import ranges_of
from worker.audit.order_bodies import MOST_RANGES
from worker.audit.reading import items, load
from worker.model.errors import TenureError
from worker.store import log
from worker.store.engine import Database, changed
from worker.store.tables import audit_body, audit_checkpoint, audit_gone

# Without these a later export, or the log's own history, could not be read.
STAY = frozenset({EntryType.BODY_SHREDDED, EntryType.LOG_PRUNED, EntryType.LOG_EPOCH, EntryType.KEY_ROTATED})
SAYING = (EntryType.BODY_SHREDDED.value, EntryType.LOG_PRUNED.value)
_AT_ONCE = 500
_THERE = func.length(audit_body.c.body) > 0

Ranges = Sequence[tuple[int, int]]


class BodiesDisagree(TenureError):
    """Fewer or more bodies would go than the entry names: nothing was changed."""

    code = "bodies_disagree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A body that is there, by what its row says beside the bytes."""

    index: int
    project: str | None
    subject: str | None
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Supports:
    """The threads whose reads lean on a control; not ``is_whole`` where the entry's list was cut."""

    threads: frozenset[str]
    is_whole: bool


def page(db: Connection, *, after: int, below: int, limit: int) -> list[Kept]:
    """Return the next bodies that are there, and may ever go, in order."""
    query = (
        select(audit_body.c.idx, audit_body.c.project, audit_body.c.subject, audit_body.c.type)
        .where(audit_body.c.idx > after, audit_body.c.idx < below, _THERE, audit_body.c.type.not_in(STAY))
        .order_by(audit_body.c.idx)
        .limit(limit)
    )
    return [Kept(index=r.idx, project=r.project, subject=r.subject, type=r.type) for r in db.execute(query)]


def there(db: Connection, indices: Sequence[int]) -> list[int]:
    """Return which of these bodies are there, in order."""
    found: list[int] = []
    for start in range(0, len(indices), _AT_ONCE):
        some = indices[start : start + _AT_ONCE]
        found += db.execute(select(audit_body.c.idx).where(audit_body.c.idx.in_(some), _THERE)).scalars()
    return sorted(found)


def newest_of(db: Connection, subjects: Collection[str]) -> dict[str, int]:
    """Return the index of the newest entry about each of these threads."""
    found: dict[str, int] = {}
    names = sorted(subjects)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        query = select(audit_body.c.subject, func.max(audit_body.c.idx)).where(audit_body.c.subject.in_(some))
        found.update({row[0]: row[1] for row in db.execute(query.group_by(audit_body.c.subject))})
    return found


def of_threads(db: Connection, subjects: Collection[str], *, below: int) -> Iterator[tuple[Kept, bytes]]:
    """Yield the bodies about these threads that are there, each thread's in the order of the log."""
    names = sorted(subjects)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        query = select(audit_body).where(audit_body.c.subject.in_(some), audit_body.c.idx < below, _THERE)
        for r in db.execute(query.order_by(audit_body.c.subject, audit_body.c.idx)):
            yield Kept(index=r.idx, project=r.project, subject=r.subject, type=r.type), bytes(r.body)


def supports(db: Connection, bodies: Sequence[Kept]) -> dict[int, Supports]:
    """Return whom each control among these bodies supports, by its index."""
    indices = [one.index for one in bodies if one.type == EntryType.CONTROL_PROBED]
    found: dict[int, Supports] = {}
    for start in range(0, len(indices), _AT_ONCE):
        some = indices[start : start + _AT_ONCE]
        query = select(audit_body.c.idx, audit_body.c.body).where(audit_body.c.idx.in_(some), _THERE)
        for index, raw in db.execute(query):
            body = load(bytes(raw))
            named = frozenset(one for one in items(body, "supports") if isinstance(one, str))
            found[index] = Supports(threads=named, is_whole="supports_count" not in body)
    return found


def naming(
    db: Connection, name: str, types: Collection[EntryType], *, first: int, below: int
) -> Iterator[tuple[Kept, bytes]]:
    """Yield the bodies between two leaves that hold just this name as a text, or are of one of the types."""
    # Canonical JSON has one way to write a text, so that its bytes are looked for and not its meaning.
    written = canonical({"name": name})[len(b'{"name":') : -1]
    postgresql = db.dialect.name == "postgresql"
    place = func.pg_catalog.position if postgresql else func.instr
    query = select(audit_body).where(
        audit_body.c.idx >= first,
        audit_body.c.idx < below,
        _THERE,
        or_(audit_body.c.type.in_(sorted(types)), place(audit_body.c.body, written) > 0),
    )
    for r in db.execute(query.order_by(audit_body.c.idx)):
        yield Kept(index=r.idx, project=r.project, subject=r.subject, type=r.type), bytes(r.body)


def sealed_before(db: Connection, instant: datetime) -> int:
    """Return how many leaves were under a checkpoint by then.

    Should a clock have been set back, the checkpoints behind the first younger one do not count.
    """
    young = select(func.min(audit_checkpoint.c.size)).where(audit_checkpoint.c.sealed_at > instant)
    first = db.execute(young).scalar_one()
    old = select(func.max(audit_checkpoint.c.size)).where(audit_checkpoint.c.sealed_at <= instant)
    if first is not None:
        old = old.where(audit_checkpoint.c.size < first)
    return int(db.execute(old).scalar_one() or 0)


def empty(db: Connection, indices: Sequence[int], say: Callable[[Ranges], Entry]) -> int:
    """Empty these bodies and append the entries that ``say`` makes of their ranges; returns how many went.

    The log's head is taken first: what another process emptied meanwhile is not named a second time, and
    nothing is appended in between. It is the last step of a transaction, like any append.
    """
    log.take_head(db)
    ranges = ranges_of(there(db, indices))
    parts = [ranges[at : at + MOST_RANGES] for at in range(0, len(ranges), MOST_RANGES)]
    entries = log.append(db, [say(part) for part in parts])
    for entry, part in zip(entries, parts, strict=True):
        rows = [{"first": start, "until": end, "entry": entry} for start, end in part]
        db.execute(insert(audit_gone), rows)
        named, emptied = sum(end - start for start, end in part), _emptied(db, entry)
        if emptied != named:
            problem = f"Entry {entry} names {named} bodies, and {emptied} would go."
            raise BodiesDisagree(problem, repair="`tenure doctor` looks whether rows of the log are missing.")
    return sum(end - start for start, end in ranges)


def _emptied(db: Connection, entry: int) -> int:
    if db.dialect.name == "postgresql":
        # The service's role may not update the table: the function does, with its owner's rights.
        return int(db.execute(text("SELECT tenure_empty_bodies(:entry)"), {"entry": entry}).scalar_one())
    named = and_(
        audit_gone.c.entry == entry,
        audit_body.c.idx >= audit_gone.c.first,
        audit_body.c.idx < audit_gone.c.until,
    )
    return changed(db, update(audit_body).where(named).values(body=b""))


def drop_traces(database: Database) -> None:
    """Write SQLite's log back into its file and cut it off: pages of before stand there until then.

    Where somebody reads just now, the log is cut off later. PostgreSQL's vacuum does the like by itself.
    """
    if not database.is_sqlite:
        return
    connection = database.engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def newest_saying(db: Connection) -> int:
    """Return the newest entry under which bodies went, -1 where none did."""
    found = db.execute(select(func.max(audit_gone.c.entry))).scalar_one()
    return -1 if found is None else int(found)


def count(db: Connection) -> int:
    """Return how many bodies are gone."""
    found = db.execute(select(func.sum(audit_gone.c.until - audit_gone.c.first))).scalar_one()
    return int(found or 0)


def disagreements(db: Connection) -> list[str]:
    """Name where bodies, the ranges that are kept of them, and the entries that excuse them differ."""
    named = exists().where(_covers(audit_body.c.idx))
    bare = select(func.count()).select_from(audit_body).where(~_THERE, ~named)
    left = (
        select(func.count())
        .select_from(audit_gone)
        .join(audit_body, and_(audit_body.c.idx >= audit_gone.c.first, audit_body.c.idx < audit_gone.c.until))
        .where(_THERE)
    )
    told = []
    if lost := log.leaf_count(db) - int(
        db.execute(select(func.count()).select_from(audit_body)).scalar_one()
    ):
        told.append(f"{lost} leaves have no row for their body")
    if empty_ := db.execute(bare).scalar_one():
        told.append(f"{empty_} bodies are gone and no entry says so")
    if still := db.execute(left).scalar_one():
        told.append(f"{still} bodies are there although an entry says that they are gone")
    told += _unlike(db)
    return told


def _covers(index: ColumnElement[int]) -> ColumnElement[bool]:
    inner = audit_gone.alias()
    last = select(func.max(inner.c.first)).where(inner.c.first <= index).scalar_subquery()
    return and_(audit_gone.c.first == last, audit_gone.c.until > index)


def _unlike(db: Connection) -> list[str]:
    """Compare the kept ranges with those that the entries themselves hold."""
    kept: dict[int, set[tuple[int, int]]] = {}
    for row in db.execute(select(audit_gone)):
        kept.setdefault(row.entry, set()).add((row.first, row.until))
    told = []
    query = select(audit_body.c.idx, audit_body.c.body).where(audit_body.c.type.in_(SAYING))
    for index, body in db.execute(query.order_by(audit_body.c.idx)):
        leaves = load(bytes(body))["leaves"]
        said = {(start, end) for start, end in leaves} if isinstance(leaves, list) else set()
        if kept.pop(index, set()) != said:
            told.append(f"entry {index} names other leaves than those that went under it")
    return told + [f"bodies went under entry {index}, which says nothing of that" for index in sorted(kept)]
