"""Measure: how much there is and how old it is, read from the database for those who watch Tenure.

Every API answers with the same values, so a query takes their maximum. Names are of base units; no label is
an id, an owner or a project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from worker.flows.anchor import lags
from worker.flows.compare import Log, why_not_armed
from worker.flows.decide import bundle_in_force
from worker.flows.tick import LAST_TICK
from worker.model.decision import ERASURE, PRODUCER_TTL
from worker.store import bundles, gauges, keys, log, orders, protections, rests, stops, threads, work

REFUSED = "bundle.refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One value of a gauge; ``text`` says what it is."""

    name: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def measure(db: Connection, known: Log, *, now: datetime) -> Iterator[Measure]:
    """Yield every gauge; the statements are few, and each walks an index or a small table."""
    yield from _states(db)
    yield from _overdue(db, now)
    yield from _protections(db, now)
    yield from _bundle(db)
    yield from _log(db, known, now)
    found, unregistered = gauges.covered(db)
    yield Measure(
        name="tenure_coverage_found", text="Objects found at providers when last looked.", value=found
    )
    yield Measure(
        name="tenure_coverage_unregistered", text="Of these, how many nobody registered.", value=unregistered
    )


def _states(db: Connection) -> Iterator[Measure]:
    for state, count in sorted(threads.counts_by_state(db).items()):
        yield Measure(name="tenure_threads", text="Threads by state.", value=count, labels={"state": state})
    for state, count in sorted(work.count_by_state(db).items()):
        yield Measure(
            name="tenure_work_items", text="Work items by state.", value=count, labels={"state": state}
        )
    yield Measure(
        name="tenure_unverified_threads",
        text="Threads acknowledged or parked whose absence nobody could prove.",
        value=gauges.unverified(db),
    )


def _overdue(db: Connection, now: datetime) -> Iterator[Measure]:
    if bundles.digest_in_force(db) is None:
        return
    policies = {one.name for one in bundle_in_force(db).policies} | {ERASURE, PRODUCER_TTL}
    found = gauges.overdue(db, policies=policies, holds=protections.active_holds(db), now=now)
    age = max(0.0, (now - found.oldest).total_seconds()) if found.oldest else 0.0
    yield Measure(
        name="tenure_overdue_threads",
        text="Live threads whose date has come and that no hold covers.",
        value=found.threads,
    )
    yield Measure(name="tenure_oldest_overdue_seconds", text="How long the oldest of them waits.", value=age)


def _protections(db: Connection, now: datetime) -> Iterator[Measure]:
    simple = (
        ("tenure_holds_active", "Holds in force.", len(protections.active_holds(db))),
        ("tenure_deletes_paused", "Scopes whose deletes are paused.", len(protections.paused(db))),
        (
            "tenure_erasures_overdue",
            "Erasures past their deadline with something left to do.",
            orders.count_overdue(db, now),
        ),
        ("tenure_stopped_pairs", "Projects and kinds whose control failed.", len(stops.stopped_pairs(db))),
        ("tenure_resting_credentials", "Credentials that rest.", len(rests.resting(db, now))),
    )
    for name, text, value in simple:
        yield Measure(name=name, text=text, value=value)


def _bundle(db: Connection) -> Iterator[Measure]:
    found, refused = bundles.in_force(db), keys.read_fact(db, REFUSED)
    yield Measure(
        name="tenure_bundle_refused",
        text="1 while the policies folder is refused and an older bundle decides.",
        value=1 if refused is not None and refused[0] else 0,
    )
    if found is not None:
        yield Measure(
            name="tenure_bundle_info",
            text="The bundle of policies in force.",
            value=1,
            labels={"digest": found.digest, "commit": str(found.origin.get("commit") or "")},
        )
        yield Measure(
            name="tenure_bundle_activated_timestamp_seconds",
            text="When it was put in force.",
            value=found.activated_at.timestamp(),
        )
    ticked = keys.read_fact(db, LAST_TICK)
    if ticked is not None:
        yield Measure(
            name="tenure_beat_last_tick_timestamp_seconds",
            text="When a worker last ran a tick of beat's.",
            value=ticked[1].timestamp(),
        )


def _log(db: Connection, known: Log, now: datetime) -> Iterator[Measure]:
    yield Measure(name="tenure_log_entries", text="Entries in the audit log.", value=log.read_head(db).size)
    yield Measure(
        name="tenure_log_refused",
        text="1 while nothing is deleted because the log was not compared with its anchors, or differs.",
        value=1 if why_not_armed(db, now) is not None else 0,
    )
    sealed = log.latest_seal(db)
    if sealed is not None:
        yield Measure(
            name="tenure_checkpoint_timestamp_seconds",
            text="When the newest checkpoint was signed.",
            value=sealed.sealed_at.timestamp(),
        )
    for lag in lags(db, known.anchors, now):
        yield Measure(
            name="tenure_anchor_lag_seconds",
            text="How long a checkpoint waits for this anchor.",
            value=lag.late.total_seconds(),
            labels={"anchor": lag.anchor},
        )
