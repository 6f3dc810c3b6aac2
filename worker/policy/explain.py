"""Say in words why a thread stands where it stands: which rule, which dates, and who can change it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from worker.model.clock import rfc3339
from worker.model.decision import ERASURE, PRODUCER_TTL, Circumstances, Decision, Erasure, Outcome
from worker.model.errors import Invalid
from worker.model.thread import Thread
from worker.policy.ages import CLOCK_SKEW, EARLIEST, date_of
from worker.policy.document import Bundle, Mode, Policy, Since
from worker.policy.durations import Duration, parse_duration
from worker.policy.evaluate import Standing, decide, standing_of
from worker.policy.match import matches
from worker.policy.notices import after_grace


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The decision and its reasons, one sentence a line; ``commit`` is that of the policies, where known.

    ``reasons`` are those of the lines that led to the decision; the others say what would change it.
    """

    decision: Decision
    lines: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    commit: str | None = None


def explain(thread: Thread, *, bundle: Bundle, circumstances: Circumstances, now: datetime) -> Explanation:
    """Explain the decision that ``decide`` makes with the same arguments."""
    decision = decide(thread, bundle=bundle, circumstances=circumstances, now=now)
    lines = [_headline(decision, bundle)]
    if decision.outcome is Outcome.HELD:
        unheld = decide(thread, bundle=bundle, circumstances=replace(circumstances, holds=()), now=now)
        lines += [f"Held by {name}." for name in decision.rules]
        lines.append(f"Without any hold: {_headline(unheld, bundle)}")
    if decision.outcome is not Outcome.SKIP:
        standing = standing_of(thread, bundle=bundle, circumstances=circumstances, now=now)
        lines += _contributions(thread, standing)
        lines += _notices(thread, standing, circumstances)
        lines += _bystanders(thread, bundle, standing)
    reasons = tuple(lines)
    lines.append(_way_out(thread, decision, now))
    if decision.outcome is Outcome.RETAINED and ERASURE not in decision.rules:
        lines += _if_erased(thread, bundle, circumstances, now)
    if decision.evaluate_at and decision.evaluate_at > now:
        lines.append(f"Time alone changes this at {rfc3339(decision.evaluate_at)} at the earliest.")
    return Explanation(decision=decision, lines=tuple(lines), reasons=reasons)


def _if_erased(thread: Thread, bundle: Bundle, circumstances: Circumstances, now: datetime) -> Iterator[str]:
    """Yield what an order would change: the deciding rule alone does not tell which floors give way."""
    if thread.registered_at <= now:
        order = Erasure(at=now, ids=(thread.id,))
        ordered = replace(circumstances, erasures=(*circumstances.erasures, order))
        decision = decide(thread, bundle=bundle, circumstances=ordered, now=now)
        yield f"With an erasure ordered now: {_headline(decision, bundle)}"


def _headline(decision: Decision, bundle: Bundle) -> str:
    by = f", decided by {_named(decision.decided_by, bundle)}" if decision.decided_by else ""
    return f"{decision.outcome}{by}{_when(decision)}."


def _when(decision: Decision) -> str:
    if decision.eligible_at is None:
        return ", with no end" if decision.outcome is Outcome.RETAINED else ""
    at = rfc3339(decision.eligible_at)
    match decision.outcome:
        case Outcome.DUE:
            return f", since {at}"
        case Outcome.RETAINED:
            return f", until {at}"
        case Outcome.NOTIFY:
            return f", not before {at}, once a notice was delivered"
        case _:
            return f", at {at}"


def _named(name: str, bundle: Bundle) -> str:
    source = next((policy.source for policy in bundle.policies if policy.name == name), "")
    return f"{name} ({source})" if source else name


def _contributions(thread: Thread, standing: Standing) -> Iterator[str]:
    """Yield one line of date arithmetic for each rule that counts."""
    for policy in standing.retaining:
        if policy.retain:
            until = _sum(thread, policy.retain.since, policy.retain.length)
            yield f"{_sited(policy)} retains ({policy.retain.basis}): {until}."
    if standing.erasure:
        yield f"An erasure ordered at {rfc3339(standing.erasure.at)} stands in for every delete rule."
    for policy in standing.deleting:
        if policy.delete:
            tier = f", tier {policy.tier}" if policy.tier != "specific" else ""
            grace = f"; notice with {policy.notify.grace} grace" if policy.notify else ""
            at = _sum(thread, policy.delete.since, policy.delete.after)
            yield f"{_sited(policy)} deletes{tier}: {at}{grace}."
    if standing.ttl_counts:
        yield f"{PRODUCER_TTL}: {_ttl_sum(thread)}."


