"""Protection rows, holds, erasures and notices: everything that may stop or order a deletion.

The protection rows order arming against holds: arming takes `*` and the project's row FOR SHARE, a hold,
a pause or a withdrawal takes them FOR UPDATE. Whoever comes second sees what the first one committed.
On SQLite BEGIN IMMEDIATE does the same for the whole database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Text, bindparam, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError

from worker.model.decision import Circumstances, Erasure, Hold, HoldScope, Notice, TagSelector
from worker.model.ids import HoldId, ThreadId
from worker.store.among import among
from worker.store.engine import changed
from worker.store.tables import erasure, erasure_thread, hold, notice, protection

EVERYTHING = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHold:
    """A hold and its history. ``answer`` is what placing it found: matched, unknown, too_late, uncertain."""

    hold: Hold
    reason: str
    placed_at: datetime
    placed_by: str
    answer: Mapping[str, Any]
    released_at: datetime | None = None
    released_by: str | None = None
    release_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An erasure as it was ordered; ``projects`` is what it reaches, None for all."""

    id: str
    erasure: Erasure
    projects: frozenset[str] | None = None


def ensure_rows(db: Connection, scopes: Iterable[str]) -> None:
    """Make missing protection rows; the caller's locks need rows to hold on to."""
    wanted = set(scopes)
    present = set(
        db.execute(select(protection.c.scope).where(protection.c.scope.in_(sorted(wanted)))).scalars()
    )
    for scope in sorted(wanted - present):
        try:
            with db.begin_nested():
                db.execute(insert(protection).values(scope=scope, version=0))
        except IntegrityError:
            continue  # another process made it meanwhile, which is what was wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A protection row as it stands while it is shared; ``paused`` is why its deletes are, or None."""

    version: int
    paused: str | None = None


_SHARED = (
    select(protection.c.scope, protection.c.version, protection.c.paused_at, protection.c.reason)
    .where(among(protection.c.scope, "scopes"))
    .order_by(protection.c.scope)
    .with_for_update(read=True)
)


def share(db: Connection, projects: Iterable[str]) -> dict[str, Shared]:
    """Take `*` and the projects' rows FOR SHARE in sorted order; returns them by their scopes."""
    scopes = sorted({EVERYTHING, *projects})
    _queue(db, scopes, shared=True)
    found = _shared(db, scopes)
    if len(found) < len(scopes):
        # A lock needs a row to hold on to; each is made once, so that usually there is nothing to make.
        ensure_rows(db, scopes)
        found = _shared(db, scopes)
    return found


def _shared(db: Connection, scopes: Sequence[str]) -> dict[str, Shared]:
    return {
        scope: Shared(version=version, paused=None if paused_at is None else reason or "")
        for scope, version, paused_at, reason in db.execute(_SHARED, {"scopes": scopes}).all()
    }


def take(db: Connection, scopes: Iterable[str]) -> None:
    """Take the rows FOR UPDATE in sorted order and bump their versions."""
    names = sorted(set(scopes))
    ensure_rows(db, names)
    _queue(db, names, shared=False)
    rows = select(protection.c.scope).where(protection.c.scope.in_(names)).order_by(protection.c.scope)
    db.execute(rows.with_for_update()).all()
    db.execute(
        update(protection).where(protection.c.scope.in_(names)).values(version=protection.c.version + 1)
    )


# The array is read from its beginning, and so the locks are taken one after another in its order.
_KEY = func.hashtextextended(
    func.unnest(bindparam("keys", type_=ARRAY(Text, dimensions=1))).column_valued("key"), 0
)
_WAIT_SHARED = select(func.pg_advisory_xact_lock_shared(_KEY))
_WAIT = select(func.pg_advisory_xact_lock(_KEY))


def _queue(db: Connection, names: Sequence[str], *, shared: bool) -> None:
    """Keep the order of arrival, until the transaction ends.

    PostgreSQL lets whoever shares a row pass one who waits to take it, so that workers who arm would keep
    a hold waiting for ever; advisory locks have a queue. They are taken in the order of the rows, and first.
    """
    if db.dialect.name != "postgresql":
        return
    wait = _WAIT_SHARED if shared else _WAIT
    db.execute(wait, {"keys": [f"tenure.protection:{name}" for name in names]})


def scopes_of(scope: HoldScope) -> tuple[str, ...]:
    """Return the protection rows that a hold takes: its projects, or `*` where none or a glob is named."""
    if not scope.projects or any("*" in name or "?" in name for name in scope.projects):
        return (EVERYTHING,)
    return tuple(sorted(scope.projects))


def set_pause(db: Connection, scope: str, *, paused_at: datetime | None, by: str, reason: str) -> None:
    """Switch deletes off (``paused_at``) or on (None) for a project or for `*`; the row must be taken."""
    db.execute(
        update(protection)
        .where(protection.c.scope == scope)
        .values(paused_at=paused_at, paused_by=by, reason=reason)
    )


_PAUSED = select(protection.c.scope, protection.c.reason).where(protection.c.paused_at.is_not(None))


def paused(db: Connection) -> dict[str, str]:
    """Return the paused scopes with their reasons."""
    return {scope: reason or "" for scope, reason in db.execute(_PAUSED).all()}


def add_hold(db: Connection, new: StoredHold) -> None:
    """Insert a hold."""
    db.execute(
        insert(hold).values(
            id=new.hold.id,
            matter=new.hold.matter,
            reason=new.reason,
            scope=asdict(new.hold.scope),
            placed_at=new.placed_at,
            placed_by=new.placed_by,
            answer=dict(new.answer),
        )
    )


