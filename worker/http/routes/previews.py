"""Preview a proposed bundle on the live registry, and approve one that loosens by its digest."""

from __future__ import annotations

from fastapi import APIRouter

from worker.flows.approve import approve_preview
from worker.flows.preview import preview, propose
from worker.http.auth import PlansApprove, PoliciesRead, PreviewsRead, needs_every_project
from worker.http.fields import is_word
from worker.http.preview_shapes import BundleApprovalBody, PreviewBody, PreviewShape, preview_shape
from worker.http.services import Given
from worker.model.errors import NotFound
from worker.store import previews

router = APIRouter(prefix="/v1/previews", tags=["previews"])

_WHAT = "A preview"


@router.post("", status_code=201, response_model=PreviewShape)
def create_preview(body: PreviewBody, who: PoliciesRead, given: Given) -> PreviewShape:
    """Decide every live thread under the proposed files and under the bundle in force; change nothing.

    Earlier previews of the same bundle, and approvals that were given for them, no longer count.
    """
    needs_every_project(who, _WHAT)
    proposed = propose(given.database, body.files, given.source, commit=body.commit)
    made = preview(given.database, proposed, actor=who.actor, clock=given.clock)
    with given.database.read() as db:
        return preview_shape(db, made, now=given.clock.now())


@router.get("/{preview_id}", response_model=PreviewShape)
def get_preview(preview_id: str, who: PreviewsRead, given: Given) -> PreviewShape:
    """Read one preview, and whether it can still be approved."""
    needs_every_project(who, _WHAT)
    with given.database.read() as db:
        found = previews.get(db, preview_id) if is_word(preview_id) else None
        if found is None:
            raise _unknown()
        return preview_shape(db, found, now=given.clock.now())


@router.post("/{preview_id}/approvals", response_model=PreviewShape)
def approve_bundle(
    preview_id: str, body: BundleApprovalBody, who: PlansApprove, given: Given
) -> PreviewShape:
    """Let the previewed bundle follow the one in force: once, within 72 hours, not by who proposed it."""
    needs_every_project(who, _WHAT)
    if not is_word(preview_id):
        raise _unknown()
    done = approve_preview(
        given.database,
        preview_id,
        digest=body.digest,
        reason=body.reason,
        actor=who.actor,
        clock=given.clock,
    )
    with given.database.read() as db:
        return preview_shape(db, done, now=given.clock.now())


def _unknown() -> NotFound:
    return NotFound("No preview has this id.", repair="`tenure policy preview PATH` makes one.")
