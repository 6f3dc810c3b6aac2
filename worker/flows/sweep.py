"""Sweep: evaluate one policy slot, store the plan with its digest, and let the guards judge it.

DANGER. What a released plan lists is deleted, unless arming spares it. A sweep plans only under a bundle
whose recompute is finished, and all of it under one; a guard blocks the whole of it; a dry run stops after
the plan.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.actors import policy_actor
from worker.flows.decide import bundle_in_force, read_bundle
from worker.flows.plan import digest_of, plan_window
from worker.model.clock import Clock, rfc3339
from worker.model.decision import ERASURE
from worker.model.errors import NotFound, TenureError
from worker.model.ids import SweepId, new_id
from worker.model.work import SweepState
from worker.policy.compile import Columns, match_clause
from worker.policy.document import Bundle, Guards, Mode
from worker.policy.durations import parse_duration
from worker.policy.guards import GuardVerdict, check
from worker.store import bundles, log, starts, sweeps, threads, work
from worker.store.engine import Database
from worker.store.sweeps import Sweep
from worker.store.tables import thread as thread_table
from worker.telemetry import log as logger
from worker.telemetry import raise_alert, traces

_PAGE = 1000
# The built-in policy of erasures has no document; its guard is fixed.
ERASURE_GUARDS = Guards(max_deletes=1000, max_percent=100, min_population=0, window=parse_duration("24h"))
_COLUMNS = Columns.of(thread_table)


class NotRecomputed(TenureError):
    """The bundle in force is new, and its recompute is not finished yet."""

    code = "not_recomputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be evaluated: a scheduled slot (its UTC instant) or, with None, by hand."""

    policy: str
    slot: datetime | None
    dry_run: bool = False


def sweep(database: Database, order: Order, *, actor: str, clock: Clock) -> Sweep | None:
    """Plan one sweep and judge it; None when another beat took this slot.

    Raises NotFound for a policy that is not in force, and NotRecomputed.
    """
    with traces.span("sweep", facts={"tenure.policy": order.policy}) as told:
        done = _sweep(database, order, actor=actor, clock=clock)
        if done is not None:
            told.note(
                {"tenure.sweep": done.id, "tenure.state": done.state.value, "tenure.planned": done.planned}
            )
        return done


def _sweep(database: Database, order: Order, *, actor: str, clock: Clock) -> Sweep | None:
    with database.write() as db:
        bundle = _ready_bundle(db)
        new = _begin(db, order, bundle, actor=actor, now=clock.now())
        if new is None:
            return None
        # What fits into one window is planned at once; a crash before that leaves the slot to be taken.
        more = _step(db, new, bundle, actor=actor, now=clock.now())
        judged = _locked(db, new.id)
    if more:
        return carry_on(database, new.id, actor=actor, clock=clock)
    # Most slots end here, with nothing to release: a transaction more would cost each of them a flush.
    releasing = judged.state is SweepState.RELEASING
    return release(database, new.id, clock=clock) if releasing else judged


def _begin(db: Connection, order: Order, bundle: Bundle, *, actor: str, now: datetime) -> Sweep | None:
    sweep_id = new_id("swp", now)
    if order.policy != ERASURE:
        _enforced(bundle, order.policy)
    new = Sweep(
        id=SweepId(sweep_id),
        policy=order.policy,
        slot=rfc3339(order.slot) if order.slot is not None else f"manual:{sweep_id}",
        state=SweepState.PLANNING,
        bundle=bundle.digest,
        dry_run=order.dry_run,
        planned=0,
        begun_at=now,
        ordered_by=actor,
    )
    if not sweeps.begin(db, new):
        return None
    starts.keep(db, {new.id: traces.here()})
    return new


def _ready_bundle(db: Connection) -> Bundle:
    # Shared: no other bundle comes into force before what is planned under this one is committed.
    found = bundles.in_force(db, share=True)
    if found is not None and not found.recomputed:
        problem = "The dates of all threads are being recomputed under the new policies."
        raise NotRecomputed(problem, repair="Try again when beat has finished.")
    return bundle_in_force(db) if found is None else read_bundle(found)


def _enforced(bundle: Bundle, name: str) -> None:
    known = [one.name for one in bundle.policies if one.delete is not None]
    if name not in known:
        problem = f"No delete policy named {name} is in force."
        raise NotFound(problem, repair=f"Known: {', '.join(sorted(known)) or 'none'}.")


