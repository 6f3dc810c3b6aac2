"""Judge one difference between two versions of a policy, by its path in the document.

DANGER. What is judged ``tightening`` or ``neutral`` here goes in force without approval. A path that is not
known is loosening, and a property test looks for a thread that any unflagged change would make due.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from worker.policy.coverage import covers_no_more
from worker.policy.document import Bundle, Mode, Policy, ProducerTtl
from worker.policy.effects import Judgement, loosening, neutral, tightening
from worker.policy.judge_guards import judge_guard
from worker.policy.lengths import lasts_as_long
from worker.policy.stepping_back import after_ignoring_ttl, after_leaving, after_waiting

# What belongs to the delete rule: without one, nothing of it has an effect.
_OF_DELETE = ("spec.tier", "spec.before_delete", "spec.schedule", "spec.guards")


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """A policy in the base and in the head, and the head that it stands in."""

    before: Policy
    after: Policy
    head: Bundle


def judge_policy(path: str, versions: Versions) -> Judgement:
    """Judge the difference at that path."""
    before, after = versions.before, versions.after
    if path == "spec.mode":
        return _mode(versions)
    if path.startswith("metadata."):
        return neutral("It is a name for people; no decision reads it.")
    if before.mode is not Mode.ENFORCE and after.mode is not Mode.ENFORCE:
        return neutral("The policy is not enforced, so it takes no part before or after.")
    if before.mode is not after.mode:
        return neutral("What the change of mode does covers it.")
    if path.startswith(_OF_DELETE) and not (before.delete and after.delete):
        return neutral("It goes with the delete rule.")
    if path.startswith("spec.guards.") and before.guards and after.guards:
        return judge_guard(path.removeprefix("spec.guards."), before.guards, after.guards)
    judge = _JUDGES.get(path)
    return judge(versions) if judge else loosening("Nobody has proven what this field does.")


def judge_added(policy: Policy) -> Judgement:
    """Judge a policy that the base does not have."""
    if policy.mode is not Mode.ENFORCE:
        return neutral(f"It starts in mode {policy.mode}, in which it takes no part.")
    if policy.delete:
        return loosening("A new delete rule is enforced.")
    return tightening("A new retain rule protects.")


def judge_removed(policy: Policy, head: Bundle) -> Judgement:
    """Judge a policy that the head no longer has."""
    if policy.mode is not Mode.ENFORCE:
        return neutral(f"It was in mode {policy.mode}, in which it took no part.")
    return _gone(policy, head)


def _gone(policy: Policy, head: Bundle) -> Judgement:
    if policy.retain:
        return loosening("A retain rule that was enforced protects no longer.")
    return _unless(after_leaving(policy, head), "A delete rule no longer takes part.")


def _unless(danger: str | None, otherwise: str) -> Judgement:
    return loosening(f"{danger[:1].upper()}{danger[1:]}.") if danger else tightening(otherwise)


def _mode(versions: Versions) -> Judgement:
    before, after = versions.before, versions.after
    if after.mode is Mode.ENFORCE:
        if after.delete:
            return loosening(f"From {before.mode} to enforce: the delete rule takes part from now on.")
        return tightening("The retain rule protects from now on.")
    if before.mode is Mode.ENFORCE:
        return _gone(before, versions.head)
    return neutral("The policy takes no part in either mode.")


def _match(versions: Versions) -> Judgement:
    # First the match alone, then the except over the new match: each step is judged by itself.
    return _coverage(versions.before, replace(versions.before, match=versions.after.match), versions)


def _except(versions: Versions) -> Judgement:
    before = replace(versions.before, match=versions.after.match)
    return _coverage(before, replace(before, except_=versions.after.except_), versions)


def _coverage(before: Policy, after: Policy, versions: Versions) -> Judgement:
    """Judge what is covered: less of a delete rule tightens, more of a retain rule does, and nothing else."""
    final = versions.after
    narrower, wider = covers_no_more(after, before), covers_no_more(before, after)
    if narrower and wider:
        return neutral("It covers the same threads in other words.")
    if before.delete and final.delete and not narrower:
        return loosening("The delete rule may cover threads that it did not cover.")
    if before.retain and final.retain and not wider:
        return loosening("The retain rule may no longer cover threads that it protected.")
    if before.delete and final.delete:
        return _unless(after_leaving(before, versions.head), "The delete rule covers less.")
    if before.retain and final.retain:
        return tightening("The retain rule covers more.")
    return neutral("The rule that it selected for is another one now, which is judged by itself.")


def _tier(_versions: Versions) -> Judgement:
    return loosening("Another tier changes which delete rules silence which, and nobody can prove for whom.")


def _delete(versions: Versions) -> Judgement:
    if versions.after.delete:
        return loosening("A delete rule is added to an enforced policy.")
    return _unless(after_leaving(versions.before, versions.head), "The delete rule is gone.")


def _after(versions: Versions) -> Judgement:
    before, after = versions.before.delete, versions.after.delete
    if before is None or after is None or not lasts_as_long(after.after, before.after):
        return loosening("Threads may be deleted earlier.")
    return _unless(after_waiting(versions.before, versions.head), "Threads are deleted later.")


def _since(_versions: Versions) -> Judgement:
    return loosening("Counted from another date, which may be earlier for some threads, or known for more.")


def _producer_ttl(versions: Versions) -> Judgement:
    if versions.after.delete and versions.after.delete.producer_ttl is ProducerTtl.IGNORE:
        return _unless(
            after_ignoring_ttl(versions.after, versions.head),
            "The producer's TTL no longer brings a deletion forward.",
        )
    return loosening("The producer's TTL may bring deletions forward.")


def _retain(versions: Versions) -> Judgement:
    if versions.after.retain:
        return tightening("A retain rule is added.")
    return loosening("A retain rule that was enforced is gone.")


def _for(versions: Versions) -> Judgement:
    before, after = versions.before.retain, versions.after.retain
    if after and after.length is None:
        return tightening("Threads are retained without end.")
    if before and after and before.length and after.length and lasts_as_long(after.length, before.length):
        return tightening("Threads are retained longer.")
    return loosening("Threads may be retained for a shorter time.")


def _basis(versions: Versions) -> Judgement:
    if versions.after.retain and versions.after.retain.basis == "legal":
        return tightening("An erasure no longer overrules it.")
    return loosening("An erasure may overrule it from now on.")


def _notify(versions: Versions) -> Judgement:
    if versions.after.notify:
        return tightening("A notice must be delivered, and its grace be over, before anything is deleted.")
    return loosening("Threads are deleted without a notice.")


def _grace(versions: Versions) -> Judgement:
    before, after = versions.before.notify, versions.after.notify
    if before and after and lasts_as_long(after.grace, before.grace):
        return tightening("There is more time to object.")
    return loosening("There may be less time to object.")


def _recipient(_versions: Versions) -> Judgement:
    return loosening("Somebody else is told, and who was told may not hear of it.")


def _schedule(versions: Versions) -> Judgement:
    if versions.after.schedule is None:
        return tightening("It is swept by hand only.")
    if versions.before.schedule is None:
        return loosening("It was swept by hand only, and now runs by itself.")
    if any(
        one.guards and one.guards.require_approval_over is not None
        for one in (versions.before, versions.after)
    ):
        # The size of one plan says whether it waits: sweeping more often makes small ones of a large one.
        return loosening("Plans of other slots have other sizes, and by its size a plan waits for approval.")
    return neutral("No thread is due at another time; only the times of its sweeps change.")


_JUDGES: dict[str, Callable[[Versions], Judgement]] = {
    "spec.match": _match,
    "spec.except": _except,
    "spec.tier": _tier,
    "spec.delete": _delete,
    "spec.delete.after": _after,
    "spec.delete.from": _since,
    "spec.delete.producer_ttl": _producer_ttl,
    "spec.retain": _retain,
    "spec.retain.for": _for,
    "spec.retain.from": _since,
    "spec.retain.basis": _basis,
    "spec.before_delete": _notify,
    "spec.before_delete.notify.grace": _grace,
    "spec.before_delete.notify.to": _recipient,
    "spec.schedule": _schedule,
    "spec.schedule.cron": _schedule,
    "spec.schedule.timezone": _schedule,
    "spec.schedule.catch_up": _schedule,
}
