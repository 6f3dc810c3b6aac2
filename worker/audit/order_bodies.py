"""The bodies of entries about holds, erasures, sweeps, bundles, switches, keys and the log itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.audit.entry import BodyRefused, Entry, EntryType, Json
from worker.audit.fields import listing, said
from worker.model.clock import rfc3339
from worker.model.decision import Erasure, Hold
from worker.model.receipt import LineStatus, OrderStatus

# Two numbers of 16 digits each fit so often into a body.
MOST_RANGES = 350


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sweep's plan; ``digest`` is over its stored selection."""

    sweep: str
    policy: str
    slot: str
    bundle: str
    digest: str
    planned: int
    population: int


def hold_placed(
    hold: Hold,
    *,
    reason: str,
    matched: int,
    too_late: Sequence[str],
    uncertain: Sequence[str],
    at: datetime,
    actor: str,
    project: str | None = None,
) -> Entry:
    """Record an effective hold, and what it came too late for."""
    fields: dict[str, Json] = {
        **_hold(hold),
        "matched": matched,
        "reason": said(reason),
        **listing("too_late", too_late),
        **listing("uncertain", uncertain),
    }
    return _entry(EntryType.HOLD_PLACED, fields, at, actor, project=project)


def hold_released(hold: Hold, *, reason: str, at: datetime, actor: str, project: str | None = None) -> Entry:
    """Record that a hold no longer protects."""
    fields: dict[str, Json] = {**_hold(hold), "reason": said(reason)}
    return _entry(EntryType.HOLD_RELEASED, fields, at, actor, project=project)


def erasure_ordered(
    erasure: Erasure,
    *,
    id: str,
    reason: str,
    threads: int,
    deadline: datetime,
    at: datetime,
    actor: str,
    project: str | None = None,
) -> Entry:
    """Record an order to delete now, until when it is to be answered, and how many threads it covers."""
    fields: dict[str, Json] = {
        "covers_until": rfc3339(erasure.at),
        "deadline": rfc3339(deadline),
        "erasure": id,
        "owner": erasure.owner,
        "reason": said(reason),
        "threads": threads,
        **listing("ids", erasure.ids),
    }
    return _entry(EntryType.ERASURE_ORDERED, fields, at, actor, project=project)


def erasure_answered(
    *,
    id: str,
    status: OrderStatus,
    counts: Mapping[LineStatus, int],
    threads: Sequence[str],
    at: datetime,
    actor: str,
    project: str | None = None,
) -> Entry:
    """Record how an order stands in a project; of ``threads`` each is an id and what became of it."""
    fields: dict[str, Json] = {
        "erasure": id,
        "status": status.value,
        **{one.value: counts.get(one, 0) for one in LineStatus},
        **listing("threads", threads),
    }
    return _entry(EntryType.ERASURE_ANSWERED, fields, at, actor, project=project)


def sweep_planned(plan: Plan, *, state: str, at: datetime, actor: str, project: str | None = None) -> Entry:
    """Record a stored plan and the state it goes on in."""
    return _entry(EntryType.SWEEP_PLANNED, {**_plan(plan), "state": state}, at, actor, project=project)


def sweep_blocked(plan: Plan, *, guard: str, at: datetime, actor: str, project: str | None = None) -> Entry:
    """Record that a guard stopped a sweep whole; ``guard`` says which, with its figures."""
    return _entry(EntryType.SWEEP_BLOCKED, {**_plan(plan), "guard": said(guard)}, at, actor, project=project)


def sweep_approved(plan: Plan, *, reason: str, at: datetime, actor: str, project: str | None = None) -> Entry:
    """Record that ``actor`` approved the plan with this digest."""
    return _entry(
        EntryType.SWEEP_APPROVED, {**_plan(plan), "reason": said(reason)}, at, actor, project=project
    )