def carry_on(database: Database, sweep_id: str, *, actor: str, clock: Clock) -> Sweep:
    """Plan window by window, then judge and release; a crash resumes at the cursor.

    A bundle that comes into force meanwhile makes the plan begin anew. Raises NotRecomputed until its
    recompute is finished; the sweep stays as it is, to be resumed.
    """
    more = True
    while more:
        with database.write() as db:
            more = _plan_on(db, sweep_id, actor=actor, clock=clock)
    return release(database, sweep_id, clock=clock)


def _plan_on(db: Connection, sweep_id: str, *, actor: str, clock: Clock) -> bool:
    """Take one step of a plan; False when none is left."""
    one = _locked(db, sweep_id)
    if one.state is not SweepState.PLANNING:
        return False
    return _step(db, one, _ready_bundle(db), actor=actor, now=clock.now())


def _step(db: Connection, one: Sweep, bundle: Bundle, *, actor: str, now: datetime) -> bool:
    """The same, for a sweep that plans; the caller holds its row, and shares the bundle."""
    if _policy_is_gone(bundle, one):
        # Otherwise the sweep could never be finished, and would stop every tick that resumes it.
        sweeps.set_state(db, one.id, SweepState.CANCELLED, reasons=["the policy is gone"], cursor="")
        return False
    if one.bundle != bundle.digest:
        sweeps.begin_anew(db, one.id, bundle=bundle.digest, limit=_PAGE)
        return True
    if plan_window(db, one, bundle, now=now):
        return True
    _judge(db, one, bundle, actor=actor, now=now)
    return False


def _locked(db: Connection, sweep_id: str) -> Sweep:
    one = sweeps.get(db, sweep_id, lock=True)
    if one is None:
        problem = "No sweep has this id."
        raise NotFound(problem, repair="`tenure sweeps list` shows them.")
    return one


def _policy_is_gone(bundle: Bundle, one: Sweep) -> bool:
    names = [policy.name for policy in bundle.policies if policy.delete is not None]
    return one.policy != ERASURE and one.policy not in names


def _judge(db: Connection, one: Sweep, bundle: Bundle, *, actor: str, now: datetime) -> None:
    """Give the plan its digest, let the guards judge it, and record what comes of it."""
    digest, planned = digest_of(db, one)
    population = _population(db, bundle, one.policy)
    verdict = _verdict(db, bundle, one, planned=planned, population=population, now=now)
    state = _state(bundle, one, verdict)
    sweeps.set_state(
        db,
        one.id,
        state,
        plan_digest=digest,
        planned=planned,
        population=population,
        reasons=list(verdict.reasons),
        cursor="",
        cursor_at=None,
    )
    plan = bodies.Plan(
        sweep=one.id,
        policy=one.policy,
        slot=one.slot,
        bundle=one.bundle,
        digest=digest,
        planned=planned,
        population=population,
    )
    acting = _acting(db, one, actor)
    if state is SweepState.BLOCKED:
        guard = "; ".join(verdict.reasons)
        log.append(db, [bodies.sweep_blocked(plan, guard=guard, at=now, actor=acting)])
        raise_alert("sweep.blocked", sweep=one.id, policy=one.policy, planned=planned, guard=guard)
    elif planned or one.slot.startswith("manual:"):
        # A scheduled slot with nothing due is no news: its row says that it ran.
        log.append(db, [bodies.sweep_planned(plan, state=state.value, at=now, actor=acting)])
    logger().info(
        "sweep.planned",
        sweep=one.id,
        policy=one.policy,
        slot=one.slot,
        bundle=one.bundle,
        planned=planned,
        state=state.value,
        seconds=round((now - one.begun_at).total_seconds(), 3),
    )


def _acting(db: Connection, one: Sweep, actor: str) -> str:
    """Whom the entry of a plan names: who ordered it or, for a slot, the policy at its commit.

    The bundle's row is shared with this transaction, so it is the one that the plan was made under.
    """
    known = bundles.in_force(db)
    # The built-in policy of erasures stands in no document.
    if known is None or one.policy == ERASURE or one.slot.startswith("manual:"):
        return actor
    return policy_actor(one.policy, commit=known.origin.get("commit"), bundle=known.digest)


def _population(db: Connection, bundle: Bundle, policy: str) -> int:
    if policy == ERASURE:
        return sum(threads.counts_by_state(db).values())
    return threads.population(db, match_clause(bundle.policy(policy), _COLUMNS))


def _verdict(
    db: Connection, bundle: Bundle, one: Sweep, *, planned: int, population: int, now: datetime
) -> GuardVerdict:
    guards = ERASURE_GUARDS if one.policy == ERASURE else bundle.policy(one.policy).guards
    assert guards is not None  # noqa: S101 - RP010: a delete rule without guards is refused at loading
    since = window_start(guards, now)
    return check(
        guards,
        planned=planned,
        released=sweeps.released_since(db, one.policy, since),
        population=max(population, sweeps.largest_population(db, one.policy, since)),
    )


