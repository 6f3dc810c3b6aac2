"""Order an erasure, list orders, and read a receipt."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from worker.flows.erase import order_erasure
from worker.flows.key import Principal
from worker.flows.receipt import no_such_order, receipt
from worker.http.auth import ErasuresRead, ErasuresWrite
from worker.http.erasure_shapes import (
    ErasureBody,
    ErasureHeadShape,
    ErasureShape,
    ErasuresQuery,
    head_shape,
    receipt_shape,
    written,
)
from worker.http.fields import is_word
from worker.http.lists import Page, page_of, trim
from worker.http.services import Given
from worker.http.tables import Form, form_of
from worker.model.receipt import Receipt
from worker.store import orders

router = APIRouter(prefix="/v1/erasures", tags=["erasures"])


@router.post("", status_code=201, response_model=ErasureShape)
def create_erasure(body: ErasureBody, who: ErasuresWrite, given: Given) -> ErasureShape:
    """Order the deletion of what is registered now, or was at `at`; a bound key reaches its projects."""
    made = order_erasure(
        given.database,
        owner=body.owner,
        ids=body.ids,
        reason=body.reason,
        at=body.at,
        deadline=body.deadline,
        actor=who.actor,
        clock=given.clock,
        projects=who.projects,
    )
    return receipt_shape(made, given.clock.now())


@router.get("", response_model=Page[ErasureHeadShape])
def get_erasures(query: Annotated[ErasuresQuery, Query()], who: ErasuresRead, given: Given) -> dict[str, Any]:
    """List orders, newest first, as they stood when beat last looked at them (`looked_at`).

    `overdue=true` lists those whose deadline has passed while something is pending or parked.
    """
    now = given.clock.now()
    wanted = orders.Wanted(
        projects=who.projects,
        actor=who.actor,
        owner=query.owner,
        status=query.status,
        overdue=query.overdue,
        now=now,
    )
    with given.database.read() as db:
        found = orders.page(
            db,
            wanted,
            limit=query.limit + 1,
            ascending=query.ascending,
            after=query.after,
            before=query.before,
        )
    rows, more = trim(found, query.limit, backwards=query.before is not None and query.after is None)
    return page_of([head_shape(one, now) for one in rows], has_more=more)


@router.get(
    "/{erasure_id}",
    response_model=ErasureShape,
    responses={
        200: {"content": {form.value: {"schema": {"type": "string"}} for form in (Form.CSV, Form.JSONL)}}
    },
)
def get_erasure(erasure_id: str, request: Request, who: ErasuresRead, given: Given) -> Any:  # noqa: ANN401 - the receipt, or a response in the form that was asked for
    """Read an order and what became of its threads.

    `Accept: text/csv` or `application/jsonl` gives the receipt as a table (safe to open in a spreadsheet) or
    thread by line.
    """
    if not is_word(erasure_id):
        raise no_such_order()
    now = given.clock.now()
    with given.database.read() as db:
        found = receipt(db, erasure_id, now=now)
    if not _visible(found, who):
        raise no_such_order()
    shown = receipt_shape(found, now)
    form = form_of(request.headers.get("accept", ""))
    if form is Form.JSON:
        return shown
    ending = "csv" if form is Form.CSV else "jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{shown.id}.{ending}"'}
    return Response(written(shown, form), media_type=form.value, headers=headers)


def _visible(found: Receipt, who: Principal) -> bool:
    """A bound key sees what it ordered itself, and an order whose threads are all its own."""
    if who.projects is None or found.ordered_by == who.actor:
        return True
    return bool(found.lines) and all(who.may_see(one.project) for one in found.lines)
