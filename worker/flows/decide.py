"""Decide: the pure decision, fed from the database, and the stored date that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection

from worker import __version__
from worker.model.decision import Circumstances, Decision, Outcome
from worker.model.errors import Invalid, TenureError
from worker.model.thread import Thread
from worker.policy.document import Bundle
from worker.policy.evaluate import decide
from worker.policy.load import bundle_from_canonical
from worker.store import bundles, protections
from worker.store.threads import Schedule


class NoBundle(TenureError):
    """No bundle was ever put in force, so nothing can be decided and nothing registered."""

    code = "no_bundle"


class BundleUnreadable(TenureError):
    """The bundle in force has a form that this version does not know: another one wrote it."""

    code = "bundle_unreadable"


# The bundle that this process decided by last.
_by_digest: dict[str, Bundle] = {}


@lru_cache(maxsize=4)
def _parsed(canonical: str) -> Bundle:
    # Safe to cache: a bundle is immutable and named by its digest.
    return bundle_from_canonical(canonical)


def read_bundle(found: bundles.InForce) -> Bundle:
    """Return the stored bundle as checked values; raises BundleUnreadable, and then nothing is decided."""
    try:
        return _parsed(found.canonical)
    except Invalid as e:
        problem = f"The bundle in force, {found.digest}, cannot be read by Tenure {__version__}: {e.problem}"
        repair = "A newer version put it in force: run that one here too."
        raise BundleUnreadable(problem, repair=repair) from e


def bundle_in_force(db: Connection, *, share: bool = False) -> Bundle:
    """Return the bundle that every process decides by; raises NoBundle before the first one.

    With ``share`` it stays in force until the caller commits. Its text is read once in a process: a bundle
    whose digest is that of its own documents is no other.
    """
    digest = bundles.share_digest(db) if share else bundles.digest_in_force(db)
    known = _by_digest.get(digest or "")
    if known is not None:
        return known
    stored = bundles.in_force(db)
    if stored is None:
        problem = "No policies are in force yet."
        raise NoBundle(
            problem, repair="Put them into TENURE_POLICIES and start `tenure up` or `tenure beat`."
        )
    found = read_bundle(stored)
    if found.digest == stored.digest:
        _by_digest.clear()
        _by_digest[found.digest] = found
    return found


def decide_now(db: Connection, threads: Sequence[Thread], *, now: datetime) -> dict[str, Decision]:
    """Decide threads under everything that bears on them, in the caller's snapshot."""
    bundle = bundle_in_force(db)
    bearing = protections.circumstances(db, [one.id for one in threads])
    return {one.id: decide(one, bundle=bundle, circumstances=bearing, now=now) for one in threads}


def schedule_of(thread: Thread, *, bundle: Bundle, circumstances: Circumstances, now: datetime) -> Schedule:
    """Return when the thread must be looked at again, and in whose sweep.

    Holds are left out on purpose: they are never materialised, so releasing one needs no recompute.
    """
    bearing = Circumstances(erasures=circumstances.erasures, notices=circumstances.notices)
    decision = decide(thread, bundle=bundle, circumstances=bearing, now=now)
    sweepable = decision.outcome in {Outcome.DUE, Outcome.PENDING}
    return Schedule(
        evaluate_at=decision.evaluate_at,
        due_policy=decision.swept_by if sweepable else None,
        under=bundle.digest,
    )
