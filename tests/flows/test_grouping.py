from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Sequence

import pytest
from sqlalchemy.exc import OperationalError

from worker.flows.grouping import Grouper

# So long that a test that waits for it ends by its own limit.
FOR_EVER = 600.0


class Book:
    """What was written, group by group; each number is told doubled."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def write(self, group: Sequence[int]) -> list[int]:
        self.begun.set()
        assert self.may_end.wait(10)
        self.groups.append(list(group))
        return [2 * one for one in group]


def within_ten_seconds(body: Awaitable[None]) -> None:
    async def run() -> None:
        await asyncio.wait_for(body, 10)

    asyncio.run(run())


def test_a_group_is_written_once_nobody_more_comes_and_not_only_when_the_window_is_over() -> None:
    book = Book()

    async def body() -> None:
        grouper = Grouper(book.write, window=FOR_EVER)
        assert await asyncio.gather(*map(grouper.submit, range(3))) == [0, 2, 4]

    within_ten_seconds(body())
    assert book.groups == [[0, 1, 2]]


def test_a_group_waits_no_longer_than_its_window() -> None:
    book = Book()

    async def body() -> None:
        assert await Grouper(book.write, window=0.01, quiet=FOR_EVER).submit(1) == 2

    within_ten_seconds(body())


def test_a_full_group_is_written_at_once_and_the_rest_after_it() -> None:
    book = Book()

    async def body() -> None:
        grouper = Grouper(book.write, most=2, window=FOR_EVER, quiet=FOR_EVER)
        await asyncio.gather(*map(grouper.submit, range(4)))

    within_ten_seconds(body())
    assert book.groups == [[0, 1], [2, 3]]


def test_who_comes_while_a_group_is_written_is_of_the_next_one() -> None:
    book = Book()
    book.may_end.clear()

    async def body() -> None:
        grouper = Grouper(book.write, window=0.01)
        first = asyncio.create_task(grouper.submit(1))
        assert await asyncio.to_thread(book.begun.wait, 10)
        others = [asyncio.create_task(grouper.submit(one)) for one in (2, 3)]
        await asyncio.sleep(0)
        book.may_end.set()
        assert await asyncio.gather(first, *others) == [2, 4, 6]

    within_ten_seconds(body())
    assert book.groups == [[1], [2, 3]]


def test_one_that_cannot_be_written_keeps_no_other_of_its_group_back() -> None:
    def write(group: Sequence[int]) -> list[int]:
        if 1 in group:
            raise ValueError("no number")
        return list(group)

    async def body() -> None:
        grouper = Grouper(write, most=2, window=0.01)
        told = await asyncio.gather(*map(grouper.submit, [1, 2, 3]), return_exceptions=True)
        assert [type(one) for one in told] == [ValueError, int, int]
        assert await grouper.submit(4) == 4

    within_ten_seconds(body())


def test_a_database_that_does_not_answer_is_not_asked_again_by_each_member() -> None:
    groups: list[Sequence[int]] = []

    def write(group: Sequence[int]) -> list[int]:
        groups.append(group)
        raise OperationalError("commit", {}, OSError("gone"))

    async def body() -> None:
        grouper = Grouper(write, window=0.01)
        told = await asyncio.gather(*map(grouper.submit, [1, 2, 3]), return_exceptions=True)
        assert {type(one) for one in told} == {OperationalError}

    within_ten_seconds(body())
    assert groups == [[1, 2, 3]]


def test_a_waiter_that_is_cancelled_takes_nobody_with_it() -> None:
    book = Book()
    book.may_end.clear()

    async def body() -> None:
        grouper = Grouper(book.write, window=0.01)
        both = [asyncio.create_task(grouper.submit(one)) for one in (1, 2)]
        assert await asyncio.to_thread(book.begun.wait, 10)
        both[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await both[0]
        book.may_end.set()
        assert await both[1] == 4

    within_ten_seconds(body())
    assert book.groups == [[1, 2]]
