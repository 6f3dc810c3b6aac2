"""Settle: grade what was seen, and write outcome and entries in groups, guarded by the fence.

DANGER. A state written here is what people believe. Every grade comes from `verdict.judge`; a claim whose
fence moved on changes nothing but leaves a `delete.late_result` entry; entries are the transaction's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.flows.decide import bundle_in_force, schedule_of
from worker.flows.desk import Answered, Settlement
from worker.flows.observed import kept_evidence, kept_observation
from worker.model.chosen import ChosenChild
from worker.model.clock import Clock, rfc3339
from worker.model.evidence import Class, Control, Grade, Observation
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState, Stage
from worker.policy.document import Bundle
from worker.store import intents, log, protections, references, standing, threads, work
from worker.store.engine import Database
from worker.store.moves import ItemMove, ThreadMove, move_items, move_threads
from worker.store.standing import Standing
from worker.telemetry import log as logger
from worker.telemetry import raise_alert
from worker.telemetry.meters import count

# Only these have their end before them.
WORKABLE = frozenset({ThreadState.LIVE, ThreadState.ACKNOWLEDGED})
_PROVEN = frozenset({ThreadState.DELETED, ThreadState.ABSENT})
# A conversation of a thousand items makes thousands of requests; the DELETE and what came after it are last.
_MOST_IDS = 10
# Nothing was deleted and nothing read: such a pass leaves no entry.
_SILENT = frozenset({Class.THROTTLED, Class.NONE})


def record_answers(
    database: Database, answers: Sequence[Answered], *, actor: str, clock: Clock
) -> list[None]:
    """Commit what came back to DELETEs, so that a hold can tell and a crash loses little."""
    now = clock.now()
    rows = {
        (one.item.id, one.item.fence, one.stage.value): intents.Answer(
            item_id=one.item.id,
            fence=one.item.fence,
            stage=one.stage,
            seen=one.answer.seen,
            observation=kept_observation(one.answer),
            children_deleted=one.children_deleted,
        )
        for one in answers
    }
    with database.write() as db:
        late = {
            (one.item_id, one.fence, one.stage.value) for one in intents.answer(db, list(rows.values()), now)
        }
        for one in answers:
            if (one.item.id, one.item.fence, one.stage.value) not in late:
                references.answer(db, one.item.thread_id, one.chosen)
        sent = [one for one in answers if one.answer.seen is not Class.UNSENT]
        log.append(db, [_answered_entry(one, late, now, actor) for one in sent])
    return [None] * len(answers)


def _answered_entry(one: Answered, late: set[tuple[str, int, str]], now: datetime, actor: str) -> Entry:
    key = (one.item.id, one.item.fence, one.stage.value)
    if key in late:
        return bodies.delete_late_result(
            one.thread,
            item=one.item.id,
            fence=one.item.fence,
            stage=one.stage,
            late=one.answer,
            at=now,
            actor=actor,
        )
    return bodies.delete_answered(
        one.thread,
        item=one.item.id,
        fence=one.item.fence,
        stage=one.stage,
        answer=one.answer,
        at=now,
        actor=actor,
    )


def settle(
    database: Database,
    settlements: Sequence[Settlement],
    *,
    actor: str,
    clock: Clock,
    reverify_after: timedelta,
) -> list[bool]:
    """Write a group of settlements in one short transaction; False where the lease was lost.

    What is called deleted is read again after ``reverify_after``.
    """
    now = clock.now()
    told: dict[str, bool] = {}
    done = _Done()
    with database.write() as db:
        waits_from = work.time_of_waits(db, now)
        # Threads first, then items, each in order: everybody who takes both does so.
        stands = standing.lock_standing(db, [one.item.thread_id for one in settlements])
        owned = work.locked(db, [one.item for one in settlements])
        bundle = bundle_in_force(db)
        for one in settlements:
            before = stands[one.item.thread_id]
            writer = _Writer(
                db=db,
                one=one,
                before=before,
                now=now,
                actor=actor,
                waits_from=waits_from,
                reverify_after=reverify_after,
                bundle=bundle,
            )
            told[one.item.id] = one.item.id in owned and before.state in WORKABLE
            if told[one.item.id]:
                writer.settle(done)
                continue
            if before.state not in WORKABLE:
                # Withdrawn meanwhile: a thread has one end, and a late look does not change it.
                _cancel(db, one, before, now)
            done.entries += writer.late()
        move_items(db, done.items, now)
        indices = log.append(db, done.entries)
        # Their rows are this transaction's already, so no lock is waited for behind the log's head.
        move_threads(db, done.moves(indices))
        for thread_id, position in done.graded_in_place:
            threads.set_entry(db, thread_id, indices[position])
    for one in (written for written in settlements if told[written.item.id]):
        _say(one, stands[one.item.thread_id], now, new=one.item.thread_id in done.graded)
    return [told[one.item.id] for one in settlements]


@dataclass(slots=True, kw_only=True)
class _Done:
    """What a group comes to: entries, where items and threads go, and which entry is a thread's grade."""

    entries: list[Entry] = field(default_factory=list)
    items: list[ItemMove] = field(default_factory=list)
    threads: list[ThreadMove] = field(default_factory=list)
    graded: dict[str, int] = field(default_factory=dict)

    def moves(self, indices: range) -> list[ThreadMove]:
        """Return where the threads go, each naming the entry of its grade in its evidence."""
        return [
            one.naming(indices[self.graded[one.thread_id]]) if one.thread_id in self.graded else one
            for one in self.threads
        ]

    @property
    def graded_in_place(self) -> list[tuple[str, int]]:
        """The threads that have a new grade and go nowhere, each with the position of its entry."""
        moved = {one.thread_id for one in self.threads}
        return [(key, position) for key, position in self.graded.items() if key not in moved]


