"""Change and touch: what a producer may say anew of a registered thread, each time with an entry.

DANGER. A change decides when a thread goes and which holds cover it. So it takes `*` FOR SHARE, where a
hold comes before or after it as a whole, and the projects' rows FOR UPDATE, so that nothing is armed
meanwhile; and it is refused where a DELETE may have left.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.flows.decide import bundle_in_force, schedule_of
from worker.flows.in_flight import may_have_left, wait_for_armed
from worker.flows.register import printed_ttl
from worker.flows.withdraw import InFlight, NotLive
from worker.model.clock import Clock, rfc3339
from worker.model.errors import Invalid, NotFound, TenureError
from worker.model.thread import Thread, ThreadState
from worker.model.work import Lease
from worker.policy.ages import CLOCK_SKEW, EARLIEST
from worker.policy.document import Bundle
from worker.policy.permit import (
    Retained,
    refuse_longer_ttl,
    refuse_loss_of_floor,
    refuse_loss_of_hold,
    refuse_second_creation,
)
from worker.store import attempts, log, protections, threads
from worker.store.engine import Database
from worker.store.threads import StoredThread


class Stale(TenureError):
    """The thread was changed since the caller read it."""

    code = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be set; ``given`` names the fields that count, so that a TTL can be taken away."""

    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    ttl: str | None = None
    created_at: datetime | None = None
    given: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """How touching one thread ended: the thread as it stands, or why it was refused."""

    stored: StoredThread
    changed: bool = False
    refused: TenureError | None = None


def change(
    database: Database,
    thread_id: str,
    wanted: Change,
    *,
    versions: Collection[int] | None,
    actor: str,
    clock: Clock,
    lease: Lease,
) -> StoredThread:
    """Change a live thread that stands at one of these versions (None: at any).

    Raises NotFound, Stale, NotLive, InFlight, Held, Retained, BeyondPolicy and Invalid.
    """
    _wait(database, [thread_id], clock=clock, lease=lease)
    now = clock.now()
    with database.write() as db:
        desk = _Desk.open(db, [thread_id], now=now, actor=actor)
        stored = desk.found.get(thread_id)
        if stored is None:
            raise NotFound("No thread has this id.", repair="`tenure threads list` shows them.")
        if versions is not None and stored.version not in versions:
            problem = "The thread was changed since it was read."
            raise Stale(problem, repair="Read it again, and send its new ETag in If-Match.")
        desk.refuse_unchangeable(stored)
        after = _changed(stored.thread, wanted)
        desk.refuse(stored.thread, after)
        log.append(db, desk.write(stored, after))
        return _again(db, thread_id)


def touch(
    database: Database,
    thread_ids: Sequence[str],
    *,
    at: datetime | None,
    actor: str,
    clock: Clock,
    lease: Lease,
) -> dict[str, Touched]:
    """Note activity at threads, in one transaction; one that is refused blocks no other. It never goes back.

    Raises Invalid for an instant that lies ahead or before any provider.
    """
    if at is not None and not EARLIEST <= at <= clock.now() + CLOCK_SKEW:
        problem = "Activity lies between 2020 and now."
        raise Invalid(problem, repair="Leave `at` out: then it is now.", pointer="/at", code="incredible_at")
    _wait(database, thread_ids, clock=clock, lease=lease)
    now = clock.now()
    told: dict[str, Touched] = {}
    with database.write() as db:
        desk = _Desk.open(db, thread_ids, now=now, actor=actor)
        entries: list[Entry] = []
        for thread_id, stored in desk.found.items():
            active = max(at or now, stored.thread.last_activity_at or at or now)
            after = replace(stored.thread, last_activity_at=active)
            try:
                desk.refuse_unchangeable(stored)
                # Where no date was known, an old one could end a floor that counts from activity.
                refuse_loss_of_floor(stored.thread, after, desk.bundle, now)
            except (InFlight, NotLive, Retained) as e:
                told[thread_id] = Touched(stored=stored, refused=e)
                continue
            written = desk.write(stored, after)
            entries += written
            told[thread_id] = Touched(stored=stored, changed=bool(written))
        log.append(db, entries)
        again = threads.many(db, list(told))
    return {key: replace(one, stored=again[key]) for key, one in told.items()}


