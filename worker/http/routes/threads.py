"""Register, look at, explain and withdraw threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Query, Request, Response

from worker.flows.explain import explain_thread
from worker.flows.register import Asked, Decided, register_decided
from worker.flows.withdraw import withdraw
from worker.http.auth import ThreadsRead, ThreadsWrite, TrailRead
from worker.http.etags import etag
from worker.http.fields import Reason, Strict
from worker.http.finding import count_threads, find_thread, list_threads, show_thread
from worker.http.lists import Page, link_next, page_of
from worker.http.refusals import unknown_project
from worker.http.services import Given, Services
from worker.http.tables import Form, form_of, written
from worker.http.thread_shapes import (
    ExplanationShape,
    RegisterBody,
    ThreadShape,
    ThreadsPage,
    ThreadsQuery,
    explanation_shape,
    thread_shape,
)
from worker.http.together import Together
from worker.http.trail import EntriesQuery, EntryShape, note_trail_read, show_entries
from worker.model.errors import TenureError
from worker.store.log import entries_after

# A transaction holds the log's head at its end, so it is short even for many.
_MOST_TOGETHER = 100
Registrar: TypeAlias = Together[Asked, Decided]

router = APIRouter(prefix="/v1/threads", tags=["threads"])


def registrar_of(services: Services) -> Registrar:
    """Return what registers single threads: requests that come at the same moment are one transaction."""

    def register(asked: Sequence[Asked]) -> Sequence[Decided | TenureError]:
        now = services.clock.now()
        with services.database.write() as db:
            return register_decided(db, asked, now=now)

    return Together(register, most=_MOST_TOGETHER)


class WithdrawBody(Strict):
    """Why the registration was a mistake."""

    reason: Reason


@router.post(
    "",
    status_code=201,
    response_model=ThreadShape,
    responses={200: {"model": ThreadShape, "description": "It was registered already with these values."}},
)
async def register_thread(request: Request, body: RegisterBody, who: ThreadsWrite) -> Response:
    """Register a thread: 201 new, 200 the same again, 409 with other values or by another project."""
    if not who.may_see(body.project):
        raise unknown_project()
    registrar: Registrar = request.app.state.registrar
    told = await registrar(Asked(wanted=body.registration(), actor=who.actor))
    stored = told.done.stored
    return Response(
        thread_shape(stored, told.decision).model_dump_json(),
        201 if told.done.created else 200,
        headers={"Location": f"/v1/threads/{stored.thread.id}", "ETag": etag(stored)},
        media_type="application/json",
    )


@router.get(
    "",
    response_model=ThreadsPage,
    responses={
        200: {"content": {form.value: {"schema": {"type": "string"}} for form in (Form.CSV, Form.JSONL)}}
    },
)
def get_threads(
    request: Request, query: Annotated[ThreadsQuery, Query()], who: ThreadsRead, given: Given
) -> Any:  # noqa: ANN401 - a page as JSON, or a response in the form that was asked for
    """List threads, newest first; each is decided when it is read.

    `Accept: text/csv` or `application/jsonl` gives the same page in that form; `Link` names the next one.
    """
    now = given.clock.now()
    with given.database.read() as db:
        shown, more = list_threads(db, query, who, now=now)
        total = count_threads(db, query, who, now=now) if query.include else None
    form = form_of(request.headers.get("accept", ""))
    if form is Form.JSON:
        return page_of(shown, has_more=more) | ({"total": total} if total else {})
    headers = {"link": link_next(request.url, shown[-1].id)} if more else {}
    return Response(written(shown, form), media_type=form.value, headers=headers)


@router.get("/{thread_id}", response_model=ThreadShape)
def get_thread(thread_id: str, response: Response, who: ThreadsRead, given: Given) -> ThreadShape:
    """Read one thread by our id or the provider's; its ETag is what a change must send in If-Match."""
    with given.database.read() as db:
        found = find_thread(db, thread_id, who)
        response.headers["ETag"] = etag(found)
        return show_thread(db, found, now=given.clock.now())


@router.post("/{thread_id}/withdraw", response_model=ThreadShape)
def withdraw_thread(thread_id: str, body: WithdrawBody, who: ThreadsWrite, given: Given) -> ThreadShape:
    """Take back a mistaken registration: it is never deleted, and its entries stay."""
    with given.database.read() as db:
        found = find_thread(db, thread_id, who)
    stored = withdraw(
        given.database,
        found.thread.id,
        reason=body.reason,
        actor=who.actor,
        clock=given.clock,
        lease=given.lease,
    )
    with given.database.read() as db:
        return show_thread(db, stored, now=given.clock.now())


@router.get("/{thread_id}/explanation", response_model=ExplanationShape)
def get_explanation(thread_id: str, who: ThreadsRead, given: Given) -> ExplanationShape:
    """Say which rule decides, why, when, and who can stop it."""
    with given.database.read() as db:
        stored = find_thread(db, thread_id, who)
        return explanation_shape(stored.thread.id, explain_thread(db, stored, now=given.clock.now()))


@router.get("/{thread_id}/entries", response_model=Page[EntryShape])
def get_thread_entries(
    thread_id: str, query: Annotated[EntriesQuery, Query()], who: TrailRead, given: Given
) -> dict[str, Any]:
    """List the thread's audit trail, oldest first; reading it is an entry, `access.read`."""
    with given.database.read() as db:
        own = find_thread(db, thread_id, who).thread
        after = -1 if query.after is None else query.after
        found = entries_after(db, after=after, limit=query.limit + 1, subject=own.id)
        shown = show_entries(db, found[: query.limit])
    what = f"GET /v1/threads/{own.id}/entries"
    note_trail_read(given, who, what=what, shown=shown, project=own.project)
    return page_of(shown, has_more=len(found) > query.limit)
