"""A clock that is set back: no pause grows longer than was asked for, and no slower rate stays slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from tests.pacing.by_hand import MICROS, DrivenRedisPacer, HandClock
from worker.model.ids import random_token
from worker.pacing.base import (
    CUT_AT_MOST_EVERY_SECONDS,
    CUT_FIRST_TO,
    CUT_TO,
    GAIN,
    HORIZON_SECONDS,
    LONGEST_COOLDOWN_SECONDS,
    LONGEST_WAIT_SECONDS,
    RECOVERS_EVERY_SECONDS,
    Bucket,
    CoolingDown,
    Later,
    Pacer,
    Reservation,
)
from worker.pacing.memory import MemoryPacer
from worker.pacing.redis import RedisPacer

HOUR, MONTH = 3600.0, 30 * 86_400.0
BUCKET = Bucket(key="b", per_second=2)
Make = Callable[[HandClock], Pacer]


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Return what makes a pacer that knows nothing yet and goes by a clock."""
    if request.param == "memory":
        return lambda clock: MemoryPacer(clock.seconds)
    url, prefix = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_prefix")
    return lambda clock: DrivenRedisPacer(url, f"{prefix}:{random_token(12)}", clock)


@contextmanager
def running(pacer: Pacer) -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        try:
            yield runner
        finally:
            runner.run(pacer.aclose())


async def told(pacer: Pacer, what: str) -> float:
    """Return how long nobody may send, as a look or a question for a slot tells it."""
    if what == "look":
        return await pacer.pause(BUCKET)
    try:
        got = await pacer.reserve(BUCKET)
    except CoolingDown as e:
        return e.seconds
    return got.wait + (HORIZON_SECONDS if isinstance(got, Later) else 0)


async def gap(pacer: Pacer, clock: HandClock) -> float:
    """Return how far two slots lie apart, once a step of the clock is known and holds nothing up any more."""
    while isinstance(held_up := await pacer.reserve(BUCKET), Later):
        assert held_up.wait <= HORIZON_SECONDS
        clock.move(held_up.wait)
    clock.move(2 * HORIZON_SECONDS)
    first, second = [await pacer.reserve(BUCKET) for _ in range(2)]
    assert isinstance(first, Reservation)
    assert isinstance(second, Reservation)
    return second.wait - first.wait


@pytest.mark.parametrize("what", ["look", "take"])
@pytest.mark.parametrize("step", [HOUR, MONTH])
@pytest.mark.parametrize("asked", [30.0, LONGEST_COOLDOWN_SECONDS])
def test_a_pause_is_no_longer_than_was_asked_for_whatever_the_clock_is_set_back_by(
    make: Make, asked: float, step: float, what: str
) -> None:
    clock = HandClock()
    pacer = make(clock)

    async def scenario() -> None:
        await pacer.cool_down(BUCKET, asked)
        clock.move(5 - step)
        assert asked - 5 <= await told(pacer, what) <= asked
        # It goes by from then on, and is not begun anew by whoever comes next.
        clock.move(asked - 15)
        assert await told(pacer, "take") == pytest.approx(15, abs=5)
        clock.move(15)
        assert await pacer.pause(BUCKET) == 0
        assert isinstance(await pacer.reserve(BUCKET), Reservation | Later)

    with running(pacer) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("step", [HOUR, MONTH])
def test_after_a_pause_of_a_second_a_clock_set_back_sends_nobody_home(make: Make, step: float) -> None:
    clock = HandClock()
    pacer = make(clock)

    async def scenario() -> None:
        await pacer.cool_down(BUCKET, 1.0)
        clock.move(-step)
        assert await pacer.pause(BUCKET) == 1.0
        # What was reserved before the step may hold up as much as was reserved ahead at most.
        most = HORIZON_SECONDS + 1 / (BUCKET.per_second * CUT_FIRST_TO)
        assert await told(pacer, "take") <= most + 1e-5
        clock.move(1.0)
        assert await pacer.pause(BUCKET) == 0
        assert await told(pacer, "take") <= most + 1e-5
        clock.move(1.0)
        assert isinstance(await pacer.reserve(BUCKET), Reservation)

    with running(pacer) as runner:
        runner.run(scenario())


