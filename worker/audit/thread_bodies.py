"""The bodies of entries about one thread: registered, intended, read, answered, graded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.audit.entry import Entry, EntryType, Json
from worker.audit.fields import listing, said, when
from worker.audit.observed import (
    Tried,
    child_counts,
    chosen_body,
    observation_bodies,
    observation_body,
    reread_body,
    telling_passes,
    tried_body,
)
from worker.model.chosen import ChosenChild
from worker.model.clock import rfc3339
from worker.model.decision import Decision
from worker.model.evidence import GRADER_VERSION, Control, Grade, Observation, Reread
from worker.model.thread import Account, Kind, Thread
from worker.model.work import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What arming commits before a DELETE may leave; its identity is (item, fence, stage)."""

    item: str
    fence: int
    stage: Stage
    sweep: str
    policy: str
    decision: Decision
    before: Observation
    protection_version: int
    children_found: int = 0
    children_confirmed: int = 0
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A grade with all that it was made of. ``credential`` is a name such as ``env:OPENAI_API_KEY``.

    ``tried`` are all passes over the thread, oldest first, exactly as they were folded; ``observations``
    are those of all passes and must hold the control that supports the read.
    """

    item: str
    fence: int
    sweep: str
    policy: str
    bundle: str
    grade: Grade
    tried: Sequence[Tried]
    observations: Sequence[Observation]
    deletion_semantics: str
    attempts: int
    credential: str = ""
    reread: Reread | None = None
    eligible_at: datetime | None = None
    chosen: Sequence[ChosenChild] = ()


def thread_registered(thread: Thread, *, at: datetime, actor: str, children: Sequence[str] = ()) -> Entry:
    """Record that a thread was registered, and which children its producer chose to go with it."""
    fields = {
        **_identity(thread),
        "created_at": when(thread.created_at),
        "last_activity_at": when(thread.last_activity_at),
        "registered_at": rfc3339(thread.registered_at),
        "ttl": thread.ttl,
        **listing("tags", (f"{key}={value}" for key, value in sorted(thread.tags.items()))),
        **(listing("children", children) if children else {}),
    }
    return _about(EntryType.THREAD_REGISTERED, thread, fields, at, actor)


def thread_changed(
    thread: Thread, *, changes: Mapping[str, tuple[str | None, str | None]], at: datetime, actor: str
) -> Entry:
    """Record changed fields: name -> (old, new)."""
    told = [{"field": key, "from": said(old), "to": said(new)} for key, (old, new) in sorted(changes.items())]
    return _about(EntryType.THREAD_CHANGED, thread, {**_identity(thread), "changes": told}, at, actor)


def thread_withdrawn(thread: Thread, *, reason: str, at: datetime, actor: str) -> Entry:
    """Record that a registration was a mistake; the thread is never deleted."""
    return _about(
        EntryType.THREAD_WITHDRAWN, thread, {**_identity(thread), "reason": said(reason)}, at, actor
    )


def thread_retried(thread: Thread, *, reason: str, at: datetime, actor: str) -> Entry:
    """Record that a parked thread is live again."""
    return _about(EntryType.THREAD_RETRIED, thread, {**_identity(thread), "reason": said(reason)}, at, actor)


def thread_accepted(thread: Thread, *, reason: str, at: datetime, actor: str) -> Entry:
    """Record that a person accepted why a thread is parked."""
    return _about(EntryType.THREAD_ACCEPTED, thread, {**_identity(thread), "reason": said(reason)}, at, actor)


def notice_delivered(
    thread: Thread,
    *,
    channel: str,
    promised: datetime | None,
    policies: Sequence[str],
    at: datetime,
    actor: str,
) -> Entry:
    """Record that a notice of the coming deletion was delivered, and the date that it promised."""
    fields: dict[str, Json] = {
        "channel": said(channel),
        "promised": when(promised),
        **listing("policies", policies),
    }
    return _about(EntryType.NOTICE_DELIVERED, thread, fields, at, actor)


def delete_intended(thread: Thread, intent: Intent, *, at: datetime, actor: str) -> Entry:
    """Record the intent to DELETE, before anything is sent."""
    fields = {
        **_identity(thread),
        **_attempt(intent.item, intent.fence, intent.stage),
        "attempt": intent.attempt,
        "before": observation_body(intent.before),
        "children_confirmed": intent.children_confirmed,
        "children_found": intent.children_found,
        "decision": _decision(intent.decision),
        "policy": intent.policy,
        "protection_version": intent.protection_version,
        "sweep": intent.sweep,
    }
    return _about(EntryType.DELETE_INTENDED, thread, fields, at, actor)


def delete_spared(
    thread: Thread,
    *,
    item: str,
    fence: int,
    decision: Decision,
    reason: str,
    at: datetime,
    actor: str,
    children_deleted: int = 0,
) -> Entry:
    """Record that a claimed thread was not deleted, and why."""
    fields: dict[str, Json] = {
        "children_deleted": children_deleted,
        "decision": _decision(decision),
        "fence": fence,
        "item": item,
        "reason": said(reason),
    }
    return _about(EntryType.DELETE_SPARED, thread, fields, at, actor)


def delete_answered(
    thread: Thread, *, item: str, fence: int, stage: Stage, answer: Observation, at: datetime, actor: str
) -> Entry:
    """Record what came back to a DELETE."""
    fields = {**_attempt(item, fence, stage), "observation": observation_body(answer)}
    return _about(EntryType.DELETE_ANSWERED, thread, fields, at, actor)


def thread_preread(
    thread: Thread, *, item: str, fence: int, seen: Observation, at: datetime, actor: str
) -> Entry:
    """Record a read before any DELETE."""
    fields: dict[str, Json] = {"fence": fence, "item": item, "observation": observation_body(seen)}
    return _about(EntryType.THREAD_PREREAD, thread, fields, at, actor)


def thread_reread(
    thread: Thread, *, item: str, fence: int, seen: Observation, control: Control, at: datetime, actor: str
) -> Entry:
    """Record a read after a DELETE, with what supports it."""
    fields: dict[str, Json] = {
        "control": control.value,
        "fence": fence,
        "item": item,
        "observation": observation_body(seen),
    }
    return _about(EntryType.THREAD_REREAD, thread, fields, at, actor)


def control_probed(
    project: str,
    *,
    kind: Kind,
    control: Control,
    seen: Sequence[Observation],
    supports: Sequence[str],
    at: datetime,
    actor: str,
) -> Entry:
    """Record a control read; ``supports`` are the ids of the threads whose reads lean on it."""
    fields: dict[str, Json] = {
        "control": control.value,
        "kind": kind.value,
        "observations": observation_bodies(seen),
        **listing("supports", supports),
    }
    return Entry(type=EntryType.CONTROL_PROBED, at=at, actor=actor, project=project, body=fields)


def thread_graded(thread: Thread, graded: Graded, *, at: datetime, actor: str) -> Entry:
    """Record a grade with the passes it was folded from, so that anyone can grade again."""
    told = telling_passes(graded.tried)
    fields = {
        **_identity(thread),
        "attempts": graded.attempts,
        "bundle": graded.bundle,
        "children_seen": child_counts(graded.observations),
        "credential": graded.credential,
        "deletion_semantics": said(graded.deletion_semantics),
        "eligible_at": when(graded.eligible_at),
        "fence": graded.fence,
        "grade": graded.grade.value,
        "grader_version": GRADER_VERSION,
        "item": graded.item,
        "observations": observation_bodies(graded.observations),
        "observations_made": len(graded.observations),
        "passes": [tried_body(one) for one in told],
        "passes_made": len(graded.tried),
        "policy": graded.policy,
        "reread": reread_body(graded.reread),
        "sweep": graded.sweep,
        **({"children_chosen": chosen_body(graded.chosen)} if graded.chosen else {}),
    }
    return _about(EntryType.THREAD_GRADED, thread, fields, at, actor)


def delete_late_result(
    thread: Thread, *, item: str, fence: int, stage: Stage, late: Observation, at: datetime, actor: str
) -> Entry:
    """Record an answer that came after the fence had moved on; it changes nothing."""
    fields = {**_attempt(item, fence, stage), "observation": observation_body(late)}
    return _about(EntryType.DELETE_LATE_RESULT, thread, fields, at, actor)


def _about(type_: EntryType, thread: Thread, fields: Mapping[str, Json], at: datetime, actor: str) -> Entry:
    return Entry(type=type_, at=at, actor=actor, project=thread.project, subject=thread.id, body=fields)


def _identity(thread: Thread) -> dict[str, Json]:
    return {
        "account": _account(thread.account) if thread.account else None,
        "external_id": thread.external_id,
        "kind": thread.kind.value,
        "owner": thread.owner,
    }


def _account(account: Account) -> dict[str, Json]:
    return {
        "base_url": account.base_url,
        "organization": account.organization,
        "provider": account.provider,
        "provider_project": account.provider_project,
    }


def _attempt(item: str, fence: int, stage: Stage) -> dict[str, Json]:
    return {"fence": fence, "item": item, "stage": stage.value}


def _decision(decision: Decision) -> dict[str, Json]:
    return {
        "bundle": decision.bundle,
        "decided_by": decision.decided_by,
        "eligible_at": when(decision.eligible_at),
        "outcome": decision.outcome.value,
        **listing("rules", decision.rules),
    }
