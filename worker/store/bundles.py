"""The bundle in force: stored whole, so that every process decides by the same one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, update

from worker.store.engine import changed
from worker.store.tables import bundle, bundle_in_force, policy_since


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """Which bundle is in force; ``recomputed`` tells whether every stored date stands under it."""

    digest: str
    canonical: str
    origin: Mapping[str, Any]
    activated_at: datetime
    recomputed: bool
    recompute_after: str | None


_IN_FORCE = select(bundle_in_force, bundle.c.canonical, bundle.c.origin).join(
    bundle, bundle.c.digest == bundle_in_force.c.digest
)


def in_force(db: Connection, *, lock: bool = False, share: bool = False) -> InForce | None:
    """Return the bundle in force, or None before the first one.

    With ``share`` no other bundle comes into force, and no recompute goes on, before the caller commits.
    """
    if lock:
        _come_first(db)
    if lock or share:
        # A statement of its own: one that waits here would join its row of before to the digest of after,
        # and find nothing (PostgreSQL).
        db.execute(select(bundle_in_force.c.id).with_for_update(read=share)).all()
    row = db.execute(_IN_FORCE).first()
    if row is None:
        return None
    return InForce(
        digest=row.digest,
        canonical=row.canonical,
        origin=row.origin,
        activated_at=row.activated_at,
        recomputed=row.recomputed,
        recompute_after=row.recompute_after,
    )


def share_digest(db: Connection) -> str | None:
    """Return the digest in force, which stays so until the caller commits; None before the first one.

    One statement: where it waits, PostgreSQL gives the row of after.
    """
    return db.execute(select(bundle_in_force.c.digest).with_for_update(read=True)).scalar_one_or_none()


def _come_first(db: Connection) -> None:
    """Wait for those who share the row now, and let no later one pass.

    PostgreSQL lets whoever shares a row pass one who waits to take it, so that a stream of registrations
    would keep an erasure or a new bundle waiting for ever; for a table it keeps a queue. Plain reads go on.
    """
    if db.dialect.name == "postgresql":
        db.execute(text("LOCK TABLE bundle_in_force IN EXCLUSIVE MODE"))


def digest_in_force(db: Connection) -> str | None:
    """Return only the digest: cheap enough to ask before every decision."""
    return db.execute(select(bundle_in_force.c.digest)).scalar_one_or_none()


def texts_before(db: Connection, end: datetime) -> dict[str, str]:
    """Return the canonical text of every bundle that was known before ``end``, by its digest."""
    rows = db.execute(select(bundle.c.digest, bundle.c.canonical).where(bundle.c.first_seen_at < end))
    return {row.digest: row.canonical for row in rows}


def activate(
    db: Connection, *, digest: str, canonical: str, origin: Mapping[str, Any], now: datetime
) -> None:
    """Put a bundle in force; its recompute begins at the first thread."""
    _come_first(db)
    if db.execute(select(bundle.c.digest).where(bundle.c.digest == digest)).first() is None:
        db.execute(
            insert(bundle).values(digest=digest, canonical=canonical, origin=dict(origin), first_seen_at=now)
        )
    else:
        db.execute(
            update(bundle).where(bundle.c.digest == digest).values(canonical=canonical, origin=dict(origin))
        )
    values = {"digest": digest, "activated_at": now, "recompute_after": "", "recomputed": False}
    if changed(db, update(bundle_in_force).values(values)) == 0:
        db.execute(insert(bundle_in_force).values(id=1, **values))


def advance_recompute(db: Connection, *, digest: str, after: str | None) -> bool:
    """Move the recompute's cursor (None: finished); False when another bundle is in force by now."""
    moved = (
        update(bundle_in_force)
        .where(bundle_in_force.c.digest == digest)
        .values(recompute_after=after, recomputed=after is None)
    )
    return changed(db, moved) == 1


def note_enforced(db: Connection, policies: Iterable[str], now: datetime) -> None:
    """Remember since when each policy is in force; those that left are forgotten."""
    wanted = set(policies)
    known = set(db.execute(select(policy_since.c.policy)).scalars())
    gone = sorted(known - wanted)
    if gone:
        db.execute(delete(policy_since).where(policy_since.c.policy.in_(gone)))
    rows = [{"policy": name, "since": now} for name in sorted(wanted - known)]
    if rows:
        db.execute(insert(policy_since), rows)


def enforced_since(db: Connection) -> dict[str, datetime]:
    """Return since when each policy is in force: slots before that are not missed slots."""
    rows = db.execute(select(policy_since.c.policy, policy_since.c.since))
    return {row.policy: row.since for row in rows}