def window_start(guards: Guards, now: datetime) -> datetime:
    """Return the beginning of the guards' rolling window."""
    # Calendar lengths have no fixed size; the longest reading is the safe one.
    return now - guards.window.longest


def _state(bundle: Bundle, one: Sweep, verdict: GuardVerdict) -> SweepState:
    if one.dry_run:
        return SweepState.DRY_RUN
    if verdict.blocked:
        return SweepState.BLOCKED
    if one.policy != ERASURE and bundle.policy(one.policy).mode is not Mode.ENFORCE:
        return SweepState.DRY_RUN
    return SweepState.AWAITING_APPROVAL if verdict.needs_approval else SweepState.RELEASING


def release(database: Database, sweep_id: str, *, clock: Clock) -> Sweep:
    """Turn the plan into work items page by page, where the sweep is releasing; returns it as it stands."""
    while True:
        with database.write() as db:
            one = _locked(db, sweep_id)
            if one.state is not SweepState.RELEASING:
                return one
            now = clock.now()
            ids = sweeps.plan_ids(db, one.id, after=one.cursor, limit=_PAGE)
            credentials = {name: p.credential for name, p in bundle_in_force(db).projects.items()}
            # What is released is ready: a clock that runs ahead would make it wait until it is so late.
            ready_at = work.no_later(db, now)
            count = sweeps.release(db, one, ids, credentials=credentials, now=ready_at)
            sweeps.advance(db, one.id, cursor=ids[-1] if ids else one.cursor, released=count)
            if len(ids) < _PAGE:
                sweeps.set_state(db, one.id, SweepState.RELEASED, released_at=now)


def approve(
    database: Database, sweep_id: str, *, digest: str, reason: str, actor: str, clock: Clock
) -> Sweep:
    """Approve a waiting plan by its digest; exactly that list runs, each item decided again when armed."""
    with database.write() as db:
        one = _locked(db, sweep_id)
        if one.state is not SweepState.AWAITING_APPROVAL or one.plan_digest != digest:
            problem = f"The sweep is {one.state.value} with plan {one.plan_digest}."
            raise NotApprovable(problem, repair="Approve a waiting sweep by the digest that it shows.")
        if one.ordered_by == actor:
            problem = "Whoever ordered a sweep cannot approve it."
            raise NotApprovable(problem, repair="Another key with plans:approve must do it.")
        now = clock.now()
        _check_still_approvable(db, one, now)
        sweeps.set_state(db, one.id, SweepState.RELEASING, approved_by=actor)
        plan = bodies.Plan(
            sweep=one.id,
            policy=one.policy,
            slot=one.slot,
            bundle=one.bundle,
            digest=digest,
            planned=one.planned,
            population=one.population or 0,
        )
        log.append(db, [bodies.sweep_approved(plan, reason=reason, at=now, actor=actor)])
    return release(database, sweep_id, clock=clock)


def _check_still_approvable(db: Connection, one: Sweep, now: datetime) -> None:
    """The guards' window has rolled on since the plan: others may have been released meanwhile."""
    bundle = bundle_in_force(db)
    if _policy_is_gone(bundle, one):
        problem = f"The policy {one.policy} is gone."
        raise NotApprovable(problem, repair="Put it in force again, and sweep anew.")
    if one.policy != ERASURE and bundle_in_force(db).policy(one.policy).mode is not Mode.ENFORCE:
        problem = f"The policy {one.policy} is not enforced any more."
        raise NotApprovable(problem, repair="Put it in force again, and sweep anew.")
    population = one.population or 0
    verdict = _verdict(db, bundle, one, planned=one.planned, population=population, now=now)
    if verdict.blocked:
        problem = f"A guard blocks the sweep by now: {'; '.join(verdict.reasons)}."
        raise GuardBlocks(problem, repair="Approve it when the window has passed, or sweep anew.")


class NotApprovable(TenureError):
    """The sweep does not wait for an approval, or not of this plan, or not by this key."""

    code = "not_approvable"


class GuardBlocks(NotApprovable):
    """A guard that did not block the plan when it was made blocks it by now."""

    code = "guard_blocks"


def resume(database: Database, *, actor: str, clock: Clock, older_than: timedelta) -> int:
    """Carry on sweeps that a crash left in the middle."""
    with database.read() as db:
        left = sweeps.unfinished(db, begun_before=clock.now() - older_than)
    for one in left:
        # A bundle that came into force since this tick began is recomputed by the next one.
        with suppress(NotRecomputed):
            carry_on(database, one.id, actor=actor, clock=clock)
    return len(left)
