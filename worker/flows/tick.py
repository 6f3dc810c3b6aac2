"""Tick: what beat's message starts every few seconds. It only plans and wakes; two beats are harmless."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.flows.activate import Source, activate, recompute, refresh
from worker.flows.anchor import anchor
from worker.flows.answer import answer_orders
from worker.flows.answer_once import forget_answers
from worker.flows.claim import anything_ready
from worker.flows.decide import bundle_in_force, decide_now
from worker.flows.notify import alert_undeliverable
from worker.flows.seal import Sealer, seal
from worker.flows.sweep import NotRecomputed, Order, resume, sweep
from worker.flows.tile import ROUNDS_PER_LOOK, lay_tiles
from worker.model.clock import Clock
from worker.model.decision import ERASURE, Outcome
from worker.model.errors import TenureError
from worker.model.work import SweepState
from worker.policy.document import CatchUp, Mode, Policy
from worker.policy.schedule import latest_slot
from worker.store import bundles, coverages, keys, mending, rests, stops, sweeps, threads, work
from worker.store.engine import Database
from worker.telemetry import log

LAST_TICK = "beat.ticked"
_LEFT_BY_A_CRASH = timedelta(minutes=2)
# A slot that is older than this many ticks was missed, which matters to `catch_up: skip`.
_TICKS_OF_GRACE = 4
_BLOCKED_FOR = timedelta(hours=1)
_PAGE = 1000
# Ticks that waited in the queue come one right after another; those on time lie further apart than this part.
_TICKS_APART = 4
# A beat whose clock is behind takes no slot before one that another has begun; by more than this they do not
# differ, so that a slot further ahead is that of a clock that was wrong.
_CLOCKS_APART = timedelta(hours=1)
# Few at a time: looks share the workers' places with deletions.
_LOOKS_PER_TICK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What beat's own process needs: the policies folder and the signer. No other process has them."""

    database: Database
    clock: Clock
    source: Source
    sealer: Sealer
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """What a tick needs: how often it comes, and how to wake a worker for a credential.

    ``look`` wakes one for the coverage of a project; None where coverage is never looked at. ``look_every``
    and ``reverify_after`` are those of the workers: nothing of theirs may lie further ahead.
    """

    database: Database
    clock: Clock
    every: timedelta
    actor: str
    wake: Callable[[str], None]
    look: Callable[[str], None] | None = None
    look_every: timedelta = timedelta()
    reverify_after: timedelta = timedelta(hours=24)


def keep_house(beat: Beat) -> None:
    """Put a changed policies folder in force with every stored date; seal, anchor, lay tiles.

    Kept answers whose day is over go first: the rest may fail for what is missing outside.
    """
    forget_answers(beat.database, clock=beat.clock)
    if activate(beat.database, beat.source, actor=beat.actor, clock=beat.clock).changed:
        recompute(beat.database, clock=beat.clock)
    seal(beat.database, beat.sealer, clock=beat.clock)
    anchor(beat.database, beat.sealer.log, clock=beat.clock)
    lay_tiles(beat.database, rounds=ROUNDS_PER_LOOK)


def note_house(beat: Beat, problem: TenureError | None) -> None:
    """Keep for `tenure doctor` how the last round went: the fact `house.kept` or `house.failed`."""
    name, value = "house.kept", dict[str, str]()
    if problem is not None:
        name = "house.failed"
        value = {"code": problem.code, "problem": problem.problem, "repair": problem.repair}
    with beat.database.write() as db:
        keys.note_fact(db, name, value, beat.clock.now())


def tick(beat: Ticker) -> list[str]:
    """Sweep what is due and wake workers; returns the credentials that were woken."""
    database, clock = beat.database, beat.clock
    if recompute(database, clock=clock):
        refresh(database, clock=clock)
        alert_undeliverable(database, clock=clock)
        resume(database, actor=beat.actor, clock=clock, older_than=_LEFT_BY_A_CRASH)
        # Should a bundle come into force meanwhile, the next tick recomputes and carries on.
        with suppress(NotRecomputed):
            for order in due_orders(
                database, now=_no_later(database, clock.now()), grace=_TICKS_OF_GRACE * beat.every
            ):
                sweep(database, order, actor=beat.actor, clock=clock)
    _mend(beat)
    woken = anything_ready(database, clock)
    for credential in woken:
        beat.wake(credential)
    _look(beat)
    with database.write() as db:
        keys.note_fact(db, LAST_TICK, {"woken": len(woken)}, work.time_of_waits(db, clock.now()))
    log().debug("beat.ticked", woken=len(woken))
    # Last: what an order's answer is depends on all the rest, and nothing depends on it.
    answer_orders(database, actor=beat.actor, clock=clock)
    return woken


