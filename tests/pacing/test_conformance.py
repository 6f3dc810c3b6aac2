"""What every pacer does: one suite over the one in memory and the one on a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import pairwise

import pytest

from worker.model.clock import monotonic
from worker.pacing.base import Bucket, CoolingDown, Later, Pacer, Reservation

Open = Callable[[], AbstractAsyncContextManager[Pacer]]
MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot, between the earliest and the latest instant at which it can begin (seconds, own clock)."""

    earliest: float
    latest: float


async def _take(pacer: Pacer, bucket: Bucket) -> Taken | Later:
    asked = monotonic()
    got = await pacer.reserve(bucket)
    answered = monotonic()
    return got if isinstance(got, Later) else Taken(asked + got.wait, answered + got.wait)


async def _take_all(pacer: Pacer, bucket: Bucket, most: int = 10_000) -> list[Taken]:
    """Take slots until the horizon is reached."""
    slots: list[Taken] = []
    while len(slots) < most:
        got = await _take(pacer, bucket)
        if isinstance(got, Later):
            break
        slots.append(got)
    return slots


def _must_keep_the_limit(slots: list[Taken], bucket: Bucket) -> None:
    """In any stretch of t seconds there are at most burst + rate x t slots that surely lie in it."""
    for first in slots:
        ends = sorted(one.latest for one in slots if one.earliest >= first.earliest)
        for number, end in enumerate(ends, start=1):
            stretch = end - first.earliest
            assert number <= bucket.burst + bucket.per_second * stretch + 1e-3, (number, stretch)


@pytest.mark.parametrize(("per_second", "burst"), [(50, 1), (50, 5), (3, 1), (1000 / 60, 2), (200, 40)])
def test_no_stretch_holds_more_than_burst_and_rate(open_pacer: Open, per_second: float, burst: int) -> None:
    bucket = Bucket(key="b", per_second=per_second, burst=burst)

    async def scenario() -> None:
        async with open_pacer() as pacer:
            slots = await _take_all(pacer, bucket)
            _must_keep_the_limit(slots, bucket)
            # The two seconds ahead are given away, and no less.
            assert len(slots) >= int(2 * per_second) + burst

    asyncio.run(scenario())


@pytest.mark.parametrize("per_second", [5000.0, 500.0])
def test_a_tiny_burst_limits_from_the_first_request_on(open_pacer: Open, per_second: float) -> None:
    bucket = Bucket(key="b", per_second=per_second, burst=1)

    async def scenario() -> None:
        async with open_pacer() as pacer:
            slots = await _take_all(pacer, bucket, most=300)
            assert len(slots) == 300
            assert slots[-1].latest - slots[0].earliest >= 299 / per_second - MICRO

    asyncio.run(scenario())


def test_slots_come_in_the_order_of_asking(open_pacer: Open) -> None:
    bucket = Bucket(key="b", per_second=100, burst=3)

    async def scenario() -> None:
        async with open_pacer() as pacer:
            slots = await _take_all(pacer, bucket)
            assert all(later.latest >= earlier.earliest for earlier, later in pairwise(slots))

    asyncio.run(scenario())


@pytest.mark.parametrize(("per_second", "burst"), [(50, 1), (50, 5), (3, 1)])
def test_slots_that_are_asked_for_together_keep_the_limit(
    open_pacer: Open, per_second: float, burst: int
) -> None:
    bucket = Bucket(key="b", per_second=per_second, burst=burst)
    most = int(2 * per_second) + burst + 10

    async def scenario() -> None:
        async with open_pacer() as pacer:
            told = await asyncio.gather(*(_take(pacer, bucket) for _ in range(most)))
            # Whoever asks next comes behind all of them.
            told.append(await _take(pacer, bucket))
            slots = [one for one in told if isinstance(one, Taken)]
            _must_keep_the_limit(slots, bucket)
            # An interval is rounded up to a microsecond, so that the last one may lie behind the horizon.
            assert int(2 * per_second) + burst - 1 <= len(slots) < most
            assert all(one.wait > 0 for one in told if isinstance(one, Later))

    asyncio.run(scenario())


def test_beyond_the_horizon_nothing_is_reserved_and_the_wait_is_told(open_pacer: Open) -> None:
    bucket = Bucket(key="b", per_second=1, burst=1)

    async def scenario() -> None:
        async with open_pacer() as pacer:
            assert len(await _take_all(pacer, bucket)) == 3
            waits = []
            for _ in range(20):
                refused = await pacer.reserve(bucket)
                assert isinstance(refused, Later)
                waits.append(refused.wait)
            assert 0 < waits[-1] <= waits[0] <= 1
            # Asking cost nothing: the refusals only grow shorter.
            assert waits == sorted(waits, reverse=True)

    asyncio.run(scenario())


