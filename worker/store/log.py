"""The audit log's rows: append inside the caller's transaction, and read back.

DANGER. Entries are insert-only. `append` must be the last step of a transaction: it takes the head row,
which every writer needs, so it comes after all other locks. The compare-and-set on the size makes two
writers at one index impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, func, insert, or_, select
from sqlalchemy.exc import IntegrityError

from worker.audit.entry import NO_NEWS, Entry, EntryType
from worker.audit.envelope import SALT_BYTES, Leaf, make_leaf
from worker.audit.merkle import Frontier, leaf_hash
from worker.audit.reading import load
from worker.model.errors import TenureError
from worker.model.ids import UUID7_BYTES, random_bytes, uuid7_of
from worker.store.appending import Move, batch_of, move_head, write_behind_head
from worker.store.tables import audit_body, audit_checkpoint, audit_head, audit_leaf
from worker.telemetry.requests import current_request

# The key of the log behind each engine, as it was seen last: it is made once for a database.
_keys: WeakKeyDictionary[Engine | Connection, bytes] = WeakKeyDictionary()
_RANDOM_BYTES = SALT_BYTES + UUID7_BYTES
_PAGE = 2000
# A body that was shredded or pruned is empty.
_THERE = func.length(audit_body.c.body) > 0
_AT_ONCE = 500
# What was pruned, and what an epoch follows: every export holds these bodies.
_OF_ALL = (EntryType.LOG_PRUNED.value, EntryType.LOG_EPOCH.value)
# Where the 32 hex digits of an id begin in an envelope of version 1, counted from 1.
_ID_AT = len('{"body":"","id":"') + 64 + 1


class LogRaced(TenureError):
    """Another writer moved the head although its row was locked: the log is refused, not guessed."""

    code = "log_raced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The log's size, how many of its entries are news, and its frontier."""

    size: int
    news: int
    frontier: Frontier


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One stored checkpoint: the signed note over the first ``size`` leaves."""

    size: int
    news: int
    sealed_at: datetime
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """One entry as it is kept: its index and the exact bytes of its body, empty where that is gone."""

    index: int
    type: str
    subject: str | None
    project: str | None
    body: bytes


def create_head(db: Connection) -> None:
    """Make the empty log, once per database; of two processes that start at once one makes it."""
    if db.execute(select(audit_head.c.id)).first() is not None:
        return
    empty = Frontier().to_bytes()
    with suppress(IntegrityError), db.begin_nested():
        db.execute(
            insert(audit_head).values(id=1, size=0, news=0, frontier=empty, pseudonym_key=random_bytes(32))
        )


def take_head(db: Connection) -> None:
    """Take the head's row before the rest of a transaction, where only one process may go on at a time."""
    db.execute(select(audit_head.c.id).with_for_update()).one()


def append(db: Connection, entries: Sequence[Entry]) -> range:
    """Append the entries as the last step of the caller's transaction; returns their indices."""
    if not entries:
        return range(0)
    if (request := current_request()) is not None:
        # What several requests recorded together names its own already.
        entries = [replace(one, request_id=one.request_id or request) for one in entries]
    # Made before the head is taken, which everybody waits for; its row then says whether the key was right.
    key = _keys.get(db.engine) or pseudonym_key(db)
    leaves = _leaves(entries, key)
    head = write_behind_head(db, batch_of(entries, leaves), key)
    if head.key != key:
        leaves = _leaves(entries, head.key)
        head = write_behind_head(db, batch_of(entries, leaves), head.key)
    _keys[db.engine] = head.key
    frontier = head.frontier.extend([leaf.hash for leaf in leaves])
    news = head.news + sum(entry.type not in NO_NEWS for entry in entries)
    move = Move(old_size=head.size, frontier=frontier, news=news)
    # The head never goes where no rows are; what was written goes with the transaction, which this ends.
    if head.written != len(entries) or not move_head(db, move):
        problem = f"The log's head moved away from size {head.size} under its lock."
        raise LogRaced(problem, repair="Look for a second writer that bypasses the head row.")
    return range(head.size, frontier.size)


def _leaves(entries: Sequence[Entry], key: bytes) -> list[Leaf]:
    # Asked of the system once for all of them.
    random = random_bytes(_RANDOM_BYTES * len(entries))
    parts = [random[at : at + _RANDOM_BYTES] for at in range(0, len(random), _RANDOM_BYTES)]
    return [
        make_leaf(
            entry,
            entry_id=uuid7_of(entry.at, part[SALT_BYTES:]),
            salt=part[:SALT_BYTES],
            pseudonym_key=key,
        )
        for entry, part in zip(entries, parts, strict=True)
    ]