def is_superfluous(beat: Ticker) -> bool:
    """Whether a tick has only just ended: this one was left in the queue, and would see the same.

    The time is the database's, or this process's own on SQLite, so that no two clocks are compared. A last
    tick that seems to lie ahead is that of a clock that was set back, and tells nothing.
    """
    with beat.database.read() as db:
        last = keys.read_fact(db, LAST_TICK)
        now = work.time_of_waits(db, beat.clock.now())
    return last is not None and timedelta(0) <= now - last[1] < beat.every / _TICKS_APART


def _mend(beat: Ticker) -> None:
    """End every wait that a clock which was ahead has dated too late."""
    now = beat.clock.now()
    with beat.database.write() as db:
        rests.mend(db, now)
        stops.mend(db, work.time_of_waits(db, now))
        projects = bundle_in_force(db).projects.values() if bundles.in_force(db) else ()
        mended = work.mend(db, {one.credential for one in projects}, now)
        others = mending.mend(db, now, look_every=beat.look_every, reverify_after=beat.reverify_after)
    if mended or others:
        log().warning("waits.mended", items=mended, others=others)


def _no_later(database: Database, now: datetime) -> datetime:
    """Return ``now``, or the database's time if earlier: a slot begun ahead would keep others back."""
    with database.read() as db:
        return work.no_later(db, now)


def _look(beat: Ticker) -> None:
    """Wake workers for the projects whose coverage is due; a message that is lost comes again."""
    if beat.look is None:
        return
    with beat.database.read() as db:
        known = bundles.in_force(db)
        projects = bundle_in_force(db).projects if known else {}
        due = coverages.due(db, projects, beat.clock.now())
    for project in due[:_LOOKS_PER_TICK]:
        beat.look(project)


def due_orders(database: Database, *, now: datetime, grace: timedelta) -> list[Order]:
    """Return the sweeps whose time has come: erasures whenever there are any, then each policy's slot."""
    with database.read() as db:
        bundle = bundle_in_force(db)
        since = bundles.enforced_since(db)
        newest = {
            one.name: sweeps.newest_slot(db, one.name, until=now + _CLOCKS_APART) for one in bundle.policies
        }
        erasing = not _erasures_are_blocked(db, now) and _erasures_are_due(db, now)
    orders = [Order(policy=ERASURE, slot=now)] if erasing else []
    for policy in bundle.policies:
        begun = since.get(policy.name)
        slot = None if begun is None else _slot(policy, begun, newest[policy.name], now=now, grace=grace)
        if slot is not None:
            orders.append(Order(policy=policy.name, slot=slot))
    return orders


def _erasures_are_due(db: Connection, now: datetime) -> bool:
    """Whether any erasure is not held: a sweep of held ones alone would be one row per tick for nothing."""
    last = ""
    while True:
        page = threads.candidates(db, policy=ERASURE, now=now, after=last, limit=_PAGE)
        decided = decide_now(db, [one.thread for one in page], now=now)
        if any(one.outcome is Outcome.DUE for one in decided.values()):
            return True
        if len(page) < _PAGE:
            return False
        last = page[-1].thread.id


def _erasures_are_blocked(db: Connection, now: datetime) -> bool:
    """Whether the guard blocked them lately: it is told once an hour, not at every tick."""
    newest = sweeps.page(db, limit=1, policy=ERASURE)
    # One that lies ahead was begun while a clock was ahead, and tells nothing of the last hour.
    return any(
        one.state is SweepState.BLOCKED and timedelta(0) <= now - one.begun_at < _BLOCKED_FOR
        for one in newest
    )


def _slot(
    policy: Policy, since: datetime, newest: datetime | None, *, now: datetime, grace: timedelta
) -> datetime | None:
    """Return the newest slot that was not begun yet; slots before the policy was in force do not count."""
    if policy.delete is None or policy.schedule is None or policy.mode is not Mode.ENFORCE:
        return None
    slot = latest_slot(policy.schedule, after=max(since, newest) if newest else since, now=now)
    if slot is None or (policy.schedule.catch_up is CatchUp.SKIP and now - slot > grace):
        return None
    return slot
