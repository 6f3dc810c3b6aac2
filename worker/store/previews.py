"""Rows of previews, and of the approvals that let a loosening bundle come into force.

An approval is for one pair: the bundle in force when it was previewed, and the proposed one. It is used
once, and void as soon as either side is looked at anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from worker.model.thread import Thread, ThreadState
from worker.store.engine import changed
from worker.store.tables import bundle_approval, preview, thread
from worker.store.thread_rows import to_thread


class PreviewState(StrEnum):
    """Where one preview stands. Expiry and a changed base are computed when read, never stored."""

    OPEN = "open"
    APPROVED = "approved"
    SUPERSEDED = "superseded"  # the same bundle was previewed anew
    IN_FORCE = "in_force"  # its approval let the bundle come into force


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPreview:
    """What a proposed bundle would have changed, at one instant; ``result`` is the API's own object."""

    id: str
    head_digest: str
    base_digest: str | None
    canonical: str
    result: Mapping[str, Any]
    origin: Mapping[str, Any]
    made_at: datetime
    made_by: str
    state: PreviewState = PreviewState.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Somebody's yes to one pair of bundles."""

    preview_id: str
    digest: str
    base_digest: str
    approved_by: str
    at: datetime
    expires_at: datetime
    reason: str
    voided_at: datetime | None = None
    used_at: datetime | None = None

    def lives(self, now: datetime) -> bool:
        """Whether it still lets its bundle come into force."""
        return self.voided_at is None and self.used_at is None and now < self.expires_at


def add(db: Connection, new: StoredPreview) -> None:
    """Insert a preview; older ones of the same bundle, and their approvals, no longer count."""
    # Previews first: an approval that is being given holds its preview's row until it is committed.
    older = update(preview).where(
        preview.c.head_digest == new.head_digest,
        preview.c.state.in_([PreviewState.OPEN, PreviewState.APPROVED]),
    )
    db.execute(older.values(state=PreviewState.SUPERSEDED.value))
    _void(db, bundle_approval.c.digest == new.head_digest, at=new.made_at)
    db.execute(
        insert(preview).values(
            id=new.id,
            head_digest=new.head_digest,
            base_digest=new.base_digest,
            canonical=new.canonical,
            result=dict(new.result),
            origin=dict(new.origin),
            made_at=new.made_at,
            made_by=new.made_by,
            state=new.state.value,
        )
    )


def forget_older(db: Connection, before: datetime) -> None:
    """Remove previews that nobody approved: each holds a whole bundle, and anybody who reads may make one."""
    approved = select(bundle_approval.c.preview_id)
    db.execute(delete(preview).where(preview.c.made_at < before, preview.c.id.not_in(approved)))


def get(db: Connection, preview_id: str, *, lock: bool = False) -> StoredPreview | None:
    """Return one preview, with its row locked where the caller moves it."""
    query = select(preview).where(preview.c.id == preview_id)
    row = db.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _to_preview(row)


def newest_id(db: Connection, head_digest: str) -> str | None:
    """Return the newest preview of a bundle."""
    query = select(preview.c.id).where(preview.c.head_digest == head_digest)
    return db.execute(query.order_by(preview.c.made_at.desc(), preview.c.id.desc()).limit(1)).scalar()


def add_approval(db: Connection, new: Approval) -> None:
    """Insert an approval; the caller holds the preview's row."""
    db.execute(
        insert(bundle_approval).values(
            preview_id=new.preview_id,
            digest=new.digest,
            base_digest=new.base_digest,
            approved_by=new.approved_by,
            at=new.at,
            expires_at=new.expires_at,
            reason=new.reason,
        )
    )
    moved = update(preview).where(preview.c.id == new.preview_id)
    db.execute(moved.values(state=PreviewState.APPROVED.value))


def approval_of(db: Connection, preview_id: str) -> Approval | None:
    """Return the approval of a preview, whether it still counts or not."""
    row = db.execute(select(bundle_approval).where(bundle_approval.c.preview_id == preview_id)).first()
    return None if row is None else _to_approval(row)


def live_approval(
    db: Connection, *, base_digest: str, digest: str, now: datetime, lock: bool = False
) -> Approval | None:
    """Return the approval that lets this bundle follow that one now."""
    query = select(bundle_approval).where(
        bundle_approval.c.digest == digest,
        bundle_approval.c.base_digest == base_digest,
        bundle_approval.c.voided_at.is_(None),
        bundle_approval.c.used_at.is_(None),
        bundle_approval.c.expires_at > now,
    )
    row = db.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _to_approval(row)


def use(db: Connection, preview_id: str, now: datetime) -> bool:
    """Use an approval up; False when it was used or voided meanwhile."""
    standing = update(bundle_approval).where(
        bundle_approval.c.preview_id == preview_id,
        bundle_approval.c.voided_at.is_(None),
        bundle_approval.c.used_at.is_(None),
    )
    if not changed(db, standing.values(used_at=now)):
        return False
    db.execute(update(preview).where(preview.c.id == preview_id).values(state=PreviewState.IN_FORCE.value))
    return True


def void_other_bases(db: Connection, base_digest: str, now: datetime) -> None:
    """Void what was approved on top of any other bundle: it would follow one that nobody compared it with."""
    _void(db, bundle_approval.c.base_digest != base_digest, at=now)


def live_after(db: Connection, after: str, limit: int) -> list[Thread]:
    """Return a page of live threads by id."""
    query = select(thread).where(thread.c.state == ThreadState.LIVE, thread.c.id > after)
    return [to_thread(row) for row in db.execute(query.order_by(thread.c.id).limit(limit))]


def inhabited(db: Connection, projects: Collection[str]) -> frozenset[str]:
    """Return which of these projects have threads that a policy could still delete."""
    states = [ThreadState.LIVE, ThreadState.ACKNOWLEDGED, ThreadState.PARKED]
    found = (
        name
        for name in sorted(projects)
        if db.execute(
            select(thread.c.id).where(thread.c.project == name, thread.c.state.in_(states)).limit(1)
        ).first()
    )
    return frozenset(found)


def _void(db: Connection, which: ColumnElement[bool], *, at: datetime) -> None:
    standing = update(bundle_approval).where(
        which, bundle_approval.c.voided_at.is_(None), bundle_approval.c.used_at.is_(None)
    )
    db.execute(standing.values(voided_at=at))


def _to_preview(row: Row[Any]) -> StoredPreview:
    return StoredPreview(
        id=row.id,
        head_digest=row.head_digest,
        base_digest=row.base_digest,
        canonical=row.canonical,
        result=row.result,
        origin=row.origin,
        made_at=row.made_at,
        made_by=row.made_by,
        state=PreviewState(row.state),
    )


def _to_approval(row: Row[Any]) -> Approval:
    return Approval(
        preview_id=row.preview_id,
        digest=row.digest,
        base_digest=row.base_digest,
        approved_by=row.approved_by,
        at=row.at,
        expires_at=row.expires_at,
        reason=row.reason,
        voided_at=row.voided_at,
        used_at=row.used_at,
    )