def pseudonym_key(db: Connection) -> bytes:
    """Return the key that turns projects and threads into pseudonyms; made once, never exported."""
    return bytes(db.execute(select(audit_head.c.pseudonym_key)).scalar_one())


def read_head(db: Connection) -> Head:
    """Return the head without a lock: whatever it covers is already committed."""
    row = db.execute(select(audit_head)).one()
    return Head(size=row.size, news=row.news, frontier=Frontier.from_bytes(row.frontier))


def latest_seal(db: Connection) -> Seal | None:
    """Return the newest checkpoint, if there is one."""
    row = db.execute(select(audit_checkpoint).order_by(audit_checkpoint.c.size.desc()).limit(1)).first()
    return None if row is None else Seal(size=row.size, news=row.news, sealed_at=row.sealed_at, note=row.note)


def seal_at(db: Connection, size: int) -> Seal | None:
    """Return the checkpoint that was stored at exactly this size, if one was."""
    row = db.execute(select(audit_checkpoint).where(audit_checkpoint.c.size == size)).first()
    return None if row is None else Seal(size=row.size, news=row.news, sealed_at=row.sealed_at, note=row.note)


def newest_seals(db: Connection, *, above: int, limit: int) -> list[Seal]:
    """Return the newest checkpoints above a size, the smallest of them first."""
    query = select(audit_checkpoint).where(audit_checkpoint.c.size > above)
    rows = db.execute(query.order_by(audit_checkpoint.c.size.desc()).limit(limit)).all()
    return [Seal(size=r.size, news=r.news, sealed_at=r.sealed_at, note=r.note) for r in reversed(rows)]


def sealed_first_above(db: Connection, size: int) -> datetime | None:
    """Return when the first checkpoint above a size was sealed."""
    query = select(audit_checkpoint.c.sealed_at).where(audit_checkpoint.c.size > size)
    return db.execute(query.order_by(audit_checkpoint.c.size).limit(1)).scalar_one_or_none()


def recompute(
    db: Connection, size: int, *, at: int = 0, progress: Callable[[int, int], None] | None = None
) -> tuple[Frontier, Frontier]:
    """Fold the stored leaves again, a page at a time: the frontiers at ``at`` and at ``size``.

    ``progress`` is told (leaves done, of how many). A leaf that is missing makes both frontiers short.
    """
    frontier, marked, hashes = Frontier(), Frontier(), list[bytes]()
    for index, envelope in enumerate(envelopes(db, size), start=1):
        hashes.append(leaf_hash(envelope))
        if index == at or len(hashes) == _PAGE:
            frontier, hashes = frontier.extend(hashes), []
            marked = frontier if index == at else marked
            if progress is not None:
                progress(index, size)
    return marked, frontier.extend(hashes)


def store_seal(db: Connection, seal: Seal) -> bool:
    """Keep a checkpoint; False when another process sealed this very size first."""
    row = {"size": seal.size, "news": seal.news, "sealed_at": seal.sealed_at, "note": seal.note}
    try:
        with db.begin_nested():
            db.execute(insert(audit_checkpoint).values(row))
    except IntegrityError:
        return False
    return True


def envelopes(db: Connection, size: int, *, first: int = 0) -> Iterator[bytes]:
    """Yield the envelopes of the leaves from ``first`` up to ``size`` in order, a page at a time."""
    for start in range(first, size, _PAGE):
        end = min(start + _PAGE, size)
        page = select(audit_leaf.c.envelope).where(audit_leaf.c.idx >= start, audit_leaf.c.idx < end)
        for (envelope,) in db.execute(page.order_by(audit_leaf.c.idx)):
            # Somebody may have written text over it on SQLite; that is for the root to tell, not for a crash.
            yield envelope.encode() if isinstance(envelope, str) else bytes(envelope)


def has_entries(db: Connection, project: str, size: int) -> bool:
    """Tell whether a project has an entry below ``size``, whatever became of its body."""
    query = select(audit_body.c.idx).where(audit_body.c.project == project, audit_body.c.idx < size)
    return db.execute(query.limit(1)).first() is not None


