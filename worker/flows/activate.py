"""Activate: put the policies folder in force, whole or not at all, and recompute every stored date.

Only beat, or the one-process service, does this; every other process reads the bundle from the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from worker.audit import bodies
from worker.flows.origin import origin_of
from worker.model.clock import Clock
from worker.policy.document import Bundle, Mode
from worker.policy.findings import Severity
from worker.policy.load import Loaded, bundle_from_canonical, load_folder
from worker.providers.profiles import check_profile
from worker.store import bundles, keys, log, protections, work
from worker.store.engine import Database
from worker.store.schedules import Rescheduler
from worker.telemetry import log as logger
from worker.telemetry import raise_alert

# Long enough for the statement to be worth its while, short enough for others to wait for.
_CHUNK = 10_000
_MOST_PROBLEMS = 20
_REFUSED = "bundle.refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where policies come from: the folder, documents beside it, and which keys they may name."""

    folder: Path
    extra: Sequence[Path] = ()
    key_globs: Sequence[str] = ()
    must_be_clean: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """What looking at the folder led to: a new bundle, the same one, or findings that refuse it."""

    loaded: Loaded
    changed: bool


def activate(database: Database, source: Source, *, actor: str, clock: Clock) -> Activated:
    """Load the folder and put it in force if it is sound and new; the last good bundle stays otherwise.

    Raises PoliciesUnreadable when the folder cannot be read at all.
    """
    with database.read() as db:
        before = bundles.in_force(db)
    known = None if before is None else _delete_policies(bundle_from_canonical(before.canonical))
    loaded = load_folder(
        source.folder,
        extra=source.extra,
        key_globs=source.key_globs,
        known_policies=known,
        check_profile=check_profile,
    )
    after = before.origin.get("commit") if before else None
    origin = origin_of(source.folder, after=after)
    refused = origin.refusal(before.origin if before else {}) if source.must_be_clean else None
    if before is not None and loaded.bundle is not None:
        refused = refused or _emptied(bundle_from_canonical(before.canonical), loaded.bundle)
    if loaded.bundle is None or refused is not None:
        problems = (
            [refused] if refused else [str(one) for one in loaded.findings if one.severity is Severity.ERROR]
        )
        _refuse(database, problems, actor=actor, now=clock.now())
        return Activated(loaded=loaded, changed=False)
    if before is not None and before.digest == loaded.bundle.digest:
        return Activated(loaded=loaded, changed=False)
    _put_in_force(database, loaded.bundle, origin.as_dict(), before, actor=actor, now=clock.now())
    return Activated(loaded=loaded, changed=True)


def _emptied(before: Bundle, after: Bundle) -> str | None:
    """Return why a folder that lost every document is refused: its floors would vanish with its mount."""
    if (before.policies or before.projects) and not (after.policies or after.projects):
        return "The policies folder holds no documents any more; the last good bundle stays."
    return None


def _removed_floors(before: Bundle, after: Bundle) -> list[str]:
    """Return the enforced retain rules that a new bundle no longer has."""
    kept = {one.name for one in after.policies if one.retain is not None and one.mode is Mode.ENFORCE}
    return [
        one.name
        for one in before.policies
        if one.retain is not None and one.mode is Mode.ENFORCE and one.name not in kept
    ]


def _delete_policies(bundle: Bundle) -> frozenset[str]:
    return frozenset(one.name for one in bundle.policies if one.delete is not None)


def _put_in_force(
    database: Database,
    bundle: Bundle,
    origin: Mapping[str, Any],
    before: bundles.InForce | None,
    *,
    actor: str,
    now: datetime,
) -> None:
    enforced = [one.name for one in bundle.policies if one.mode is Mode.ENFORCE]
    with database.write() as db:
        # Ordered against arming, which shares this row: whoever arms after this decides by the new bundle.
        # Two beats may come here at once: the second finds the digest in force and changes nothing.
        protections.take(db, [protections.EVERYTHING])
        if bundles.digest_in_force(db) == bundle.digest:
            return
        bundles.activate(db, digest=bundle.digest, canonical=bundle.canonical, origin=origin, now=now)
        bundles.note_enforced(db, enforced, now)
        protections.ensure_rows(db, {protections.EVERYTHING, *bundle.projects})
        work.relabel(db, {name: one.credential for name, one in bundle.projects.items()})
        entry = bodies.bundle_activated(
            bundle.digest,
            previous=before.digest if before else None,
            policies=len(bundle.policies),
            commit=origin.get("commit"),
            author=origin.get("author"),
            dirty=origin.get("dirty") if origin.get("commit") else None,
            at=now,
            actor=actor,
        )
        keys.note_fact(db, _REFUSED, [], now)
        log.append(db, [entry])
    logger().info("bundle.activated", digest=bundle.digest, policies=len(bundle.policies))
    removed = _removed_floors(bundle_from_canonical(before.canonical), bundle) if before else []
    if removed:
        raise_alert("protection.removed", policies=removed, bundle=bundle.digest)


def _refuse(database: Database, problems: Sequence[str], *, actor: str, now: datetime) -> None:
    """Keep the last good bundle, and say so once per set of problems."""
    with database.write() as db:
        known = keys.read_fact(db, _REFUSED)
        if known is not None and known[0] == list(problems):
            return
        keys.note_fact(db, _REFUSED, list(problems), now)
        entry = bodies.bundle_refused(digest=None, problems=problems[:_MOST_PROBLEMS], at=now, actor=actor)
        log.append(db, [entry])
    raise_alert("bundle.refused", problems=list(problems)[:_MOST_PROBLEMS])


@lru_cache(maxsize=4)
def _rescheduler(canonical: str, *, waiting: bool) -> Rescheduler:
    # Safe to cache: a bundle is immutable, and the text is all that it is.
    return Rescheduler(bundle_from_canonical(canonical), waiting=waiting)


def recompute(database: Database, *, clock: Clock) -> bool:
    """Recompute stored dates under the bundle in force, a chunk per transaction; True when finished.

    A crash resumes at the cursor; a newer bundle starts anew. No sweep plans before it is finished. The
    bundle's row is locked per chunk, so two processes take turns and none works on the same chunk.
    """
    count = 0
    while True:
        with database.write() as db:
            found = bundles.in_force(db, lock=True)
            if found is None or found.recomputed:
                return found is not None
            rescheduler, now = _rescheduler(found.canonical, waiting=False), clock.now()
            chunk = rescheduler.chunk(db, after=found.recompute_after or "", limit=_CHUNK, now=now)
            if chunk is not None:
                rescheduler.write(db, chunk, now=now)
                count += chunk.count
            upto = chunk.upto if chunk is not None and chunk.count == _CHUNK else None
            bundles.advance_recompute(db, digest=found.digest, after=upto)
        finished = upto is None
        logger().info("dates.recomputed", bundle=found.digest, threads=count, finished=finished)


def refresh(database: Database, *, clock: Clock) -> int:
    """Decide anew those live threads whose stored date has come but that belong to no sweep."""
    last, count = "", 0
    while True:
        with database.write() as db:
            # Shared, as in register: a date under an older bundle must not outlast the newer one's recompute.
            found = bundles.in_force(db, share=True)
            if found is None:
                return count
            rescheduler, now = _rescheduler(found.canonical, waiting=True), clock.now()
            chunk = rescheduler.chunk(db, after=last, limit=_CHUNK, now=now)
            if chunk is None:
                return count
            rescheduler.write(db, chunk, now=now)
        last, count = chunk.upto, count + chunk.count
