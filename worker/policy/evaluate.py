"""Decide what may happen to one thread at one instant.

DANGER. What this module calls DUE is deleted at the provider, and nothing brings it back. Invariants:
- a hold beats everything, an erasure too; a legal floor beats an erasure;
- only policies in mode ``enforce`` take part, whether they delete or protect;
- a date that is unknown or not to be believed never makes a thread DUE by a rule that needs it;
- the answer depends on the arguments alone: no clock, no order of policies, holds, erasures or notices;
- adding a retain rule never makes a thread DUE that was not.
It is called twice for every deletion: when a sweep is planned, and again when the item is armed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from worker.model.decision import ERASURE, HOLD_PREFIX, PRODUCER_TTL, Circumstances, Decision, Notice, Outcome
from worker.model.thread import Thread, ThreadState
from worker.policy import ages, ceilings, floors, notices
from worker.policy.ceilings import Ceiling
from worker.policy.document import Bundle, Mode, Policy
from worker.policy.floors import Floor
from worker.policy.match import erasure_covers, matches, scope_matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The rules that bear on one thread, after tiers and erasures have had their say."""

    retaining: tuple[Policy, ...]
    deleting: tuple[Policy, ...]
    erasure: Ceiling | None
    ttl_counts: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Every contributor, by code point."""
        names = {policy.name for policy in (*self.retaining, *self.deleting)}
        if self.ttl_counts:
            names.add(PRODUCER_TTL)
        if self.erasure:
            names.add(ERASURE)
        return tuple(sorted(names))


def decide(thread: Thread, *, bundle: Bundle, circumstances: Circumstances, now: datetime) -> Decision:
    """Return the decision; total: there is an answer for every thread.

    A TTL that is no duration is answered UNKNOWN; an erasure order that lies ahead has no effect yet.
    """
    if thread.state is not ThreadState.LIVE:
        return Decision(outcome=Outcome.SKIP, bundle=bundle.digest)
    held_by = holds_on(thread, circumstances)
    if held_by:
        return Decision(outcome=Outcome.HELD, decided_by=held_by[0], rules=held_by, bundle=bundle.digest)
    standing = standing_of(thread, bundle=bundle, circumstances=circumstances, now=now)
    decision = _unsure(thread, standing, bundle, now) or _judge(thread, standing, bundle, circumstances, now)
    return _watch_orders(decision, thread, circumstances, now)


def holds_on(thread: Thread, circumstances: Circumstances) -> tuple[str, ...]:
    """Return ``hold:<matter>`` of every hold that covers the thread, by code point."""
    return tuple(
        sorted(
            {HOLD_PREFIX + hold.matter for hold in circumstances.holds if scope_matches(hold.scope, thread)}
        )
    )


def standing_of(thread: Thread, *, bundle: Bundle, circumstances: Circumstances, now: datetime) -> Standing:
    """Return the rules that count for the thread."""
    orders = [order for order in circumstances.erasures if order.at <= now and erasure_covers(order, thread)]
    enforced = [
        policy for policy in bundle.policies if policy.mode is Mode.ENFORCE and matches(policy, thread)
    ]
    deleting = [] if orders else ceilings.surviving(enforced)
    return Standing(
        retaining=tuple(floors.counting(enforced, erased=bool(orders))),
        deleting=tuple(deleting),
        erasure=ceilings.of_erasure(orders),
        ttl_counts=ceilings.ttl_counts(thread, deleting),
    )


def _unsure(thread: Thread, standing: Standing, bundle: Bundle, now: datetime) -> Decision | None:
    """Answer QUARANTINED or UNKNOWN where a date that matters cannot be used."""
    if standing.erasure and not standing.retaining:
        return None
    believable = ages.believable_from(thread)
    ancient = ages.is_before_any_provider(thread)
    if ancient or believable > now:
        return Decision(
            outcome=Outcome.QUARANTINED,
            rules=standing.names,
            bundle=bundle.digest,
            evaluate_at=None if ancient else believable,
        )
    if floors.lacks_date(thread, standing.retaining) or ceilings.lacks_date(thread, standing.deleting):
        return Decision(outcome=Outcome.UNKNOWN, rules=standing.names, bundle=bundle.digest)
    return None


def _judge(
    thread: Thread, standing: Standing, bundle: Bundle, circumstances: Circumstances, now: datetime
) -> Decision:
    """Weigh floor against ceiling; every date that is needed is known."""
    floor = floors.latest(thread, standing.retaining)
    ceiling = standing.erasure or ceilings.earliest(thread, standing.deleting)
    if floor and floor.runs(now) and (ceiling is None or floor.outlasts(ceiling.at)):
        return Decision(
            outcome=Outcome.RETAINED,
            decided_by=floor.rule,
            eligible_at=floor.until,
            rules=standing.names,
            bundle=bundle.digest,
            swept_by=ceiling.swept_by if ceiling else None,
            evaluate_at=floor.until,
        )
    if ceiling is None:
        return Decision(outcome=Outcome.UNMANAGED, rules=standing.names, bundle=bundle.digest)
    outcome, eligible_at, evaluate_at = _date(ceiling, floor, circumstances.notices.get(thread.id, ()), now)
    return Decision(
        outcome=outcome,
        decided_by=ceiling.rule,
        eligible_at=eligible_at,
        rules=standing.names,
        bundle=bundle.digest,
        swept_by=ceiling.swept_by,
        evaluate_at=evaluate_at,
    )


def _date(
    ceiling: Ceiling, floor: Floor | None, delivered: Sequence[Notice], now: datetime
) -> tuple[Outcome, datetime, datetime | None]:
    """Return outcome, date, and when time alone changes the outcome, once no floor is in the way."""
    eligible_at = max(ceiling.at, floor.until) if floor and floor.until else ceiling.at
    if ceiling.graces:
        promised = notices.promised_date(ceiling.graces, delivered, eligible_at)
        if promised is None:
            return _without_notice(ceiling, eligible_at, now)
        eligible_at = promised
    outcome = Outcome.DUE if now >= eligible_at else Outcome.PENDING
    return outcome, eligible_at, eligible_at


def _without_notice(
    ceiling: Ceiling, eligible_at: datetime, now: datetime
) -> tuple[Outcome, datetime, datetime | None]:
    over = notices.after_grace(ceiling.graces, now)
    if over >= eligible_at:
        return Outcome.NOTIFY, over, None
    return Outcome.PENDING, eligible_at, notices.owed_from(ceiling.graces, eligible_at, now)


def _watch_orders(
    decision: Decision, thread: Thread, circumstances: Circumstances, now: datetime
) -> Decision:
    """An order that lies ahead changes the outcome when its instant comes."""
    ahead = [order.at for order in circumstances.erasures if order.at > now and erasure_covers(order, thread)]
    if not ahead:
        return decision
    return replace(decision, evaluate_at=_first((decision.evaluate_at, *ahead)))


def _first(instants: Iterable[datetime | None]) -> datetime | None:
    return min((at for at in instants if at is not None), default=None)