def bodies_of_project(db: Connection, project: str, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield (index, exact body) of one project's entries below ``size``, in order."""
    last = -1
    while True:
        page = (
            select(audit_body.c.idx, audit_body.c.body)
            .where(audit_body.c.project == project, audit_body.c.idx > last, audit_body.c.idx < size, _THERE)
            .order_by(audit_body.c.idx)
            .limit(_PAGE)
        )
        rows = db.execute(page).all()
        for row in rows:
            yield row.idx, bytes(row.body)
        if len(rows) < _PAGE:
            return
        last = rows[-1].idx


def bodies_of_export(db: Connection, project: str, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield what an export of the project holds: its own bodies, and those that tell of every project."""
    of_all = select(audit_body.c.idx, audit_body.c.body).where(
        audit_body.c.project.is_(None),
        audit_body.c.type.in_(_OF_ALL),
        audit_body.c.idx < size,
    )
    told = [(row.idx, bytes(row.body)) for row in db.execute(of_all.order_by(audit_body.c.idx))]
    yield from merge(told, bodies_of_project(db, project, size))


def bodies_of_subjects(db: Connection, project: str, subjects: Sequence[str]) -> list[int]:
    """Return the indices of the entries about these threads of a project, in order."""
    found: list[int] = []
    for at in range(0, len(subjects), _AT_ONCE):
        query = select(audit_body.c.idx).where(
            audit_body.c.project == project, audit_body.c.subject.in_(subjects[at : at + _AT_ONCE])
        )
        found.extend(db.execute(query).scalars())
    return sorted(found)


def changes_since(db: Connection, size: int) -> Iterator[tuple[str, bytes]]:
    """Yield (thread, exact body) of every entry behind ``size`` leaves that changed a thread, in order."""
    query = select(audit_body.c.subject, audit_body.c.body).where(
        audit_body.c.idx >= size, audit_body.c.type == EntryType.THREAD_CHANGED.value, _THERE
    )
    for row in db.execute(query.order_by(audit_body.c.idx)):
        yield row.subject, bytes(row.body)


def bodies_of_erasure(db: Connection, erasure: str, project: str) -> dict[int, str]:
    """Return the entries about an order itself, or how it stands in a project: index and type, in order."""
    told = (EntryType.ERASURE_ORDERED.value, EntryType.ERASURE_ANSWERED.value)
    query = select(audit_body.c.idx, audit_body.c.type, audit_body.c.body).where(
        or_(audit_body.c.project.is_(None), audit_body.c.project == project),
        audit_body.c.type.in_(told),
        _THERE,
    )
    rows = db.execute(query.order_by(audit_body.c.idx))
    return {row.idx: row.type for row in rows if load(bytes(row.body)).get("erasure") == erasure}


def entries_after(
    db: Connection,
    *,
    after: int = -1,
    limit: int = 100,
    projects: Sequence[str] | None = None,
    subject: str | None = None,
    type_: str | None = None,
) -> list[StoredEntry]:
    """Return a page of entries with an index above ``after``; ``projects`` None means all of them."""
    query = select(audit_body).where(audit_body.c.idx > after).order_by(audit_body.c.idx).limit(limit)
    if projects is not None:
        query = query.where(audit_body.c.project.in_(projects))
    if subject is not None:
        query = query.where(audit_body.c.subject == subject)
    if type_ is not None:
        query = query.where(audit_body.c.type == type_)
    return [
        StoredEntry(index=r.idx, type=r.type, subject=r.subject, project=r.project, body=bytes(r.body))
        for r in db.execute(query)
    ]


def leaf_count(db: Connection) -> int:
    """Return how many leaves are stored; equal to the head's size in a sound log."""
    return int(db.execute(select(func.count()).select_from(audit_leaf)).scalar_one())


def body_at(db: Connection, index: int) -> bytes | None:
    """Return the exact body of one entry, or None where it is not kept any more."""
    found = db.execute(select(audit_body.c.body).where(audit_body.c.idx == index)).scalar_one_or_none()
    return bytes(found) if found else None


def envelope_at(db: Connection, index: int) -> bytes | None:
    """Return the exact bytes of one leaf, or None behind the last."""
    found = db.execute(select(audit_leaf.c.envelope).where(audit_leaf.c.idx == index)).scalar_one_or_none()
    return None if found is None else bytes(found)


def index_of(db: Connection, entry_id: str) -> int | None:
    """Return the index of the entry with this id, or None. Every leaf is looked at: an index is quicker."""
    named = func.substr(audit_leaf.c.envelope, _ID_AT, len(entry_id)) == entry_id.encode("ascii")
    found: int | None = db.execute(select(audit_leaf.c.idx).where(named)).scalar_one_or_none()
    return found