def test_a_very_slow_bucket_tells_a_long_wait(open_pacer: Open) -> None:
    bucket = Bucket(key="b", per_second=1 / 3600, burst=1)

    async def scenario() -> None:
        async with open_pacer() as pacer:
            assert await pacer.reserve(bucket) == Reservation(wait=0)
            refused = await pacer.reserve(bucket)
            assert isinstance(refused, Later)
            assert 3590 < refused.wait <= 3598

    asyncio.run(scenario())


def test_buckets_do_not_share_their_slots(open_pacer: Open) -> None:
    async def scenario() -> None:
        async with open_pacer() as pacer:
            for key in ("a", "b", "c"):
                assert await pacer.reserve(Bucket(key=key, per_second=0.1)) == Reservation(wait=0)

    asyncio.run(scenario())


def test_a_pause_holds_for_everybody_and_is_followed_by_no_burst(open_pacer: Open) -> None:
    bucket = Bucket(key="b", per_second=10, burst=5)

    async def scenario() -> None:
        async with open_pacer() as pacer, open_pacer() as other:
            began = monotonic()
            await pacer.cool_down(bucket, 1.0)
            slots = await _take_all(other, bucket)
            assert slots[0].latest >= began + 1.0 - MICRO
            gaps = [late.latest - early.earliest for early, late in pairwise(slots)]
            assert len(gaps) >= 5
            assert min(gaps) >= 0.1 - MICRO

    asyncio.run(scenario())


def test_the_longer_of_two_pauses_counts(open_pacer: Open) -> None:
    bucket = Bucket(key="b", per_second=10)

    async def scenario() -> None:
        async with open_pacer() as pacer:
            for seconds in (1.5, 0.1, 0.0, -3.0):
                await pacer.cool_down(bucket, seconds)
            got = await pacer.reserve(bucket)
            assert isinstance(got, Reservation)
            assert 1.0 < got.wait <= 1.5
            await pacer.cool_down(bucket, 9)
            later = await pacer.reserve(bucket)
            assert isinstance(later, Later)
            assert 6 < later.wait <= 7

    asyncio.run(scenario())


@pytest.mark.parametrize(("asked", "left"), [(31.0, 31.0), (10**9, 86_400.0), (float("inf"), 86_400.0)])
def test_a_pause_that_nobody_waits_out_sends_the_caller_home(
    open_pacer: Open, asked: float, left: float
) -> None:
    bucket = Bucket(key="b", per_second=10)

    async def scenario() -> None:
        async with open_pacer() as pacer:
            await pacer.cool_down(bucket, asked)
            with pytest.raises(CoolingDown) as raised:
                await pacer.reserve(bucket)
            assert left - 20 < raised.value.seconds <= left
            assert await pacer.reserve(Bucket(key="other", per_second=10)) == Reservation(wait=0)

    asyncio.run(scenario())


def test_what_is_left_of_a_pause_is_told_to_everybody(open_pacer: Open) -> None:
    bucket = Bucket(key="b", per_second=10)

    async def scenario() -> None:
        async with open_pacer() as pacer, open_pacer() as other:
            assert await other.pause(bucket) == 0
            await pacer.cool_down(bucket, 30)
            assert 20 < await other.pause(bucket) <= 30
            assert await other.pause(Bucket(key="other", per_second=10)) == 0

    asyncio.run(scenario())


def test_four_loops_in_four_threads_stay_within_the_limit_together(open_pacer: Open) -> None:
    bucket = Bucket(key="b", per_second=60, burst=4)
    slots: list[Taken] = []
    start = threading.Barrier(4)

    async def one() -> list[Taken]:
        async with open_pacer() as pacer:
            start.wait()
            taken = await asyncio.gather(*(_take_all(pacer, bucket) for _ in range(4)))
            return [slot for some in taken for slot in some]

    def run() -> None:
        slots.extend(asyncio.run(one()))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _must_keep_the_limit(slots, bucket)
    assert len(slots) >= 124


def test_a_pacer_serves_one_loop_after_another(open_pacer: Open) -> None:
    bucket = Bucket(key="b", per_second=1)

    async def scenario() -> Reservation | Later:
        async with open_pacer() as pacer:
            return await pacer.reserve(bucket)

    assert asyncio.run(scenario()) == Reservation(wait=0)
    second = asyncio.run(scenario())
    assert isinstance(second, Reservation)
    assert 0 < second.wait <= 1


@pytest.mark.parametrize(
    ("per_second", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1, 0)]
)
def test_a_bucket_without_a_limit_cannot_be_written(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match="a rate above 0"):
        Bucket(key="b", per_second=per_second, burst=burst)
