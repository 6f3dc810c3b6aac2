"""How an order stands follows from its lines: what is least settled decides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from worker.model.receipt import LineStatus, OrderStatus, ReceiptLine, counts_of, is_overdue, status_of

AT = datetime(2026, 11, 22, tzinfo=UTC)


def line(status: str, *, accepted: bool = False) -> ReceiptLine:
    return ReceiptLine(
        id="thr_1",
        external_id="conv_1",
        kind="conversation",
        project="p",
        status=LineStatus(status),
        accepted=accepted,
    )


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], OrderStatus.EMPTY),
        ([line("deleted"), line("absent")], OrderStatus.DONE),
        ([line("deleted"), line("refused")], OrderStatus.ANSWERED),
        ([line("deleted"), line("parked", accepted=True)], OrderStatus.ANSWERED),
        ([line("refused"), line("held"), line("deleted")], OrderStatus.HELD),
        ([line("parked", accepted=True), line("held")], OrderStatus.HELD),
        ([line("parked"), line("held"), line("refused"), line("deleted")], OrderStatus.OPEN),
        ([line("pending"), line("held"), line("refused"), line("deleted")], OrderStatus.OPEN),
    ],
)
def test_the_least_settled_line_decides_in_any_order(lines: list[ReceiptLine], status: OrderStatus) -> None:
    assert {status_of(some) for some in _orders(lines)} == {status}


def _orders(lines: list[ReceiptLine]) -> Sequence[Sequence[ReceiptLine]]:
    return list(permutations(lines))


def test_statuses_are_counted_in_their_own_order() -> None:
    told = counts_of([line("pending"), line("deleted"), line("pending")])
    assert list(told.items()) == [(LineStatus.DELETED, 1), (LineStatus.PENDING, 2)]


@pytest.mark.parametrize("status", OrderStatus)
def test_only_an_open_order_is_overdue_and_from_its_deadline_on(status: OrderStatus) -> None:
    early, late = AT - timedelta(microseconds=1), AT
    assert not is_overdue(status, AT, early)
    assert is_overdue(status, AT, late) is (status is OrderStatus.OPEN)
