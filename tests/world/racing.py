"""Races of a protection against DELETE: one round, and the judgement by what the provider itself noted.

The oracle is the sandbox: its store says what is gone, its request log which DELETE came when. The order
of entries in the log says what was committed first. Tenure's answers are compared with both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random  # noqa: TID251 - seeded, so that a round can be run again
from typing import Any, assert_never

from tests.world.crash import in_background, until
from tests.world.world import ACTOR, PROJECT, MovableClock, World
from worker.flows.erase import order_erasure
from worker.flows.hold import place_hold, release_hold
from worker.flows.pause import Switched, set_deletes
from worker.flows.withdraw import InFlight, NotLive, withdraw
from worker.model.clock import utc_now
from worker.model.decision import HoldScope
from worker.model.receipt import Receipt
from worker.model.thread import Kind, ThreadState
from worker.store import log
from worker.store.protections import StoredHold
from worker.store.threads import StoredThread

EACH = 3
CHILDREN = 2
# A round sends about so many requests: the protection comes after a random number of them.
_REQUESTS = {Kind.FILE: 3 * EACH, Kind.CONVERSATION: 7 * EACH}
_FAULTS = ((), (), (), ("slow@delete*1",), ("error-after@delete*1",), ("lost-reply@delete*1",))
_TYPES = {
    "hold": "hold.placed",
    "pause": "switch.changed",
    "withdrawal": "thread.withdrawn",
    "erasure": "erasure.ordered",
}
MEANS = tuple(_TYPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What one round does; the number and the seed give the same round again."""

    number: int
    means: str
    kind: Kind
    after: int
    faults: tuple[str, ...]
    hurried: bool
    scope: int

    @classmethod
    def of(cls, seed: int, number: int) -> Race:
        chance = Random(f"{seed}:{number}")  # noqa: S311 - see above
        kind = chance.choice((Kind.FILE, Kind.CONVERSATION))
        # Whoever waits for nothing learns something else only while an answer is still under way.
        hurried = chance.random() < 0.25
        return cls(
            number=number,
            # A hold twice as often: it is what promises most.
            means=chance.choice(("hold", *MEANS)),
            kind=kind,
            after=chance.randrange(_REQUESTS[kind]),
            faults=("slow@delete*2",) if hurried else chance.choice(_FAULTS),
            hurried=hurried,
            scope=chance.randrange(3),
        )

    @property
    def owner(self) -> str:
        return f"round-{self.number}"


@dataclass(slots=True, kw_only=True)
class Told:
    """What Tenure answered, and when."""

    answered: datetime
    too_late: dict[str, dict[str, Any]] = field(default_factory=dict)
    uncertain: frozenset[str] = frozenset()
    refused: dict[str, Exception] = field(default_factory=dict)
    receipt: Receipt | None = None
    hold: StoredHold | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """How the rounds fell out, so that nobody takes a race that was none for a proof."""

    rounds: int = 0
    by_means: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    saved: int = 0
    too_late: int = 0
    children: int = 0
    uncertain: int = 0
    refused: int = 0


