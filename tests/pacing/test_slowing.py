"""A bucket whose provider refuses goes slower for a while (AIMD), for everybody who shares it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from worker.pacing.base import (
    CUT_AT_MOST_EVERY_SECONDS,
    CUT_FIRST_TO,
    CUT_TO,
    GAIN,
    RECOVERS_EVERY_SECONDS,
    Bucket,
    CoolingDown,
    Later,
    Pacer,
    Reservation,
)
from worker.pacing.memory import MemoryPacer
from worker.pacing.redis import RedisPacer

KEY = "b"
SHORT = 0.000_001


class Slowed:
    """A pacer and a way to let time pass for it: a clock, or times that are moved back in Redis."""

    def __init__(self, redis: Redis | None = None, url: str = "", prefix: str = "") -> None:
        self.at = 1000.0
        self._redis, self._prefix = redis, prefix
        self.pacer: Pacer = RedisPacer(url, prefix) if redis is not None else MemoryPacer(lambda: self.at)

    def pass_time(self, seconds: float) -> None:
        self.at += seconds
        if self._redis is None:
            return
        self._redis.delete(f"{self._prefix}:cd:{KEY}")
        arrival = f"{self._prefix}:tat:{KEY}"
        if (known := self._redis.get(arrival)) is not None:
            self._redis.set(arrival, str(int(str(known)) - int(seconds * 1_000_000)), keepttl=True)
        name = f"{self._prefix}:part:{KEY}"
        for field in ("since", "cut_at"):
            moved = int(str(self._redis.hget(name, field))) - int(seconds * 1_000_000)
            self._redis.hset(name, field, str(moved))

    async def slow_down(self, bucket: Bucket) -> None:
        await self.pacer.cool_down(bucket, SHORT)

    async def gap(self, bucket: Bucket) -> float:
        """Return how far the next slot lies behind one that is taken now, in seconds."""
        for _ in range(3):
            # Of several answers one came soon enough to tell Redis's clock by.
            await self._slot(Bucket(key="another", per_second=900))
        first, second = [await self._slot(bucket) for _ in range(2)]
        return second - first

    async def _slot(self, bucket: Bucket) -> float:
        got = await self.pacer.reserve(bucket)
        assert isinstance(got, Reservation)
        return got.wait + (self.at if got.since is None else got.since)


@pytest.fixture(params=["memory", "redis"])
def slowed(request: pytest.FixtureRequest) -> Iterator[Slowed]:
    if request.param == "memory":
        yield Slowed()
        return
    url, prefix = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_prefix")
    with Redis.from_url(url, decode_responses=True) as redis:
        yield Slowed(redis, url, prefix)


@contextmanager
def running(slowed: Slowed) -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        try:
            yield runner
        finally:
            runner.run(slowed.pacer.aclose())


def near(seconds: float) -> object:
    # What is known of Redis's clock grows better with each answer, by a part of an answer's way.
    return pytest.approx(seconds, rel=0.01, abs=0.005)


def test_after_a_refusal_the_rate_is_cut_and_grows_back_to_the_ceiling(slowed: Slowed) -> None:
    bucket = Bucket(key=KEY, per_second=2)

    async def scenario() -> None:
        assert await slowed.gap(bucket) == near(0.5)
        await slowed.slow_down(bucket)
        slowed.pass_time(2)
        assert await slowed.gap(bucket) == near(0.5 / CUT_FIRST_TO)
        slowed.pass_time(RECOVERS_EVERY_SECONDS)
        assert await slowed.gap(bucket) == near(0.5 / (CUT_FIRST_TO + GAIN))
        slowed.pass_time(1000 * RECOVERS_EVERY_SECONDS)
        assert await slowed.gap(bucket) == near(0.5)

    with running(slowed) as runner:
        runner.run(scenario())


def test_a_rate_that_has_grown_back_is_cut_gently_again_and_one_that_has_not_is_cut_deeper(
    slowed: Slowed,
) -> None:
    bucket = Bucket(key=KEY, per_second=2)

    async def scenario() -> None:
        await slowed.slow_down(bucket)
        slowed.pass_time(4 * RECOVERS_EVERY_SECONDS)
        assert await slowed.gap(bucket) == near(0.5)
        await slowed.slow_down(bucket)
        slowed.pass_time(1.5 * RECOVERS_EVERY_SECONDS)
        assert await slowed.gap(bucket) == near(0.5 / (CUT_FIRST_TO + GAIN))
        await slowed.slow_down(bucket)
        slowed.pass_time(2)
        assert await slowed.gap(bucket) == near(0.5 / ((CUT_FIRST_TO + GAIN) * CUT_TO))

    with running(slowed) as runner:
        runner.run(scenario())


@pytest.mark.parametrize(
    ("per_second", "seconds"), [(1.0, 30.0), (5.0, 20.0), (50.0, 2.0), (100.0, 1.0), (900.0, 1.0)]
)
def test_a_step_back_takes_a_hundred_requests_but_no_less_than_a_second_nor_more_than_thirty(
    per_second: float, seconds: float
) -> None:
    assert Bucket(key=KEY, per_second=per_second).recovers_every == seconds


def test_a_quick_bucket_grows_back_within_seconds(slowed: Slowed) -> None:
    bucket = Bucket(key=KEY, per_second=20)

    async def scenario() -> None:
        await slowed.slow_down(bucket)
        slowed.pass_time(2)
        # Below what any other part of the rate would give, however slow the machine is.
        assert await slowed.gap(bucket) <= 0.05 / CUT_FIRST_TO + 0.0001
        slowed.pass_time(4 * bucket.recovers_every)
        assert await slowed.gap(bucket) <= 0.05 + 0.0001

    with running(slowed) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("after", [0.0, 3.0, 20.0])
def test_one_refusal_in_a_minute_of_fifty_a_second_costs_little_besides_its_pause(after: float) -> None:
    """What the rate itself costs: at 0.7 for minutes it was a quarter of all."""
    slowed, bucket = Slowed(), Bucket(key=KEY, per_second=50)
    begun, pause = slowed.at, 1.0

    async def scenario() -> int:
        granted, refused = 0, False
        while (passed := slowed.at - begun) < 60:
            if passed >= after and not refused:
                refused = True
                await slowed.pacer.cool_down(bucket, pause)
            match await slowed.pacer.reserve(bucket):
                case Reservation():
                    granted += 1
                case Later(wait=wait):
                    slowed.pass_time(max(wait, 0.000_001))
        return granted

    with running(slowed) as runner:
        granted = runner.run(scenario())
    assert granted >= 0.99 * 50 * (60 - pause)


def test_refusals_that_come_together_cut_once_and_later_ones_again(slowed: Slowed) -> None:
    bucket = Bucket(key=KEY, per_second=2)

    async def scenario() -> None:
        for _ in range(20):
            await slowed.slow_down(bucket)
        slowed.pass_time(2)
        assert await slowed.gap(bucket) == near(0.5 / CUT_FIRST_TO)
        slowed.pass_time(CUT_AT_MOST_EVERY_SECONDS)
        await slowed.slow_down(bucket)
        slowed.pass_time(2)
        assert await slowed.gap(bucket) == near(0.5 / (CUT_FIRST_TO * CUT_TO))

    with running(slowed) as runner:
        runner.run(scenario())


@pytest.mark.parametrize(("ceiling", "floor"), [(1.0, 0.5), (0.4, 0.4)])
def test_no_cut_goes_below_the_slowest_rate_or_a_slower_ceiling(
    slowed: Slowed, ceiling: float, floor: float
) -> None:
    bucket = Bucket(key=KEY, per_second=ceiling)

    async def scenario() -> None:
        for _ in range(6):
            await slowed.slow_down(bucket)
            slowed.pass_time(CUT_AT_MOST_EVERY_SECONDS)
        assert await slowed.pacer.reserve(bucket) == Reservation(wait=0)
        second = await slowed.pacer.reserve(bucket)
        wait = second.wait + (2 if isinstance(second, Later) else 0)
        # Redis's clock ran on between the two questions.
        assert wait == pytest.approx(1 / floor, rel=0.05)

    with running(slowed) as runner:
        runner.run(scenario())


def test_a_long_pause_is_not_counted_as_time_without_a_refusal(slowed: Slowed) -> None:
    bucket = Bucket(key=KEY, per_second=2)

    async def scenario() -> None:
        await slowed.pacer.cool_down(bucket, 3600)
        with pytest.raises(CoolingDown):
            await slowed.pacer.reserve(bucket)
        slowed.pass_time(3600)
        assert await slowed.gap(bucket) == near(0.5 / CUT_FIRST_TO)

    with running(slowed) as runner:
        runner.run(scenario())


def test_a_short_pause_within_a_long_one_does_not_count_the_rest_of_it_as_clean(slowed: Slowed) -> None:
    bucket = Bucket(key=KEY, per_second=2)

    async def scenario() -> None:
        await slowed.pacer.cool_down(bucket, 3600)
        await slowed.slow_down(bucket)
        slowed.pass_time(3600)
        assert await slowed.gap(bucket) == near(0.5 / CUT_FIRST_TO)

    with running(slowed) as runner:
        runner.run(scenario())


def test_no_burst_follows_a_pause_in_which_nobody_asked(slowed: Slowed) -> None:
    bucket = Bucket(key=KEY, per_second=2, burst=20)

    async def scenario() -> None:
        await slowed.pacer.cool_down(bucket, 90)
        slowed.pass_time(90)
        # The first slot began with the end of the pause, some of Redis's time ago.
        assert await slowed.gap(bucket) == pytest.approx(0.5 / CUT_FIRST_TO, rel=0.1)

    with running(slowed) as runner:
        runner.run(scenario())


def test_other_buckets_keep_their_pace(slowed: Slowed) -> None:
    async def scenario() -> None:
        await slowed.slow_down(Bucket(key=KEY, per_second=2))
        assert await slowed.gap(Bucket(key="other", per_second=2)) == near(0.5)

    with running(slowed) as runner:
        runner.run(scenario())
