"""Sending: a DELETE leaves at its slot and within 5 s of arming, or is armed anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from worker.flows.arm import Armed, Intent
from worker.flows.arm import Verdict as ArmVerdict
from worker.flows.desk import Answered, Course, Desk
from worker.flows.patience import LeaseShort
from worker.model.evidence import Class, Observation, Step
from worker.model.work import Stage
from worker.pacing.base import CoolingDown, PacerUnavailable
from worker.pacing.lane import Slot
from worker.pacing.waiters import Rank

ARMED_FOR_SECONDS = 5.0
_CONFLICT = 409


async def armed_in_time(desk: Desk, intent: Intent, armed: ArmVerdict) -> ArmVerdict:
    """Return the arming if a DELETE may still leave under it, else arm anew (same attempt, new time).

    A new one may be old as well when its word comes: the process stood still after it was committed. One that
    is too old is returned only where no time is left, and then nothing may leave either.
    """
    while isinstance(armed, Armed) and _is_old(desk, armed) and desk.asker.time_left():
        armed = await desk.arm.submit(intent)
    return armed


def _is_old(desk: Desk, armed: Armed) -> bool:
    return desk.clock.monotonic() - armed.at >= ARMED_FOR_SECONDS


@dataclass(slots=True, kw_only=True)
class Arming:
    """The arming of one stage, and how a request leaves under it. ``verdict`` is the last word on it.

    ``intent`` says what is to be armed each time. ``was_armed``: it was committed at least once, so its
    answer must be, too; without one it would count as something that may have left.
    """

    desk: Desk
    intent: Callable[[], Intent]
    on_armed: Callable[[], None] = lambda: None
    verdict: ArmVerdict | None = None
    was_armed: bool = False

    @asynccontextmanager
    async def leaving(self, order: float) -> AsyncIterator[bool]:
        """Within it one DELETE leaves at once: it has its slot, its seat and a fresh arming.

        False: nothing may leave, because the verdict says so, a pause began, or no time is left. Raises
        LeaseShort, PacerUnavailable or CoolingDown, also after arming.
        """
        asker = self.desk.asker
        slot = None
        if asker.writes.is_open:
            # A slot that was taken before arming would be over after it; but nothing is armed in vain.
            asker.check(Rank.DELETE)
        else:
            slot = await asker.slot_ahead(asker.writes, Rank.DELETE, order)
        if not await self._is_ready(slot):
            yield False
            return
        # The seat comes before the last look: a DELETE that waited for one after it could leave unarmed, and
        # behind a hold that has answered.
        async with asker.seats.taken(Rank.DELETE, order):
            while slot is None or slot.spent or self._is_old():
                # Whoever waited for its seat, or for another arming, is late: many late ones would leave
                # together. The seat is kept.
                if slot is None or slot.spent:
                    next_slot = asker.slot_ahead if self._is_old() else asker.slot
                    slot = await next_slot(asker.writes, Rank.DELETE, order)
                if not await self._is_ready(slot):
                    yield False
                    return
            yield asker.time_left()

    async def _is_ready(self, slot: Slot | None) -> bool:
        """Arm, where there is a slot while it lies ahead, and wait for it; False where nothing may leave."""
        if self.verdict is None:
            self.verdict = await self.desk.arm.submit(self.intent())
        else:
            self.verdict = await armed_in_time(self.desk, self.intent(), self.verdict)
        armed = isinstance(self.verdict, Armed)
        if armed and not self.was_armed:
            self.was_armed = True
            self.on_armed()
        if armed and self.desk.asker.time_left():
            return slot is None or await slot.wait()
        if slot is not None:
            slot.give_back()
        return False

    def _is_old(self) -> bool:
        return isinstance(self.verdict, Armed) and _is_old(self.desk, self.verdict)


async def delete_container(desk: Desk, course: Course, intent: Intent) -> Observation | ArmVerdict:
    """Reserve the slot, arm while waiting for it, send; returns the answer or why nothing was sent.

    The answer is committed before it is returned, so that a crash afterwards loses little.
    """
    asker, thread = desk.asker, course.thread
    arming = Arming(desk=desk, intent=lambda: intent, on_armed=lambda: desk.controls.arming(thread.id))
    answer = _unsent(desk, course)
    try:
        async with arming.leaving(course.order) as now:
            if now:
                answer = await asker.provider.delete(thread.kind, thread.external_id, timeout=asker.timeout)
    except (LeaseShort, PacerUnavailable, CoolingDown):
        # Perhaps armed, and nothing left: without a word of it, it would count as something that may have.
        if arming.was_armed:
            await _record(desk, course, answer)
        raise
    if arming.was_armed:
        await _record(desk, course, answer)
    if not isinstance(arming.verdict, Armed):
        # An earlier arming is on record with the word that nothing left under it.
        assert arming.verdict is not None  # noqa: S101 - it was asked for, or an exception came
        return arming.verdict
    course.note_answer(answer)
    await asker.heed(answer, asker.writes)
    if answer.status == _CONFLICT:
        await _ask_for_its_end(desk, course)
    return answer


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
