"""What previews look like over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import Connection

from worker.flows.approve import has_expired
from worker.flows.await_approval import awaiting
from worker.http.fields import Digest, Reason, Strict
from worker.http.limits import MOST_FILES, MOST_FILES_BYTES
from worker.model.clock import rfc3339
from worker.store import bundles, previews
from worker.store.previews import Approval, PreviewState, StoredPreview

_TESTS = (".test.yaml", ".test.yml")


def _together(files: Mapping[str, str]) -> Mapping[str, str]:
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in files.values()) > MOST_FILES_BYTES:
        msg = f"must hold at most {MOST_FILES_BYTES} bytes in all"
        raise ValueError(msg)
    return files


def _no_tests(name: str) -> str:
    if name.endswith(_TESTS):
        msg = "must not be a test: tests beside the policies are no part of the bundle"
        raise ValueError(msg)
    return name


FileName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,200}\.ya?ml$"), AfterValidator(_no_tests)]


class PreviewBody(Strict):
    """All policy files of a folder by name, and the commit that they stand at, where there is one."""

    files: Annotated[
        Mapping[FileName, str], Field(min_length=1, max_length=MOST_FILES), AfterValidator(_together)
    ]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")] | None = None


class BundleApprovalBody(Strict):
    """Approve exactly the bundle of this digest."""

    digest: Digest
    reason: Reason


class SideShape(BaseModel):
    """One of the two bundles; ``digest`` null is none yet."""

    digest: str | None
    commit: str | None


class ChangeShape(BaseModel):
    """One difference between the bundles; ``line`` says all of it in one line."""

    document: str
    path: str
    before: str | None
    after: str | None
    effect: Literal["loosening", "tightening", "neutral"]
    why: str
    source: str | None
    line: str


class CountsShape(BaseModel):
    """Threads under the bundle in force, under the proposed one, and how many of those are new."""

    before: int
    after: int
    newly: int


class DueShape(BaseModel):
    """Due now, and by then if nothing but time passes."""

    now: CountsShape
    in_7_days: CountsShape
    in_30_days: CountsShape


class ProjectEffectShape(BaseModel):
    """What changes in one project."""

    project: str
    due: DueShape
    earlier: int
    later: int


class PolicyEffectShape(BaseModel):
    """What changes for one policy's sweeps; the projects with most to be deleted come first."""

    policy: str
    due: DueShape
    earlier: int
    later: int
    projects: list[ProjectEffectShape]
    more_projects: int


class ListedShape(BaseModel):
    """How many threads, and the first 10 ids."""

    threads: int
    ids: list[str]


class LostFloorShape(ListedShape):
    """Threads that this retain rule no longer protects, and no other does."""

    rule: str


class UnprotectedShape(ListedShape):
    """Threads that lose every floor."""

    rules: list[LostFloorShape]


class OverlapShape(BaseModel):
    """Two delete rules that match the same threads, and what decides those."""

    policies: list[str]
    threads: int
    decided_by: dict[str, int]


class GuardShape(BaseModel):
    """What the guards would say if the proposed policy were swept now."""

    policy: str
    verdict: Literal["fits", "needs_approval", "blocked"]
    planned: int
    released: int
    population: int
    limits: dict[str, Any]
    reasons: list[str]


class OutcomesShape(BaseModel):
    """Live threads by outcome."""

    before: dict[str, int]
    after: dict[str, int]


class BundleApprovalShape(BaseModel):
    """Who let the bundle come into force, and until when that counts."""

    approved_by: str
    at: str
    expires_at: str
    reason: str
    lives: bool


class PreviewShape(BaseModel):
    """The effect of a proposed bundle on every live thread, in one snapshot and at one instant.

    ``state``: `open`; `approved`; `in_force`; `superseded` (previewed anew), `base_changed` (another bundle
    came into force) and `expired` can no longer be approved. ``awaiting`` is the digest of the bundle that
    waits in the service's own policies folder, whether it is this one or another.
    """

    object: Literal["preview"] = "preview"
    id: str
    state: Literal["open", "approved", "in_force", "superseded", "base_changed", "expired"]
    made_at: str
    made_by: str
    snapshot_at: str
    base: SideShape
    head: SideShape
    changed: bool
    loosening: bool
    approval: BundleApprovalShape | None
    awaiting: str | None
    changes: list[ChangeShape]
    more_changes: int
    threads: int
    held: int
    unaffected: int
    outcomes: OutcomesShape
    policies: list[PolicyEffectShape]
    newly_due: ListedShape
    earlier: ListedShape
    protection_removed: UnprotectedShape
    guards: list[GuardShape]
    overlaps: list[OverlapShape]
    warnings: list[str]


def preview_shape(db: Connection, stored: StoredPreview, *, now: datetime) -> PreviewShape:
    """Write one preview, as it stands beside the bundle that is in force now."""
    approval, waits = previews.approval_of(db, stored.id), awaiting(db)
    in_force, expired = bundles.digest_in_force(db), has_expired(stored, approval, now)
    return PreviewShape.model_validate(
        {
            **stored.result,
            "id": stored.id,
            "state": _state(stored, in_force=in_force, expired=expired),
            "made_at": rfc3339(stored.made_at),
            "made_by": stored.made_by,
            "base": {"digest": stored.base_digest, "commit": stored.origin.get("base_commit")},
            "head": {"digest": stored.head_digest, "commit": stored.origin.get("commit")},
            "approval": approval and _approval(approval, now),
            "awaiting": waits and waits.digest,
        }
    )


def _state(stored: StoredPreview, *, in_force: str | None, expired: bool) -> str:
    if stored.state in {PreviewState.IN_FORCE, PreviewState.SUPERSEDED}:
        return stored.state.value
    if in_force != stored.base_digest:
        return "in_force" if in_force == stored.head_digest else "base_changed"
    return "expired" if expired else stored.state.value


def _approval(approval: Approval, now: datetime) -> dict[str, object]:
    return {
        "approved_by": approval.approved_by,
        "at": rfc3339(approval.at),
        "expires_at": rfc3339(approval.expires_at),
        "reason": approval.reason,
        "lives": approval.lives(now),
    }
