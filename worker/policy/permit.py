"""What a producer may change of its own thread without ending a protection or outlasting a ceiling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from worker.model.clock import rfc3339
from worker.model.decision import Hold
from worker.model.errors import Invalid, TenureError
from worker.model.thread import Thread
from worker.policy import ages
from worker.policy.ceilings import surviving
from worker.policy.document import Basis, Bundle, Mode, Policy, RetainRule
from worker.policy.durations import parse_duration
from worker.policy.floors import latest
from worker.policy.match import matches, scope_matches


class Held(TenureError):
    """A hold covers the thread, and with the change it would no longer do so."""

    code = "held"


class Retained(TenureError):
    """A legal retain rule protects the thread, and with the change it would not do so as long."""

    code = "retained"


class BeyondPolicy(TenureError):
    """The longer TTL ends later than a delete rule lets the thread stay."""

    code = "ttl_beyond_policy"


def refuse_loss_of_hold(before: Thread, after: Thread, holds: Iterable[Hold]) -> None:
    """Raise Held if a hold that covers the thread would not cover the changed one.

    So the holds on a thread never grow fewer by a change: only a release ends one.
    """
    for hold in sorted(holds, key=lambda one: one.matter):
        if scope_matches(hold.scope, before) and not scope_matches(hold.scope, after):
            problem = f"The hold of {hold.matter} covers this thread, and would not after the change."
            raise Held(problem, repair="Wait until it is released; until then leave owner and tags.")


def refuse_loss_of_floor(before: Thread, after: Thread, bundle: Bundle, now: datetime) -> None:
    """Raise Retained if a legal floor that still runs would no longer match, or would end sooner.

    One that counts from a date which is unknown, or which nobody believes, has not ended: the true one may
    say otherwise. What a producer tells of that date afterwards ends it no sooner than registration would
    (ADR 23).
    A business floor, such as the shipped `keep` tag, is the producer's own to end.
    """
    for policy in sorted(_enforced(bundle, before), key=lambda one: one.name):
        if policy.retain is None or policy.retain.basis is not Basis.LEGAL:
            continue
        floor, is_sure = latest(before, [policy]), _is_sure(before, policy.retain, now)
        stands = floor is not None and (floor.runs(now) or not is_sure)
        if stands and not matches(policy, after):
            problem = (
                f"The legal retain rule {policy.name} keeps this thread, and would not after the change."
            )
            raise Retained(problem, repair="Leave the owner and tags that it matches.")
        if stands and not is_sure:
            _refuse_sooner(policy.name, policy.retain, after, now)


def _is_sure(thread: Thread, rule: RetainRule, now: datetime) -> bool:
    """Whether the end of this floor is known: it needs no date, or one that is there and to be believed."""
    return rule.length is None or (_is_credible(thread, now) and ages.date_of(thread, rule.since) is not None)


def _refuse_sooner(name: str, rule: RetainRule, after: Thread, now: datetime) -> None:
    """Raise Retained if the floor, whose end was not known, has one now that lies before the assured one."""
    start = ages.date_of(after, rule.since)
    if rule.length is None or start is None or not _is_sure(after, rule, now):
        return
    assured = rule.length.add_to(after.registered_at)
    if now < assured and rule.length.add_to(start) < assured:
        problem = (
            f"The legal retain rule {name} keeps this thread until {rfc3339(assured)}, counted from its "
            "registration, since its own date was not known."
        )
        repair = f"Tell none before {rfc3339(after.registered_at)}, or tell it once that floor has passed."
        raise Retained(problem, repair=repair)


def refuse_longer_ttl(before: Thread, after: Thread, bundle: Bundle) -> None:
    """Raise BeyondPolicy if the TTL grew to an end that a surviving delete rule does not allow.

    Taking a TTL away leaves the rules alone to decide, so it is always within them. Where the date of a rule
    is unknown, nobody can say that a longer TTL is within it.
    """
    if after.ttl is None or before.ttl is None or not _is_longer(before, after):
        return
    end = _end(after)
    for rule in surviving(list(_enforced(bundle, after))):
        assert rule.delete is not None  # noqa: S101 - that is what surviving() picks
        start = ages.date_of(after, rule.delete.since)
        if start is None or rule.delete.after.add_to(start) < end:
            problem = f"The delete rule {rule.name} does not let this thread stay until the end of that TTL."
            raise BeyondPolicy(problem, repair="Give a shorter TTL, or null: then the rules alone decide.")


def refuse_second_creation(before: Thread, after: Thread, now: datetime) -> None:
    """Raise Invalid if `created_at` is known and to be believed, or the new one is not."""
    if before.created_at is not None and _is_credible(before, now):
        problem = "When this thread was created is known, and is set once."
        repair = "Leave `created_at` out; what the provider says is taken over when the thread is read."
        raise Invalid(problem, repair=repair, pointer="/created_at", code="created_at_known")
    if not _is_credible(after, now):
        problem = "No thread can have been created then."
        repair = "Give an instant since 2020 that does not lie ahead."
        raise Invalid(problem, repair=repair, pointer="/created_at", code="created_at_incredible")


def _is_credible(thread: Thread, now: datetime) -> bool:
    return not ages.is_before_any_provider(thread) and ages.believable_from(thread) <= now


def _enforced(bundle: Bundle, thread: Thread) -> Sequence[Policy]:
    return [one for one in bundle.policies if one.mode is Mode.ENFORCE and matches(one, thread)]


def _is_longer(before: Thread, after: Thread) -> bool:
    return _end(after) > _end(before)


def _end(thread: Thread) -> datetime:
    return parse_duration(thread.ttl or "").add_to(thread.created_at or thread.registered_at)
