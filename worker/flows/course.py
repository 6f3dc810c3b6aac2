"""Course: one item's way through one pass, from the pre-read to its verdict.

DANGER. A DELETE is sent only after a pre-read found the thread present, and never twice: after an
acknowledged one, or where a first read finds it gone after an own attempt, it is only read.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import assert_never

from worker.flows import children, chosen
from worker.flows.arm import Armed, Intent, LeaseLost, NotNow, Spared
from worker.flows.arm import Verdict as ArmVerdict
from worker.flows.control import Support
from worker.flows.desk import Course, Desk
from worker.flows.patience import LeaseShort
from worker.flows.sending import delete_container
from worker.flows.verdict import MOST_READS, Verdict, backoff, give_up, judge, may_delete
from worker.model.evidence import Children, Class, Control, Observation, Step
from worker.model.ids import jitter
from worker.model.work import ItemState, Stage
from worker.pacing.base import CoolingDown, PacerUnavailable
from worker.pacing.waiters import Rank
from worker.policy.document import OnPartial
from worker.providers.profiles import profile

MOST_ROUNDS = 3
OVER = "the batch's time was over"
# These may concern one thread or all of them.
_REFUSALS = frozenset({Class.DENIED, Class.ROUTE_ABSENT})
# Providers count in whole seconds.
_SAME_INSTANT = timedelta(seconds=1)


async def run(desk: Desk, course: Course, *, keep_back: bool) -> Verdict | None:
    """Take one item through a pass; None means that arming settled it, or that the lease was lost."""
    if not desk.may_begin():
        await desk.controls.gave_up(course.pair)
        return waiting(course, timedelta(0), OVER)
    try:
        before = await desk.asker.read(course.thread, Step.BEFORE, order=course.order)
    except BaseException:
        await desk.controls.gave_up(course.pair)
        raise
    await desk.controls.saw(course.pair, course.thread.id, before)
    course.note_before(before)
    if before.seen is Class.OBJECT_ABSENT:
        course.note_support(await supported(desk, course))
    elif before.seen is Class.PRESENT:
        return await _present(desk, course, before, keep_back=keep_back)
    elif before.seen in _REFUSALS:
        await _stop_if_all_are_refused(desk, course)
    return judge(course.item, course.earlier_passes, course.saw, jitter=jitter())


async def _present(desk: Desk, course: Course, before: Observation, *, keep_back: bool) -> Verdict | None:
    if not may_delete(course.passes_since_retry):
        return judge(course.item, course.earlier_passes, course.saw, jitter=jitter())
    if _is_younger(course, before):
        course.younger_than_registered = before.provider_created_at
        return Verdict(state=ItemState.SPARED, reason="the provider says that it is younger than registered")
    if keep_back:
        await _others_graded(desk, course)
    if not desk.may_begin():
        return waiting(course, timedelta(0), OVER)
    if course.pair in desk.stopped:
        return waiting(course, timedelta(minutes=1), "the control of this project and kind failed")
    gone = await _children(desk, course, before)
    if not isinstance(gone, Children):
        return gone
    return await _container(desk, course, before, gone)


async def _stop_if_all_are_refused(desk: Desk, course: Course) -> None:
    """Look once per batch whether every thread of the pair is refused: then the rest waits."""
    if course.pair in desk.refused:
        return
    desk.refused.add(course.pair)
    support = await desk.controls.support(course.pair, course.thread)
    if support.control is Control.FAILED:
        desk.stopped.add(course.pair)


def _is_younger(course: Course, before: Observation) -> bool:
    registered, told = course.thread.created_at, before.provider_created_at
    return registered is not None and told is not None and told >= registered + _SAME_INSTANT


async def _others_graded(desk: Desk, course: Course) -> None:
    """Stay readable until the others of the pair are graded: this thread can be their control."""
    for other in desk.batch.items:
        stored = desk.batch.threads[other.thread_id]
        if other.id != course.item.id and (other.project, stored.thread.kind.value) == course.pair:
            await desk.graded[other.id].wait()


async def _children(desk: Desk, course: Course, before: Observation) -> Children | Verdict | None:
    """Return how the children stand when the container may go, or the verdict of this pass."""
    if profile(course.project.profile).facts(course.thread.kind).child is not None:
        delete = children.delete_children
    elif desk.batch.chosen.get(course.thread.id):
        delete = chosen.delete_chosen
    else:
        return Children.NONE
    match await delete(desk, course, before):
        case children.Gone(children=gone):
            return gone
        case children.Left(progress=progress):
            return _partial(course, progress=progress)
        case children.Unlisted(answer=answer):
            return _unlisted(course, answer)
        case children.Throttled():
            return waiting(course, backoff(0, jitter()), "the DELETE of a child was throttled")
        case children.Stopped(verdict=None):
            # The children that went are this pass's progress, so it costs no round.
            return waiting(course, timedelta(0), "the lease was nearly over")
        case children.Stopped(verdict=verdict):
            assert verdict is not None  # noqa: S101 - the case above took None
            return _unarmed(course, verdict)
        case other:
            assert_never(other)


def _unlisted(course: Course, answer: Observation) -> Verdict:
    """Nothing is known of the children: wait, and after 8 readings say so."""
    reads = course.item.reads if answer.seen is Class.THROTTLED else course.item.reads + 1
    if reads < MOST_READS:
        wait = backoff(course.item.reads, jitter())
        return waiting(course, wait, "the children could not be listed", reads=reads)
    if course.children_found:
        course.saw = replace(course.saw, children=Children.SOME)
    return give_up(course.item, course.earlier_passes, course.saw, reads=reads)


def _partial(course: Course, *, progress: bool) -> Children | Verdict:
    """Some children would not go: try again in later rounds, then say so or go on as the project says."""
    course.rounds += 0 if progress else 1
    if course.rounds < MOST_ROUNDS:
        return waiting(course, backoff(course.rounds, jitter()), "some children are still there")
    if course.project.on_partial is OnPartial.DELETE:
        return Children.SOME
    course.saw = replace(course.saw, children=Children.SOME)
    return give_up(course.item, course.earlier_passes, course.saw, reads=course.item.reads)


async def _container(desk: Desk, course: Course, before: Observation, gone: Children) -> Verdict | None:

    course.saw = replace(course.saw, children=gone)
    intent = Intent(
        item=course.item,
        stage=Stage.CONTAINER,
        before=before,
        children=gone,
        children_found=course.children_found,
        children_deleted=course.children_deleted,
        told=dict(course.told),
    )
    answer = await delete_container(desk, course, intent)
    if not isinstance(answer, Observation):
        return _unarmed(course, answer)
    if answer.seen not in {Class.UNSENT, Class.THROTTLED}:
        await _read_again(desk, course)
    return judge(course.item, course.earlier_passes, course.saw, jitter=jitter())


async def _read_again(desk: Desk, course: Course) -> None:
    """Read after a DELETE that may have left; where that is not possible now, a later pass does it."""
    try:
        after = await desk.asker.read(course.thread, Step.AFTER, rank=Rank.CONTROL, order=course.order)
    except (LeaseShort, PacerUnavailable, CoolingDown):
        return
    support = Support(control=Control.NONE)
    if after.seen is Class.OBJECT_ABSENT:
        try:
            support = await supported(desk, course)
        except (LeaseShort, PacerUnavailable, CoolingDown):
            support = Support(control=Control.NONE)
    course.note_after(after, support)


async def supported(desk: Desk, course: Course) -> Support:
    """Return the control of a read that has just found the thread absent; a failing one stops the pair."""
    # A canary proves the route only, so it counts only where this very pass saw the thread.
    saw_it = course.saw.before is Class.PRESENT
    support = await desk.controls.support(course.pair, course.thread, canary=saw_it)
    if support.control is Control.FAILED:
        desk.stopped.add(course.pair)
    return support


def _unarmed(course: Course, verdict: ArmVerdict) -> Verdict | None:
    match verdict:
        case Spared() | LeaseLost():
            return None
        case NotNow(reason=reason):
            return waiting(course, timedelta(minutes=1), reason)
        case Armed():
            msg = "an armed item was taken for an unarmed one"
            raise AssertionError(msg)
        case other:
            assert_never(other)


def waiting(course: Course, wait: timedelta, reason: str, *, reads: int | None = None) -> Verdict:
    """Return a verdict that waits without grading anything."""
    item = course.item
    return Verdict(
        state=ItemState.WAITING,
        wait=wait,
        reason=reason,
        reads=item.reads if reads is None else reads,
        rereads=item.rereads,
    )
