"""Claim, arm, answer and settle where all is due: through Tenure, or as bare SQL.

The bare SQL is what Tenure itself sent, statement for statement and commit for commit, with the same
parameters and to a copy of the same database: recorded in one run, sent by the driver alone in another. So it
reads and writes the same rows and entries. What it leaves out is Tenure's own work: building statements,
turning rows into values, deciding, grading, writing and hashing entries. `python -m tests.bench.rows JSON`.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from tests.bench.measure import Cost, own_cost
from worker.flows.arm import Armed, Intent, arm
from worker.flows.claim import Batch, claim
from worker.flows.control import Support
from worker.flows.desk import Answered, Course
from worker.flows.grouping import MOST
from worker.flows.settle import record_answers, settle
from worker.flows.verdict import judge
from worker.model.clock import SystemClock
from worker.model.evidence import Children, Class, Control, Observation, Step
from worker.model.ids import ThreadId
from worker.model.work import Lease, Stage, WorkItem
from worker.store.engine import Database, open_database
from worker.telemetry import set_up_logging
from worker.telemetry.meters import warm_up

ACTOR = "worker:bench:1 tenure/0"
_LEASE = Lease(length=timedelta(seconds=300))
_DAY = timedelta(hours=24)


def _plain(value: Any) -> Any:
    """Return parameters that can be kept in a file."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(one) for one in value)
    return value


@dataclass(slots=True)
class Tape:
    """What was sent to the database, in order: statements with their parameters, and ends of transactions."""

    sent: list[tuple[str, Any, bool]] = field(default_factory=list)

    def listen(self, database: Database) -> None:
        event.listen(database.engine, "before_cursor_execute", self._statement)
        event.listen(database.engine, "commit", self._commit)

    def _statement(self, *told: Any) -> None:
        _, _, statement, parameters, _, many = told
        self.sent.append((statement, _plain(parameters), many))

    def _commit(self, _: object) -> None:
        self.sent.append(("commit", None, False))

    def save(self, file: Path) -> None:
        file.write_bytes(pickle.dumps(self.sent))

    @property
    def trips(self) -> int:
        return len(self.sent)


def work_off(database: Database, credential: str, rows: int) -> int:
    """Take every row from planned to done; returns how many."""
    clock, done = SystemClock(), 0
    while done < rows:
        batch = claim(database, credential, by=ACTOR, lease=_LEASE, clock=clock)
        assert batch.items, f"{done} of {rows} were claimed"
        for start in range(0, len(batch.items), MOST):
            done += _group(database, batch, batch.items[start : start + MOST], clock)
    return done


def _group(database: Database, batch: Batch, items: Sequence[WorkItem], clock: SystemClock) -> int:
    courses = [_course(batch, item, clock) for item in items]
    intents = [
        Intent(item=one.item, stage=Stage.CONTAINER, before=_given(one.before), children=Children.NONE)
        for one in courses
    ]
    assert all(isinstance(one, Armed) for one in arm(database, intents, actor=ACTOR, clock=clock))
    answers = []
    for one in courses:
        answer = _saw(one, Step.DELETE, Class.ACKNOWLEDGED, clock)
        one.note_answer(answer)
        answers.append(Answered(item=one.item, thread=one.thread, stage=Stage.CONTAINER, answer=answer))
    record_answers(database, answers, actor=ACTOR, clock=clock)
    for one in courses:
        control = _saw(one, Step.CONTROL, Class.PRESENT, clock)
        after = _saw(one, Step.AFTER, Class.OBJECT_ABSENT, clock)
        one.note_after(after, Support(control=Control.GOOD, observation=control))
    settlements = [one.settlement(judge(one.item, (), one.saw, jitter=0.5)) for one in courses]
    told = settle(database, settlements, actor=ACTOR, clock=clock, reverify_after=_DAY)
    return sum(told)


def _course(batch: Batch, item: WorkItem, clock: SystemClock) -> Course:
    stored = batch.threads[ThreadId(item.thread_id)]
    made = Course(item=item, thread=stored.thread, project=batch.projects[item.project])
    made.note_before(_saw(made, Step.BEFORE, Class.PRESENT, clock))
    return made


def _given(seen: Observation | None) -> Observation:
    assert seen is not None
    return seen


_STATUS = {Class.PRESENT: 200, Class.ACKNOWLEDGED: 200, Class.OBJECT_ABSENT: 404}


def _saw(course: Course, step: Step, seen: Class, clock: SystemClock) -> Observation:
    return Observation(
        step=step,
        seen=seen,
        at=clock.now(),
        subject=course.thread.external_id,
        status=_STATUS[seen],
        request_id=f"req_{course.item.id[-24:]}",
        latency_ms=50,
        body_sha256="5" * 64,
        provider_date="Sun, 22 Nov 2026 12:00:00 GMT",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Work off the rows of one database: through Tenure where ``credential`` is given, else from the tape.

    With both, Tenure's statements are recorded, and the time means nothing.
    """

    url: str
    rows: int
    credential: str = ""
    tape: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What it cost, and how many times the database was asked."""

    cost: Cost
    trips: int


def measure(task: Task) -> Told:
    database, tape = open_database(task.url), Tape()
    set_up_logging("json", "warning")
    # As a worker does when it starts.
    warm_up()
    if task.credential:
        if task.tape:
            tape.listen(database)
        with own_cost() as cost:
            assert work_off(database, task.credential, task.rows) == task.rows
        if task.tape:
            tape.save(Path(task.tape))
    else:
        tape.sent = pickle.loads(Path(task.tape).read_bytes())  # noqa: S301 - this very program wrote it
        connection = _connect(database)
        with own_cost() as cost:
            _replay(connection, tape)
        connection.close()
    database.dispose()
    return Told(cost=cost[0], trips=tape.trips)


def _replay(connection: Any, tape: Tape) -> None:
    cursor = connection.cursor()
    for statement, parameters, many in tape.sent:
        if statement == "commit":
            connection.commit()
        elif many:
            cursor.executemany(statement, parameters)
        else:
            cursor.execute(statement, parameters)
            if cursor.description is not None:
                cursor.fetchall()


def _connect(database: Database) -> Any:
    """Return a connection of the driver's own, with every setting that Tenure gives it.

    With the driver's defaults PostgreSQL's took twice the processor's time: lists went as text.
    """
    return database.engine.raw_connection().driver_connection


if __name__ == "__main__":
    told = measure(Task(**json.loads(sys.argv[1])))
    print(json.dumps(asdict(told)))