def _sum(thread: Thread, since: Since, length: Duration | None) -> str:
    if length is None:
        return "forever"
    start = date_of(thread, since)
    if start is None:
        return f"{since} is unknown, so {length} from it cannot be told"
    named = since.value
    if since is Since.LAST_ACTIVITY_AT and start == thread.created_at:
        named = "created_at (no later activity)"
    return f"{named} {rfc3339(start)} + {length} = {rfc3339(length.add_to(start))}"


def _ttl_sum(thread: Thread) -> str:
    try:
        ttl = parse_duration(thread.ttl or "")
    except Invalid as error:
        return error.problem.rstrip(".")
    start, since = thread.registered_at, Since.REGISTERED_AT
    if thread.created_at:
        start, since = thread.created_at, Since.CREATED_AT
    return f"{since} {rfc3339(start)} + {ttl} = {rfc3339(ttl.add_to(start))}"


def _notices(thread: Thread, standing: Standing, circumstances: Circumstances) -> Iterator[str]:
    """Yield what was delivered, and until when each notice's grace runs."""
    graces = [policy.notify.grace for policy in standing.deleting if policy.notify]
    for notice in circumstances.notices.get(thread.id, ()) if graces else ():
        over = rfc3339(after_grace(graces, notice.at))
        promised = f", promising {rfc3339(notice.promised)}" if notice.promised else ""
        yield f"A notice was delivered at {rfc3339(notice.at)}{promised}; its grace ends at {over}."


def _bystanders(thread: Thread, bundle: Bundle, standing: Standing) -> Iterator[str]:
    """Yield the policies that match and yet have no say, with the reason."""
    for policy in bundle.policies:
        if not matches(policy, thread):
            continue
        if policy.mode is not Mode.ENFORCE:
            yield f"{_sited(policy)} matches and takes no part: mode {policy.mode}."
        elif policy.delete and not standing.erasure and policy not in standing.deleting:
            yield f"{_sited(policy)} matches and drops out: tier default, and a specific delete rule matches."
        elif policy.retain and policy not in standing.retaining:
            yield f"{_sited(policy)} matches and does not protect: an erasure overrules basis business."


def _sited(policy: Policy) -> str:
    return f"{policy.name} ({policy.source})" if policy.source else policy.name


def _way_out(thread: Thread, decision: Decision, now: datetime) -> str:
    outcome = decision.outcome
    match outcome:
        case Outcome.DUE | Outcome.PENDING:
            return _how_to_stop(thread, decision)
        case Outcome.NOTIFY:
            return "It waits for a notice to be delivered; without a delivery channel nothing is deleted."
        case Outcome.RETAINED:
            return f"A change of {decision.decided_by} ends it earlier."
        case Outcome.HELD:
            return "Only a release ends a hold: tenure hold list, then tenure hold release ID --reason R."
        case Outcome.UNMANAGED:
            return "No delete rule in mode enforce matches, so nothing will delete it."
        case Outcome.UNKNOWN:
            return (
                "A date that a rule needs is unknown or unreadable; nothing is deleted until it is corrected."
            )
        case Outcome.QUARANTINED:
            return f"{_disbelieved(thread, now)}; nothing is deleted until that is corrected."
        case Outcome.SKIP:
            return f"Its state is {thread.state}: only live threads are decided."
        case _:
            assert_never(outcome)


def _disbelieved(thread: Thread, now: datetime) -> str:
    """Say which date cannot be true, and why."""
    told = [
        f"{name} {rfc3339(at)} {'lies ahead' if at > now else f'is before {EARLIEST.year}'}"
        for name, at in (("created_at", thread.created_at), ("last_activity_at", thread.last_activity_at))
        if at is not None and (at < EARLIEST or at - now > CLOCK_SKEW)
    ]
    return f"Its dates are not to be believed ({' and '.join(told)})"


def _how_to_stop(thread: Thread, decision: Decision) -> str:
    hold = f"A hold stops it (tenure hold place --id {thread.id} --matter M --reason R)"
    if decision.decided_by == ERASURE:
        return f"{hold}; so does a retain rule with basis legal."
    return f"{hold}; so does a retain rule that matches, and tenure pause stops all deletions."
