"""Seats: never more than there are, the most urgent first, and nobody asks for a slot who will find none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pacing.seats import Seats
from worker.pacing.waiters import Rank


async def settled() -> None:
    """Let every task go as far as it comes by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


class Guest:
    """Comes, asks for a slot until it is let in, sits until it is let go."""

    def __init__(self, seats: Seats, rank: Rank, order: float = 0) -> None:
        self._seats, self._rank, self._order = seats, rank, order
        self.slot, self.answer = asyncio.Event(), asyncio.Event()
        self.came = self.sits = False
        self.task = asyncio.create_task(self._visit())

    async def _visit(self) -> None:
        comes = self._rank is not Rank.DELETE
        if comes:
            await self._seats.come(self._rank, self._order)
            self.came = True
            try:
                await self.slot.wait()
            except BaseException:
                self._seats.turn_back()
                raise
        async with self._seats.taken(self._rank, self._order, came=comes):
            self.sits = True
            try:
                await self.answer.wait()
            finally:
                self.sits = False


def scenario(body: Callable[[Seats], Awaitable[None]], *, most: int = 2) -> None:
    asyncio.run(asyncio.wait_for(_whole(body, Seats(most)), 10))


async def _whole(body: Callable[[Seats], Awaitable[None]], seats: Seats) -> None:
    await body(seats)


def test_only_as_many_ask_for_a_slot_as_will_find_a_seat() -> None:
    async def body(seats: Seats) -> None:
        guests = [Guest(seats, Rank.READ, order) for order in range(4)]
        await settled()
        assert [one.came for one in guests] == [True, True, False, False]
        guests[0].slot.set()
        await settled()
        assert guests[0].sits
        assert not guests[2].came
        guests[0].answer.set()
        await settled()
        assert [one.came for one in guests] == [True, True, True, False]
        for one in guests:
            one.slot.set()
            one.answer.set()
        await asyncio.gather(*(one.task for one in guests))

    scenario(body)


def test_a_delete_has_the_next_seat_before_those_who_came_and_those_who_would() -> None:
    async def body(seats: Seats) -> None:
        sitting, came, waits = (Guest(seats, Rank.READ, order) for order in range(3))
        sitting.slot.set()
        await settled()
        delete = Guest(seats, Rank.DELETE, 9)
        await settled()
        # Who came has no slot yet: the seat that was free is the DELETE's.
        assert (sitting.sits, delete.sits, came.came, waits.came) == (True, True, True, False)
        late = Guest(seats, Rank.DELETE, 10)
        came.slot.set()
        await settled()
        assert (came.sits, late.sits) == (False, False)
        sitting.answer.set()
        await settled()
        assert (late.sits, came.sits) == (True, False)
        delete.answer.set()
        await settled()
        assert (came.sits, waits.came) == (True, False)
        late.answer.set()
        await settled()
        assert waits.came
        for one in (came, waits):
            one.slot.set()
            one.answer.set()
        await asyncio.gather(*(one.task for one in (sitting, came, waits, delete, late)))

    scenario(body)


def test_the_most_urgent_comes_first_then_the_lowest_order() -> None:
    async def body(seats: Seats) -> None:
        sitting = Guest(seats, Rank.DELETE)
        await settled()
        wanted = [(Rank.LOOK, 0.0), (Rank.READ, 2.0), (Rank.READ, 1.0), (Rank.CONTROL, 9.0)]
        guests = {one: Guest(seats, *one) for one in wanted}
        served: list[tuple[Rank, float]] = []
        sitting.answer.set()
        while len(served) < len(wanted):
            await settled()
            [one] = [which for which, guest in guests.items() if guest.came and which not in served]
            served.append(one)
            guests[one].slot.set()
            guests[one].answer.set()
        assert served == sorted(wanted)

    scenario(body, most=1)


@pytest.mark.parametrize("when", ["before it came", "after it came", "before it sat", "on its seat"])
def test_whoever_is_cancelled_leaves_the_place_to_the_next(when: str) -> None:
    async def body(seats: Seats) -> None:
        other = Guest(seats, Rank.DELETE)
        await settled()
        if when != "before it came":
            other.answer.set()
            await settled()
        gone = Guest(seats, Rank.READ)
        await settled()
        if when == "before it sat":
            other = Guest(seats, Rank.DELETE)
            await settled()
        if when in {"before it sat", "on its seat"}:
            gone.slot.set()
            await settled()
        assert (gone.came, gone.sits) == (when != "before it came", when == "on its seat")
        gone.task.cancel()
        await settled()
        other.answer.set()
        after = Guest(seats, Rank.READ)
        after.slot.set()
        await settled()
        assert after.sits
        after.answer.set()
        await asyncio.gather(after.task, other.task)
        assert gone.task.cancelled()

    scenario(body, most=1)


@pytest.mark.parametrize("rank", [Rank.READ, Rank.DELETE])
def test_who_is_cancelled_after_the_place_was_given_and_before_he_saw_it_leaves_it(rank: Rank) -> None:
    async def body(seats: Seats) -> None:
        sitting = Guest(seats, Rank.DELETE)
        await settled()
        gone = Guest(seats, rank)
        await settled()
        sitting.answer.set()
        # Step by step, until the place is given and nobody has seen it.
        waiting = seats._to_sit if rank is Rank.DELETE else seats._to_come
        while len(waiting):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
        gone.task.cancel()
        after = Guest(seats, Rank.READ)
        after.slot.set()
        await settled()
        assert gone.task.cancelled()
        assert after.sits
        after.answer.set()
        await asyncio.gather(after.task, sitting.task)

    scenario(body, most=1)


_STEP = st.tuples(st.integers(0, 11), st.sampled_from(["slot", "answer", "cancel"]))


@given(
    most=st.integers(1, 4),
    ranks=st.lists(st.sampled_from(list(Rank)), min_size=12, max_size=12),
    steps=st.lists(_STEP, max_size=60),
)
def test_never_more_sit_than_there_are_seats_and_in_the_end_everybody_has_sat(
    most: int, ranks: list[Rank], steps: list[tuple[int, str]]
) -> None:
    async def body(seats: Seats) -> None:
        guests = [Guest(seats, rank, order) for order, rank in enumerate(ranks)]
        cancelled = set[int]()
        for which, what in steps:
            await settled()
            assert sum(one.sits for one in guests) <= most
            asking = sum(one.came and not one.sits and not one.slot.is_set() for one in guests)
            assert asking - sum(one.task.done() for one in guests) <= most
            if what == "cancel":
                guests[which].task.cancel()
                cancelled.add(which)
            else:
                getattr(guests[which], what).set()
        for one in guests:
            one.slot.set()
            one.answer.set()
        ended = await asyncio.gather(*(one.task for one in guests), return_exceptions=True)
        assert all(end is None or number in cancelled for number, end in enumerate(ended))
        assert (seats._free, seats._coming) == (most, 0)

    scenario(body, most=most)
