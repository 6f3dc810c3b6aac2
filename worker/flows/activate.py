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

from sqlalchemy import Connection

from worker.audit import bodies
from worker.flows.await_approval import AWAITING, alert_awaiting, awaiting, note_awaiting, nothing_awaits
from worker.flows.loosening import compare_with
from worker.flows.origin import origin_of
from worker.model.clock import Clock
from worker.policy.compare import Comparison
from worker.policy.document import Bundle, Mode
from worker.policy.findings import Severity
from worker.policy.load import Loaded, bundle_from_canonical, load_folder
from worker.providers.profiles import check_profile
from worker.store import bundles, keys, log, previews, protections, work
from worker.store.engine import Database
from worker.store.previews import Approval
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
    """What looking at the folder led to: a new bundle, the same one, or findings that refuse it.

    ``awaiting`` says that the folder's bundle is sound and waits for an approval; ``problems`` are what
    refuses it, findings or the state of the folder itself.
    """

    loaded: Loaded
    changed: bool
    awaiting: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look at the folder found, beside the bundle in force; ``problems`` are what refuses it."""

    before: bundles.InForce | None
    loaded: Loaded
    origin: Mapping[str, Any]
    problems: tuple[str, ...]


def activate(database: Database, source: Source, *, actor: str, clock: Clock) -> Activated:
    """Load the folder and put it in force if it is sound, new and not loosening without an approval.

    The last good bundle stays otherwise. Raises PoliciesUnreadable when the folder cannot be read at all.
    """
    found = look(database, source)
    before, loaded = found.before, found.loaded
    if loaded.bundle is None or found.problems:
        _refuse(database, found.problems, actor=actor, now=clock.now())
        return Activated(loaded=loaded, changed=False, problems=found.problems)
    if before is not None and before.digest == loaded.bundle.digest:
        _settled(database, clock.now())
        return Activated(loaded=loaded, changed=False)
    if before is not None and _still_awaits(database, before.digest, loaded.bundle.digest, clock.now()):
        return Activated(loaded=loaded, changed=False, awaiting=True)
    step = _Step(before=before, head=loaded.bundle, origin=found.origin, actor=actor, now=clock.now())
    changed, awaits = _put_in_force(database, step)
    return Activated(loaded=loaded, changed=changed, awaiting=awaits)


def look(database: Database, source: Source) -> Looked:
    """Load the folder and judge it as activation does, and change nothing. Raises PoliciesUnreadable."""
    with database.read() as db:
        before = bundles.in_force(db)
    loaded = load_folder(
        source.folder,
        extra=source.extra,
        key_globs=source.key_globs,
        known_policies=known_policies(before),
        check_profile=check_profile,
    )
    origin = origin_of(source.folder, after=before.origin.get("commit") if before else None)
    refused = origin.refusal(before.origin if before else {}) if source.must_be_clean else None
    if before is not None and loaded.bundle is not None:
        refused = refused or _emptied(bundle_from_canonical(before.canonical), loaded.bundle)
    errors = [str(one) for one in loaded.findings if one.severity is Severity.ERROR]
    problems = [refused] if refused else errors if loaded.bundle is None else []
    return Looked(before=before, loaded=loaded, origin=origin.as_dict(), problems=tuple(problems))


def _emptied(before: Bundle, after: Bundle) -> str | None:
    """Return why a folder that lost every document is refused: its floors would vanish with its mount."""
    if (before.policies or before.projects) and not (after.policies or after.projects):
        return "The policies folder holds no documents any more; the last good bundle stays."
    return None


def known_policies(before: bundles.InForce | None) -> frozenset[str] | None:
    """Return the delete policies in force, which need not begin in another mode; None: nothing was yet."""
    if before is None:
        return None
    policies = bundle_from_canonical(before.canonical).policies
    return frozenset(one.name for one in policies if one.delete is not None)


def _still_awaits(database: Database, base: str, head: str, now: datetime) -> bool:
    """Whether this is known to wait and nobody has approved it yet: looked up without any lock."""
    with database.read() as db:
        known = awaiting(db)
        if known is None or (known.digest, known.base) != (head, base):
            return False
        return previews.live_approval(db, base_digest=base, digest=head, now=now) is None


def _settled(database: Database, now: datetime) -> None:
    """The folder holds what is in force: whatever was refused, or waited, is gone from it."""
    with database.read() as db:
        told = [keys.read_fact(db, name) for name in (_REFUSED, AWAITING)]
    if any(one is not None and one[0] for one in told):
        with database.write() as db:
            keys.note_fact(db, _REFUSED, [], now)
            nothing_awaits(db, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """From one bundle to the next, as a look at the folder found it."""

    before: bundles.InForce | None
    head: Bundle
    origin: Mapping[str, Any]
    actor: str
    now: datetime


def _put_in_force(database: Database, step: _Step) -> tuple[bool, bool]:
    """Return whether the head came into force, and whether it waits for an approval."""
    base = bundle_from_canonical(step.before.canonical) if step.before else None
    # Before the row is taken, so that no hold waits for it however long it takes. What it reads cannot change
    # meanwhile: nothing is registered in a project that is not in force.
    with database.read() as db:
        comparison = compare_with(db, base, step.head)
    with database.write() as db:
        # Ordered against arming, which shares this row: whoever arms after this decides by the new bundle.
        # Two beats may come here at once: the second finds another bundle in force than it compared with,
        # changes nothing, and looks again at its next round.
        protections.take(db, [protections.EVERYTHING])
        if _placed(bundles.in_force(db)) != _placed(step.before):
            return False, False
        loosens = base is not None and comparison.loosening
        approval = _use_approval(db, comparison, step.now) if loosens else None
        waits = loosens and approval is None
        news = waits and note_awaiting(db, comparison, origin=step.origin, actor=step.actor, now=step.now)
        if waits:
            keys.note_fact(db, _REFUSED, [], step.now)
        else:
            _replace(db, step, approval)
    if news:
        alert_awaiting(comparison)
    if not waits:
        logger().info("bundle.activated", digest=step.head.digest, policies=len(step.head.policies))
    return not waits, waits


def _placed(found: bundles.InForce | None) -> tuple[str, datetime] | None:
    """Return which bundle, and since when: one that left and came back was not compared with."""
    return None if found is None else (found.digest, found.activated_at)


def _use_approval(db: Connection, comparison: Comparison, now: datetime) -> Approval | None:
    """Use up the approval of this very pair, if there is one that lives."""
    base, head = comparison.base or "", comparison.head
    found = previews.live_approval(db, base_digest=base, digest=head, now=now, lock=True)
    return found if found is not None and previews.use(db, found.preview_id, now) else None


def _replace(db: Connection, step: _Step, approval: Approval | None) -> None:
    bundle, now = step.head, step.now
    enforced = [one.name for one in bundle.policies if one.mode is Mode.ENFORCE]
    bundles.activate(db, digest=bundle.digest, canonical=bundle.canonical, origin=step.origin, now=now)
    bundles.note_enforced(db, enforced, now)
    # What was approved on top of another bundle would now follow one that nobody compared it with.
    previews.void_other_bases(db, bundle.digest, now)
    protections.ensure_rows(db, {protections.EVERYTHING, *bundle.projects})
    work.relabel(db, {name: one.credential for name, one in bundle.projects.items()})
    keys.note_fact(db, _REFUSED, [], now)
    nothing_awaits(db, now)
    entry = bodies.bundle_activated(
        bundle.digest,
        previous=step.before.digest if step.before else None,
        policies=len(bundle.policies),
        commit=step.origin.get("commit"),
        author=step.origin.get("author"),
        dirty=step.origin.get("dirty") if step.origin.get("commit") else None,
        approved_by=approval.approved_by if approval else None,
        at=now,
        actor=step.actor,
    )
    log.append(db, [entry])


def _refuse(database: Database, problems: Sequence[str], *, actor: str, now: datetime) -> None:
    """Keep the last good bundle, and say so once per set of problems."""
    with database.write() as db:
        known = keys.read_fact(db, _REFUSED)
        if known is not None and known[0] == list(problems):
            return
        keys.note_fact(db, _REFUSED, list(problems), now)
        nothing_awaits(db, now)
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
