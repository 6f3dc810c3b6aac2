"""The two pacers are one algorithm: step by step, over any sequence, each answers what the other does."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pacing.by_hand import MICROS, DrivenRedisPacer, HandClock
from worker.model.ids import random_token
from worker.pacing.base import HORIZON_SECONDS, Bucket, CoolingDown, Pacer, Reservation
from worker.pacing.memory import MemoryPacer

Step = tuple[str, float]
Answer = tuple[str, float]


async def _do(pacer: Pacer, bucket: Bucket, step: Step) -> Answer:
    what, seconds = step
    if what == "cool":
        await pacer.cool_down(bucket, seconds)
        return "cooled", 0
    if what == "look":
        return "pause", await pacer.pause(bucket)
    try:
        got = await pacer.reserve(bucket)
    except CoolingDown as e:
        return "cooling", e.seconds
    return ("slot" if isinstance(got, Reservation) else "later"), got.wait


# Every border of the algorithm is among these: the horizon, the longest wait, the times of cuts and growth.
_SECONDS = st.sampled_from([0.0, 0.001, 0.2, 1.0, 2.0, 2.5, 9.0, 10.0, 11.0, 30.0, 61.0, 400.0, 5000.0])
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "move", "move", "back", "cool", "cool", "look"]),
        st.one_of(_SECONDS, st.floats(0, 40)),
    ),
    min_size=6,
    max_size=60,
)
_BUCKETS = st.builds(
    Bucket, key=st.just("b"), per_second=st.floats(min_value=0.05, max_value=900), burst=st.integers(1, 30)
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_BUCKETS, second=_BUCKETS, steps=_STEPS)
def test_any_sequence_of_asking_pausing_and_waiting_has_the_same_answers_whatever_the_clock_does(
    redis_url: str, redis_prefix: str, first: Bucket, second: Bucket, steps: list[Step]
) -> None:
    """Half way through, the bucket is given another rate, as an edited Project does."""

    async def scenario() -> None:
        clock = HandClock()
        memory = MemoryPacer(clock.seconds)
        server = DrivenRedisPacer(redis_url, f"{redis_prefix}:{random_token(12)}", clock)
        try:
            for number, step in enumerate(steps):
                if step[0] in {"move", "back"}:
                    clock.move(step[1] if step[0] == "move" else -step[1])
                    continue
                bucket = first if number * 2 < len(steps) else second
                told = [await _do(one, bucket, step) for one in (memory, server)]
                assert told[0][0] == told[1][0], (number, step, told)
                # Seconds are floats in one of them, so a microsecond may be rounded the other way.
                assert told[0][1] == pytest.approx(told[1][1], abs=3e-6), (number, step, told)
        finally:
            await server.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_server_clock_that_steps_neither_stops_the_bucket_nor_opens_it(
    redis_url: str, redis_prefix: str, seconds: float
) -> None:
    """After a failover another server's TIME counts: an hour back, or an hour ahead."""
    bucket = Bucket(key="b", per_second=10, burst=3)

    async def scenario() -> None:
        clock = HandClock()
        server = DrivenRedisPacer(redis_url, redis_prefix, clock)
        try:
            before = [await server.reserve(bucket) for _ in range(10)]
            clock.move(seconds)
            after: list[Reservation] = []
            while len(after) < 40:
                got = await server.reserve(bucket)
                if isinstance(got, Reservation):
                    after.append(got)
                else:
                    assert got.wait <= 0.2
                    clock.move(got.wait)
            assert all(isinstance(one, Reservation) for one in before)
            # What came after the step kept the limit as if nothing had been before it.
            passed = (clock.micros - 1_700_000_000 * MICROS) / MICROS - seconds
            assert len(after) <= 3 + 10 * (passed + 2.2)
        finally:
            await server.aclose()

    asyncio.run(scenario())


def test_a_server_that_forgot_everything_lets_at_most_what_was_reserved_leave_besides() -> None:
    """What a restart of Redis costs: the slots that were given out, two seconds of them and a burst."""
    bucket = Bucket(key="b", per_second=10, burst=3)

    async def scenario() -> None:
        clock = HandClock()
        granted: list[float] = []
        for pacer in (MemoryPacer(clock.seconds), MemoryPacer(clock.seconds)):
            while isinstance(got := await pacer.reserve(bucket), Reservation):
                granted.append(got.wait)
        assert len(granted) <= 2 * (bucket.burst + bucket.per_second * HORIZON_SECONDS)
        assert max(granted) <= HORIZON_SECONDS

    asyncio.run(scenario())
