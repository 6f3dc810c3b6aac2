"""The algorithm itself, on a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from worker.pacing.base import LONGEST_WAIT_SECONDS, Bucket, CoolingDown, Later, Reservation
from worker.pacing.memory import MemoryPacer


class StoppedClock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def test_a_burst_is_saved_up_by_waiting_and_no_more_than_it() -> None:
    clock = StoppedClock()
    pacer = MemoryPacer(clock)
    bucket = Bucket(key="b", per_second=2, burst=3)

    async def scenario() -> None:
        for _ in range(2):
            waits = [await pacer.reserve(bucket) for _ in range(5)]
            assert waits == [Reservation(wait=one) for one in (0, 0, 0, 0.5, 1.0)]
            clock.at += 3600

    asyncio.run(scenario())


def test_time_that_passes_makes_a_refused_slot_available() -> None:
    clock = StoppedClock()
    pacer = MemoryPacer(clock)
    bucket = Bucket(key="b", per_second=0.1)

    async def scenario() -> None:
        assert await pacer.reserve(bucket) == Reservation(wait=0)
        assert await pacer.reserve(bucket) == Later(wait=8)
        clock.at += 8
        assert await pacer.reserve(bucket) == Reservation(wait=2)

    asyncio.run(scenario())


def test_after_a_pause_work_goes_on() -> None:
    clock = StoppedClock()
    pacer = MemoryPacer(clock)
    bucket = Bucket(key="b", per_second=4, burst=4)

    async def scenario() -> None:
        await pacer.cool_down(bucket, 9)
        assert await pacer.reserve(bucket) == Later(wait=7)
        clock.at += 10
        assert [await pacer.reserve(bucket) for _ in range(2)] == [Reservation(wait=0), Reservation(wait=0)]

    asyncio.run(scenario())


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "pause"]),
        st.floats(min_value=0, max_value=20, allow_nan=False),
    ),
    max_size=80,
)


@given(
    per_second=st.floats(min_value=0.2, max_value=500),
    burst=st.integers(min_value=1, max_value=20),
    steps=_STEPS,
)
def test_whatever_happens_no_stretch_holds_more_than_burst_and_rate(
    per_second: float, burst: int, steps: list[tuple[str, float]]
) -> None:
    clock = StoppedClock()
    pacer = MemoryPacer(clock)
    bucket = Bucket(key="b", per_second=per_second, burst=burst)
    slots: list[float] = []
    paused_until = 0.0

    async def scenario() -> None:
        nonlocal paused_until
        for what, seconds in steps:
            clock.at += seconds / per_second
            if what == "pause":
                paused_until = max(paused_until, clock.at + seconds * 4)
                await pacer.cool_down(bucket, seconds * 4)
                continue
            try:
                got = await pacer.reserve(bucket)
            except CoolingDown:
                assert paused_until - clock.at > LONGEST_WAIT_SECONDS
                continue
            if isinstance(got, Reservation):
                slots.append(clock.at + got.wait)
                assert slots[-1] >= paused_until - 1e-4

    asyncio.run(scenario())
    assert slots == sorted(slots)
    for i, first in enumerate(slots):
        for j in range(i, len(slots)):
            assert j - i + 1 <= burst + per_second * (slots[j] - first) + 1e-3
