"""What a producer may change of its own thread without ending a protection or outlasting a ceiling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from worker.model.decision import Hold
from worker.model.errors import Invalid, TenureError
from worker.model.thread import Thread
from worker.policy import ages
from worker.policy.ceilings import surviving
from worker.policy.document import Basis, Bundle, Mode, Policy
from worker.policy.durations import parse_duration
from worker.policy.floors import latest
from worker.policy.match import matches, scope_matches


class Held(TenureError):
    """A hold covers the thread, and with the change it would no longer do so."""

    code = "held"


class Retained(TenureError):
    """A legal retain rule protects the thread, and with the change it would no longer do so."""

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
    """Raise Retained if a legal floor that still runs would no longer match.

    One that counts from dates which nobody believes has not ended: the true ones may say otherwise.
    A business floor, such as the shipped `keep` tag, is the producer's own to end.
    """
    for policy in sorted(_enforced(bundle, before), key=lambda one: one.name):
        if policy.retain is None or policy.retain.basis is not Basis.LEGAL:
            continue
        floor = latest(before, [policy])
        stands = floor is not None and (floor.runs(now) or not _is_credible(before, now))
        if stands and not matches(policy, after):
            problem = (
                f"The legal retain rule {policy.name} keeps this thread, and would not after the change."
            )
            raise Retained(problem, repair="Leave the owner and tags that it matches.")


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
