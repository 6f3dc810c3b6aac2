"""What is parked for a person: look, take up again, or accept. A key sees and moves its projects' only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from worker.flows.accept import accept
from worker.flows.failures import Failure, find_failure, list_failures
from worker.flows.retry import retry
from worker.http.auth import FailuresRead, SweepsRun
from worker.http.fields import Name, Reason, Strict
from worker.http.lists import Page, Paging, Shown, cut, page_of
from worker.http.services import Given
from worker.model.clock import rfc3339
from worker.store import failures
from worker.store.threads import StoredThread

router = APIRouter(prefix="/v1/failures", tags=["failures"])


class FailuresQuery(Paging):
    """``accepted`` lists what a person accepted instead of what still waits for one."""

    project: Name | None = None
    accepted: bool = False
    after: Name | None = None
    before: Name | None = None


class FailureShape(Shown):
    """Threads of one project and kind that are parked for one reason; ``id`` is the fingerprint."""

    object: Literal["failure"] = "failure"
    fingerprint: str
    project: str
    kind: str
    reason: str
    threads: int
    first: str
    accepted: bool


class ParkedQuery(BaseModel):
    """A page of one group's threads, by id."""

    model_config = {"extra": "forbid"}

    limit: Annotated[int, Query(ge=1, le=100)] = 20
    accepted: bool = False
    after: Name | None = None


class ParkedShape(Shown):
    """A parked thread: ids and dates, and when it was last seen at the provider; no content."""

    object: Literal["parked_thread"] = "parked_thread"
    external_id: str
    kind: str
    project: str
    reason: str
    created_at: str | None
    registered_at: str
    last_seen_at: str | None
    looked_at: str | None
    request_id: str | None


class MoveBody(Strict):
    """Why a person does this; it is kept in each thread's entry."""

    reason: Reason


class MovedShape(BaseModel):
    """How many threads were moved."""

    object: Literal["failure.moved"] = "failure.moved"
    fingerprint: str
    action: Literal["retry", "accept"]
    threads: int


@router.get("", response_model=Page[FailureShape])
def get_failures(query: Annotated[FailuresQuery, Query()], who: FailuresRead, given: Given) -> dict[str, Any]:
    """List what is parked, grouped by project, kind and reason."""
    with given.database.read() as db:
        found = list_failures(db, projects=who.projects, accepted=query.accepted)
    wanted = [one for one in found if query.project in {None, one.group.project}]
    rows, more = cut(wanted, lambda one: one.fingerprint, query, after=query.after, before=query.before)
    return page_of([_shape(one) for one in rows], has_more=more)


@router.get("/{fingerprint}", response_model=Page[ParkedShape])
def get_parked(
    fingerprint: str, query: Annotated[ParkedQuery, Query()], who: FailuresRead, given: Given
) -> dict[str, Any]:
    """List the threads of one group with what was last seen of each."""
    with given.database.read() as db:
        group = find_failure(db, fingerprint, projects=who.projects, accepted=query.accepted).group
        found = failures.page(
            db, group, after=query.after or "", limit=query.limit + 1, accepted=query.accepted
        )
    shown = [_parked(one) for one in found[: query.limit]]
    return page_of(shown, has_more=len(found) > query.limit)


@router.post("/{fingerprint}/retry", response_model=MovedShape)
def retry_failure(fingerprint: str, body: MoveBody, who: SweepsRun, given: Given) -> MovedShape:
    """Make the threads live again: their policies decide anew, and a later sweep plans them."""
    count = retry(
        given.database,
        fingerprint,
        reason=body.reason,
        actor=who.actor,
        clock=given.clock,
        projects=who.projects,
    )
    return MovedShape(fingerprint=fingerprint, action="retry", threads=count)


@router.post("/{fingerprint}/accept", response_model=MovedShape)
def accept_failure(fingerprint: str, body: MoveBody, who: SweepsRun, given: Given) -> MovedShape:
    """Take note: the threads stay parked, their ids are kept, and the list shows them no more."""
    count = accept(
        given.database,
        fingerprint,
        reason=body.reason,
        actor=who.actor,
        clock=given.clock,
        projects=who.projects,
    )
    return MovedShape(fingerprint=fingerprint, action="accept", threads=count)


def _shape(one: Failure) -> FailureShape:
    group = one.group
    return FailureShape(
        id=one.fingerprint,
        fingerprint=one.fingerprint,
        project=group.project,
        kind=group.kind,
        reason=group.reason,
        threads=group.threads,
        first=group.first,
        accepted=one.accepted,
    )


def _parked(one: StoredThread) -> ParkedShape:
    thread = one.thread
    told: list[Mapping[str, Any]] = list((one.evidence or {}).get("observations", ()))
    own = [seen for seen in told if seen["step"] != "control"]
    present = [str(seen["at"]) for seen in own if seen["class"] == "present"]
    newest = max(own, key=lambda seen: str(seen["at"]), default=None)
    return ParkedShape(
        id=thread.id,
        external_id=thread.external_id,
        kind=thread.kind.value,
        project=thread.project,
        reason=one.reason or (one.grade.value if one.grade else ""),
        created_at=rfc3339(thread.created_at) if thread.created_at else None,
        registered_at=rfc3339(thread.registered_at),
        last_seen_at=max(present, default=None),
        looked_at=str(newest["at"]) if newest else None,
        request_id=newest.get("request_id") if newest else None,
    )
