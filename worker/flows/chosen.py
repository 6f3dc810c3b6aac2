"""Chosen children before their container: the files and vector stores that a producer named for it.

DANGER. These are objects of their own, which others may use. Invariants: only one that the container really
names, that nobody else needs and that was read present in this pass is deleted, and whether anybody needs
it is decided again when the stage is armed; it counts as gone only when it is read absent beside a control
of its own kind. Whatever is not sure is left, and then the container stays unless the project says otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from worker.flows.arm import Armed, Intent
from worker.flows.children import Gone, Left, Outcome, Stopped, Throttled, Unlisted, list_children
from worker.flows.desk import Answered, Course, Desk
from worker.flows.keeping import Keeping, as_child
from worker.flows.patience import LeaseShort
from worker.flows.sending import Arming
from worker.model.chosen import SENT, ChosenChild, ChosenState, Kept
from worker.model.evidence import Children, Class, Control, Observation, Step
from worker.model.thread import Kind
from worker.model.work import Stage
from worker.pacing.base import CoolingDown, PacerUnavailable
from worker.pacing.waiters import Rank

# Within one pass the children that were left are looked at again this often.
_ROUNDS_IN_A_PASS = 2
_TAKEN_OUT = frozenset({Class.ACKNOWLEDGED, Class.OBJECT_ABSENT})


@dataclass(slots=True, kw_only=True)
class _Way:
    """How far one child came. ``seen_here``: this very pass read it present, so a canary counts."""

    child: ChosenChild
    named: bool
    state: ChosenState
    tried: bool
    reason: Kept | None = None
    present: bool = False
    seen_here: bool = False
    sent: bool = False
    unread: Observation | None = None

    @property
    def open(self) -> bool:
        return self.state in {ChosenState.CHOSEN, ChosenState.LEFT}


async def delete_chosen(desk: Desk, course: Course, before: Observation) -> Outcome:
    """Delete the chosen children of the thread; nothing here touches the container itself."""
    chosen = desk.batch.chosen[course.thread.id]
    keeping = await _others_first(desk, course, [one.id for one in chosen])
    if keeping is None:
        return Stopped(verdict=None)
    named = await _named(desk, course)
    if isinstance(named, Unlisted):
        return named
    work = _Pass(desk=desk, course=course, before=before)
    work.ways = [_way(course.thread.kind, one, named, keeping) for one in chosen]
    try:
        return await work.run()
    finally:
        course.told.update({one.child.id: (one.state, one.reason) for one in work.ways})


async def _named(desk: Desk, course: Course) -> set[str] | Unlisted:
    """Return what the container itself names at the provider, or why that is not known."""
    if course.thread.kind is Kind.VECTOR_STORE:
        listed = await list_children(desk, course, Step.BEFORE)
        return listed if isinstance(listed, Unlisted) else set(listed)
    found = await desk.asker.named_children(course.thread, step=Step.BEFORE, order=course.order)
    if found.observation.seen is not Class.PRESENT:
        return Unlisted(answer=found.observation)
    return {external_id for _, external_id in found.ids}


async def _others_first(desk: Desk, course: Course, children: Sequence[str]) -> Keeping | None:
    """Look who needs the children; what only items before this one in the batch need waits for their end.

    So the last of several threads takes what they share. An item waits for earlier ones alone, so that no
    two wait for each other. None: the batch's time was over.
    """
    found = await desk.keeping(course.thread, children)
    before: dict[str, str] = {}
    for item in desk.batch.items:
        if item.id == course.item.id:
            break
        before[item.thread_id] = item.id
    waited = {thread_id for by in found.by.values() if by <= before.keys() for thread_id in by}
    for thread_id in sorted(waited):
        await desk.graded[before[thread_id]].wait()
    if not waited:
        return found
    return await desk.keeping(course.thread, children) if desk.may_begin() else None


def _way(container: Kind, child: ChosenChild, named: set[str], keeping: Keeping) -> _Way:
    way = _Way(child=child, named=child.id in named, state=ChosenState.CHOSEN, tried=child.tried)
    # A file that was taken out of its store by an earlier pass is no longer named there.
    taken_out = container is Kind.VECTOR_STORE and child.detached
    if child.state is ChosenState.CONFIRMED:
        way.state = ChosenState.CONFIRMED
    elif child.id in keeping.reasons:
        way.state, way.reason = ChosenState.KEPT, keeping.reasons[child.id]
    elif not way.named and not taken_out and not child.tried:
        way.state, way.reason = ChosenState.KEPT, Kept.NOT_NAMED
    return way


@dataclass(slots=True, kw_only=True)
class _Pass:
    """One pass over all chosen children of one container."""

    desk: Desk
    course: Course
    before: Observation
    ways: Sequence[_Way] = ()
    touched: set[str] = field(default_factory=set)

    async def run(self) -> Outcome:
        confirmed = {one.child.id for one in self.ways if one.state is ChosenState.CONFIRMED}
        looked_at = [one for one in self.ways if one.state is not ChosenState.KEPT]
        for _ in range(_ROUNDS_IN_A_PASS):
            ended = await self._round(looked_at)
            self._count()
            if ended is not None:
                return ended
            looked_at = [one for one in looked_at if one.open]
            if not looked_at:
                break
        return self._outcome(looked_at, confirmed)

    def _count(self) -> None:
        gone_before = {ChosenState.KEPT, ChosenState.ABSENT}
        self.course.children_found = sum(one.state not in gone_before for one in self.ways)

    def _outcome(self, left: Sequence[_Way], confirmed: set[str]) -> Outcome:
        gone = {one.child.id for one in self.ways if one.state is ChosenState.CONFIRMED}
        if not left:
            return Gone(children=Children.ALL if gone else Children.NONE)
        unread = [one.unread for one in left if one.unread is not None]
        if len(unread) == len(left):
            return Unlisted(answer=unread[0])
        return Left(count=len(left), progress=bool(gone - confirmed))

    async def _round(self, ways: Sequence[_Way]) -> Outcome | None:
        for way in ways:
            if await self._look(way) is Class.THROTTLED:
                return Throttled()
        self._count()
        ready = [one for one in ways if one.present and one.open]
        if ready:
            ended = await _Stage(work=self, ready=ready).send()
            if ended is not None:
                return ended
        for way in ready:
            if way.sent and await self._look_after(way) is Class.THROTTLED:
                return Throttled()
        return None

    async def _look(self, way: _Way) -> Class | None:
        """Read one child before anything is sent; only `present` makes it ready."""
        seen = await self._read(way, Step.BEFORE)
        way.present, way.sent, way.unread = seen.seen is Class.PRESENT, False, None
        if way.present:
            way.seen_here = True
            if way.state is ChosenState.CONFIRMED:
                way.state = ChosenState.LEFT  # it is back
            if not way.named and self.course.thread.kind is Kind.THREAD:
                # Tried before, and still there; but by now the thread does not name it any more.
                way.state, way.reason = ChosenState.KEPT, Kept.NOT_NAMED
            return None
        # What was confirmed before stays so: a read that fails now takes nothing back.
        return None if way.state is ChosenState.CONFIRMED else await self._absent(way, seen)

    async def _look_after(self, way: _Way) -> Class | None:
        seen = await self._read(way, Step.AFTER)
        if seen.seen is Class.PRESENT:
            way.state = ChosenState.LEFT
            return None
        return await self._absent(way, seen)

    async def _absent(self, way: _Way, seen: Observation) -> Class | None:
        """Judge a read that did not find the child; a 404 alone says nothing."""
        way.state = ChosenState.LEFT
        if seen.seen is not Class.OBJECT_ABSENT:
            # Another read may do better where nothing but an error came; a refusal or a missing route stays.
            way.unread = seen if seen.seen is Class.ERROR else None
        elif await self._supported(way):
            way.state = ChosenState.CONFIRMED if way.tried else ChosenState.ABSENT
        return seen.seen

    async def _supported(self, way: _Way) -> bool:
        pair = (self.course.item.project, way.child.kind.value)
        as_thread = as_child(self.course.thread, way.child.id)
        support = await self.desk.controls.support(pair, as_thread, canary=way.seen_here)
        if support.control is Control.FAILED:
            self.desk.stopped.add(pair)
        if support.observation is not None:
            told = replace(support.observation, step=Step.CONTROL, child=way.child.id)
            self.course.observations.append(told)
            self.course.child_controls.append((way.child.kind, support))
        return support.control is Control.GOOD or (support.control is Control.ROUTE_ONLY and way.seen_here)

    async def _read(self, way: _Way, step: Step) -> Observation:
        kind, external_id = way.child.kind, way.child.id
        seen = await self.desk.asker.read_object(
            kind, external_id, step, rank=Rank.CONTROL, order=self.course.order
        )
        seen = replace(seen, child=external_id)
        self.course.observations.append(seen)
        return seen


@dataclass(slots=True, kw_only=True)
class _Stage:
    """The children's stage: armed once for all that are ready, and again when 5 s have passed.

    ``answers`` has, per child, the class of its own DELETE and whether it may be out of its store.
    """

    work: _Pass
    ready: Sequence[_Way]
    arming: Arming = field(init=False)
    last: Observation | None = None
    answers: dict[str, tuple[Class, bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.arming = Arming(desk=self.work.desk, intent=self._intent)

    async def send(self) -> Outcome | None:
        """Send what is ready; the stage's answers are committed at its end, whatever ends it."""
        told = True
        self.answers = {one.child.id: (Class.UNSENT, False) for one in self.ready}
        try:
            for way in self.ready:
                ended = await self._one(way)
                if ended is not None:
                    return ended
        except LeaseShort:
            return Stopped(verdict=None)
        except (PacerUnavailable, CoolingDown):
            raise
        except BaseException:
            # What was on the wire stays without an answer, so it may have left.
            told = False
            raise
        finally:
            # Also where a second asking said no: under the first one something may have left.
            if told and self.arming.was_armed:
                await self._record()
        return None

    async def _one(self, way: _Way) -> Outcome | None:
        """Take one child out of its store, and delete it; None: go on with the next."""
        course, child = self.work.course, way.child
        if (course.item.project, child.kind.value) in self.work.desk.stopped:
            way.state = ChosenState.LEFT
            return None
        if course.thread.kind is Kind.VECTOR_STORE and way.named:
            taken = await self._send(way, self._detach)
            if not isinstance(taken, Observation):
                return taken
            self._note(child, Class.UNSENT, detached=taken.seen in SENT)
            if taken.seen is Class.THROTTLED:
                return Throttled()
            if taken.seen not in _TAKEN_OUT:
                # A file that is still attached is not deleted: its entry would stay in the store.
                way.state = ChosenState.LEFT
                return None
        answer = await self._send(way, self._delete)
        if not isinstance(answer, Observation):
            return answer
        self._note(child, answer.seen, detached=self.answers[child.id][1])
        way.sent = answer.seen is not Class.UNSENT
        way.tried = way.tried or answer.seen in SENT
        return Throttled() if answer.seen is Class.THROTTLED else None

    def _detach(self, child: ChosenChild) -> Awaitable[Observation]:
        asker, thread = self.work.desk.asker, self.work.course.thread
        return asker.provider.delete_child(thread.kind, thread.external_id, child.id, timeout=asker.timeout)

    def _delete(self, child: ChosenChild) -> Awaitable[Observation]:
        asker = self.work.desk.asker
        return asker.provider.delete(child.kind, child.id, timeout=asker.timeout)

    def _note(self, child: ChosenChild, seen: Class, *, detached: bool) -> None:
        """Keep an answer, and count a child from the first request that may have changed it."""
        self.answers[child.id] = (seen, detached)
        if seen in SENT or detached:
            self.work.touched.add(child.id)
            self.work.course.children_deleted = len(self.work.touched)

    async def _send(
        self, way: _Way, request: Callable[[ChosenChild], Awaitable[Observation]]
    ) -> Observation | Outcome | None:
        """Send at the slot and within 5 s of arming. None: the child is kept by now, and nothing was sent."""
        desk, course = self.work.desk, self.work.course
        async with self.arming.leaving(course.order) as now:
            armed = self.arming.verdict
            if not isinstance(armed, Armed):
                return Stopped(verdict=armed)
            if way.child.id in armed.kept:
                way.state, way.reason = ChosenState.KEPT, armed.kept[way.child.id]
                return None
            if not now:
                return Stopped(verdict=None)
            answer = replace(await request(way.child), child=way.child.id)
        await desk.asker.heed(answer, desk.asker.writes)
        course.observations.append(answer)
        self.last = answer
        return answer

    def _intent(self) -> Intent:
        course = self.work.course
        return Intent(
            item=course.item,
            stage=Stage.CHILDREN,
            before=self.work.before,
            children=Children.SOME,
            children_found=course.children_found,
            children_deleted=course.children_deleted,
            chosen=tuple(one.child.id for one in self.ready),
        )

    async def _record(self) -> None:
        course, desk = self.work.course, self.work.desk
        unsent = Observation(
            step=Step.DELETE, seen=Class.UNSENT, at=desk.clock.now(), subject=course.thread.external_id
        )
        await desk.answered.submit(
            Answered(
                item=course.item,
                thread=course.thread,
                stage=Stage.CHILDREN,
                # Without any request the stage counts for nothing.
                answer=self.last or unsent,
                children_deleted=course.children_deleted,
                chosen=dict(self.answers),
            )
        )
