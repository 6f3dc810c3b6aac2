"""The desk of one batch: what its items share, and how far one item came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from worker.audit.observed import Tried
from worker.flows.arm import Intent
from worker.flows.arm import Verdict as ArmVerdict
from worker.flows.ask import Asker
from worker.flows.claim import Batch
from worker.flows.control import ControlDesk, Pair, Support
from worker.flows.grouping import Grouper
from worker.flows.keeping import Keeping
from worker.flows.verdict import Verdict
from worker.model.chosen import Told
from worker.model.clock import Clock
from worker.model.evidence import Class, Control, Observation, Pass, Step
from worker.model.thread import Kind, Thread
from worker.model.work import Stage, WorkItem
from worker.policy.document import Project
from worker.providers.profiles import profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back to a stage's DELETEs, to be committed at once."""

    item: WorkItem
    thread: Thread
    stage: Stage
    answer: Observation
    children_deleted: int = 0
    # Per chosen child the class of its own DELETE, and whether it was taken out of its store.
    chosen: Mapping[str, tuple[Class, bool]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Where an item goes after a pass, with everything that the pass saw."""

    item: WorkItem
    thread: Thread
    verdict: Verdict
    tried: Sequence[Tried] = ()
    # What earlier claims had seen, and what this one saw.
    kept: Sequence[Observation] = ()
    seen: Sequence[Observation] = ()
    rereads: Sequence[tuple[Observation, Support]] = ()
    preread: Observation | None = None
    younger_than_registered: datetime | None = None
    rounds: int = 0
    credential: str = ""
    deletion_semantics: str = ""
    told: Mapping[str, Told] = field(default_factory=dict)
    child_controls: Sequence[tuple[Kind, Support]] = ()

    @property
    def observations(self) -> Sequence[Observation]:
        """All that was seen of the thread, oldest claim first."""
        return (*self.kept, *self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the items of one batch share."""

    batch: Batch
    asker: Asker
    controls: ControlDesk
    arm: Grouper[Intent, ArmVerdict]
    answered: Grouper[Answered, None]
    settle: Grouper[Settlement, bool]
    clock: Clock
    graded: dict[str, asyncio.Event]
    stopped: set[Pair]
    refused: set[Pair]
    stopping: Callable[[], bool]
    # Of each thread whether another one that nobody works on could be its control.
    supported: Callable[[Sequence[Thread]], Awaitable[Sequence[bool]]]
    # Which chosen children of a thread are kept, as the database has it now.
    keeping: Callable[[Thread, Sequence[str]], Awaitable[Keeping]]

    def may_begin(self) -> bool:
        """Whether something new may be begun: the batch has time, and the process is to go on."""
        return not self.stopping() and self.clock.monotonic() <= self.batch.no_new_work_after


@dataclass(slots=True, kw_only=True)
class Course:
    """How far one item came in this pass."""

    item: WorkItem
    thread: Thread
    project: Project
    earlier: Sequence[Tried] = ()
    before_retry: int = 0
    order: float = 0
    saw: Pass = field(default_factory=Pass)
    before: Observation | None = None
    kept: Sequence[Observation] = ()
    observations: list[Observation] = field(default_factory=list)
    rereads: list[tuple[Observation, Support]] = field(default_factory=list)
    children_found: int = 0
    children_deleted: int = 0
    rounds: int = 0
    younger_than_registered: datetime | None = None
    # Where the chosen children stand, and the controls that their absence rests on.
    told: dict[str, Told] = field(default_factory=dict)
    child_controls: list[tuple[Kind, Support]] = field(default_factory=list)

    @property
    def pair(self) -> Pair:
        """The project and kind, which share a control."""
        return self.item.project, self.thread.kind.value

    @property
    def earlier_passes(self) -> list[Pass]:
        """The container attempts of earlier claims, oldest first."""
        return [one.saw for one in self.earlier]

    @property
    def passes_since_retry(self) -> list[Pass]:
        """Those that may keep a DELETE back: a person who retries wants one, should the thread be there."""
        return self.earlier_passes[self.before_retry :]

    def note_before(self, seen: Observation, support: Support | None = None) -> None:
        """Keep the pre-read, and what supports it where it found the thread absent."""
        self.before = seen
        self.saw = replace(self.saw, before=seen.seen, control=support.control if support else Control.NONE)
        self.observations.append(seen)
        self._note_control(support)

    def note_support(self, support: Support) -> None:
        """Keep what supports the pre-read."""
        self.saw = replace(self.saw, control=support.control)
        self._note_control(support)

    def note_answer(self, answer: Observation) -> None:
        """Keep what came back to the container's DELETE."""
        self.saw = replace(self.saw, armed=True, answer=answer.seen)
        if answer.seen is not Class.UNSENT:
            self.observations.append(answer)

    def note_after(self, seen: Observation, support: Support) -> None:
        """Keep a read since the DELETE with its control."""
        self.saw = replace(self.saw, afters=(*self.saw.afters, (seen.seen, support.control)))
        self.observations.append(seen)
        self.rereads.append((seen, support))
        self._note_control(support)

    def _note_control(self, support: Support | None) -> None:
        if support is not None and support.observation is not None:
            seen = support.observation
            self.observations.append(seen if seen.step is Step.CONTROL else replace(seen, step=Step.CONTROL))

    def settlement(self, verdict: Verdict) -> Settlement:
        """Return what is to be written for this pass."""
        reference = self.project.api_key
        return Settlement(
            item=self.item,
            thread=self.thread,
            verdict=verdict,
            tried=[*self.earlier, Tried(item=self.item.id, fence=self.item.fence, saw=self.saw)],
            kept=tuple(self.kept),
            seen=tuple(self.observations),
            rereads=tuple(self.rereads),
            preread=None if self.saw.armed else self.before,
            rounds=self.rounds,
            told=dict(self.told),
            child_controls=tuple(self.child_controls),
            younger_than_registered=self.younger_than_registered,
            deletion_semantics=profile(self.project.profile).facts(self.thread.kind).deletion_semantics,
            credential=f"env:{reference.env}" if reference.env else f"file:{reference.file}",
        )
