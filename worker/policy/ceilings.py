"""Ceilings: when a thread is to be deleted. The earliest one counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.model.decision import ERASURE, PRODUCER_TTL, Erasure
from worker.model.errors import Invalid
from worker.model.thread import Thread
from worker.policy.ages import date_of
from worker.policy.document import Policy, ProducerTtl, Tier
from worker.policy.durations import Duration, parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The ceiling that counts: when, decided by which rule, in whose sweep, after which notices' graces."""

    at: datetime
    rule: str
    swept_by: str
    graces: tuple[Duration, ...] = ()


def surviving(matching: Sequence[Policy]) -> list[Policy]:
    """Return the delete rules that count: beside a specific one, the default tier drops out."""
    deleting = [policy for policy in matching if policy.delete]
    specific = [policy for policy in deleting if policy.tier is not Tier.DEFAULT]
    return sorted(specific or deleting, key=_name)


def ttl_counts(thread: Thread, rules: Sequence[Policy]) -> bool:
    """Whether the producer's TTL has a say: beside a surviving rule, and unless one ignores it."""
    if thread.ttl is None or not rules:
        return False
    return not any(rule.delete and rule.delete.producer_ttl is ProducerTtl.IGNORE for rule in rules)


def lacks_date(thread: Thread, rules: Sequence[Policy]) -> bool:
    """Whether the date of any surviving rule, or of a TTL that counts, cannot be told."""
    if any(rule.delete and date_of(thread, rule.delete.since) is None for rule in rules):
        return True
    return ttl_counts(thread, rules) and _ttl(thread) is None


def of_erasure(orders: Sequence[Erasure]) -> Ceiling | None:
    """Return the ceiling of the earliest of these orders; it needs no notice."""
    if not orders:
        return None
    return Ceiling(at=min(order.at for order in orders), rule=ERASURE, swept_by=ERASURE)


def earliest(thread: Thread, rules: Sequence[Policy]) -> Ceiling | None:
    """Return the earliest ceiling of the surviving rules and the TTL; every needed date is known."""
    dated = [(at, rule) for rule in rules if (at := _delete_at(thread, rule)) is not None]
    if not dated:
        return None
    first = min(at for at, _ in dated)
    ttl_at = _ttl_at(thread) if ttl_counts(thread, rules) else None
    if ttl_at is not None and ttl_at < first:
        return Ceiling(at=ttl_at, rule=PRODUCER_TTL, swept_by=rules[0].name, graces=_graces(rules))
    deciding = [rule for at, rule in dated if at == first]
    name = min(rule.name for rule in deciding)
    lending = rules if ttl_at == first else deciding
    return Ceiling(at=first, rule=name, swept_by=name, graces=_graces(lending))


def _delete_at(thread: Thread, rule: Policy) -> datetime | None:
    if rule.delete is None:
        return None
    start = date_of(thread, rule.delete.since)
    return rule.delete.after.add_to(start) if start else None


def _ttl_at(thread: Thread) -> datetime | None:
    ttl = _ttl(thread)
    return ttl.add_to(thread.created_at or thread.registered_at) if ttl else None


def _ttl(thread: Thread) -> Duration | None:
    try:
        return parse_duration(thread.ttl or "")
    except Invalid:
        # Registration refuses such a TTL. Guessing one could delete too early, so nothing is guessed.
        return None


def _graces(rules: Sequence[Policy]) -> tuple[Duration, ...]:
    return tuple(rule.notify.grace for rule in rules if rule.notify)


def _name(policy: Policy) -> str:
    return policy.name
