"""Settle: grade what was seen, and write outcome and entries in groups, guarded by the fence.

DANGER. A state written here is what people believe. Every grade comes from `verdict.judge`; a claim whose
fence moved on changes nothing but leaves a `delete.late_result` entry; entries are the transaction's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

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
from worker.store import log, protections, references, reverifying, threads, work
from worker.store.engine import Database
from worker.store.threads import StoredThread
from worker.telemetry import log as logger
from worker.telemetry import raise_alert

# Only these have their end before them.
WORKABLE = frozenset({ThreadState.LIVE, ThreadState.ACKNOWLEDGED})
# Nothing was deleted and nothing read: such a pass leaves no entry.
_SILENT = frozenset({Class.THROTTLED, Class.NONE})


def record_answers(
    database: Database, answers: Sequence[Answered], *, actor: str, clock: Clock
) -> list[None]:
    """Commit what came back to DELETEs, so that a hold can tell and a crash loses little."""
    now = clock.now()
    rows = {
        (one.item.id, one.item.fence, one.stage.value): work.Answer(
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
            (one.item_id, one.fence, one.stage.value) for one in work.answer(db, list(rows.values()), now)
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
    graded: list[tuple[str, int]] = []
    entries: list[Entry] = []
    with database.write() as db:
        stored = threads.many(db, [one.item.thread_id for one in settlements], lock=True)
        for one in settlements:
            before = stored[one.item.thread_id]
            writer = _Writer(
                db=db, one=one, before=before, now=now, actor=actor, reverify_at=now + reverify_after
            )
            if before.thread.state not in WORKABLE:
                # Withdrawn meanwhile: a thread has one end, and a late look does not change it.
                told[one.item.id] = False
                _cancel(db, one, before, now)
                entries += writer.late()
                continue
            told[one.item.id] = _move_item(db, one, now)
            if not told[one.item.id]:
                entries += writer.late()
                continue
            references.note(db, one.item.thread_id, one.told)
            writer.move_thread()
            entries += writer.reads()
            grade_entry = writer.grade()
            if grade_entry is not None:
                graded.append((one.item.thread_id, len(entries)))
                entries.append(grade_entry)
        indices = log.append(db, entries)
        for thread_id, position in graded:
            threads.set_entry(db, thread_id, indices[position])
    for one in settlements:
        if told[one.item.id]:
            _tell(one)
    return [told[one.item.id] for one in settlements]


def _cancel(db: Session, one: Settlement, before: StoredThread, now: datetime) -> None:
    reason = f"the thread is {before.thread.state.value}"
    work.settle(db, one.item, ItemState.CANCELLED, now=now, reason=reason)


def _move_item(db: Session, one: Settlement, now: datetime) -> bool:
    verdict = one.verdict
    return work.settle(
        db,
        one.item,
        verdict.state,
        now=now,
        next_at=now + verdict.wait if verdict.wait is not None else None,
        reason=verdict.reason,
        grade=verdict.grade,
        counters={"reads": verdict.reads, "rereads": verdict.rereads, "rounds": one.rounds},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Writes one settlement that owns its item."""

    db: Session
    one: Settlement
    before: StoredThread
    now: datetime
    actor: str
    reverify_at: datetime

    def move_thread(self) -> None:
        """Move the thread where the verdict says so, and keep what was seen."""
        one, verdict = self.one, self.one.verdict
        if one.younger_than_registered is not None:
            self._correct(one.younger_than_registered)
        evidence = kept_evidence(
            self.before.evidence, verdict.grade, self._attempts(), one.observations, self._chosen()
        )
        if verdict.thread_state is not None:
            threads.set_state(
                self.db,
                one.thread.id,
                verdict.thread_state,
                grade=verdict.grade,
                evidence=evidence if evidence["grade"] else None,
                reason=verdict.reason if verdict.state is ItemState.PARKED else None,
            )
        if verdict.thread_state is ThreadState.DELETED:
            reverifying.plan(self.db, one.thread.id, self.reverify_at)

    def _attempts(self) -> int:
        return sum(tried.saw.armed for tried in self.one.tried)

    def _chosen(self) -> Sequence[ChosenChild]:
        if not self.before.children:
            return ()
        return references.chosen_of(self.db, [self.one.item.thread_id]).get(self.one.item.thread_id, ())

    def _correct(self, created_at: datetime) -> None:
        thread = replace(self.one.thread, created_at=created_at)
        bearing = protections.circumstances(self.db, [thread.id], with_holds=False)
        schedule = schedule_of(thread, bundle=bundle_in_force(self.db), circumstances=bearing, now=self.now)
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
            bundle=self.before_bundle(),
            grade=graded,
            tried=one.tried,
            observations=one.observations,
            deletion_semantics=one.deletion_semantics,
            attempts=self._attempts(),
            credential=one.credential,
            chosen=self._chosen(),
        )
        return bodies.thread_graded(one.thread, body, at=self.now, actor=self.actor)

    def before_bundle(self) -> str:
        """Return the digest of the bundle in force."""
        return bundle_in_force(self.db).digest

    def late(self) -> list[Entry]:
        """Return the entry of a result that came after the fence had moved on; it changes nothing."""
        one = self.one
        if not one.observations:
            return []
        return [
            bodies.delete_late_result(
                one.thread,
                item=one.item.id,
                fence=one.item.fence,
                stage=Stage.CONTAINER,
                late=one.observations[-1],
                at=self.now,
                actor=self.actor,
            )
        ]


def _tell(one: Settlement) -> None:
    """Log one canonical line per thread outcome; alert on what a person must look at."""
    verdict = one.verdict
    facts_told = {
        "thread": one.thread.id,
        "project": one.thread.project,
        "kind": one.thread.kind.value,
        "item": one.item.id,
        "policy": one.item.policy,
        "state": verdict.state.value,
        "grade": verdict.grade.value if verdict.grade else None,
        "reason": verdict.reason,
    }
    logger().info("item.settled", **facts_told)
    if verdict.grade is Grade.STILL_PRESENT or verdict.thread_state is ThreadState.PARKED:
        raise_alert("thread.parked", **facts_told)
