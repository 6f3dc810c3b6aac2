"""Order an erasure and read its receipt."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from worker.flows.erase import Receipt, ReceiptLine, order_erasure, receipt
from worker.flows.key import Principal
from worker.http.auth import ErasuresRead, ErasuresWrite
from worker.http.fields import AnyId, Instant, Name, Reason, Strict, is_word
from worker.http.services import Given
from worker.model.clock import rfc3339
from worker.model.errors import NotFound

router = APIRouter(prefix="/v1/erasures", tags=["erasures"])


class ErasureBody(Strict):
    """An order: exactly one of an owner and ids (ours or external), and not in the future."""

    owner: Name | None = None
    ids: Annotated[list[AnyId], Field(max_length=1000)] = Field(default_factory=list)
    reason: Reason
    at: Instant | None = None


class ErasureLineShape(BaseModel):
    """What became of one thread; ``until`` is when a refusal may end."""

    id: str
    external_id: str
    project: str
    status: str
    reason: str | None
    until: str | None
    grade: str | None


class ErasureShape(BaseModel):
    """An order and its receipt as it stands now."""

    object: Literal["erasure"] = "erasure"
    id: str
    owner: str | None
    ids: list[str]
    reason: str
    at: str
    ordered_at: str
    threads: list[ErasureLineShape]
    unknown: list[str]


@router.post("", status_code=201, response_model=ErasureShape)
def create_erasure(body: ErasureBody, who: ErasuresWrite, given: Given) -> ErasureShape:
    """Order the deletion of what is registered now, or was at `at`; a bound key reaches its projects."""
    made = order_erasure(
        given.database,
        owner=body.owner,
        ids=body.ids,
        reason=body.reason,
        at=body.at,
        actor=who.actor,
        clock=given.clock,
        projects=who.projects,
    )
    return _shape(made)


@router.get("/{erasure_id}", response_model=ErasureShape)
def get_erasure(erasure_id: str, who: ErasuresRead, given: Given) -> ErasureShape:
    """Read an order and what became of its threads."""
    if not is_word(erasure_id):
        raise _unknown()
    with given.database.read() as db:
        found = receipt(db, erasure_id, now=given.clock.now())
    if not _visible(found, who):
        raise _unknown()
    return _shape(found)


def _visible(found: Receipt, who: Principal) -> bool:
    """A bound key sees an order whose threads are all its own."""
    if who.projects is None:
        return True
    return bool(found.lines) and all(who.may_see(one.project) for one in found.lines)


def _unknown() -> NotFound:
    return NotFound("No erasure has this id.", repair="The answer to the order names it.")


def _shape(found: Receipt) -> ErasureShape:
    return ErasureShape(
        id=found.id,
        owner=found.owner,
        ids=list(found.ids),
        reason=found.reason,
        at=rfc3339(found.at),
        ordered_at=rfc3339(found.ordered_at),
        threads=[_line(one) for one in found.lines],
        unknown=list(found.unknown),
    )


def _line(one: ReceiptLine) -> ErasureLineShape:
    return ErasureLineShape(
        id=one.id,
        external_id=one.external_id,
        project=one.project,
        status=one.status,
        reason=one.reason,
        until=rfc3339(one.until) if one.until else None,
        grade=one.grade,
    )
