"""The receipt of an erasure: what became of each thread that it covers, and of the order as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LineStatus(StrEnum):
    """What became of one thread."""

    DELETED = "deleted"  # with the grade that the evidence supports
    ABSENT = "absent"  # it was gone, and not by this service
    REFUSED = (
        "refused"  # by a legal retain rule, or withdrawn: with the reason, and a date where there is one
    )
    HELD = "held"  # by a hold, for as long as that stands
    PARKED = "parked"  # stopped for a person to look at
    PENDING = "pending"  # to be deleted, or to be read again


class OrderStatus(StrEnum):
    """How an order stands as a whole."""

    OPEN = "open"  # something is pending, or parked and nobody has accepted it
    HELD = "held"  # nothing is, but a hold keeps a thread
    ANSWERED = "answered"  # every thread is deleted, absent or refused, or parked and a person accepted it
    DONE = "done"  # every thread is deleted or absent
    EMPTY = "empty"  # it covers no thread


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLine:
    """One thread: ``until`` is when a refusal may end, ``entry`` the index of the entry of its grade.

    ``accepted`` is whether a person took note that it is parked.
    """

    id: str
    external_id: str
    kind: str
    project: str
    status: LineStatus
    reason: str | None = None
    until: datetime | None = None
    grade: str | None = None
    entry: int | None = None
    accepted: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the service, or a person, has still something to do."""
        return self.status is LineStatus.PENDING or (self.status is LineStatus.PARKED and not self.accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An order and how each of its threads stands now; ``unknown`` are named ids that nobody registered."""

    id: str
    owner: str | None
    ids: tuple[str, ...]
    reason: str
    at: datetime
    ordered_at: datetime
    ordered_by: str
    deadline: datetime
    lines: tuple[ReceiptLine, ...]
    unknown: tuple[str, ...] = ()

    @property
    def status(self) -> OrderStatus:
        """How the order stands as a whole."""
        return status_of(self.lines)

    @property
    def counts(self) -> Mapping[LineStatus, int]:
        """How many threads have each status; those that none has are left out."""
        return counts_of(self.lines)

    def is_overdue(self, now: datetime) -> bool:
        """Whether its deadline has passed and something is left to do."""
        return is_overdue(self.status, self.deadline, now)


def status_of(lines: Sequence[ReceiptLine]) -> OrderStatus:
    """Return how an order with these lines stands: what is least settled decides."""
    kinds = {one.status for one in lines}
    if any(one.is_open for one in lines):
        return OrderStatus.OPEN
    if LineStatus.HELD in kinds:
        return OrderStatus.HELD
    if kinds & {LineStatus.REFUSED, LineStatus.PARKED}:
        return OrderStatus.ANSWERED
    return OrderStatus.DONE if lines else OrderStatus.EMPTY


def counts_of(lines: Iterable[ReceiptLine]) -> Mapping[LineStatus, int]:
    """Count lines by status, in the order of the statuses."""
    found = Counter(one.status for one in lines)
    return {status: found[status] for status in LineStatus if found[status]}


def is_overdue(status: OrderStatus, deadline: datetime, now: datetime) -> bool:
    """Whether the deadline has passed and something is left to do; a hold or a legal rule is an answer."""
    return status is OrderStatus.OPEN and deadline <= now
