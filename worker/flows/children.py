"""Children before their container: list, arm as a stage of their own, DELETE, and list again.

DANGER. A conversation's deletion leaves its items behind, so they go first. A child counts as gone only
when a complete fresh listing, taken while the container answers 200, lacks it; with one left the
container is not touched, unless the project says `on_partial: delete`.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.flows.arm import Armed, Intent
from worker.flows.arm import Verdict as ArmVerdict
from worker.flows.desk import Answered, Course, Desk
from worker.flows.patience import LeaseShort
from worker.flows.sending import Arming
from worker.model.evidence import Children, Class, Observation, Step
from worker.model.work import Stage
from worker.pacing.base import CoolingDown, PacerUnavailable

# Within one pass the children that were left are asked for again this often.
_ROUNDS_IN_A_PASS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """Every child is confirmed gone; there may have been none."""

    children: Children


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Some children are still listed. ``progress`` tells whether any went in this pass."""

    count: int
    progress: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisted:
    """The children could not be listed, so nothing is known and nothing was sent."""

    answer: Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Deciding again said no between two children, or the lease is nearly over (None)."""

    verdict: ArmVerdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """The provider asked to slow down between two children: no verdict on any of them."""


Outcome = Gone | Left | Unlisted | Stopped | Throttled


async def delete_children(desk: Desk, course: Course, before: Observation) -> Outcome:
    """Delete every child of the thread; nothing here touches the container itself."""
    listed = await list_children(desk, course, Step.BEFORE)
    if isinstance(listed, Unlisted):
        return listed
    course.children_found = len(listed)
    if not listed:
        return Gone(children=Children.NONE)
    first = len(listed)
    for _ in range(_ROUNDS_IN_A_PASS):
        ended = await _delete_round(desk, course, before, listed)
        if ended is not None:
            return ended
        listed = await list_children(desk, course, Step.AFTER)
        if isinstance(listed, Unlisted):
            return listed
        if not listed:
            return Gone(children=Children.ALL)
    return Left(count=len(listed), progress=len(listed) < first)


async def list_children(desk: Desk, course: Course, step: Step) -> list[str] | Unlisted:
    """Return every child's id, or why no complete listing was to be had."""
    ids: list[str] = []
    after: str | None = None
    while True:
        page = await desk.asker.list_children(course.thread, after=after, step=step, order=course.order)
        if page.observation.seen is not Class.PRESENT:
            return Unlisted(answer=page.observation)
        ids.extend(page.ids)
        if not page.has_more:
            return ids
        if page.last is None or page.last == after:
            return Unlisted(answer=page.observation)  # a pager that does not move proves nothing
        after = page.last


async def _delete_round(
    desk: Desk, course: Course, before: Observation, children: list[str]
) -> Stopped | Throttled | None:
    """Arm the stage and send one DELETE per child; the stage's answer is committed at its end."""
    intent = Intent(
        item=course.item,
        stage=Stage.CHILDREN,
        before=before,
        children=Children.SOME,
        children_found=course.children_found,
        children_deleted=course.children_deleted,
    )
    arming = Arming(desk=desk, intent=lambda: intent)
    # Stays so until something leaves: an arming under which nothing was sent counts for nothing.
    last = Observation(
        step=Step.DELETE, seen=Class.UNSENT, at=desk.clock.now(), subject=course.thread.external_id
    )
    told = True
    try:
        for child in children:
            answer = await _delete_one(desk, course, arming, child)
            if answer is None:
                return Stopped(verdict=None if isinstance(arming.verdict, Armed) else arming.verdict)
            last = answer
            if last.seen is Class.THROTTLED:
                return Throttled()
    except LeaseShort:
        return Stopped(verdict=None)
    except (PacerUnavailable, CoolingDown):
        raise
    except BaseException:
        # Without an answer, what was on the wire counts as something that may have left.
        told = False
        raise
    finally:
        if told and arming.was_armed:
            await desk.answered.submit(
                Answered(
                    item=course.item,
                    thread=course.thread,
                    stage=Stage.CHILDREN,
                    answer=last,
                    children_deleted=course.children_deleted,
                )
            )
    return None


async def _delete_one(desk: Desk, course: Course, arming: Arming, child: str) -> Observation | None:
    """Send one child's DELETE at its slot; without an answer nothing was sent: not armed, no time, paused."""
    thread, asker = course.thread, desk.asker
    async with arming.leaving(course.order) as now:
        if not now:
            return None
        answer = await asker.provider.delete_child(
            thread.kind, thread.external_id, child, timeout=asker.timeout
        )
    await asker.heed(answer, asker.writes)
    course.observations.append(answer)
    if answer.seen not in {Class.UNSENT, Class.DENIED, Class.THROTTLED}:
        course.children_deleted += 1
    return answer