def _wait(database: Database, thread_ids: Sequence[str], *, clock: Clock, lease: Lease) -> None:
    with database.read() as db:
        keys = attempts.unsettled_keys(db, thread_ids)
    wait_for_armed(database, keys, clock=clock, lease=lease)


def _again(db: Connection, thread_id: str) -> StoredThread:
    found = threads.get(db, thread_id)
    assert found is not None  # noqa: S101 - threads are never removed
    return found


def _changed(thread: Thread, wanted: Change) -> Thread:
    values: dict[str, Any] = {name: getattr(wanted, name) for name in wanted.given}
    if "ttl" in values:
        values["ttl"] = printed_ttl(wanted.ttl)
    return replace(thread, **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """What one transaction of changes works with; every row in ``found`` is locked."""

    db: Connection
    now: datetime
    actor: str
    bundle: Bundle
    found: Mapping[str, StoredThread]
    in_flight: frozenset[str]

    @classmethod
    def open(cls, db: Connection, thread_ids: Sequence[str], *, now: datetime, actor: str) -> _Desk:
        """Take what must stand still, in the order in which everybody takes it, and then read."""
        # Shared: a date under an older bundle must not outlast the newer one's recompute.
        bundle = bundle_in_force(db, share=True)
        protections.share(db, ())
        protections.take(db, {one.thread.project for one in threads.many(db, thread_ids).values()})
        found = threads.many(db, thread_ids, lock=True)
        keys = attempts.unsettled_keys(db, list(found))
        left = {one.thread_id for one in attempts.attempts_named(db, keys) if may_have_left(one)}
        return cls(db=db, now=now, actor=actor, bundle=bundle, found=found, in_flight=frozenset(left))

    def refuse_unchangeable(self, stored: StoredThread) -> None:
        """Raise InFlight or NotLive."""
        if stored.thread.state is not ThreadState.LIVE:
            problem = f"The thread is {stored.thread.state.value}."
            raise NotLive(problem, repair="Only live threads can be changed.")
        if stored.thread.id in self.in_flight:
            problem = "A DELETE of this thread was armed; it may be gone."
            raise InFlight(problem, repair="Look at its evidence in a moment.")

    def refuse(self, before: Thread, after: Thread) -> None:
        """Refuse a change that would end a protection, outlast a rule, or date a thread twice."""
        refuse_loss_of_hold(before, after, protections.active_holds(self.db))
        refuse_loss_of_floor(before, after, self.bundle, self.now)
        if before.created_at != after.created_at:
            refuse_second_creation(before, after, self.now)
        if before.ttl != after.ttl:
            refuse_longer_ttl(before, after, self.bundle)

    def write(self, stored: StoredThread, after: Thread) -> list[Entry]:
        """Write what differs, with new dates; returns the entry, or nothing where nothing differs."""
        changes = _told(stored.thread, after)
        if not changes:
            return []
        bearing = protections.circumstances(self.db, [after.id], with_holds=False)
        schedule = schedule_of(after, bundle=self.bundle, circumstances=bearing, now=self.now)
        threads.change(self.db, after, schedule)
        return [bodies.thread_changed(stored.thread, changes=changes, at=self.now, actor=self.actor)]


def _told(before: Thread, after: Thread) -> dict[str, tuple[str | None, str | None]]:
    """Return what differs as texts, of tags those that differ."""
    pairs = {
        "owner": (before.owner, after.owner),
        "ttl": (before.ttl, after.ttl),
        "created_at": (_when(before.created_at), _when(after.created_at)),
        "last_activity_at": (_when(before.last_activity_at), _when(after.last_activity_at)),
        "tags": (_beside(before.tags, after.tags), _beside(after.tags, before.tags)),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _beside(tags: Mapping[str, str], others: Mapping[str, str]) -> str | None:
    own = {key: value for key, value in sorted(tags.items()) if others.get(key) != value}
    return json.dumps(own, ensure_ascii=False) if own else None


def _when(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None