def bundle_activated(
    digest: str,
    *,
    previous: str | None,
    policies: int,
    at: datetime,
    actor: str,
    commit: str | None = None,
    author: str | None = None,
    dirty: bool | None = None,
    approved_by: str | None = None,
) -> Entry:
    """Record which policies are in force from now on, and the commit that the folder stood at."""
    fields: dict[str, Json] = {
        "approved_by": approved_by,
        "author": author,
        "bundle": digest,
        "commit": commit,
        "dirty": dirty,
        "policies": policies,
        "previous": previous,
    }
    return _entry(EntryType.BUNDLE_ACTIVATED, fields, at, actor)


def bundle_refused(*, digest: str | None, problems: Sequence[str], at: datetime, actor: str) -> Entry:
    """Record that a bundle was refused whole and the last good one stays."""
    fields: dict[str, Json] = {"bundle": digest, **listing("problems", problems)}
    return _entry(EntryType.BUNDLE_REFUSED, fields, at, actor)


def bundle_approved(
    digest: str,
    *,
    base: str,
    preview: str,
    proposed_by: str,
    commit: str | None,
    expires_at: datetime,
    reason: str,
    at: datetime,
    actor: str,
) -> Entry:
    """Record that ``actor`` let the bundle of this digest follow the base, until then and once."""
    fields: dict[str, Json] = {
        "base": base,
        "bundle": digest,
        "commit": commit,
        "expires_at": rfc3339(expires_at),
        "preview": preview,
        "proposed_by": proposed_by,
        "reason": said(reason),
    }
    return _entry(EntryType.BUNDLE_APPROVED, fields, at, actor)


def switch_changed(
    *, enabled: bool, reason: str, at: datetime, actor: str, project: str | None = None
) -> Entry:
    """Record that deletes were paused or resumed, for one project or all."""
    fields: dict[str, Json] = {"enabled": enabled, "reason": said(reason)}
    return _entry(EntryType.SWITCH_CHANGED, fields, at, actor, project=project)


def key_created(
    *, key: str, label: str, scopes: Sequence[str], projects: Sequence[str], at: datetime, actor: str
) -> Entry:
    """Record a new API key by its id; never its secret."""
    fields: dict[str, Json] = {
        "key": key,
        "label": said(label),
        **listing("scopes", sorted(scopes)),
        **listing("projects", sorted(projects)),
    }
    return _entry(EntryType.KEY_CREATED, fields, at, actor)


def key_revoked(*, key: str, at: datetime, actor: str) -> Entry:
    """Record that an API key opens nothing any more."""
    return _entry(EntryType.KEY_REVOKED, {"key": key}, at, actor)


def key_rotated(
    *,
    origin: str,
    vkey: str,
    previous: str,
    since: int,
    both_sign: int,
    reason: str,
    at: datetime,
    actor: str,
) -> Entry:
    """Record the key that signs the log from a tree size on, and how long the one before signs with it."""
    fields: dict[str, Json] = {
        "both_sign": both_sign,
        "origin": origin,
        "previous": previous,
        "reason": said(reason),
        "since": since,
        "vkey": vkey,
    }
    return _entry(EntryType.KEY_ROTATED, fields, at, actor)


def api_key_rotated(*, key: str, successor: str, ends_at: datetime, at: datetime, actor: str) -> Entry:
    """Record that an API key got a successor with the same rights, and when the old one ends."""
    fields: dict[str, Json] = {"ends_at": rfc3339(ends_at), "key": key, "successor": successor}
    return _entry(EntryType.KEY_ROTATED, fields, at, actor)


