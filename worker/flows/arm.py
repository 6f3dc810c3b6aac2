"""Arm: decide again under the claim, and commit the intent before any DELETE leaves.

DANGER. This transaction is the last thing between a thread and its deletion. It takes the protection
rows FOR SHARE, so a hold or pause that has answered is seen here; it reads the threads, the bundle, the
holds, erasures and notices again; and only what is DUE in the very sweep that planned it, under a live
fence, is armed, and only while the log agrees with its anchors. Everything else is spared, or waits. No
permit is enough without this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.flows.compare import why_not_armed
from worker.flows.decide import bundle_in_force
from worker.flows.keeping import keeping
from worker.flows.observed import kept_observation
from worker.model.chosen import ChosenState, Kept, Told
from worker.model.clock import Clock
from worker.model.decision import Circumstances, Decision, Outcome
from worker.model.evidence import Children, Observation
from worker.model.thread import Thread
from worker.model.work import ItemState, Stage, WorkItem
from worker.policy.document import Bundle
from worker.policy.evaluate import decide
from worker.store import attempts, intents, log, protections, references, standing, work
from worker.store.attempts import ArmedBefore
from worker.store.engine import Database
from worker.store.protections import Shared
from worker.store.standing import ToDecide
from worker.telemetry.meters import Meters, count

_NEXT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a worker wants to send: one stage of one item, with what was seen before.

    ``chosen`` are the chosen children that the stage is about to delete, each read present just now;
    ``told`` is where every chosen child stands, for the container's stage.
    """

    item: WorkItem
    stage: Stage
    before: Observation
    children: Children = Children.NONE
    children_found: int = 0
    children_deleted: int = 0
    chosen: tuple[str, ...] = ()
    told: Mapping[str, Told] = field(default_factory=dict)

    @property
    def children_confirmed(self) -> int:
        """How many children are confirmed gone."""
        if self.told:
            return sum(state is ChosenState.CONFIRMED for state, _ in self.told.values())
        return self.children_found if self.children is Children.ALL else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Armed:
    """The intent is committed; the DELETE may leave until 5 s after ``at`` (monotonic seconds).

    ``kept`` are the chosen children that must not be deleted under it.
    """

    at: float
    decision: Decision
    kept: Mapping[str, Kept] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """The item is no longer to be deleted; it is settled as spared already."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNow:
    """Deletes are paused, the log is refused, or the project is gone: the item waits; nothing was decided."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLost:
    """Another worker holds the item by now; this one must not touch it any more."""


Verdict = Armed | Spared | NotNow | LeaseLost


def arm(database: Database, group: Sequence[Intent], *, actor: str, clock: Clock) -> list[Verdict]:
    """Arm a group in one short transaction; answers in the order of ``group``."""
    # Taken before the transaction: the 5 s in which the DELETE must leave then never stretch.
    at = clock.monotonic()
    thread_ids = [one.item.thread_id for one in group]
    with database.write() as db:
        shared = protections.share(db, {one.item.project for one in group})
        now = clock.now()
        database_time = work.time_of_waits(db, now)
        room = _Room(
            db=db,
            now=now,
            database_time=database_time,
            decided_at=min(now, database_time),
            at=at,
            actor=actor,
            bundle=bundle_in_force(db),
            bearing=protections.circumstances(db, thread_ids),
            refused=why_not_armed(db, now),
            owned=work.locked(db, [one.item for one in group]),
            threads=standing.to_decide(db, thread_ids),
            armed=attempts.armed_before(db, thread_ids),
            shared=shared,
        )
        judged = [_judge(room, one) for one in group]
        _count(room.outcomes)
        intents.arm(db, [armed for _, _, armed in judged if armed is not None], room.armed.keys)
        for one, (verdict, _, _) in zip(group, judged, strict=True):
            if isinstance(verdict, Armed):
                _arm_children(room, one, verdict)
        log.append(db, [entry for _, entry, _ in judged if entry is not None])
    return [verdict for verdict, _, _ in judged]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """Everything that was read under the protection rows."""

    db: Connection
    now: datetime
    database_time: datetime
    # A clock that runs ahead makes nothing due: the database's, where it has one, must agree.
    decided_at: datetime
    at: float
    actor: str
    bundle: Bundle
    bearing: Circumstances
    refused: str | None
    owned: set[str]
    threads: Mapping[str, ToDecide]
    armed: ArmedBefore
    shared: Mapping[str, Shared]
    # How often each outcome was decided, to be counted once for the group.
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def armed_at(self, thread_id: str) -> datetime:
        """Return when an attempt is armed now: after all others of its thread, and after its retry.

        Their order decides whether a second DELETE may leave, and clocks differ and are set back.
        """
        before = (self.armed.last.get(thread_id), self.threads[thread_id].retried_at)
        return max([self.database_time, *(at + _NEXT for at in before if at is not None)])


