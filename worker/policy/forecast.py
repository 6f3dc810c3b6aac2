"""Forecast: what a proposed bundle would decide otherwise, counted thread by thread.

Both bundles decide each thread at the same instant and under the same erasures and notices. Holds are the
same under any bundle: a held thread is counted as held, and besides only for floors that it would lose.
What is kept in memory grows with policies and projects, never with threads.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import combinations

from worker.model.decision import Circumstances, Decision, Outcome
from worker.model.thread import Thread
from worker.policy.document import Bundle, Mode, Policy
from worker.policy.evaluate import decide, holds_on
from worker.policy.match import matches

# Due now, and due by then if nothing but time passes.
HORIZONS: Mapping[str, timedelta] = {
    "now": timedelta(),
    "in_7_days": timedelta(days=7),
    "in_30_days": timedelta(days=30),
}
MOST_EXAMPLES = 10
# Pairs grow with the square of the rules that match one thread; beyond these the first by name stand in.
_MOST_OVERLAPPING = 8
_NOTHING = Decision(outcome=Outcome.UNMANAGED)


@dataclass(slots=True)
class Counts:
    """Threads before and after, and how many of those after are new."""

    before: int = 0
    after: int = 0
    newly: int = 0

    def add(self, *, before: bool, after: bool) -> None:
        """Count one thread."""
        self.before += before
        self.after += after
        self.newly += after and not before

    def plus(self, other: Counts) -> Counts:
        """Return both together."""
        return Counts(self.before + other.before, self.after + other.after, self.newly + other.newly)


@dataclass(slots=True)
class Share:
    """What changes in one project, or for one policy."""

    due: dict[str, Counts] = field(default_factory=lambda: {name: Counts() for name in HORIZONS})
    earlier: int = 0
    later: int = 0

    def plus(self, other: Share) -> Share:
        """Return both together."""
        due = {name: counts.plus(other.due[name]) for name, counts in self.due.items()}
        return Share(due, self.earlier + other.earlier, self.later + other.later)


@dataclass(slots=True)
class Listed:
    """How many threads, and the first of them."""

    threads: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, thread: Thread) -> None:
        """Count one thread, and keep it as an example while there is room."""
        self.threads += 1
        if len(self.ids) < MOST_EXAMPLES:
            self.ids.append(thread.id)


@dataclass(slots=True)
class Overlap:
    """Two delete rules of the proposed bundle that match the same threads, and which of them decides."""

    threads: int = 0
    decided_by: Counter[str] = field(default_factory=Counter)


class Forecast:
    """Decides live threads under both bundles and counts what differs; ``base`` None is no bundle yet."""

    def __init__(self, base: Bundle | None, head: Bundle, now: datetime) -> None:
        self._base, self._head, self._now = base, head, now
        self._floors = _floor_names(base), _floor_names(head)
        self._deleting = deleting_policies(head)
        self.threads = self.held = self.unaffected = 0
        self.before: Counter[Outcome] = Counter()
        self.after: Counter[Outcome] = Counter()
        self.shares: dict[tuple[str, str], Share] = defaultdict(Share)
        self.newly_due, self.earlier, self.unprotected = Listed(), Listed(), Listed()
        self.lost_floors: dict[str, Listed] = defaultdict(Listed)
        self.planned: Counter[str] = Counter()
        self.population: Counter[str] = Counter()
        self.overlaps: dict[tuple[str, str], Overlap] = defaultdict(Overlap)

    def add(self, page: Iterable[Thread], bearing: Circumstances, *, worked_on: Collection[str]) -> None:
        """Count a page of live threads; ``worked_on`` are those that no sweep plans a second time."""
        free = replace(bearing, holds=())
        for thread in page:
            before = self._decide(self._base, thread, free, self._now)
            after = self._decide(self._head, thread, free, self._now)
            self.threads += 1
            self._count_floors(thread, before, after)
            self._count_rules(thread, after)
            if holds_on(thread, bearing):
                self.held += 1
                self.before[Outcome.HELD] += 1
                self.after[Outcome.HELD] += 1
                continue
            self.before[before.outcome] += 1
            self.after[after.outcome] += 1
            self.unaffected += _said(before, self._now) == _said(after, self._now)
            self._count_due(thread, before, after, free)
            self._count_dates(thread, before, after)
            if after.outcome is Outcome.DUE and after.swept_by and thread.id not in worked_on:
                self.planned[after.swept_by] += 1

    def _decide(
        self, bundle: Bundle | None, thread: Thread, bearing: Circumstances, now: datetime
    ) -> Decision:
        return decide(thread, bundle=bundle, circumstances=bearing, now=now) if bundle else _NOTHING

    def _count_floors(self, thread: Thread, before: Decision, after: Decision) -> None:
        """A rule that counts is among the decision's rules, whether it decides or not."""
        lost = self._floors[0].intersection(before.rules)
        # A floor made so short that it is over protects as little as one that is gone.
        cut = before.outcome is Outcome.RETAINED and after.outcome is Outcome.DUE
        if not lost or (self._floors[1].intersection(after.rules) and not cut):
            return
        self.unprotected.add(thread)
        for name in sorted(lost):
            self.lost_floors[name].add(thread)

    def _count_rules(self, thread: Thread, after: Decision) -> None:
        matching = [policy.name for policy in self._deleting if matches(policy, thread)]
        self.population.update(matching)
        for pair in combinations(matching[:_MOST_OVERLAPPING], 2):
            overlap = self.overlaps[pair]
            overlap.threads += 1
            overlap.decided_by[after.decided_by or after.outcome.value] += 1

    def _count_due(self, thread: Thread, before: Decision, after: Decision, bearing: Circumstances) -> None:
        was, will = (
            self._due(bundle, thread, decision, bearing)
            for bundle, decision in ((self._base, before), (self._head, after))
        )
        for name in HORIZONS:
            old, new = was.get(name), will.get(name)
            if old is not None and old != new:
                self.shares[old, thread.project].due[name].add(before=True, after=False)
            if new is not None:
                counts = self.shares[new, thread.project].due[name]
                counts.add(before=old == new, after=True)
                # Moving from one policy's sweep to another's is no news for the thread.
                counts.newly -= old is not None and old != new
        if "now" in will and "now" not in was:
            self.newly_due.add(thread)

    def _due(
        self, bundle: Bundle | None, thread: Thread, decision: Decision, bearing: Circumstances
    ) -> dict[str, str]:
        """Return in whose sweep the thread is due, per horizon by which it is."""
        found: dict[str, str] = {}
        for name, ahead in HORIZONS.items():
            then, at = decision, self._now + ahead
            if ahead and decision.outcome is not Outcome.DUE:
                if decision.evaluate_at is None or decision.evaluate_at > at:
                    continue  # time alone changes nothing by then
                then = self._decide(bundle, thread, bearing, at)
            if then.outcome is Outcome.DUE and then.swept_by:
                found[name] = then.swept_by
        return found

    def _count_dates(self, thread: Thread, before: Decision, after: Decision) -> None:
        was, will = (_date(one, self._now) for one in (before, after))
        if was == will:
            return
        share = self.shares[after.swept_by or before.swept_by or "", thread.project]
        if was is None or (will is not None and will < was):
            share.earlier += 1
            self.earlier.add(thread)
        else:
            share.later += 1

    def by_policy(self) -> Iterator[tuple[str, Share, Sequence[tuple[str, Share]]]]:
        """Yield each policy with its share, and with its projects: those with most to be deleted first."""
        names = {policy for policy, _ in self.shares} | {one.name for one in self._deleting}
        for name in sorted(names):
            projects = [
                (project, share) for (policy, project), share in self.shares.items() if policy == name
            ]
            projects.sort(key=lambda one: (-one[1].due["in_30_days"].after, one[0]))
            total = Share()
            for _, share in projects:
                total = total.plus(share)
            yield name, total, projects


def deleting_policies(bundle: Bundle) -> tuple[Policy, ...]:
    """Return the enforced policies that delete, by name."""
    return tuple(one for one in bundle.policies if one.delete is not None and one.mode is Mode.ENFORCE)


def _floor_names(bundle: Bundle | None) -> frozenset[str]:
    policies = bundle.policies if bundle else ()
    return frozenset(one.name for one in policies if one.retain is not None and one.mode is Mode.ENFORCE)


def _said(decision: Decision, now: datetime) -> tuple[Outcome, str | None, str | None, datetime | None]:
    """Return what a person would notice of a decision; a date that has passed is as good as now."""
    at = decision.eligible_at
    return decision.outcome, decision.decided_by, decision.swept_by, max(at, now) if at else None


def _date(decision: Decision, now: datetime) -> datetime | None:
    """Return when the thread may go at the earliest, if time alone passes; None is never."""
    if decision.swept_by is None or decision.eligible_at is None:
        return None
    return max(decision.eligible_at, now)