class Round:
    """One race: its threads, what was answered, and the judgement."""

    def __init__(self, world: World, race: Race) -> None:
        self.world, self.race = world, race
        children = CHILDREN if race.kind is Kind.CONVERSATION else 0
        self.threads = [
            world.register(kind=race.kind, owner=race.owner, children=children) for _ in range(EACH)
        ]
        self.first_entry = self._log_size()
        self.first_request = len(world.sandbox.requests())

    def run(self, tally: Tally) -> None:
        """Race, judge, and then let everything that was kept only by this protection go."""
        world = self.world
        assert world.sweep().planned >= EACH
        world.faults(*self.race.faults)
        told = self._race()
        self._judge(told, tally)
        self._let_go(told)
        self._judge_end(told)
        tally.rounds += 1
        tally.by_means[self.race.means] = tally.by_means.get(self.race.means, 0) + 1

    def _race(self) -> Told:
        with in_background(self.world, workers=2) as workers:
            until(lambda: self._has_come() or all(worker.done() for worker in workers))
            told = self._protect()
            for worker in workers:
                worker.result(30)
        return told

    def _has_come(self) -> bool:
        """Whether the moment has come: after so many requests, or while a DELETE is under way."""
        seen = self.world.sandbox.requests(self.first_request)
        if self.race.hurried:
            return any(one.method == "DELETE" and one.status is None for one in seen)
        return len(seen) >= self.race.after

    def _protect(self) -> Told:
        match self.race.means:
            case "hold":
                return self._hold()
            case "pause":
                return self._pause()
            case "withdrawal":
                return self._withdraw()
            case "erasure":
                return self._erase()
            case _:
                raise AssertionError(self.race.means)

    def _clock(self) -> MovableClock:
        """The clock of whoever protects: hurried, it waits for no answer that is still under way."""
        clock = MovableClock()
        clock.offset = self.world.clock.offset
        if self.race.hurried:
            clock.hurry()
        return clock

    def _hold(self) -> Told:
        ids = tuple(one.thread.id for one in self.threads)
        scopes = (
            HoldScope(ids=ids),
            HoldScope(owners=(self.race.owner,)),
            HoldScope(projects=(PROJECT,), owners=(f"{self.race.owner[:-1]}?",)),
        )
        world = self.world
        hold = place_hold(
            world.database,
            matter=self.race.owner,
            reason="race",
            scope=scopes[self.race.scope],
            actor=ACTOR,
            clock=self._clock(),
            lease=world.lease,
        )
        return Told(
            answered=utc_now(),
            too_late={one["id"]: one for one in hold.answer["too_late"]},
            uncertain=frozenset(hold.answer["uncertain"]),
            hold=hold,
        )

    def _pause(self) -> Told:
        switched = self._switch(enabled=False)
        whole = {one: {"id": one, "what": "thread", "children_deleted": 0} for one in switched.too_late}
        return Told(answered=utc_now(), too_late=whole, uncertain=frozenset(switched.uncertain))

    def _switch(self, *, enabled: bool) -> Switched:
        world = self.world
        return set_deletes(
            world.database,
            enabled=enabled,
            project=PROJECT if self.race.scope else None,
            reason="race",
            actor=ACTOR,
            clock=self._clock(),
            lease=world.lease,
        )

    def _withdraw(self) -> Told:
        world, refused = self.world, dict[str, Exception]()
        for one in self.threads:
            try:
                withdraw(
                    world.database,
                    one.thread.id,
                    reason="race",
                    actor=ACTOR,
                    clock=self._clock(),
                    lease=world.lease,
                )
            except (InFlight, NotLive) as e:
                refused[one.thread.id] = e
        return Told(answered=utc_now(), refused=refused)

    def _erase(self) -> Told:
        receipt = order_erasure(
            self.world.database,
            owner=self.race.owner,
            ids=(),
            reason="race",
            at=None,
            actor=ACTOR,
            clock=self.world.clock,
        )
        return Told(answered=utc_now(), receipt=receipt)

    def _judge(self, told: Told, tally: Tally) -> None:
        entries = list(self._entries())
        for one in self.threads:
            facts = Facts.of(self.world, one, entries, self.first_request, told, self.race)
            tally.lost += facts.gone
            tally.saved += not facts.gone
            match self.race.means:
                case "hold" | "pause":
                    facts.judge_protected()
                case "withdrawal":
                    facts.judge_withdrawn()
                case "erasure":
                    facts.judge_erased()
                case other:
                    assert_never(other)  # type: ignore[arg-type]
        tally.too_late += sum(one["what"] == "thread" for one in told.too_late.values())
        tally.children += sum(one["what"] == "children" for one in told.too_late.values())
        tally.uncertain += len(told.uncertain)
        tally.refused += len(told.refused)

    def _let_go(self, told: Told) -> None:
        world = self.world
        world.faults()
        if told.hold is not None:
            release_hold(world.database, told.hold.hold.id, reason="over", actor=ACTOR, clock=world.clock)
        if self.race.means == "pause":
            self._switch(enabled=True)
        for _ in range(8):
            world.sweep("erasure" if told.receipt else "all-30d")
            world.drain()
            if all(world.state(one) in _ENDS for one in self.threads):
                return
            world.clock.move(timedelta(minutes=2))

    def _judge_end(self, told: Told) -> None:
        """Nothing is forgotten: what was only protected goes once it is not; nothing goes twice."""
        for one in self.threads:
            withdrawn = self.race.means == "withdrawal" and one.thread.id not in told.refused
            expected = ThreadState.WITHDRAWN if withdrawn else ThreadState.DELETED
            assert self.world.state(one) is expected, self._story(one)
            assert self.world.exists(one) is withdrawn, self._story(one)
            grades = [
                e for e in self._entries() if e["type"] == "thread.graded" and e["subject"] == one.thread.id
            ]
            final = [e["grade"] for e in grades if e["grade"] in {"confirmed", "inferred", "sustained"}]
            assert len(final) == (0 if withdrawn else 1), self._story(one)

    def _entries(self) -> Iterator[dict[str, Any]]:
        with self.world.database.read() as db:
            found = log.entries_after(db, after=self.first_entry - 1, limit=100_000)
        for one in found:
            yield {"index": one.index, "type": one.type, **json.loads(one.body)}

    def _log_size(self) -> int:
        with self.world.database.read() as db:
            return log.read_head(db).size

    def _story(self, one: StoredThread) -> str:
        told = [e for e in self._entries() if e.get("subject") in {one.thread.id, None}]
        lines = [f"{e['index']} {e['type']} {e.get('stage', '')} {e.get('grade', '')}" for e in told]
        return f"{self.race}\n" + "\n".join(lines)


