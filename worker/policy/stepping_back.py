"""What comes to the fore when one delete rule covers less, waits longer or goes.

Less of one rule may be more deletion: the default tier applies where a specific rule no longer does, and
a rule without notice decides once the one with notice comes later. It is a tightening only if nothing of
the kind can be shown for any other delete rule in force that may cover the same threads.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.policy.coverage import never_meet
from worker.policy.document import Bundle, DeleteRule, Mode, Policy, ProducerTtl, Since, Tier
from worker.policy.judge_guards import bigger
from worker.policy.lengths import lasts_as_long

# A later one is known wherever an earlier one is: activity falls back to creation.
_KNOWN = (Since.CREATED_AT, Since.LAST_ACTIVITY_AT, Since.REGISTERED_AT)


def after_leaving(before: Policy, head: Bundle) -> str | None:
    """Return what may delete more where the rule no longer covers threads, or None when nothing can."""
    for other in _beside(before, head):
        if _silences(before, other):
            return f"the default-tier rule {other.name} applies where {before.name} silenced it"
        if _knew_less(before.delete, other.delete):
            return f"{other.name} decides threads whose date for {before.name} is unknown"
        if _ignored_ttl(before.delete, other.delete):
            return f"the producer's TTL counts beside {other.name}, where {before.name} ignored it"
        if reason := _bolder(other, before):
            return reason
    return None


def after_waiting(before: Policy, head: Bundle) -> str | None:
    """Return what may decide more freely once the rule's date is later, or None when nothing can."""
    for other in _beside(before, head):
        if not _silences(before, other) and (reason := _bolder(other, before)):
            return reason
    return None


def after_ignoring_ttl(after: Policy, head: Bundle) -> str | None:
    """Return what may decide with less notice once the TTL has no say: it lends the notice of every rule."""
    for other in _beside(after, head):
        if not _silences(after, other) and (reason := _bolder(other, after) or _bolder(after, other)):
            return reason
    return None


def _beside(policy: Policy, head: Bundle) -> Iterator[Policy]:
    """Yield the other delete rules in force that may have a say over the same threads."""
    for other in head.policies:
        if other.name == policy.name or other.mode is not Mode.ENFORCE or other.delete is None:
            continue
        # Where a specific rule covers a thread, one of the default tier had no say anyway.
        if not _silences(other, policy) and not never_meet(policy, other):
            yield other


def _silences(one: Policy, other: Policy) -> bool:
    return one.tier is Tier.SPECIFIC and other.tier is Tier.DEFAULT


def _knew_less(one: DeleteRule | None, other: DeleteRule | None) -> bool:
    return one is None or other is None or _KNOWN.index(one.since) < _KNOWN.index(other.since)


def _ignored_ttl(one: DeleteRule | None, other: DeleteRule | None) -> bool:
    return (
        one is not None
        and one.producer_ttl is ProducerTtl.IGNORE
        and (other is None or other.producer_ttl is not ProducerTtl.IGNORE)
    )


def _bolder(other: Policy, policy: Policy) -> str | None:
    """Return in what ``other`` is freer to delete than ``policy``."""
    if policy.notify and not (other.notify and lasts_as_long(other.notify.grace, policy.notify.grace)):
        return f"{other.name} may decide instead, with less notice than {policy.name}"
    if policy.schedule is None and other.schedule is not None:
        return f"{other.name} may decide instead, on a schedule that {policy.name} has not"
    if policy.guards and (other.guards is None or bigger(policy.guards, other.guards)):
        return f"{other.name} may decide instead, inside bigger guards than those of {policy.name}"
    return None
