"""Approve: let one loosening bundle follow the one in force, once and for 72 hours.

DANGER. After this, beat puts the bundle in force at its next look, and sweeps delete by it. So the approval
is for one pair of digests that somebody else has previewed, and for nothing that came later.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.model.clock import Clock
from worker.model.errors import NotFound, TenureError
from worker.store import bundles, log, previews
from worker.store.engine import Database
from worker.store.previews import Approval, PreviewState, StoredPreview
from worker.telemetry import log as logger

LASTS = timedelta(hours=72)


class PreviewVoid(TenureError):
    """The preview says nothing about now: made anew, too old, used, or of another base."""

    code = "preview_void"


class WrongDigest(TenureError):
    """The digest is not that of the previewed bundle."""

    code = "wrong_digest"


class OwnProposal(TenureError):
    """Whoever proposed a bundle cannot approve it."""

    code = "own_proposal"


class NoApprovalNeeded(TenureError):
    """The bundle loosens nothing, or is approved already."""

    code = "no_approval_needed"


def approve_preview(
    database: Database, preview_id: str, *, digest: str, reason: str, actor: str, clock: Clock
) -> StoredPreview:
    """Approve a previewed bundle by its digest; raises NotFound and the four refusals of this module."""
    with database.write() as db:
        found = previews.get(db, preview_id, lock=True)
        if found is None:
            raise NotFound("No preview has this id.", repair="`tenure policy preview PATH` makes one.")
        now = clock.now()
        base = _base_of(db, found, now)
        if found.head_digest != digest:
            problem = f"The preview is of {found.head_digest}."
            raise WrongDigest(problem, repair="Approve the digest that you have looked at, or preview anew.")
        if found.made_by == actor:
            problem = "Whoever proposed a bundle cannot approve it."
            raise OwnProposal(problem, repair="Another key with plans:approve must do it.")
        given = Approval(
            preview_id=found.id,
            digest=digest,
            base_digest=base,
            approved_by=actor,
            at=now,
            expires_at=now + LASTS,
            reason=reason,
        )
        previews.add_approval(db, given)
        log.append(db, [_entry(found, given)])
        approved = previews.get(db, preview_id)
    logger().info("bundle.approved", preview=preview_id, digest=digest, actor=actor)
    return approved or found


def has_expired(found: StoredPreview, given: Approval | None, now: datetime) -> bool:
    """Whether time alone has ended what this preview could do: let somebody approve it, or its approval."""
    return now >= (given.expires_at if given else found.made_at + LASTS)


def _base_of(db: Connection, found: StoredPreview, now: datetime) -> str:
    """Return the base that the approval is for; refuses where the preview does not wait for one."""
    anew = "`tenure policy preview PATH` shows what it would change by now."
    newest = previews.newest_id(db, found.head_digest)
    if found.state is PreviewState.SUPERSEDED or newest != found.id:
        raise PreviewVoid(f"The bundle was previewed anew as {newest}.", repair="Look at that one.")
    if found.state is PreviewState.IN_FORCE:
        raise PreviewVoid("The bundle came into force by this preview before.", repair=anew)
    if found.base_digest is None or not found.result["loosening"]:
        problem = "The bundle loosens nothing, so beat puts it in force by itself."
        raise NoApprovalNeeded(problem, repair="Nothing is left to do.")
    if bundles.digest_in_force(db) != found.base_digest:
        raise PreviewVoid("Another bundle came into force since the preview.", repair=anew)
    if has_expired(found, None, now):
        raise PreviewVoid("The preview is more than 72 hours old.", repair=anew)
    if previews.approval_of(db, found.id) is not None:
        problem = "The preview was approved before."
        raise NoApprovalNeeded(problem, repair="If that has expired, preview the bundle anew.")
    return found.base_digest


def _entry(found: StoredPreview, given: Approval) -> Entry:
    return bodies.bundle_approved(
        given.digest,
        base=given.base_digest,
        preview=found.id,
        proposed_by=found.made_by,
        commit=found.origin.get("commit"),
        expires_at=given.expires_at,
        reason=given.reason,
        at=given.at,
        actor=given.approved_by,
    )
