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
from worker.policy.document import Bundle
from worker.store import intents, log, outcomes, protections, references, threads, work
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
        late = {one.key for one in intents.answer(db, list(rows.values()), now)}
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
    with database.write() as db:
        stored = threads.many(db, [one.item.thread_id for one in settlements], lock=True)
        # Withdrawn meanwhile: a thread has one end, and a late look does not change it.
        ended = {key for key, one in stored.items() if one.thread.state not in WORKABLE}
        moves = [_move(one, stored[one.item.thread_id], now) for one in settlements]
        owned = work.settle(db, moves, now=now)
        entries: list[Entry] = []
        written: list[tuple[outcomes.Outcome, int | None]] = []
        room = _Room(
            db=db,
            now=now,
            actor=actor,
            reverify_at=now + reverify_after,
            bundle=bundle_in_force(db),
        )
        for one in settlements:
            writer = _Writer(room=room, one=one, before=stored[one.item.thread_id])
            told[one.item.id] = one.item.id in owned and one.item.thread_id not in ended
            if not told[one.item.id]:
                entries += writer.late()
                continue
            references.note(db, one.item.thread_id, one.told)
            writer.correct()
            entries += writer.reads()
            grade_entry = writer.grade()
            outcome = writer.outcome()
            if outcome is not None:
                written.append((outcome, len(entries) if grade_entry else None))
            entries += [grade_entry] if grade_entry else []
        indices = log.append(db, entries)
        # After the log, since evidence names the entry of its grade; the rows are ours already.
        outcomes.write(db, [_naming(one, indices, position) for one, position in written])
    for one in settlements:
        if told[one.item.id]:
            _tell(one)
    return [told[one.item.id] for one in settlements]


def _naming(one: outcomes.Outcome, indices: Sequence[int], position: int | None) -> outcomes.Outcome:
    """Name the entry of the grade in the evidence."""
    if position is None or one.evidence is None:
        return one
    return replace(one, evidence={**one.evidence, "entry": indices[position]})


def _move(one: Settlement, before: StoredThread, now: datetime) -> work.Move:
    state, verdict = before.thread.state, one.verdict
    if state not in WORKABLE:
        return work.Move(item=one.item, state=ItemState.CANCELLED, reason=f"the thread is {state.value}")
    return work.Move(
        item=one.item,
        state=verdict.state,
        next_at=now + verdict.wait if verdict.wait is not None else None,
        reason=verdict.reason,
        grade=verdict.grade,
        counters={"reads": verdict.reads, "rereads": verdict.rereads, "rounds": one.rounds},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What the settlements of a group share; ``bundle`` is the one in force."""

    db: Session
    now: datetime
    actor: str
    reverify_at: datetime
    bundle: Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Writes one settlement that owns its item."""

    room: _Room
    one: Settlement
    before: StoredThread

    def correct(self) -> None:
        """Believe the provider where it says that the thread is younger than registered."""
        if self.one.younger_than_registered is not None:
            self._correct(self.one.younger_than_registered)

    def outcome(self) -> outcomes.Outcome | None:
        """Return where the verdict moves the thread, with what was seen; None where it stays."""
        one, verdict = self.one, self.one.verdict
        if verdict.thread_state is None:
            return None
        evidence = kept_evidence(
            self.before.evidence, verdict.grade, self._attempts(), one.observations, self._chosen()
        )
        return outcomes.Outcome(
            thread_id=one.thread.id,
            state=verdict.thread_state,
            reason=verdict.reason if verdict.state is ItemState.PARKED else None,
            grade=verdict.grade,
            evidence=evidence if evidence["grade"] else None,
            reverify_at=self.room.reverify_at if verdict.thread_state is ThreadState.DELETED else None,
        )

    def _attempts(self) -> int:
        return sum(tried.saw.armed for tried in self.one.tried)

    def _chosen(self) -> Sequence[ChosenChild]:
        if not self.before.children:
            return ()
        return references.chosen_of(self.room.db, [self.one.item.thread_id]).get(self.one.item.thread_id, ())

    def _correct(self, created_at: datetime) -> None:
        thread = replace(self.one.thread, created_at=created_at)
        bearing = protections.circumstances(self.room.db, [thread.id], with_holds=False)
        schedule = schedule_of(thread, bundle=self.room.bundle, circumstances=bearing, now=self.room.now)
        threads.correct_created_at(self.room.db, thread.id, created_at, schedule)

    def reads(self) -> list[Entry]:
        """Return the entries of what was read in this pass."""
        one, entries = self.one, list[Entry]()
        if one.younger_than_registered is not None and one.thread.created_at is not None:
            change = (rfc3339(one.thread.created_at), rfc3339(one.younger_than_registered))
            entries.append(
                bodies.thread_changed(
                    one.thread, changes={"created_at": change}, at=self.room.now, actor=self.room.actor
                )
            )
        if one.preread is not None and one.preread.seen not in _SILENT:
            entries.append(
                bodies.thread_preread(
                    one.thread,
                    seen=one.preread,
                    at=self.room.now,
                    actor=self.room.actor,
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
                    at=self.room.now,
                    actor=self.room.actor,
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
            at=self.room.now,
            actor=self.room.actor,
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
            bundle=self.room.bundle.digest,
            grade=graded,
            tried=one.tried,
            observations=one.observations,
            deletion_semantics=one.deletion_semantics,
            attempts=self._attempts(),
            credential=one.credential,
            chosen=self._chosen(),
        )
        return bodies.thread_graded(one.thread, body, at=self.room.now, actor=self.room.actor)

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
                at=self.room.now,
                actor=self.room.actor,
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