def _count(outcomes: Mapping[Outcome, int]) -> None:
    """Count what was decided for the threads of a group."""

    def tell(to: Meters) -> None:
        for outcome, number in outcomes.items():
            to.decisions.labels(outcome=outcome.value).inc(number)

    count(tell)


def _judge(room: _Room, one: Intent) -> tuple[Verdict, Entry | None, intents.Armed | None]:
    item = one.item
    stored = room.threads.get(item.thread_id)
    if item.id not in room.owned or stored is None:
        return LeaseLost(), None, None
    thread = stored.thread
    if room.refused is not None:
        # Holds that were placed after a backup are lost with it: nothing goes before a person has looked.
        return NotNow(reason=room.refused), None, None
    for scope in (protections.EVERYTHING, item.project):
        paused = room.shared[scope].paused
        if paused is not None:
            return NotNow(reason=f"deletes are paused: {paused}"), None, None
    project = room.bundle.projects.get(item.project)
    if project is None or project.account != thread.account:
        return NotNow(reason="the project's account changed"), None, None
    decision = decide(thread, bundle=room.bundle, circumstances=room.bearing, now=room.decided_at)
    room.outcomes[decision.outcome] += 1
    reason = _why_not(decision, item)
    if reason is not None:
        return _spare(room, one, thread, decision, reason)
    return _intend(room, one, thread, decision)


def _arm_children(room: _Room, one: Intent, armed: Armed) -> None:
    """Commit which chosen children may go now, and where the others stand."""
    kept = {child: (ChosenState.KEPT, reason) for child, reason in armed.kept.items()}
    references.arm(room.db, one.item.thread_id, set(one.chosen) - set(kept), room.now)
    references.note(room.db, one.item.thread_id, {**one.told, **kept})


def _why_not(decision: Decision, item: WorkItem) -> str | None:
    if decision.outcome is not Outcome.DUE:
        by = f" by {decision.decided_by}" if decision.decided_by else ""
        return f"{decision.outcome.value}{by}"
    if decision.swept_by != item.policy:
        return f"DUE in the sweep of {decision.swept_by}, not of {item.policy}"
    return None


def _spare(
    room: _Room, one: Intent, thread: Thread, decision: Decision, reason: str
) -> tuple[Verdict, Entry | None, None]:
    work.settle(room.db, one.item, ItemState.SPARED, now=room.now, reason=reason)
    entry = bodies.delete_spared(
        thread,
        item=one.item.id,
        fence=one.item.fence,
        decision=decision,
        reason=reason,
        children_deleted=one.children_deleted,
        at=room.now,
        actor=room.actor,
    )
    return Spared(reason=reason), entry, None


def _intend(
    room: _Room, one: Intent, thread: Thread, decision: Decision
) -> tuple[Verdict, Entry, intents.Armed]:
    item = one.item
    intent = bodies.Intent(
        item=item.id,
        fence=item.fence,
        stage=one.stage,
        sweep=item.sweep_id,
        policy=item.policy,
        decision=decision,
        before=one.before,
        protection_version=room.shared[item.project].version,
        children_found=one.children_found,
        children_confirmed=one.children_confirmed,
        attempt=item.attempts + 1,
    )
    armed = intents.Armed(
        item_id=item.id,
        fence=item.fence,
        stage=one.stage,
        thread_id=item.thread_id,
        project=item.project,
        armed_at=room.armed_at(item.thread_id),
        bundle=decision.bundle,
        before=one.before.seen,
        before_observation=kept_observation(one.before),
        children=one.children,
        children_found=one.children_found,
    )
    entry = bodies.delete_intended(thread, intent, at=room.now, actor=room.actor)
    kept = keeping(room.db, thread, one.chosen, room.bearing.holds).reasons if one.chosen else {}
    return Armed(at=room.at, decision=decision, kept=kept), entry, armed