def test_a_shorter_pause_is_the_first_to_hear_of_it_and_the_longer_one_stays_as_long_as_it_was(
    make: Make,
) -> None:
    clock = HandClock()
    pacer = make(clock)

    async def scenario() -> None:
        await pacer.cool_down(BUCKET, 60)
        clock.move(-HOUR)
        await pacer.cool_down(BUCKET, 1)
        assert await pacer.pause(BUCKET) == 60
        clock.move(-HOUR)
        await pacer.cool_down(BUCKET, 90)
        assert await pacer.pause(BUCKET) == 90

    with running(pacer) as runner:
        runner.run(scenario())


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "look", "cool", "move", "back", "back"]),
        st.one_of(st.sampled_from([0.0, 1.0, 61.0, HOUR, MONTH]), st.floats(0, 100)),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_however_often_the_clock_is_set_nobody_is_told_more_than_the_longest_pause_that_was_asked_for(
    make: Make, steps: list[tuple[str, float]]
) -> None:
    clock = HandClock()
    pacer = make(clock)
    longest = 0.0

    async def scenario() -> None:
        nonlocal longest
        for what, seconds in steps:
            if what == "cool":
                longest = max(longest, min(seconds, LONGEST_COOLDOWN_SECONDS))
                await pacer.cool_down(BUCKET, seconds)
            elif what in {"move", "back"}:
                clock.move(seconds if what == "move" else -seconds)
            else:
                most = longest if what == "look" else max(longest, LONGEST_WAIT_SECONDS)
                assert await told(pacer, what) <= most + 1e-5
        await pacer.pause(BUCKET)
        clock.move(longest + 0.001)
        assert await pacer.pause(BUCKET) == 0

    with running(pacer) as runner:
        runner.run(scenario())


def test_a_rate_that_was_cut_grows_back_from_the_step_on(make: Make) -> None:
    clock = HandClock()
    pacer = make(clock)

    async def scenario() -> None:
        await pacer.cool_down(BUCKET, 0.000_001)
        clock.move(-HOUR)
        assert await gap(pacer, clock) == pytest.approx(0.5 / CUT_FIRST_TO, abs=1e-5)
        clock.move(RECOVERS_EVERY_SECONDS)
        assert await gap(pacer, clock) == pytest.approx(0.5 / (CUT_FIRST_TO + GAIN), abs=1e-5)
        clock.move(2 * RECOVERS_EVERY_SECONDS)
        assert await gap(pacer, clock) == pytest.approx(0.5, abs=1e-5)

    with running(pacer) as runner:
        runner.run(scenario())


def test_a_pause_that_is_dated_anew_is_still_not_counted_as_time_without_a_refusal(make: Make) -> None:
    clock = HandClock()
    pacer = make(clock)

    async def scenario() -> None:
        await pacer.cool_down(BUCKET, 10 * RECOVERS_EVERY_SECONDS)
        clock.move(-HOUR)
        assert await pacer.pause(BUCKET) == 10 * RECOVERS_EVERY_SECONDS
        with pytest.raises(CoolingDown):
            await pacer.reserve(BUCKET)
        clock.move(10 * RECOVERS_EVERY_SECONDS)
        assert await gap(pacer, clock) == pytest.approx(0.5 / CUT_FIRST_TO, abs=1e-5)

    with running(pacer) as runner:
        runner.run(scenario())


def test_a_refusal_after_the_step_cuts_the_rate_again(make: Make) -> None:
    clock = HandClock()
    pacer = make(clock)

    async def scenario() -> None:
        await pacer.cool_down(BUCKET, 0.000_001)
        clock.move(-HOUR)
        await pacer.cool_down(BUCKET, 0.000_001)
        assert await gap(pacer, clock) == pytest.approx(0.5 / (CUT_FIRST_TO * CUT_TO), abs=1e-5)

    with running(pacer) as runner:
        runner.run(scenario())


def test_what_was_gained_since_the_last_cut_stays_with_a_refusal_that_cuts_nothing(make: Make) -> None:
    quick = Bucket(key="b", per_second=200)
    clock = HandClock()
    pacer = make(clock)

    async def scenario() -> None:
        await pacer.cool_down(quick, 0.2)
        clock.move(CUT_AT_MOST_EVERY_SECONDS - 1)
        await pacer.cool_down(quick, 0.2)
        clock.move(0.5)
        first, second = [await pacer.reserve(quick) for _ in range(2)]
        assert second.wait - first.wait == pytest.approx(1 / 200, abs=1e-5)

    with running(pacer) as runner:
        runner.run(scenario())


def test_a_clock_that_is_set_ahead_ends_a_pause_early_and_lets_no_crowd_out(make: Make) -> None:
    bucket = Bucket(key="b", per_second=2, burst=5)
    clock = HandClock()
    pacer = make(clock)

    async def scenario() -> None:
        await pacer.cool_down(bucket, 30)
        clock.move(HOUR)
        assert await pacer.pause(bucket) == 0
        slots = [await pacer.reserve(bucket) for _ in range(20)]
        begun = [one.wait for one in slots if isinstance(one, Reservation)]
        assert sum(wait == 0 for wait in begun) <= bucket.burst
        assert len(begun) <= bucket.burst + bucket.per_second * HORIZON_SECONDS
        # And set right again, the pause has its own time, or its own length where it begins ahead.
        clock.move(10 - HOUR)
        assert await pacer.pause(bucket) == 20
        clock.move(-20)
        assert await pacer.pause(bucket) == 30

    with running(pacer) as runner:
        runner.run(scenario())


