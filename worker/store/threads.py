"""Rows of threads: register, look, list, and the stored date at which a thread must be looked at again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, String, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from worker.model.evidence import Grade
from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread, ThreadState
from worker.model.work import OPEN_ITEM_STATES
from worker.store import references
from worker.store.among import among
from worker.store.inserting import insert_new
from worker.store.tables import thread, work_item
from worker.store.thread_rows import to_thread

# SQLite allows a bounded number of parameters in one statement.
_IDS_AT_ONCE = 500
_NOWHERE = Account(provider="", base_url="")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredThread:
    """A thread and what is kept beside it. ``evidence`` is the API's evidence object, or None."""

    thread: Thread
    evaluate_at: datetime | None = None
    due_policy: str | None = None
    evidence: Mapping[str, Any] | None = None
    grade: Grade | None = None
    reason: str | None = None
    version: int = 1
    retried_at: datetime | None = None
    accepted_at: datetime | None = None
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a thread must be looked at again, and in whose sweep; computed under bundle ``under``."""

    evaluate_at: datetime | None
    due_policy: str | None
    under: str


def to_stored(row: Row[Any]) -> StoredThread:
    """Turn a row into the thread and what is kept beside it."""
    return StoredThread(
        thread=to_thread(row),
        evaluate_at=row.evaluate_at,
        due_policy=row.due_policy,
        evidence=row.evidence,
        grade=Grade(row.grade) if row.grade else None,
        reason=row.reason,
        version=row.version,
        retried_at=row.retried_at,
        accepted_at=row.accepted_at,
        children=tuple(row.children),
    )


def as_new(new: Thread, schedule: Schedule, *, children: Sequence[str] = ()) -> StoredThread:
    """Return a thread as it stands once it is inserted."""
    return StoredThread(
        thread=new,
        evaluate_at=schedule.evaluate_at,
        due_policy=schedule.due_policy,
        children=tuple(children),
    )


def add(db: Connection, new: Thread, schedule: Schedule, *, children: Sequence[str] = ()) -> bool:
    """Insert a thread; False when the natural key, or the provider object, is registered already."""
    return bool(add_many(db, [as_new(new, schedule, children=children)], under=schedule.under))


def add_many(db: Connection, new: Sequence[StoredThread], *, under: str) -> set[str]:
    """Insert threads whose dates were computed under one bundle; returns the ids of those that went in.

    One whose natural key or provider object is registered already is left out, also where another
    transaction registers it at this moment: the statement waits for that one's end. They are inserted in the
    order of their provider objects, which is one order for both unique indexes, so that no two transactions
    wait for each other, whichever projects their threads name.
    """
    ordered = sorted(new, key=lambda one: _object_of(one.thread))
    added = insert_new(db, thread.c.id, [_values(one, under) for one in ordered])
    references.add_many(db, {one.thread.id: one.children for one in new if one.thread.id in added})
    return added


def _object_of(new: Thread) -> tuple[str, ...]:
    """Return the object at its provider, then the project: what sorts by it sorts by either unique index.

    Rows that one index refuses agree in the account too: a project has one account under a bundle, and
    whoever inserts holds the bundle in force until the commit.
    """
    account = new.account or _NOWHERE
    return (
        account.provider,
        account.base_url,
        account.organization,
        account.provider_project,
        new.kind.value,
        new.external_id,
        new.project,
    )


def _values(one: StoredThread, under: str) -> dict[str, Any]:
    new = one.thread
    account = new.account or _NOWHERE
    return {
        "id": new.id,
        "kind": new.kind.value,
        "external_id": new.external_id,
        "project": new.project,
        "owner": new.owner,
        "tags": dict(new.tags),
        "ttl": new.ttl,
        "created_at": new.created_at,
        "last_activity_at": new.last_activity_at,
        "registered_at": new.registered_at,
        "state": new.state.value,
        "provider": account.provider,
        "base_url": account.base_url,
        "organization": account.organization,
        "provider_project": account.provider_project,
        "children": list(one.children),
        "evaluate_at": one.evaluate_at,
        "due_policy": one.due_policy,
        "evaluated_under": under,
    }


def get(db: Connection, thread_id: str, *, lock: bool = False) -> StoredThread | None:
    """Return one thread by our id, with its row locked where the caller moves it."""
    query = select(thread).where(thread.c.id == thread_id)
    row = db.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else to_stored(row)


def by_natural_keys(
    db: Connection, keys: Collection[tuple[str, str, str]]
) -> dict[tuple[str, str, str], StoredThread]:
    """Return the threads that producers' keys (project, kind, external id) name."""
    groups: dict[tuple[str, str], set[str]] = {}
    for project, kind, external_id in keys:
        groups.setdefault((project, kind), set()).add(external_id)
    found: dict[tuple[str, str, str], StoredThread] = {}
    for (project, kind), ids in sorted(groups.items()):
        for some in _named(db, thread.c.external_id, sorted(ids)):
            query = select(thread).where(thread.c.project == project, thread.c.kind == kind, some)
            found |= {(row.project, row.kind, row.external_id): to_stored(row) for row in db.execute(query)}
    return found