def log_sealed(*, origin: str, size: int, root: bytes, at: datetime, actor: str) -> Entry:
    """Record the checkpoint that was signed; it is the leaf after that tree."""
    fields: dict[str, Json] = {"origin": origin, "root": root.hex(), "size": size}
    return _entry(EntryType.LOG_SEALED, fields, at, actor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A tree that an epoch's first leaf names; ``root`` is 32 bytes."""

    origin: str
    size: int
    root: bytes

    def as_json(self) -> dict[str, Json]:
        """Write it as an entry holds it."""
        return {"origin": self.origin, "root": self.root.hex(), "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What an epoch follows: what was anchored, what the database held instead, and where they part.

    Both are known to agree on the first ``agreed`` leaves; what the anchored tree had behind them may be
    missing here, or be something else.
    """

    why: str
    anchored: Tree
    held: Tree
    agreed: int


def log_epoch(*, number: int, origin: str, gap: Gap, reason: str, at: datetime, actor: str) -> Entry:
    """Record that the log goes on under another origin; it is the epoch's first leaf."""
    fields: dict[str, Json] = {
        "agreed": gap.agreed,
        "anchored": gap.anchored.as_json(),
        "held": gap.held.as_json(),
        "number": number,
        "origin": origin,
        "reason": said(reason),
        "why": gap.why,
    }
    return _entry(EntryType.LOG_EPOCH, fields, at, actor)


def export_made(
    project: str, *, window: tuple[datetime, datetime], size: int, root: bytes, at: datetime, actor: str
) -> Entry:
    """Record that a bundle was written up to a tree size."""
    fields: dict[str, Json] = {
        "from": rfc3339(window[0]),
        "root": root.hex(),
        "size": size,
        "to": rfc3339(window[1]),
    }
    return _entry(EntryType.EXPORT_MADE, fields, at, actor, project=project)


def access_read(*, what: str, rows: int, at: datetime, actor: str, project: str | None = None) -> Entry:
    """Record that somebody read of the log or the registry: which route, and how many rows."""
    return _entry(EntryType.ACCESS_READ, {"rows": rows, "what": said(what)}, at, actor, project=project)


def body_shredded(
    project: str | None, *, leaves: Sequence[tuple[int, int]], reason: str, at: datetime, actor: str
) -> Entry:
    """Record that the bodies of a project's entries in these leaf ranges are gone; no identity is named.

    Without a project they are entries of none, such as a hold's, whose bodies no project's export has.
    ``leaves`` are (start, end), the end not included, all before this entry; where there are too many for
    one entry (MOST_RANGES), write several.
    """
    return _entry(EntryType.BODY_SHREDDED, _leaves(leaves, reason), at, actor, project=project)


def log_pruned(*, leaves: Sequence[tuple[int, int]], reason: str, at: datetime, actor: str) -> Entry:
    """Record that the bodies of all entries in these leaf ranges, of whichever project, are gone."""
    return _entry(EntryType.LOG_PRUNED, _leaves(leaves, reason), at, actor)


def _leaves(leaves: Sequence[tuple[int, int]], reason: str) -> dict[str, Json]:
    if len(leaves) > MOST_RANGES:
        raise BodyRefused(f"{len(leaves)} ranges are too many for one entry; {MOST_RANGES} are the limit.")
    return {
        "count": sum(end - start for start, end in leaves),
        "leaves": [[start, end] for start, end in leaves],
        "reason": said(reason),
    }


def _entry(
    type_: EntryType, fields: Mapping[str, Json], at: datetime, actor: str, *, project: str | None = None
) -> Entry:
    return Entry(type=type_, at=at, actor=actor, project=project, body=fields)


def _hold(hold: Hold) -> dict[str, Json]:
    tags = (f"{one.key} {one.operator} {','.join(one.values)}" for one in hold.scope.tags)
    return {
        "hold": hold.id,
        "matter": hold.matter,
        **listing("ids", hold.scope.ids),
        **listing("owners", hold.scope.owners),
        **listing("projects", hold.scope.projects),
        **listing("tags", tags),
    }


def _plan(plan: Plan) -> dict[str, Json]:
    return {
        "bundle": plan.bundle,
        "digest": plan.digest,
        "planned": plan.planned,
        "policy": plan.policy,
        "population": plan.population,
        "slot": plan.slot,
        "sweep": plan.sweep,
    }
