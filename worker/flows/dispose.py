"""Dispose: work off one claimed batch: pre-read, children, arm, DELETE, re-read, control, settle.

DANGER. This is where deletions happen (`course` is one item's way, `sending` the DELETE itself).
Invariants: no transaction is open during a request; a DELETE is sent only after a pre-read found the
thread present and its intent is committed, at its slot and within 5 s of arming; after any DELETE that
may have left, the same pass reads again and looks for a control; an answer is committed as soon as it is
known. What cannot be done waits; nothing is dropped, and one bad row blocks no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from worker.flows import course as one_course
from worker.flows.claim import Batch
from worker.flows.control import Pair
from worker.flows.course import waiting
from worker.flows.desk import Course, Desk
from worker.flows.observed import read_observation
from worker.flows.patience import LeaseShort
from worker.flows.verdict import Verdict, backoff
from worker.model.ids import ItemId, jitter
from worker.model.thread import ThreadState
from worker.model.work import ItemState, WorkItem
from worker.pacing.base import CoolingDown, PacerUnavailable
from worker.providers.profiles import profile
from worker.providers.table import KindNotOffered
from worker.telemetry import traces

MOST_ABANDONED = 5
"""After so many claims in a row that ended without a word the next one parks the thread untouched."""

FEW = 25
"""Of so many of a pair one stays back in any case: more are on their way at once (grouping)."""

_WORKABLE = frozenset({ThreadState.LIVE, ThreadState.ACKNOWLEDGED})


async def dispose(desk: Desk) -> Counter[str]:
    """Work off the batch; returns how many items ended in which state.

    Raises a BaseExceptionGroup once every other item is settled: the failed ones keep their lease until
    it runs out, and are then claimed again.
    """
    batch = desk.batch
    keepers = await _keepers(desk)
    for item in batch.items:
        if item.id in desk.graded:
            desk.controls.expect(_pair(batch, item))
    tasks = [
        asyncio.create_task(_one(desk, item, order=float(number), keep_back=item.id in keepers))
        for number, item in enumerate(batch.items)
    ]
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [one for one in ended if isinstance(one, BaseException)]
    if failed:
        raise BaseExceptionGroup("some items failed; their leases will run out", failed)
    return Counter(one for one in ended if isinstance(one, str))


def _pair(batch: Batch, item: WorkItem) -> Pair:
    return item.project, batch.threads[item.thread_id].thread.kind.value


async def _keepers(desk: Desk) -> set[ItemId]:
    """Return one item of each pair that stays back until the others are graded: it can support them.

    Not of many where another thread can, which nobody works on: that one would be read first, and who stays
    back works alone while the process waits. Should it go before it is read, whoever is left without a
    control waits for one. Of few, the one that stays back is not deleted once their control failed.
    """
    batch = desk.batch
    sizes = Counter(_pair(batch, item) for item in batch.items)
    last = {_pair(batch, item): item for item in batch.items}
    keepers = {item.id for pair, item in last.items() if sizes[pair] > 1}
    many = [item for pair, item in last.items() if sizes[pair] > FEW]
    free = await desk.supported([batch.threads[one.thread_id].thread for one in many]) if many else ()
    return keepers - {item.id for item, is_free in zip(many, free, strict=True) if is_free}


async def _one(desk: Desk, item: WorkItem, *, order: float, keep_back: bool) -> str:
    """Take one item to its state; the word of that state is what the batch counts."""
    thread = desk.batch.threads[item.thread_id].thread
    facts = {
        "tenure.thread": thread.id,
        "tenure.project": thread.project,
        "tenure.kind": thread.kind.value,
        "tenure.item": item.id,
        "tenure.fence": item.fence,
        "tenure.policy": item.policy,
        "tenure.sweep": item.sweep_id,
    }
    starts = desk.batch.starts
    links = [starts[one] for one in (thread.id, item.sweep_id) if one in starts]
    with traces.span("thread", facts=facts, links=links) as told:
        verdict = await _take(desk, item, order=order, keep_back=keep_back)
        if verdict is None:
            told.note({"tenure.state": ItemState.SPARED.value})
            return ItemState.SPARED.value
        grade = verdict.grade.value if verdict.grade else None
        told.note({"tenure.state": verdict.state.value, "tenure.grade": grade})
        return verdict.state.value


async def _take(desk: Desk, item: WorkItem, *, order: float, keep_back: bool) -> Verdict | None:
    """Take one item to its verdict and settle it; None where it was spared."""
    stored = desk.batch.threads[item.thread_id]
    thread, retried_at = stored.thread, stored.retried_at
    earlier = desk.batch.earlier.get(item.thread_id, ())
    kept = [read_observation(seen, thread.external_id) for one in earlier for seen in one.observations]
    try:
        course = Course(
            item=item,
            thread=thread,
            project=desk.batch.projects[item.project],
            earlier=[one.tried for one in earlier],
            before_retry=sum(retried_at is not None and one.armed_at <= retried_at for one in earlier),
            order=order,
            rounds=item.rounds,
            kept=kept,
        )
        verdict = _unfit(course)
        if verdict is not None:
            await desk.controls.gave_up(course.pair)
        else:
            verdict = await _run(desk, course, keep_back=keep_back)
        if verdict is not None:
            await desk.settle.submit(course.settlement(verdict))
        return verdict
    finally:
        desk.graded[item.id].set()


async def _run(desk: Desk, course: Course, *, keep_back: bool) -> Verdict | None:
    try:
        return await one_course.run(desk, course, keep_back=keep_back)
    except LeaseShort as e:
        return waiting(course, timedelta(0), e.problem)
    except PacerUnavailable as e:
        return waiting(course, backoff(1, jitter()), e.problem)
    except CoolingDown as e:
        return waiting(course, timedelta(seconds=e.seconds), "the provider asked to slow down")


def _unfit(course: Course) -> Verdict | None:
    """Return a verdict for what must not even be read: settled, deadly, another account, no adapter."""
    if course.thread.state not in _WORKABLE:
        return Verdict(state=ItemState.CANCELLED, reason=f"the thread is {course.thread.state.value}")
    if course.item.abandoned >= MOST_ABANDONED:
        # Whoever worked on it ended each time. Nothing is graded: a person looks, and what was sent is kept.
        return _parked("abandoned")
    if course.project.account != course.thread.account:
        return _parked("account_changed")
    try:
        profile(course.project.profile).facts(course.thread.kind)
    except KindNotOffered:
        return _parked("kind_not_offered")
    return None


def _parked(reason: str) -> Verdict:
    return Verdict(state=ItemState.PARKED, thread_state=ThreadState.PARKED, reason=reason)