class Former:
    """What a process of the former release keeps of a pause: its end, and no word of its beginning."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.redis, self.prefix = redis, prefix

    def cooled_down(self, now: int, seconds: float, *, cut_at: int) -> None:
        until = now + round(seconds * MICROS)
        self.redis.set(f"{self.prefix}:cd:b", until)
        self.redis.set(f"{self.prefix}:tat:b", until)
        kept: list[str | int] = ["part", "0.95", "since", until, "cut_at", cut_at]
        self.redis.hset(f"{self.prefix}:part:b", items=kept)


@pytest.fixture
def former(redis_url: str, redis_prefix: str) -> Iterator[Former]:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield Former(redis, redis_prefix)


@pytest.mark.parametrize("what", ["look", "take"])
@pytest.mark.parametrize("step", [0.0, HOUR, MONTH])
@pytest.mark.parametrize("known", [False, True])
def test_a_pause_of_the_former_release_lasts_ten_seconds_more_than_asked_for_at_most(
    redis_url: str, former: Former, step: float, what: str, known: bool
) -> None:
    """``known``: a process of this release kept another pause before, whose beginning still stands."""
    clock = HandClock()
    pacer = DrivenRedisPacer(redis_url, former.prefix, clock)

    async def scenario() -> None:
        if known:
            await pacer.cool_down(BUCKET, 300)
            clock.move(HOUR)
        former.cooled_down(clock.micros, 40, cut_at=clock.micros - 8 * MICROS)
        clock.move(-step)
        assert 40 <= await told(pacer, what) <= 40 + CUT_AT_MOST_EVERY_SECONDS
        clock.move(40)
        assert await told(pacer, what) <= CUT_AT_MOST_EVERY_SECONDS
        clock.move(CUT_AT_MOST_EVERY_SECONDS)
        assert await pacer.pause(BUCKET) == 0
        assert isinstance(await pacer.reserve(BUCKET), Reservation | Later)

    with running(pacer) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("what", ["look", "take"])
def test_a_pause_of_which_nothing_but_its_end_is_kept_lasts_a_day_at_most(
    redis_url: str, former: Former, what: str
) -> None:
    clock = HandClock()
    pacer = DrivenRedisPacer(redis_url, former.prefix, clock)
    former.redis.set(f"{former.prefix}:cd:b", clock.micros + round(MONTH * MICROS))

    async def scenario() -> None:
        assert await told(pacer, what) == LONGEST_COOLDOWN_SECONDS
        clock.move(HOUR)
        assert await told(pacer, what) == LONGEST_COOLDOWN_SECONDS - HOUR

    with running(pacer) as runner:
        runner.run(scenario())


def test_what_is_dated_anew_is_whole_microseconds_and_goes_away_by_itself(
    redis_url: str, former: Former
) -> None:
    """On the server's own clock: what it kept is moved ahead, as if the clock had been set back since."""
    pacer = RedisPacer(redis_url, former.prefix)
    pause, part = f"{former.prefix}:cd:b", f"{former.prefix}:part:b"
    ahead = round(MONTH * MICROS)

    async def scenario() -> None:
        await pacer.cool_down(BUCKET, 30)
        former.redis.incrby(pause, ahead)
        for field in ("paused_from", "paused_to", "since", "cut_at"):
            former.redis.hincrby(part, field, ahead)
        former.redis.persist(pause)
        former.redis.persist(part)
        with pytest.raises(CoolingDown) as raised:
            await pacer.reserve(BUCKET)
        assert 20 < raised.value.seconds <= 30

    with running(pacer) as runner:
        runner.run(scenario())
    seconds, micros = former.redis.time()
    now = seconds * MICROS + micros
    kept = [str(former.redis.get(pause)), *map(str, former.redis.hmget(part, "paused_from", "paused_to"))]
    assert all(one.isdigit() for one in kept)
    assert kept[0] == kept[2]
    assert int(kept[1]) <= now < int(kept[0]) <= now + 30 * MICROS
    assert int(str(former.redis.hget(part, "since"))) <= now + 30 * MICROS
    assert 20_000 < former.redis.pttl(pause) <= 30_001
    # The pause, and then the time in which it grows back from nothing.
    assert 1_520_000 < former.redis.pttl(part) <= 1_530_001
