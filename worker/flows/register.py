"""Register: a producer tells of a thread; the row and its entry are one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.flows.decide import bundle_in_force, schedule_of
from worker.model.chosen import check_children
from worker.model.decision import Circumstances
from worker.model.errors import Invalid, TenureError
from worker.model.ids import ThreadId, new_id
from worker.model.thread import Kind, Thread, infer_kind
from worker.policy.document import Bundle
from worker.policy.durations import parse_duration
from worker.policy.match import erasure_covers
from worker.store import log, protections, threads
from worker.store.protections import Order
from worker.store.threads import StoredThread
from worker.telemetry.meters import meters

# How many registrations one transaction holds at most: the log's head is locked at its end.
MOST_AT_ONCE = 1000


class Conflict(TenureError):
    """The same thread is registered with other values; ``diff`` lists the fields that differ."""

    code = "conflict"

    def __init__(self, existing: str, diff: Sequence[Mapping[str, Any]]) -> None:
        fields = ", ".join(str(one["field"]) for one in diff)
        super().__init__(
            f"This thread is registered as {existing} with other values of: {fields}.",
            repair="Change the registration instead, or send the same values again.",
        )
        self.existing = existing
        self.diff = tuple(diff)


class RegisteredElsewhere(TenureError):
    """Another project registered this provider object; it is not named, since it is not the caller's."""

    code = "registered_elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a producer says of one thread. ``given`` names the optional fields that it did give."""

    external_id: str
    project: str
    owner: str
    kind: Kind | None = None
    ttl: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    children: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The registration as it stands; ``created`` is False when it was there with the same values."""

    stored: StoredThread
    created: bool


def register(db: Session, wanted: Registration, *, actor: str, now: datetime) -> Registered:
    """Register one thread, idempotently by (project, kind, external_id).

    Raises Invalid (wrong prefix, unknown project, bad TTL, a child that the kind cannot have), Conflict and
    RegisteredElsewhere.
    """
    bundle = _bundle(db)
    done, entry = _register(db, wanted, bundle, protections.orders_since(db, now), actor=actor, now=now)
    log.append(db, [entry] if entry else [])
    _count(done)
    return done


def register_many(
    db: Session,
    wanted: Sequence[Registration],
    *,
    actor: str,
    now: datetime,
    refused: Callable[[int, TenureError], None],
) -> list[Registered | None]:
    """Register at most MOST_AT_ONCE threads in one transaction; a bad one never blocks another."""
    bundle = _bundle(db)
    orders = protections.orders_since(db, now)
    results: list[Registered | None] = []
    entries: list[Entry] = []
    for number, one in enumerate(wanted):
        try:
            done, entry = _register(db, one, bundle, orders, actor=actor, now=now)
        except (Invalid, Conflict, RegisteredElsewhere) as e:
            refused(number, e)
            results.append(None)
            continue
        _count(done)
        results.append(done)
        entries += [entry] if entry else []
    log.append(db, entries)
    return results


def _count(done: Registered) -> None:
    kind, result = done.stored.thread.kind.value, "created" if done.created else "exists"
    meters().registrations.labels(kind=kind, result=result).inc()


def _bundle(db: Session) -> Bundle:
    # Shared: a thread that was dated under an older bundle, and committed after the recompute had passed,
    # would belong to no sweep.
    return bundle_in_force(db, share=True)


def _register(
    db: Session, wanted: Registration, bundle: Bundle, orders: Sequence[Order], *, actor: str, now: datetime
) -> tuple[Registered, Entry | None]:
    new = _as_thread(wanted, bundle, now)
    existing = threads.by_natural_key(db, project=new.project, kind=new.kind, external_id=new.external_id)
    if existing is None:
        # An order that was placed while this request was on its way covers the thread too.
        covering = [one for one in orders if _covers(one, new)]
        bearing = Circumstances(erasures=tuple(one.erasure for one in covering))
        schedule = schedule_of(new, bundle=bundle, circumstances=bearing, now=now)
        if threads.add(db, new, schedule, children=wanted.children):
            for one in covering:
                protections.cover(db, one.id, new.id)
            stored = threads.get(db, new.id)
            assert stored is not None  # noqa: S101 - inserted one line above, in this transaction
            return Registered(stored=stored, created=True), _registered(new, wanted, now, actor)
        # Somebody was faster: either with this very key, or for another project of the same account.
        existing = threads.by_natural_key(db, project=new.project, kind=new.kind, external_id=new.external_id)
    if existing is None:
        problem = "This object is registered already, by another project of the same provider account."
        raise RegisteredElsewhere(problem, repair="Ask whoever runs Tenure which project answers for it.")
    differences = _differences(existing, new, wanted)
    if differences:
        raise Conflict(existing.thread.id, differences)
    return Registered(stored=existing, created=False), None


def _covers(order: Order, new: Thread) -> bool:
    reached = order.projects is None or new.project in order.projects
    return reached and erasure_covers(order.erasure, new)


def _registered(new: Thread, wanted: Registration, now: datetime, actor: str) -> Entry:
    return bodies.thread_registered(new, children=wanted.children, at=now, actor=actor)


def _as_thread(wanted: Registration, bundle: Bundle, now: datetime) -> Thread:
    kind = infer_kind(wanted.external_id, wanted.kind)
    project = bundle.projects.get(wanted.project)
    if project is None:
        problem = "No such project is known."
        raise Invalid(
            problem,
            repair="Name a Project document of the policies folder.",
            pointer="/project",
            code="unknown_project",
        )
    check_children(kind, wanted.children)
    return Thread(
        id=ThreadId(new_id("thr", now)),
        kind=kind,
        external_id=wanted.external_id,
        project=wanted.project,
        owner=wanted.owner,
        registered_at=now,
        tags=dict(wanted.tags),
        ttl=_printed_ttl(wanted.ttl),
        created_at=wanted.created_at,
        account=project.account,
    )


def _printed_ttl(ttl: str | None) -> str | None:
    if ttl is None:
        return None
    try:
        return str(parse_duration(ttl))
    except Invalid as e:
        raise Invalid(e.problem, repair=e.repair, pointer="/ttl", code="invalid_ttl") from e


def _differences(existing: StoredThread, new: Thread, wanted: Registration) -> list[dict[str, Any]]:
    """Compare only what this request gave: a repeat that says less is the same registration."""
    old = existing.thread
    pairs: dict[str, tuple[Any, Any]] = {
        "owner": (old.owner, new.owner),
        "ttl": (old.ttl, new.ttl),
        "tags": (dict(old.tags), dict(new.tags)),
        "created_at": (old.created_at, new.created_at),
        "children": (existing.children, wanted.children),
    }
    return [
        {"field": name, "registered": before, "given": after}
        for name, (before, after) in pairs.items()
        if (name == "owner" or name in wanted.given) and before != after
    ]