_ENDS = frozenset({ThreadState.DELETED, ThreadState.WITHDRAWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one thread when the protection had answered and the workers had ended."""

    race: Race
    stored: StoredThread
    told: Told
    gone: bool
    state: ThreadState
    # When the container's, and the children's, DELETEs reached the provider.
    deletes: Sequence[datetime]
    child_deletes: Sequence[datetime]
    # Where in the log this thread's entries and the protection's stand.
    intended: Sequence[tuple[int, str]]
    answered: Sequence[tuple[int, str]]
    graded: Sequence[int]
    protected: int | None

    @classmethod
    def of(  # noqa: PLR0917 - one place makes it
        cls,
        world: World,
        one: StoredThread,
        entries: Sequence[dict[str, Any]],
        first: int,
        told: Told,
        race: Race,
    ) -> Facts:
        external_id = one.thread.external_id
        sent = [r for r in world.sandbox.requests(first) if r.method == "DELETE" and external_id in r.path]
        own = [e for e in entries if e.get("subject") == one.thread.id]
        kind = _TYPES[race.means]
        marks = [
            e["index"]
            for e in entries
            if e["type"] == kind and (race.means != "withdrawal" or e.get("subject") == one.thread.id)
        ]
        return cls(
            race=race,
            stored=one,
            told=told,
            gone=not world.exists(one),
            state=world.state(one),
            deletes=[r.at for r in sent if r.path.endswith(external_id)],
            child_deletes=[r.at for r in sent if not r.path.endswith(external_id)],
            intended=[(e["index"], e["stage"]) for e in own if e["type"] == "delete.intended"],
            answered=[(e["index"], e["stage"]) for e in own if e["type"] == "delete.answered"],
            graded=[e["index"] for e in own if e["type"] == "thread.graded"],
            protected=marks[0] if marks else None,
        )

    @property
    def id(self) -> str:
        return self.stored.thread.id

    def judge_protected(self) -> None:
        """A hold or a pause that has answered protects, and names what it came too late for."""
        told, mark = self.told, self.protected
        assert mark is not None, self
        named = told.too_late.get(self.id)
        uncertain = self.id in told.uncertain
        assert not uncertain or self.race.hurried, f"answered without waiting: {self}"
        assert [index for index, _ in self.intended if index > mark] == [], f"armed behind it: {self}"
        if not uncertain:
            late = [at for at in [*self.deletes, *self.child_deletes] if at > told.answered]
            assert late == [], f"sent behind its answer: {self}"
        if uncertain:
            assert any(index < mark for index, _ in self.intended), f"uncertain without cause: {self}"
        if named is not None and named["what"] == "thread":
            assert [at for at in self.deletes if at <= told.answered], f"too late for nothing: {self}"
        if named is not None and named["what"] == "children":
            assert named["children_deleted"] == len(self.child_deletes), f"miscounted: {self}"
            assert not self.gone, f"named for its children only: {self}"
        if self.gone and named is None and not uncertain:
            assert self._was_over(mark), f"gone, and not named: {self}"
        if not self.gone:
            assert self.state is ThreadState.LIVE, self
        if not self.gone and self.child_deletes and self.race.means == "hold":
            assert named is not None or uncertain, f"children gone, and not named: {self}"

    def _was_over(self, mark: int) -> bool:
        """A hold names every unsettled thread; a pause only what had no answer when it came."""
        over = (
            self.graded
            if self.race.means == "hold"
            else [i for i, stage in self.answered if stage == "container"]
        )
        return bool(over) and over[0] < mark

    def judge_withdrawn(self) -> None:
        """A thread that is withdrawn was never deleted; a refusal has its cause."""
        refusal = self.told.refused.get(self.id)
        if refusal is None:
            assert (self.gone, self.state) == (False, ThreadState.WITHDRAWN), self
            assert self.deletes == [], f"withdrawn, and sent all the same: {self}"
            assert self.child_deletes == [], f"withdrawn, and a child was sent: {self}"
        elif isinstance(refusal, NotLive):
            assert self.gone, f"not live, and there: {self}"
        else:
            assert self.intended, f"in flight without an intent: {self}"

    def judge_erased(self) -> None:
        """The receipt says deleted only of what is gone, and an older plan goes on only if it was armed."""
        receipt, mark = self.told.receipt, self.protected
        assert receipt is not None, self
        assert mark is not None, self
        line = next(one for one in receipt.lines if one.id == self.id)
        if line.status == "deleted":
            assert self.gone, f"called deleted, and there: {self}"
            assert min(self.deletes) <= self.told.answered, self
        else:
            assert line.status == "pending", self
        assert [index for index, _ in self.intended if index > mark] == [], (
            f"armed under the old plan: {self}"
        )
