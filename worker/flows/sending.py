"""Sending: a DELETE leaves at its slot and within 5 s of arming, or is armed anew."""

from __future__ import annotations

from contextlib import suppress

from worker.flows.arm import Armed, Intent
from worker.flows.arm import Verdict as ArmVerdict
from worker.flows.desk import Answered, Course, Desk
from worker.flows.patience import LeaseShort
from worker.model.evidence import Class, Observation, Step
from worker.model.work import Stage
from worker.pacing.base import CoolingDown, PacerUnavailable
from worker.pacing.lane import Rank, Slot

ARMED_FOR_SECONDS = 5.0
_CONFLICT = 409


async def armed_in_time(desk: Desk, intent: Intent, armed: ArmVerdict | None) -> ArmVerdict:
    """Return the arming if a DELETE may still leave under it, else arm anew (same attempt, new time).

    A new one may be old as well when its word comes: the process stood still after it was committed. One that
    is too old is returned only where no time is left, and then nothing may leave either.
    """
    if armed is None:
        armed = await desk.arm.submit(intent)
    while isinstance(armed, Armed) and _is_old(desk, armed) and desk.asker.time_left():
        armed = await desk.arm.submit(intent)
    return armed


def _is_old(desk: Desk, armed: Armed) -> bool:
    return desk.clock.monotonic() - armed.at >= ARMED_FOR_SECONDS


async def delete_container(desk: Desk, course: Course, intent: Intent) -> Observation | ArmVerdict:
    """Reserve the slot, arm while waiting for it, send; returns the answer or why nothing was sent.

    The answer is committed before it is returned, so that a crash afterwards loses little.
    """
    asker = desk.asker
    slot = await asker.slot(asker.writes, Rank.DELETE, course.order)
    armed: ArmVerdict = await desk.arm.submit(intent)
    if not isinstance(armed, Armed):
        slot.give_back()
        return armed
    desk.controls.arming(course.thread.id)
    answer = _unsent(desk, course)
    try:
        armed, answer = await _send_at(slot, desk, course, intent, armed)
    except (LeaseShort, PacerUnavailable, CoolingDown):
        # Armed, and nothing left: without a word of it, it would count as something that may have.
        await _record(desk, course, answer)
        raise
    if not isinstance(armed, Armed):
        # The first arming is on record; say that nothing left under it, or it would count as an attempt.
        await _record(desk, course, answer)
        return armed
    course.note_answer(answer)
    await _record(desk, course, answer)
    await asker.heed(answer, asker.writes)
    if answer.status == _CONFLICT:
        await _ask_for_its_end(desk, course)
    return answer


async def _send_at(
    slot: Slot, desk: Desk, course: Course, intent: Intent, armed: ArmVerdict
) -> tuple[ArmVerdict, Observation]:
    """Send at the slot, unless a pause began since it was reserved, or deciding again says no."""
    asker = desk.asker
    if not await slot.wait():
        return armed, _unsent(desk, course)
    # The seat comes first: a DELETE that waited for one after the last look could leave unarmed, and
    # behind a hold that has answered.
    async with asker.seats:
        if slot.spent:
            slot = await asker.permit(asker.writes, Rank.DELETE, course.order)
        armed = await armed_in_time(desk, intent, armed)
        if not isinstance(armed, Armed) or not asker.time_left() or slot.overtaken:
            return armed, _unsent(desk, course)
        thread = course.thread
        return armed, await asker.provider.delete(thread.kind, thread.external_id, timeout=asker.timeout)


async def _ask_for_its_end(desk: Desk, course: Course) -> None:
    """Something runs in it, and the thread is to go: ask for its end, so that the next attempt may work."""
    asker, thread = desk.asker, course.thread
    with suppress(LeaseShort, PacerUnavailable, CoolingDown):
        async with asker.turn(asker.writes, Rank.CONTROL, course.order):
            told = await asker.provider.prepare_delete(thread.kind, thread.external_id, timeout=asker.timeout)
        if told is not None:
            await asker.heed(told, asker.writes)


def _unsent(desk: Desk, course: Course) -> Observation:
    return Observation(
        step=Step.DELETE, seen=Class.UNSENT, at=desk.clock.now(), subject=course.thread.external_id
    )


async def _record(desk: Desk, course: Course, answer: Observation) -> None:
    await desk.answered.submit(
        Answered(item=course.item, thread=course.thread, stage=Stage.CONTAINER, answer=answer)
    )
