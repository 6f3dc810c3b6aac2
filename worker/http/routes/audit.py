"""Read the log and its newest checkpoint."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from worker.http.auth import AuditRead
from worker.http.lists import Page, page_of
from worker.http.services import Given
from worker.http.trail import EntryShape, LogQuery, note_trail_read, show_entries
from worker.model.clock import rfc3339
from worker.model.errors import NotFound
from worker.store.log import entries_after, latest_seal

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class CheckpointShape(BaseModel):
    """A signed tree head: ``note`` is a C2SP signed note over origin, size and root."""

    object: Literal["checkpoint"] = "checkpoint"
    size: int
    sealed_at: str
    note: str


@router.get("/entries", response_model=Page[EntryShape])
def get_entries(query: Annotated[LogQuery, Query()], who: AuditRead, given: Given) -> dict[str, Any]:
    """List entries, oldest first. A bound key sees those of its projects; holds and keys belong to none.

    Reading is an entry too, `access.read`.
    """
    projects: tuple[str, ...] | None = who.projects
    if query.project is not None:
        projects = (query.project,) if who.may_see(query.project) else ()
    with given.database.read() as db:
        found = entries_after(
            db,
            after=-1 if query.after is None else query.after,
            limit=query.limit + 1,
            projects=projects,
            subject=query.subject,
            type_=query.type.value if query.type else None,
        )
        shown = show_entries(db, found[: query.limit])
    named = projects[0] if projects is not None and len(projects) == 1 else None
    note_trail_read(given, who, what="GET /v1/audit/entries", shown=shown, project=named)
    return page_of(shown, has_more=len(found) > query.limit)


@router.get("/checkpoint", response_model=CheckpointShape, responses={404: {}})
def get_checkpoint(_: AuditRead, given: Given) -> CheckpointShape:
    """Read the newest checkpoint."""
    with given.database.read() as db:
        newest = latest_seal(db)
    if newest is None:
        raise NotFound(
            "Nothing is sealed yet.", repair="Beat seals every minute with news; or `tenure audit seal`."
        )
    return CheckpointShape(size=newest.size, sealed_at=rfc3339(newest.sealed_at), note=newest.note)