def _cancel(db: Connection, one: Settlement, before: Standing, now: datetime) -> None:
    reason = f"the thread is {before.state.value}"
    work.settle(db, one.item, ItemState.CANCELLED, now=now, reason=reason)


def _move_item(one: Settlement, waits_from: datetime) -> ItemMove:
    verdict = one.verdict
    return ItemMove(
        item=one.item,
        state=verdict.state,
        next_at=waits_from + verdict.wait if verdict.wait is not None else None,
        reason=verdict.reason,
        grade=verdict.grade,
        counters={"reads": verdict.reads, "rereads": verdict.rereads, "rounds": one.rounds},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Writes one settlement that owns its item."""

    db: Connection
    one: Settlement
    before: Standing
    now: datetime
    actor: str
    waits_from: datetime
    reverify_after: timedelta
    bundle: Bundle

    def settle(self, done: _Done) -> None:
        """Add what this settlement comes to."""
        one = self.one
        done.items.append(_move_item(one, self.waits_from))
        references.note(self.db, one.item.thread_id, one.told)
        if one.younger_than_registered is not None:
            self._correct(one.younger_than_registered)
        if one.verdict.thread_state is not None:
            done.threads.append(self._move_thread(one.verdict.thread_state))
        done.entries += self.reads()
        grade = self.grade()
        if grade is not None:
            done.graded[one.item.thread_id] = len(done.entries)
            done.entries.append(grade)

    def _move_thread(self, state: ThreadState) -> ThreadMove:
        """Return where the thread goes, with what was seen."""
        one, verdict = self.one, self.one.verdict
        evidence = kept_evidence(
            self.before.evidence, verdict.grade, self._attempts(), one.observations, self._chosen()
        )
        return ThreadMove(
            thread_id=one.thread.id,
            state=state,
            grade=verdict.grade,
            evidence=evidence if evidence["grade"] else None,
            reason=verdict.reason if verdict.state is ItemState.PARKED else None,
            reverify_at=self.waits_from + self.reverify_after if state is ThreadState.DELETED else None,
        )

    def _attempts(self) -> int:
        return sum(tried.saw.armed for tried in self.one.tried)

    def _chosen(self) -> Sequence[ChosenChild]:
        if not self.before.has_children:
            return ()
        return references.chosen_of(self.db, [self.one.item.thread_id]).get(self.one.item.thread_id, ())

    def _correct(self, created_at: datetime) -> None:
        # As it stands now: it may have been changed since it was claimed.
        stored = threads.get(self.db, self.one.item.thread_id)
        assert stored is not None  # noqa: S101 - its row is locked
        thread = replace(stored.thread, created_at=created_at)
        bearing = protections.circumstances(self.db, [thread.id], with_holds=False)
        schedule = schedule_of(thread, bundle=self.bundle, circumstances=bearing, now=self.now)
        threads.correct_created_at(self.db, thread.id, created_at, schedule)

    def reads(self) -> list[Entry]:
        """Return the entries of what was read in this pass."""
        one, entries = self.one, list[Entry]()
        if one.younger_than_registered is not None and one.thread.created_at is not None:
            change = (rfc3339(one.thread.created_at), rfc3339(one.younger_than_registered))
            entries.append(
                bodies.thread_changed(
                    one.thread, changes={"created_at": change}, at=self.now, actor=self.actor
                )
            )
        if one.preread is not None and one.preread.seen not in _SILENT:
            entries.append(
                bodies.thread_preread(
                    one.thread,
                    seen=one.preread,
                    at=self.now,
                    actor=self.actor,
                    item=one.item.id,
                    fence=one.item.fence,
                )
            )
        for seen, support in one.rereads:
            entries.append(
                bodies.thread_reread(
                    one.thread,
                    seen=seen,
                    control=support.control,
                    at=self.now,
                    actor=self.actor,
                    item=one.item.id,
                    fence=one.item.fence,
                )
            )
            if support.observation is not None:
                entries.append(self._control(one.thread.kind, support.control, support.observation))
        for kind, support in one.child_controls:
            if support.observation is not None:
                entries.append(self._control(kind, support.control, support.observation))
        return entries

    def _control(self, kind: Kind, control: Control, seen: Observation) -> Entry:
        return bodies.control_probed(
            self.one.thread.project,
            kind=kind,
            control=control,
            seen=[seen],
            supports=[self.one.thread.id],
            at=self.now,
            actor=self.actor,
        )

    def grade(self) -> Entry | None:
        """Return the grade's entry where the grade is new."""
        one, graded = self.one, self.one.verdict.grade
        if graded is None or (graded is self.before.grade and one.verdict.state is ItemState.WAITING):
            return None
        body = bodies.Graded(
            item=one.item.id,
            fence=one.item.fence,
            sweep=one.item.sweep_id,
            policy=one.item.policy,
            bundle=self.bundle.digest,
            grade=graded,
            tried=one.tried,
            observations=one.observations,
            deletion_semantics=one.deletion_semantics,
            attempts=self._attempts(),
            credential=one.credential,
            chosen=self._chosen(),
        )
        return bodies.thread_graded(one.thread, body, at=self.now, actor=self.actor)

    def late(self) -> list[Entry]:
        """Return the entry of a result that came after the fence had moved on; it changes nothing.

        Whoever saw nothing itself has none: what earlier claims saw is in their own entries.
        """
        one = self.one
        if not one.seen:
            return []
        return [
            bodies.delete_late_result(
                one.thread,
                item=one.item.id,
                fence=one.item.fence,
                stage=Stage.CONTAINER,
                late=one.seen[-1],
                at=self.now,
                actor=self.actor,
            )
        ]


def _say(one: Settlement, before: Standing, now: datetime, *, new: bool) -> None:
    """Tell and count what was committed: a log that cannot be written makes none of it undone."""
    with suppress(Exception):
        _tell(one)
    _count(one, before, now, new=new)


def _count(one: Settlement, before: Standing, now: datetime, *, new: bool) -> None:
    """Count what was committed: each new grade, and how long after its date a thread was proven gone."""
    grade = one.verdict.grade
    if new and grade is not None:
        count(lambda to: to.grades.labels(kind=one.thread.kind.value, grade=grade.value).inc())
    if one.verdict.thread_state in _PROVEN and before.evaluate_at is not None:
        seconds = max(0.0, (now - before.evaluate_at).total_seconds())
        count(lambda to: to.due_to_proven.observe(seconds))


def _tell(one: Settlement) -> None:
    """Log one canonical line per thread outcome; alert on what a person must look at."""
    verdict = one.verdict
    facts_told = {
        "thread": one.thread.id,
        "project": one.thread.project,
        "kind": one.thread.kind.value,
        "item": one.item.id,
        "fence": one.item.fence,
        "sweep": one.item.sweep_id,
        "policy": one.item.policy,
        # The provider's own names of the requests, in the order in which they were sent.
        "provider_request_ids": [seen.request_id for seen in one.observations if seen.request_id][
            -_MOST_IDS:
        ],
        "state": verdict.state.value,
        "grade": verdict.grade.value if verdict.grade else None,
        "reason": verdict.reason,
    }
    logger().info("item.settled", **facts_told)
    if verdict.grade is Grade.STILL_PRESENT or verdict.thread_state is ThreadState.PARKED:
        raise_alert("thread.parked", **facts_told)