def answer_hold(db: Connection, hold_id: str, answer: Mapping[str, Any]) -> None:
    """Keep what the hold's answer said."""
    db.execute(update(hold).where(hold.c.id == hold_id).values(answer=dict(answer)))


def release_hold(db: Connection, hold_id: str, *, at: datetime, by: str, reason: str) -> bool:
    """Release an active hold; False when it is released already."""
    standing = update(hold).where(hold.c.id == hold_id, hold.c.released_at.is_(None))
    return changed(db, standing.values(released_at=at, released_by=by, release_reason=reason)) == 1


def get_hold(db: Connection, hold_id: str, *, lock: bool = False) -> StoredHold | None:
    """Return one hold, its row locked where the caller writes what it adds to it."""
    query = select(hold).where(hold.c.id == hold_id)
    row = db.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _to_hold(row)


_HOLDS = select(hold).order_by(hold.c.id.desc())
_ACTIVE_HOLDS = _HOLDS.where(hold.c.released_at.is_(None))


def list_holds(db: Connection, *, active_only: bool = False) -> list[StoredHold]:
    """Return the holds, newest first."""
    return [_to_hold(row) for row in db.execute(_ACTIVE_HOLDS if active_only else _HOLDS).all()]


def _to_hold(row: Row[Any]) -> StoredHold:
    return StoredHold(
        hold=Hold(id=HoldId(row.id), matter=row.matter, scope=_to_scope(row.scope)),
        reason=row.reason,
        placed_at=row.placed_at,
        placed_by=row.placed_by,
        answer=row.answer or {},
        released_at=row.released_at,
        released_by=row.released_by,
        release_reason=row.release_reason,
    )


def _to_scope(scope: Mapping[str, Any]) -> HoldScope:
    return HoldScope(
        ids=tuple(scope.get("ids", ())),
        owners=tuple(scope.get("owners", ())),
        projects=tuple(scope.get("projects", ())),
        tags=tuple(
            TagSelector(key=one["key"], operator=one["operator"], values=tuple(one.get("values", ())))
            for one in scope.get("tags", ())
        ),
    )


def active_holds(db: Connection) -> tuple[Hold, ...]:
    """Return every hold that stands."""
    return tuple(stored.hold for stored in list_holds(db, active_only=True))


def circumstances(db: Connection, thread_ids: Collection[str], *, with_holds: bool = True) -> Circumstances:
    """Read what bears on these threads beside policies, in the caller's snapshot."""
    ids = sorted(thread_ids)
    return Circumstances(
        holds=active_holds(db) if with_holds else (),
        erasures=_erasures_of(db, ids),
        notices=_notices_of(db, ids),
    )


_ERASURES_OF = (
    select(erasure.c.at, erasure_thread.c.thread_id)
    .join(erasure_thread, erasure_thread.c.erasure_id == erasure.c.id)
    .where(among(erasure_thread.c.thread_id, "ids"))
)
_NOTICES_OF = select(notice).where(among(notice.c.thread_id, "ids")).order_by(notice.c.at)


def _erasures_of(db: Connection, ids: Sequence[str]) -> tuple[Erasure, ...]:
    by_instant: dict[datetime, list[str]] = {}
    for at, thread_id in db.execute(_ERASURES_OF, {"ids": ids}).all():
        by_instant.setdefault(at, []).append(thread_id)
    return tuple(Erasure(at=at, ids=tuple(sorted(named))) for at, named in sorted(by_instant.items()))


def _notices_of(db: Connection, ids: Sequence[str]) -> dict[ThreadId, tuple[Notice, ...]]:
    found: dict[ThreadId, tuple[Notice, ...]] = {}
    for row in db.execute(_NOTICES_OF, {"ids": ids}).all():
        thread_id = ThreadId(row.thread_id)
        one = Notice(thread_id=thread_id, at=row.at, promised=row.promised)
        found[thread_id] = (*found.get(thread_id, ()), one)
    return found


def orders_since(db: Connection, instant: datetime) -> list[Order]:
    """Return the orders that still cover what was registered at that instant."""
    rows = db.execute(select(erasure).where(erasure.c.at >= instant).order_by(erasure.c.id))
    return [
        Order(
            id=row.id,
            erasure=Erasure(at=row.at, owner=row.owner, ids=tuple(row.ids)),
            projects=None if row.projects is None else frozenset(row.projects),
        )
        for row in rows
    ]


def cover(db: Connection, erasure_id: str, thread_id: str) -> None:
    """Let an order cover one more thread."""
    db.execute(insert(erasure_thread).values(erasure_id=erasure_id, thread_id=thread_id))


def threads_of_erasure(db: Connection, erasure_id: str) -> list[str]:
    """Return the ids of the threads that an order covers."""
    query = select(erasure_thread.c.thread_id).where(erasure_thread.c.erasure_id == erasure_id)
    return list(db.execute(query.order_by(erasure_thread.c.thread_id)).scalars())


def holds_named(db: Connection, names: Collection[str]) -> list[StoredHold]:
    """Return holds by id or matter."""
    wanted = sorted(names)
    query = select(hold).where(or_(hold.c.id.in_(wanted), hold.c.matter.in_(wanted)))
    return [_to_hold(row) for row in db.execute(query.order_by(hold.c.id))]
