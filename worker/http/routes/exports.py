"""Ask for an export, look how far it is, and fetch the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from starlette.responses import StreamingResponse

from worker.flows.ask_export import ask_export, check_wanted
from worker.flows.key import Principal
from worker.flows.note_read import note_read
from worker.flows.receipt import no_such_order, receipt
from worker.http.auth import needs, needs_every_project
from worker.http.export_shapes import ExportBody, ExportShape, export_shape, file_name, state_of
from worker.http.fields import is_word
from worker.http.refusals import ExportExpired, ExportNotReady, unknown_project
from worker.http.services import Given, Services
from worker.model.errors import NotFound
from worker.store import exports
from worker.store.engine import Database
from worker.store.exports import ExportState, StoredExport

router = APIRouter(prefix="/v1/audit/exports", tags=["audit"])

AuditExport = Annotated[Principal, Depends(needs("audit:export"))]
_RETRY_SECONDS = 2
_ZIP = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}


@router.post("", status_code=202, response_model=ExportShape)
def create_export(body: ExportBody, response: Response, who: AuditExport, given: Given) -> ExportShape:
    """Ask for a bundle that verifies offline; beat makes it, and it is kept for 24 hours.

    Policies name every project, so only a key of every project may ask for them.
    """
    if not who.may_see(body.project):
        raise unknown_project()
    if body.with_policies:
        needs_every_project(who, "An export with policies")
    wanted = body.wanted(given.clock.now())
    check_wanted(wanted)
    if wanted.erasure is not None:
        _check_order(given, wanted.erasure, who)
    made = ask_export(given.database, wanted, actor=who.actor, clock=given.clock)
    response.headers["Location"] = f"/v1/audit/exports/{made.id}"
    response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return export_shape(made, given.clock.now())


@router.get("/{export_id}", response_model=ExportShape)
def get_export(export_id: str, response: Response, who: AuditExport, given: Given) -> ExportShape:
    """Read how far it is; `Retry-After` says when to look again."""
    found = _find(given, export_id, who)
    if found.state in exports.OPEN:
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return export_shape(found, given.clock.now())


@router.get(
    "/{export_id}/file",
    response_class=StreamingResponse,
    responses={200: {"content": _ZIP}, 409: {}, 410: {}},
)
def get_export_file(export_id: str, who: AuditExport, given: Given) -> StreamingResponse:
    """Fetch the bundle; each time is an entry. 409 while it is not there, 410 when it has expired."""
    found = _find(given, export_id, who)
    _check_ready(found, state_of(found, given.clock.now()))
    made = found.made or {}
    note_read(
        given.database,
        what=f"GET /v1/audit/exports/{found.id}/file",
        rows=int(made["entries"]),
        project=found.project,
        actor=who.actor,
        clock=given.clock,
    )
    headers = {
        "Content-Length": str(made["bytes"]),
        "Content-Disposition": f'attachment; filename="{file_name(found)}"',
        "ETag": f'"{made["sha256"]}"',
    }
    return StreamingResponse(pieces_of(given.database, found), media_type="application/zip", headers=headers)


def pieces_of(database: Database, found: StoredExport) -> Iterator[bytes]:
    """Yield the file piece by piece; one that expires meanwhile ends short of its announced length."""
    n = 0
    while True:
        with database.read() as db:
            data = exports.piece(db, found.id, found.fence, n)
        if data is None:
            return
        yield data
        n += 1


def _find(given: Services, export_id: str, who: Principal) -> StoredExport:
    with given.database.read() as db:
        found = exports.get(db, export_id) if is_word(export_id) else None
    # What names every project was asked for by a key of every project, and is fetched by such a key.
    hidden = found is None or not who.may_see(found.project)
    if found is None or hidden or (found.asked["with_policies"] and who.projects is not None):
        raise NotFound("No export has this id.", repair="`POST /v1/audit/exports` makes one.")
    if found.asked["erasure"] is not None and who.projects is not None:
        _check_order(given, found.asked["erasure"], who)
    return found


def _check_ready(found: StoredExport, state: ExportState) -> None:
    match state:
        case ExportState.READY:
            return
        case ExportState.EXPIRED:
            raise ExportExpired("The file is gone: its time was up.", repair="Ask for the export anew.")
        case ExportState.FAILED:
            detail = (found.problem or {}).get("detail", "")
            raise ExportNotReady(f"There is no file: the export failed. {detail}", repair="Ask for it anew.")
        case _:
            raise ExportNotReady("The file is not made yet.", repair="Look at the export until it is ready.")


def _check_order(given: Services, erasure: str, who: Principal) -> None:
    """Refuse an order that reaches threads of other projects: its entries name them."""
    with given.database.read() as db:
        found = receipt(db, erasure, now=given.clock.now())
    bound = who.projects is not None
    if bound and not (found.lines and all(who.may_see(one.project) for one in found.lines)):
        raise no_such_order()
