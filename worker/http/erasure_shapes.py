"""An erasure as requests order it and as answers show it: as JSON, as a table, or thread by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, Field

from worker.audit.deletions import line
from worker.http.fields import AnyId, Instant, Name, Reason, Strict
from worker.http.lists import Paging, Shown
from worker.http.tables import Form
from worker.model.clock import rfc3339
from worker.model.receipt import LineStatus, OrderStatus, Receipt, ReceiptLine, is_overdue
from worker.store.orders import StoredOrder

ErasureCursor = Annotated[str, Field(pattern=r"^era_[0-9a-f]{32}$")]
# Of an id that nobody registered; no thread has this status.
_UNKNOWN = "unknown"
_ORDER_COLUMNS = ("erasure", "order_status", "deadline")
_LINE_COLUMNS = (
    *("id", "external_id", "kind", "project", "status", "reason", "until", "grade", "entry"),
    "accepted",
)


class ErasureBody(Strict):
    """An order: exactly one of an owner and ids (ours or external), and not in the future.

    `deadline` is until when it must be answered: one month from `at` unless given (Art. 12(3) GDPR), at most
    three months from now.
    """

    owner: Name | None = None
    ids: Annotated[list[AnyId], Field(max_length=1000)] = Field(default_factory=list)
    reason: Reason
    at: Instant | None = None
    deadline: Instant | None = None


class ErasuresQuery(Paging):
    """The filters of `GET /v1/erasures`; all that are given must match."""

    after: ErasureCursor | None = None
    before: ErasureCursor | None = None
    owner: Name | None = None
    status: OrderStatus | None = None
    overdue: bool | None = None


class ErasureLineShape(BaseModel):
    """What became of one thread.

    `until` is when a refusal may end, `entry` the index of the log's entry that holds the grade, `accepted`
    whether a person took note that it is parked.
    """

    id: str
    external_id: str
    kind: str
    project: str
    status: LineStatus
    reason: str | None
    until: str | None
    grade: str | None
    entry: int | None
    accepted: bool


class _OrderShape(Shown):
    object: Literal["erasure"] = "erasure"
    owner: str | None
    ids: list[str]
    reason: str
    at: str
    ordered_at: str
    ordered_by: str
    deadline: str
    status: OrderStatus
    overdue: bool
    counts: dict[str, int]


class ErasureHeadShape(_OrderShape):
    """An order as it stood when it was last looked at (null: never yet)."""

    looked_at: str | None


class ErasureShape(_OrderShape):
    """An order and its receipt as it stands now; `unknown` are the ids that nobody registered."""

    threads: list[ErasureLineShape]
    unknown: list[str]


def receipt_shape(found: Receipt, now: datetime) -> ErasureShape:
    """Show an order with its receipt."""
    return ErasureShape(
        id=found.id,
        owner=found.owner,
        ids=list(found.ids),
        reason=found.reason,
        at=rfc3339(found.at),
        ordered_at=rfc3339(found.ordered_at),
        ordered_by=found.ordered_by,
        deadline=rfc3339(found.deadline),
        status=found.status,
        overdue=found.is_overdue(now),
        counts={status.value: count for status, count in found.counts.items()},
        threads=[_line(one) for one in found.lines],
        unknown=list(found.unknown),
    )


def head_shape(found: StoredOrder, now: datetime) -> ErasureHeadShape:
    """Show an order as it stood when it was last looked at."""
    deadline = found.deadline or found.erasure.at
    return ErasureHeadShape(
        id=found.id,
        owner=found.erasure.owner,
        ids=list(found.erasure.ids),
        reason=found.reason,
        at=rfc3339(found.erasure.at),
        ordered_at=rfc3339(found.ordered_at),
        ordered_by=found.ordered_by,
        deadline=rfc3339(deadline),
        status=found.status,
        overdue=is_overdue(found.status, deadline, now),
        counts=dict(found.counts),
        looked_at=rfc3339(found.looked_at) if found.looked_at else None,
    )


def _line(one: ReceiptLine) -> ErasureLineShape:
    return ErasureLineShape(
        id=one.id,
        external_id=one.external_id,
        kind=one.kind,
        project=one.project,
        status=one.status,
        reason=one.reason,
        until=rfc3339(one.until) if one.until else None,
        grade=one.grade,
        entry=one.entry,
        accepted=one.accepted,
    )


def written(shown: ErasureShape, form: Form) -> bytes:
    """Write a receipt as csv, safe for spreadsheets, or thread by line; what nobody registered comes last."""
    if form is Form.JSONL:
        nothing = {**dict.fromkeys(_LINE_COLUMNS), "status": _UNKNOWN}
        texts = (orjson.dumps(one.model_dump(mode="json")) for one in shown.threads)
        strangers = (orjson.dumps({**nothing, "external_id": name}) for name in shown.unknown)
        return b"".join(text + b"\n" for text in (*texts, *strangers))
    rows = ((*_ORDER_COLUMNS, *_LINE_COLUMNS), *_rows(shown))
    return "".join(line(cells) for cells in rows).encode()


def _rows(shown: ErasureShape) -> Iterator[Sequence[str]]:
    order = (shown.id, shown.status.value, shown.deadline)
    for one in shown.threads:
        told = one.model_dump(mode="json")
        yield (*order, *(_cell(told[name]) for name in _LINE_COLUMNS))
    for name in shown.unknown:
        known = {"external_id": name, "status": _UNKNOWN}
        yield (*order, *(known.get(column, "") for column in _LINE_COLUMNS))


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
