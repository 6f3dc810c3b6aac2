"""Sending: a DELETE leaves at its slot and within 5 s of arming, or is armed anew."""

from __future__ import annotations

from worker.flows.arm import Armed, Intent
from worker.flows.arm import Verdict as ArmVerdict
from worker.flows.desk import Answered, Course, Desk
from worker.model.evidence import Class, Observation, Step
from worker.model.work import Stage
from worker.pacing.lane import Rank

ARMED_FOR_SECONDS = 5.0
_CONFLICT = 409


async def armed_in_time(desk: Desk, intent: Intent, armed: ArmVerdict | None) -> ArmVerdict:
    """Return the arming if a DELETE may still leave under it, else arm anew (same attempt, new time)."""
    if isinstance(armed, Armed) and desk.clock.monotonic() - armed.at < ARMED_FOR_SECONDS:
        return armed
    return await desk.arm.submit(intent)


async def delete_container(desk: Desk, course: Course, intent: Intent) -> Observation | ArmVerdict:
    """Reserve the slot, arm while waiting for it, send; returns the answer or why nothing was sent.

    The answer is committed before it is returned, so that a crash afterwards loses little.
    """
    slot = await desk.asker.slot(desk.asker.writes, Rank.DELETE, course.order)
    armed: ArmVerdict = await desk.arm.submit(intent)
    if not isinstance(armed, Armed):
        return armed
    desk.controls.arming(course.thread.id)
    await slot.wait()
    # The seat comes first: a DELETE that waited for one after the last look could leave unarmed, and
    # behind a hold that has answered.
    async with desk.asker.seats:
        armed = await armed_in_time(desk, intent, armed)
        answer = await _send(desk, course) if isinstance(armed, Armed) else _unsent(desk, course)
    if not isinstance(armed, Armed):
        # The first arming is on record; say that nothing left under it, or it would count as an attempt.
        await _record(desk, course, answer)
        return armed
    course.note_answer(answer)
    await _record(desk, course, answer)
    return await desk.asker.heed(answer, desk.asker.writes)


async def _send(desk: Desk, course: Course) -> Observation:
    if not desk.asker.time_left():
        return _unsent(desk, course)
    kind, external_id, timeout = course.thread.kind, course.thread.external_id, desk.asker.timeout
    answer = await desk.asker.provider.delete(kind, external_id, timeout=timeout)
    if answer.status == _CONFLICT:
        # Something runs in it, and the thread is to go: ask for its end, so that the next attempt may work.
        await (await desk.asker.writes.slot(Rank.CONTROL, course.order)).wait()
        await desk.asker.provider.prepare_delete(kind, external_id, timeout=timeout)
    return answer


def _unsent(desk: Desk, course: Course) -> Observation:
    return Observation(
        step=Step.DELETE, seen=Class.UNSENT, at=desk.clock.now(), subject=course.thread.external_id
    )


async def _record(desk: Desk, course: Course, answer: Observation) -> None:
    await desk.answered.submit(
        Answered(item=course.item, thread=course.thread, stage=Stage.CONTAINER, answer=answer)
    )
