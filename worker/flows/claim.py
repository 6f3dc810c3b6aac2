"""Claim: take lease and fence of a batch, no larger than can be sent well within the lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from worker.flows.decide import bundle_in_force
from worker.model.chosen import ChosenChild
from worker.model.clock import Clock
from worker.model.ids import ThreadId, jitter
from worker.model.work import Lease, WorkItem
from worker.policy.document import Bundle, Project
from worker.store import keys, references, rests, reverifying, starts, stops, threads, work
from worker.store.engine import Database
from worker.store.threads import StoredThread
from worker.store.work import EarlierAttempt

MOST_ITEMS = 200
LAST_CLAIM = "work.claimed"
# GET, DELETE, GET, and a share of the controls; a conversation needs more, and may come back for them.
_REQUESTS_PER_ITEM = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one worker may work on until ``ends`` (monotonic seconds of this process)."""

    credential: str
    items: Sequence[WorkItem] = ()
    threads: Mapping[ThreadId, StoredThread] = field(default_factory=dict)
    earlier: Mapping[ThreadId, Sequence[EarlierAttempt]] = field(default_factory=dict)
    projects: Mapping[str, Project] = field(default_factory=dict)
    bundle: Bundle
    stopped: frozenset[tuple[str, str]] = frozenset()
    throttled_rounds: int = 0
    chosen: Mapping[str, Sequence[ChosenChild]] = field(default_factory=dict)
    # The spans that registered its threads and planned its sweeps, by their ids; empty without traces.
    starts: Mapping[str, str] = field(default_factory=dict)
    lease: Lease
    begun: float

    @property
    def no_new_work_after(self) -> float:
        """Monotonic seconds after which nothing new is begun."""
        return self.begun + self.lease.batch_deadline.total_seconds()

    @property
    def nothing_leaves_after(self) -> float:
        """Monotonic seconds after which no request leaves."""
        return self.begun + self.lease.last_send.total_seconds()


def most_items(per_second: float, lease: Lease) -> int:
    """Return how many items a credential of this rate can work off within 0.4 of the lease."""
    requests = per_second * lease.batch_deadline.total_seconds()
    return max(1, min(MOST_ITEMS, int(requests / _REQUESTS_PER_ITEM)))


def claim(
    database: Database, credential: str, *, by: str, lease: Lease, clock: Clock, drains: int = 1
) -> Batch:
    """Claim what is ready for one credential: one short transaction; the batch may be empty.

    ``drains`` is how many may work for it at once: they share its rate.
    """
    # The worker's own limit starts before the statement, so it always ends before the lease does.
    begun = clock.monotonic()
    with database.write() as db:
        bundle = bundle_in_force(db)
        projects = {one.name: one for one in bundle.projects.values() if one.credential == credential}
        per_second = min((one.rate.limit * one.rate.share for one in projects.values()), default=1.0)
        items, until = work.claim(
            db,
            credential=credential,
            limit=most_items(per_second / drains, lease),
            lease=lease,
            by=by,
            now=clock.now(),
            turns=_turns(sorted(projects), jitter()),
        )
        if items:
            keys.note_fact(db, LAST_CLAIM, {"by": by}, until - lease.length)
        return Batch(
            credential=credential,
            items=_in_turns(items),
            threads={
                ThreadId(key): one for key, one in threads.many(db, [i.thread_id for i in items]).items()
            },
            earlier=work.earlier_attempts(db, items),
            projects=projects,
            bundle=bundle,
            stopped=frozenset(stops.stopped_pairs(db)),
            throttled_rounds=rests.rounds(db, credential),
            chosen=references.chosen_of(db, {one.thread_id for one in items}),
            starts=starts.of(db, {one.thread_id for one in items} | {one.sweep_id for one in items}),
            lease=lease,
            begun=begun,
        )


def _turns(names: Sequence[str], chance: float) -> Sequence[str]:
    """Return the projects beginning with any one of them, so that a small batch leaves none out for ever."""
    first = int(chance * len(names))
    return [*names[first:], *names[:first]]


def _in_turns(items: Sequence[WorkItem]) -> Sequence[WorkItem]:
    """Return the items with one of each project in turn: what is claimed first is deleted first."""
    by_project: dict[str, list[WorkItem]] = {}
    for one in items:
        by_project.setdefault(one.project, []).append(one)
    return [one for turn in zip_longest(*by_project.values()) for one in turn if one is not None]


def anything_ready(database: Database, clock: Clock) -> list[str]:
    """Look for credentials with something to claim or to read again; none that rests.

    A reader never disturbs a writer.
    """
    with database.read() as db:
        now = clock.now()
        ready = set(work.credentials_ready(db, now))
        waiting = reverifying.projects_to_reverify(db, work.time_of_waits(db, now))
        if waiting:
            projects = bundle_in_force(db).projects
            again = {projects[name].credential for name in waiting if name in projects}
            ready |= again - rests.resting(db, now).keys()
        return sorted(ready)
