"""A log of any size with the mix that deleting makes: registered, intended, answered, graded; some others'."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from worker.audit import bodies
from worker.audit.bodies import Graded, Intent, Tried
from worker.audit.entry import Entry
from worker.model.decision import Decision, Outcome
from worker.model.evidence import Class, Control, Observation, Pass, Step, fold, grade
from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread
from worker.model.work import Stage

START = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT, OTHER = "support-eu", "research"
_BUNDLE = "sha256:" + "0" * 64
_GONE = Pass(
    before=Class.PRESENT,
    armed=True,
    answer=Class.ACKNOWLEDGED,
    afters=((Class.OBJECT_ABSENT, Control.GOOD),),
)
_PER_THREAD = 4
# Of ten threads one is another project's.
_FOREIGN = 10


def entries(count: int) -> Iterator[Entry]:
    """Yield that many entries: four for each thread, as Tenure appends them."""
    made = 0
    number = 0
    while made < count:
        for entry in _story(number)[: count - made]:
            yield entry
            made += 1
        number += 1


def _story(number: int) -> list[Entry]:
    at = START + timedelta(seconds=number)
    thread = Thread(
        id=ThreadId(f"thr_{number:032x}"),
        kind=Kind.CONVERSATION,
        external_id=f"conv_{number:024x}",
        project=OTHER if number % _FOREIGN == 0 else PROJECT,
        owner=f"team-{number % 97}",
        registered_at=at,
        tags={"env": "prod", "region": "eu"},
        account=Account(provider="openai", base_url="https://api.openai.com/v1"),
    )
    decision = Decision(
        outcome=Outcome.DUE,
        decided_by="support-30d",
        eligible_at=at,
        rules=("support-30d",),
        bundle=_BUNDLE,
    )
    item = f"itm_{number:032x}"
    before, answer, after, control = (
        Observation(
            step=step,
            seen=seen,
            at=at + timedelta(seconds=1),
            subject=thread.external_id,
            status=200 if seen is not Class.OBJECT_ABSENT else 404,
            request_id=f"req_{number:024x}",
            latency_ms=50,
            body_sha256="0" * 64,
            provider_date="Thu, 01 Jan 2026 00:00:00 GMT",
        )
        for step, seen in (
            (Step.BEFORE, Class.PRESENT),
            (Step.DELETE, Class.ACKNOWLEDGED),
            (Step.AFTER, Class.OBJECT_ABSENT),
            (Step.CONTROL, Class.PRESENT),
        )
    )
    intent = Intent(
        item=item,
        fence=1,
        stage=Stage.CONTAINER,
        sweep="swp_" + "0" * 32,
        policy="support-30d",
        decision=decision,
        before=before,
        protection_version=1,
    )
    graded = Graded(
        item=item,
        fence=1,
        sweep=intent.sweep,
        policy=intent.policy,
        bundle=_BUNDLE,
        grade=grade(fold([_GONE])),
        tried=[Tried(item=item, fence=1, saw=_GONE)],
        observations=[before, answer, after, control],
        deletion_semantics="Items may remain up to 30 days.",
        attempts=1,
        credential="env:OPENAI_API_KEY",
        eligible_at=at,
    )
    return [
        bodies.thread_registered(thread, at=at, actor="key_1"),
        bodies.delete_intended(thread, intent, at=at, actor="worker"),
        bodies.delete_answered(
            thread, item=item, fence=1, stage=Stage.CONTAINER, answer=answer, at=at, actor="worker"
        ),
        bodies.thread_graded(thread, graded, at=at, actor="worker"),
    ]
