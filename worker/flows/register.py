"""Register: a producer tells of a thread; the row and its entry are one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.flows.decide import bundle_in_force, schedule_of
from worker.model.chosen import check_children
from worker.model.decision import Circumstances, Decision
from worker.model.errors import Invalid, TenureError
from worker.model.ids import ThreadId, new_id
from worker.model.thread import Account, Kind, Thread, infer_kind
from worker.policy.document import Bundle
from worker.policy.durations import parse_duration
from worker.policy.evaluate import decide
from worker.policy.match import erasure_covers
from worker.store import log, protections, starts, threads
from worker.store.orders import look_again
from worker.store.protections import Order
from worker.store.threads import StoredThread
from worker.telemetry.meters import count
from worker.telemetry.requests import current_request
from worker.telemetry.traces import here

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A registration and who asks for it: the entry names that one as its actor.

    Made in the request itself, and so it knows its id and its span, wherever the registration is done.
    """

    wanted: Registration
    actor: str
    request_id: str | None = field(default_factory=current_request)
    span: str | None = field(default_factory=here)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A registration as it stands, and what is decided of its thread in the same snapshot."""

    done: Registered
    decision: Decision


def register(db: Connection, wanted: Registration, *, actor: str, now: datetime) -> Registered:
    """Register one thread, idempotently by (project, kind, external_id).

    Raises Invalid (wrong prefix, unknown project, bad TTL, a child that the kind cannot have), Conflict and
    RegisteredElsewhere.
    """
    told: list[TenureError] = []
    (done,) = register_many(db, [wanted], actor=actor, now=now, refused=lambda _, why: told.append(why))
    if done is None:
        raise told[0]
    return done


def register_many(
    db: Connection,
    wanted: Sequence[Registration],
    *,
    actor: str,
    now: datetime,
    refused: Callable[[int, TenureError], None],
) -> list[Registered | None]:
    """Register at most MOST_AT_ONCE threads in one transaction; a bad one never blocks another."""
    asked = [Asked(wanted=one, actor=actor) for one in wanted]
    made = _enter(db, asked, now, refused)
    _record(db, made, now)
    return made.results


def register_decided(db: Connection, asked: Sequence[Asked], *, now: datetime) -> list[Decided | TenureError]:
    """Register what several callers ask for in one transaction, each as `register` would, and decide it.

    Of each its refusal stands in its place: Invalid, Conflict or RegisteredElsewhere.
    """
    why: dict[int, TenureError] = {}
    made = _enter(db, asked, now, lambda place, refusal: why.update({place: refusal}))
    decisions = _decide(db, made, now)
    _record(db, made, now)
    return [
        why[place] if done is None else Decided(done=done, decision=decisions[done.stored.thread.id])
        for place, done in enumerate(made.results)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One registration that can be read, and the thread that it would make."""

    place: int
    asked: Asked
    new: Thread

    @property
    def key(self) -> tuple[str, str, str]:
        return self.new.project, self.new.kind.value, self.new.external_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What came of a batch before its entries are written; ``orders`` cover what is new, by its id."""

    bundle: Bundle
    results: list[Registered | None]
    new: Sequence[_Line]
    orders: Mapping[str, Sequence[Order]]


def _enter(
    db: Connection, asked: Sequence[Asked], now: datetime, refused: Callable[[int, TenureError], None]
) -> _Made:
    # Shared: a thread that was dated under an older bundle, and committed after the recompute had passed,
    # would belong to no sweep.
    bundle = bundle_in_force(db, share=True)
    lines: list[_Line] = []
    for place, one in enumerate(asked):
        try:
            lines.append(_Line(place=place, asked=one, new=_as_thread(one.wanted, bundle, now)))
        except Invalid as e:
            refused(place, e)
    added, orders = _add(db, lines, bundle, now)
    results: list[Registered | None] = [None] * len(asked)
    standing = threads.by_natural_keys(db, [one.key for one in lines if one.new.id not in added])
    for line in lines:
        try:
            results[line.place] = _answer(line, added, standing)
        except (Conflict, RegisteredElsewhere) as e:
            refused(line.place, e)
    new = [one for one in lines if one.new.id in added]
    starts.keep(db, {one.new.id: one.asked.span for one in new})
    return _Made(bundle=bundle, results=results, new=new, orders=orders)


def _decide(db: Connection, made: _Made, now: datetime) -> dict[str, Decision]:
    """Decide what was registered; of what is new nothing can bear on it but holds and orders on their way."""
    done = {one.stored.thread.id: one for one in made.results if one is not None}
    before = [one for one in done if one not in made.orders]
    bearing = protections.circumstances(db, before) if before else None
    holds = bearing.holds if bearing else protections.active_holds(db)

    def bearing_on(thread_id: str) -> Circumstances:
        if bearing is not None and thread_id not in made.orders:
            return bearing
        orders = tuple(order.erasure for order in made.orders[thread_id])
        return Circumstances(holds=holds, erasures=orders)

    return {
        id_: decide(one.stored.thread, bundle=made.bundle, circumstances=bearing_on(id_), now=now)
        for id_, one in done.items()
    }


def _record(db: Connection, made: _Made, now: datetime) -> None:
    """Write the entries of what is new: the last step of the transaction."""
    log.append(db, [replace(_registered(one, now), request_id=one.asked.request_id) for one in made.new])
    _count([one for one in made.results if one is not None])


def _count(done: Iterable[Registered]) -> None:
    made = Counter((one.stored.thread.kind.value, "created" if one.created else "exists") for one in done)
    for (kind, result), number in made.items():
        _add_to_meter(kind, result, number)


def _add_to_meter(kind: str, result: str, number: int) -> None:
    count(lambda to: to.registrations.labels(kind=kind, result=result).inc(number))


def _add(
    db: Connection, lines: Sequence[_Line], bundle: Bundle, now: datetime
) -> tuple[dict[str, StoredThread], dict[str, Sequence[Order]]]:
    """Insert what nobody registered before; returns it by its id, with the orders that cover it.

    Of two lines with one key the first is inserted, and so is it where another process is faster: the
    unique indexes decide, not what was read before.
    """
    first = _first(lines)
    orders = protections.orders_since(db, now) if first else ()
    rows: dict[str, StoredThread] = {}
    covering: dict[str, Sequence[Order]] = {}
    for one in first.values():
        # An order that was placed while this request was on its way covers the thread too.
        covering[one.new.id] = [order for order in orders if _covers(order, one.new)]
        bearing = Circumstances(erasures=tuple(order.erasure for order in covering[one.new.id]))
        schedule = schedule_of(one.new, bundle=bundle, circumstances=bearing, now=now)
        rows[one.new.id] = threads.as_new(one.new, schedule, children=one.asked.wanted.children)
    added = threads.add_many(db, list(rows.values()), under=bundle.digest)
    for thread_id in sorted(added):
        for order in covering[thread_id]:
            protections.cover(db, order.id, thread_id)
    look_again(db, [thread_id for thread_id in sorted(added) if covering[thread_id]])
    return {one: rows[one] for one in added}, {one: covering[one] for one in added}


def _first(lines: Sequence[_Line]) -> dict[tuple[str, str, str], _Line]:
    """Keep the first line of each key, and of each provider object that two projects of one account name."""
    found: dict[tuple[str, str, str], _Line] = {}
    objects: set[tuple[Account | None, Kind, str]] = set()
    for one in lines:
        named = (one.new.account, one.new.kind, one.new.external_id)
        if named not in objects:
            objects.add(named)
            found[one.key] = one
    return found


def _answer(
    one: _Line, added: Mapping[str, StoredThread], standing: Mapping[tuple[str, str, str], StoredThread]
) -> Registered:
    if one.new.id in added:
        return Registered(stored=added[one.new.id], created=True)
    existing = standing.get(one.key)
    if existing is None:
        problem = "This object is registered already, by another project of the same provider account."
        raise RegisteredElsewhere(problem, repair="Ask whoever runs Tenure which project answers for it.")
    differences = _differences(existing, one.new, one.asked.wanted)
    if differences:
        raise Conflict(existing.thread.id, differences)
    return Registered(stored=existing, created=False)


def _covers(order: Order, new: Thread) -> bool:
    reached = order.projects is None or new.project in order.projects
    return reached and erasure_covers(order.erasure, new)


def _registered(one: _Line, now: datetime) -> Entry:
    return bodies.thread_registered(
        one.new, children=one.asked.wanted.children, at=now, actor=one.asked.actor
    )


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
        ttl=printed_ttl(wanted.ttl),
        created_at=wanted.created_at,
        account=project.account,
    )


def printed_ttl(ttl: str | None) -> str | None:
    """Return a TTL as it is kept; raises Invalid."""
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
