"""Sweeping by hand: order sweeps of one policy or of all, and sum up what became of one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from worker.flows.decide import bundle_in_force
from worker.flows.notify import WHY, undeliverable
from worker.flows.sweep import Order, sweep
from worker.model.clock import Clock
from worker.model.decision import ERASURE
from worker.model.work import ItemState, SweepState
from worker.policy.document import Mode
from worker.store import protections, sweeps, work
from worker.store.engine import Database
from worker.store.sweeps import Sweep

_SHOWN_IDS = 100
_BUSY = (ItemState.PLANNED, ItemState.CLAIMED)


def order_sweeps(
    database: Database, *, policy: str | None, dry_run: bool, actor: str, clock: Clock
) -> list[Sweep]:
    """Sweep one policy by hand, or erasures and every enforced delete policy; each has a slot of its own."""
    if policy is not None:
        names = [policy]
    else:
        with database.read() as db:
            bundle = bundle_in_force(db)
        enforced = [one.name for one in bundle.policies if one.delete and one.mode is Mode.ENFORCE]
        names = [ERASURE, *enforced]
    made = [
        sweep(database, Order(policy=name, slot=None, dry_run=dry_run), actor=actor, clock=clock)
        for name in names
    ]
    return [one for one in made if one is not None]


def summary(db: Connection, one: Sweep, *, now: datetime) -> Mapping[str, Any]:
    """Return the public summary of a sweep (INTERFACE section 2), its state as its items tell it.

    `busy` counts what a worker has, or takes up as soon as it can, of the policy: whichever sweep planned it.
    """
    counts = sweeps.item_counts(db, one.id)
    busy = sum(counts.get(state, 0) for state in _BUSY)
    state = one.state.value
    if one.state is SweepState.RELEASED and busy == 0:
        state = SweepState.DONE.value
    elif one.state in {SweepState.RELEASING, SweepState.PLANNING}:
        state = SweepState.RELEASED.value
    return {
        "id": one.id,
        "policy": one.policy,
        "state": state,
        "planned": one.planned,
        "done": counts.get(ItemState.DONE, 0),
        "spared": counts.get(ItemState.SPARED, 0),
        "waiting": counts.get(ItemState.WAITING, 0),
        "parked": counts.get(ItemState.PARKED, 0),
        "busy": 0 if one.dry_run else work.busy(db, [one.policy], now),
        "grades": sweeps.grade_counts(db, one.id),
        "reasons": [*one.reasons, *_owes_notice(db, one)],
        "paused": _paused(db, one),
        "plan": {"digest": one.plan_digest, "threads": sweeps.plan_ids(db, one.id, limit=_SHOWN_IDS)},
    }


def _owes_notice(db: Connection, one: Sweep) -> list[str]:
    """Return why a sweep under the bundle in force finds nothing due; of an older one nobody knows."""
    bundle = bundle_in_force(db)
    return [WHY] if one.bundle == bundle.digest and one.policy in undeliverable(bundle) else []


def _paused(db: Connection, one: Sweep) -> list[Mapping[str, str | None]]:
    """Return the pauses that keep open items of the policy from being claimed; project None is all of it."""
    pauses = protections.paused(db)
    projects = sweeps.open_projects(db, one.policy) if pauses else set[str]()
    return [
        {"project": None if scope == protections.EVERYTHING else scope, "reason": reason}
        for scope, reason in sorted(pauses.items())
        if scope in projects or (projects and scope == protections.EVERYTHING)
    ]