def _named(db: Connection, column: ColumnElement[str], ids: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that together say that the column is one of these.

    PostgreSQL takes all of them as one array: a parameter for each would be written and read one by one.
    """
    if db.dialect.name == "postgresql":
        yield column == func.any(bindparam("named", list(ids), type_=ARRAY(String)))
        return
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield column.in_(ids[start : start + _IDS_AT_ONCE])


def by_external_id(
    db: Connection, external_id: str, *, projects: Sequence[str] | None = None
) -> list[StoredThread]:
    """Return the threads with this external id; several projects may hold unlike accounts."""
    query = select(thread).where(thread.c.external_id == external_id)
    if projects is not None:
        query = query.where(thread.c.project.in_(projects))
    return [to_stored(row) for row in db.execute(query.order_by(thread.c.id))]


_MANY = select(thread).where(among(thread.c.id, "ids")).order_by(thread.c.id)
# The weaker lock lets another transaction insert rows that refer to the thread.
_MANY_LOCKED = _MANY.with_for_update(key_share=True)


def many(db: Connection, ids: Collection[str], *, lock: bool = False) -> dict[str, StoredThread]:
    """Return threads by our ids; where the caller moves them, with their rows locked in order."""
    rows = db.execute(_MANY_LOCKED if lock else _MANY, {"ids": sorted(ids)}).all()
    return {row.id: to_stored(row) for row in rows}


def registered_of(db: Connection, *, account: Account, kind: Kind, external_ids: Sequence[str]) -> set[str]:
    """Return which of these external ids any project has registered at this account."""
    known: set[str] = set()
    for start in range(0, len(external_ids), _IDS_AT_ONCE):
        query = select(thread.c.external_id).where(
            thread.c.provider == account.provider,
            thread.c.base_url == account.base_url,
            thread.c.organization == account.organization,
            thread.c.provider_project == account.provider_project,
            thread.c.kind == kind.value,
            thread.c.external_id.in_(external_ids[start : start + _IDS_AT_ONCE]),
        )
        known.update(db.execute(query).scalars())
    return known


def candidates(db: Connection, *, policy: str, now: datetime, after: str, limit: int) -> list[StoredThread]:
    """Return live threads whose stored date has come in this policy's sweep and that nobody works on."""
    open_item = (
        select(work_item.c.id)
        .where(work_item.c.thread_id == thread.c.id, work_item.c.state.in_(OPEN_ITEM_STATES))
        .exists()
    )
    query = (
        select(thread)
        .where(
            thread.c.state == ThreadState.LIVE,
            thread.c.due_policy == policy,
            thread.c.evaluate_at <= now,
            thread.c.id > after,
            ~open_item,
        )
        .order_by(thread.c.id)
        .limit(limit)
    )
    return [to_stored(row) for row in db.execute(query)]


def reschedule(db: Connection, schedules: Mapping[ThreadId, Schedule]) -> None:
    """Write new dates for threads."""
    for thread_id, schedule in schedules.items():
        db.execute(
            update(thread)
            .where(thread.c.id == thread_id)
            .values(
                evaluate_at=schedule.evaluate_at,
                due_policy=schedule.due_policy,
                evaluated_under=schedule.under,
            )
        )


def population(db: Connection, clause: ColumnElement[bool]) -> int:
    """Count live threads that match, whatever their age."""
    query = select(func.count()).select_from(thread).where(thread.c.state == ThreadState.LIVE, clause)
    return db.execute(query).scalar_one()


def set_state(
    db: Connection,
    thread_id: str,
    state: ThreadState,
    *,
    grade: Grade | None = None,
    evidence: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    """Move a thread; grade and evidence are replaced only where given."""
    values: dict[str, Any] = {"state": state.value, "reason": reason, "version": thread.c.version + 1}
    if grade is not None:
        values["grade"] = grade.value
    if evidence is not None:
        values["evidence"] = dict(evidence)
    db.execute(update(thread).where(thread.c.id == thread_id).values(values))


def set_entry(db: Connection, thread_id: str, index: int) -> None:
    """Name the entry of the newest grade in the evidence; the row is the caller's already."""
    row = db.execute(select(thread.c.evidence).where(thread.c.id == thread_id)).scalar_one_or_none()
    if row:
        db.execute(update(thread).where(thread.c.id == thread_id).values(evidence={**row, "entry": index}))


def correct_created_at(db: Connection, thread_id: str, created_at: datetime, schedule: Schedule) -> None:
    """Believe the provider where it says that a thread is younger than was registered."""
    db.execute(
        update(thread)
        .where(thread.c.id == thread_id)
        .values(
            created_at=created_at,
            evaluate_at=schedule.evaluate_at,
            due_policy=schedule.due_policy,
            evaluated_under=schedule.under,
            version=thread.c.version + 1,
        )
    )


def change(db: Connection, changed: Thread, schedule: Schedule) -> None:
    """Write what a producer changed, with the dates that follow; the row is the caller's already."""
    db.execute(
        update(thread)
        .where(thread.c.id == changed.id)
        .values(
            owner=changed.owner,
            tags=dict(changed.tags),
            ttl=changed.ttl,
            created_at=changed.created_at,
            last_activity_at=changed.last_activity_at,
            evaluate_at=schedule.evaluate_at,
            due_policy=schedule.due_policy,
            evaluated_under=schedule.under,
            version=thread.c.version + 1,
        )
    )


def counts_by_state(db: Connection) -> dict[str, int]:
    """Count threads by state."""
    rows = db.execute(select(thread.c.state, func.count()).group_by(thread.c.state))
    return {state: int(count) for state, count in rows}


def live_matching_ids(db: Connection, ids: Collection[str]) -> list[StoredThread]:
    """Return threads that ours or external ids name."""
    if not ids:
        return []
    wanted = sorted(ids)
    query = select(thread).where(or_(thread.c.id.in_(wanted), thread.c.external_id.in_(wanted)))
    return [to_stored(row) for row in db.execute(query.order_by(thread.c.id))]


def of_owner(db: Connection, owner: str) -> list[StoredThread]:
    """Return every thread of exactly this owner."""
    return [
        to_stored(row)
        for row in db.execute(select(thread).where(thread.c.owner == owner).order_by(thread.c.id))
    ]
