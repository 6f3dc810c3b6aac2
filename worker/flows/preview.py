"""Preview: decide every live thread under a proposed bundle and under the one in force; keep what differs.

Nothing is put in force here and no date is written. All of it is one snapshot of the database and one `now`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.flows.activate import Source, known_policies
from worker.flows.loosening import compare_with
from worker.flows.sweep import window_start
from worker.model.clock import Clock, rfc3339
from worker.model.errors import Invalid, TenureError
from worker.model.ids import new_id
from worker.model.thread import ThreadState
from worker.policy.compare import Change, Comparison
from worker.policy.compare_text import change_line
from worker.policy.document import Bundle
from worker.policy.effects import Effect
from worker.policy.findings import Finding
from worker.policy.forecast import Forecast, deleting_policies
from worker.policy.forecast_told import Told, forecast_told, guard_told
from worker.policy.guards import check
from worker.policy.load import bundle_from_canonical, extra_texts, load_texts
from worker.providers.profiles import check_profile
from worker.store import bundles, previews, protections, sweeps, threads
from worker.store.engine import Database
from worker.store.previews import StoredPreview
from worker.telemetry import log as logger

# How long a preview that nobody approved is kept.
KEPT_FOR = timedelta(days=30)
_PAGE = 1000
_MOST_CHANGES = 200
_LONGEST_VALUE = 500


class BundleRefused(TenureError):
    """The proposed files are no sound bundle; ``findings`` says where and why."""

    code = "policies_refused"

    def __init__(self, findings: Sequence[Finding]) -> None:
        problem = f"The proposed policies are refused: {len(findings)} findings."
        super().__init__(problem, repair="`tenure policy validate` shows each of them with its repair.")
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A sound bundle that somebody proposes, and the commit that they say it stands at."""

    head: Bundle
    commit: str | None = None
    findings: tuple[Finding, ...] = ()


def propose(
    database: Database, files: Mapping[str, str], source: Source, *, commit: str | None = None
) -> Proposed:
    """Read proposed files as activation would read them from the folder.

    Raises BundleRefused, and Invalid for files that hold no document. The service's own documents belong to
    every bundle (`tenure up --sandbox` writes some), so that the digest is the one that will be activated.
    """
    with database.read() as db:
        known = known_policies(bundles.in_force(db))
    texts = {**files, **extra_texts(source.extra)}
    loaded = load_texts(texts, key_globs=source.key_globs, known_policies=known, check_profile=check_profile)
    if loaded.bundle is None:
        raise BundleRefused(loaded.findings)
    if not (loaded.bundle.policies or loaded.bundle.projects):
        raise Invalid("The files hold no policy and no project.", repair="Send the whole folder of policies.")
    return Proposed(head=loaded.bundle, commit=commit, findings=loaded.findings)


def preview(
    database: Database,
    proposed: Proposed,
    *,
    actor: str,
    clock: Clock,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> StoredPreview:
    """Preview a bundle; older previews of it, and approvals that were given for them, no longer count.

    ``progress`` is told how many live threads were decided, of how many.
    """
    now, head = clock.now(), proposed.head
    with database.snapshot() as db:
        found = bundles.in_force(db)
        base = bundle_from_canonical(found.canonical) if found else None
        comparison = compare_with(db, base, head)
        forecast = _forecast(db, Forecast(base, head, now), progress)
        guards = [_guard(db, head, one.name, forecast, now) for one in deleting_policies(head)]
    made = StoredPreview(
        id=new_id("prv", now),
        head_digest=head.digest,
        base_digest=base.digest if base else None,
        canonical=head.canonical,
        result={
            "snapshot_at": rfc3339(now),
            "changed": base is None or base.digest != head.digest,
            "loosening": base is not None and comparison.loosening,
            **_changes(comparison),
            "warnings": [str(one) for one in proposed.findings[:_MOST_CHANGES]],
            **forecast_told(forecast),
            "guards": guards,
        },
        origin={"commit": proposed.commit, "base_commit": found.origin.get("commit") if found else None},
        made_at=now,
        made_by=actor,
    )
    with database.write() as db:
        previews.forget_older(db, now - KEPT_FOR)
        previews.add(db, made)
    logger().info("preview.made", preview=made.id, digest=head.digest, threads=forecast.threads)
    return made


def _forecast(db: Connection, forecast: Forecast, progress: Callable[[int, int], None]) -> Forecast:
    total = threads.counts_by_state(db).get(ThreadState.LIVE, 0)
    holds, last, done = protections.active_holds(db), "", 0
    while True:
        page = previews.live_after(db, last, _PAGE)
        ids = [one.id for one in page]
        bearing = protections.circumstances(db, ids, with_holds=False)
        forecast.add(page, replace(bearing, holds=holds), worked_on=sweeps.worked_on(db, ids))
        done += len(page)
        progress(done, total)
        if len(page) < _PAGE:
            return forecast
        last = ids[-1]


def _guard(db: Connection, head: Bundle, policy: str, forecast: Forecast, now: datetime) -> Told:
    """Judge what a sweep of this policy would plan now, as the sweep itself would."""
    guards = head.policy(policy).guards
    assert guards is not None  # noqa: S101 - RP010: a delete rule without guards is refused at loading
    since = window_start(guards, now)
    planned, released = forecast.planned[policy], sweeps.released_since(db, policy, since)
    population = max(forecast.population[policy], sweeps.largest_population(db, policy, since))
    verdict = check(guards, planned=planned, released=released, population=population)
    return guard_told(head, policy, verdict, planned=planned, released=released, population=population)


def _changes(comparison: Comparison) -> Told:
    """Return the changes, those that loosen first, so that none of them falls to the limit."""
    order = {Effect.LOOSENING: 0, Effect.TIGHTENING: 1, Effect.NEUTRAL: 2}
    ranked = sorted(comparison.changes, key=lambda one: order[one.effect])
    return {
        "changes": [_change(one) for one in ranked[:_MOST_CHANGES]],
        "more_changes": max(0, len(ranked) - _MOST_CHANGES),
    }


def _change(change: Change) -> Told:
    return {
        "document": change.document,
        "path": change.path,
        "before": _clipped(change.before),
        "after": _clipped(change.after),
        "effect": change.effect.value,
        "why": change.why,
        "source": change.source,
        "line": change_line(change),
    }


def _clipped(value: str | None) -> str | None:
    return value if value is None or len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"
