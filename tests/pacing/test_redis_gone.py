"""Without its server the pacer grants nothing; with it back, it goes on by itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from urllib.parse import urlsplit

import pytest
import redis

from tests.servers.line import laid
from tests.servers.valkey import valkey
from worker.pacing import redis as subject
from worker.pacing.base import Bucket, PacerUnavailable, Reservation
from worker.pacing.redis import RedisEvicts, RedisPacer, require_redis

BUCKET = Bucket(key="b", per_second=1000)


@asynccontextmanager
async def _pacer(url: str, prefix: str) -> AsyncIterator[RedisPacer]:
    pacer = RedisPacer(url, prefix)
    try:
        yield pacer
    finally:
        await pacer.aclose()


def test_a_cut_line_gives_no_permit_and_a_mended_one_does(redis_url: str, redis_prefix: str) -> None:
    async def scenario() -> None:
        async with laid(redis_url) as line, _pacer(line.url, redis_prefix) as pacer:
            assert isinstance(await pacer.reserve(BUCKET), Reservation)
            await line.cut()
            for _ in range(3):
                with pytest.raises(PacerUnavailable, match="nothing is sent"):
                    await pacer.reserve(BUCKET)
                with pytest.raises(PacerUnavailable):
                    await pacer.cool_down(BUCKET, 5)
            await line.connect()
            assert isinstance(await pacer.reserve(BUCKET), Reservation)

    asyncio.run(scenario())


def test_a_server_that_falls_silent_gives_no_permit(
    redis_url: str, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_SOCKET_SECONDS", 0.2)

    async def scenario() -> None:
        async with laid(redis_url) as line, _pacer(line.url, redis_prefix) as pacer:
            assert isinstance(await pacer.reserve(BUCKET), Reservation)
            line.silent = True
            with pytest.raises(PacerUnavailable):
                await pacer.reserve(BUCKET)
            line.silent = False
            assert isinstance(await pacer.reserve(BUCKET), Reservation)

    asyncio.run(scenario())


def test_a_restarted_server_that_knows_neither_script_nor_keys_is_used_again() -> None:
    async def scenario(first: str, second: str) -> None:
        async with laid(first) as line, _pacer(line.url, "p:") as pacer:
            assert isinstance(await pacer.reserve(BUCKET), Reservation)
            await line.cut()
            with redis.Redis.from_url(second) as other:
                other.config_set("requirepass", urlsplit(first).password or "")
            line.target = urlsplit(first)._replace(netloc=urlsplit(second).netloc)
            await line.connect()
            assert isinstance(await pacer.reserve(BUCKET), Reservation)

    with valkey() as first, valkey() as second:
        asyncio.run(scenario(first, second))


def test_a_server_that_may_not_be_written_gives_no_permit() -> None:
    async def scenario(url: str) -> None:
        async with _pacer(url, "p:") as pacer:
            with redis.Redis.from_url(url) as server:
                server.config_set("maxmemory", 1)
                server.config_set("maxmemory-policy", "noeviction")
            with pytest.raises(PacerUnavailable):
                await pacer.reserve(BUCKET)

    with valkey() as url:
        asyncio.run(scenario(url))


def test_no_server_at_all_gives_no_permit() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"

    async def scenario() -> None:
        async with _pacer(url, "p:") as pacer:
            with pytest.raises(PacerUnavailable, match="TENURE_REDIS_URL"):
                await pacer.reserve(BUCKET)

    asyncio.run(scenario())


def test_a_cancelled_question_does_not_confuse_the_next_answer(redis_url: str, redis_prefix: str) -> None:
    slow = Bucket(key="slow", per_second=1)

    async def scenario() -> None:
        async with laid(redis_url) as line, _pacer(line.url, redis_prefix) as pacer:
            assert await pacer.reserve(BUCKET) is not None
            line.silent = True
            asked = asyncio.create_task(pacer.reserve(slow))
            await asyncio.wait({asked}, timeout=0.05)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            line.silent = False
            assert await pacer.reserve(Bucket(key="fresh", per_second=1)) == Reservation(wait=0)

    asyncio.run(scenario())


def test_keys_carry_the_prefix_and_go_away_by_themselves(redis_url: str, redis_prefix: str) -> None:
    async def scenario() -> None:
        async with _pacer(redis_url, redis_prefix) as pacer:
            await pacer.reserve(Bucket(key="b", per_second=0.5, burst=2))
            await pacer.cool_down(Bucket(key="b", per_second=0.5), 30)

    asyncio.run(scenario())
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        assert set(server.scan_iter(match=f"{redis_prefix}*")) == {
            f"{redis_prefix}:tat:b",
            f"{redis_prefix}:cd:b",
            f"{redis_prefix}:part:b",
        }
        # Whole microseconds: a rounded one would let the limit drift.
        assert all(str(server.get(f"{redis_prefix}:{key}:b")).isdigit() for key in ("tat", "cd"))
        dates = server.hmget(f"{redis_prefix}:part:b", "since", "cut_at", "paused_from", "paused_to")
        assert all(str(one).isdigit() for one in dates)
        # The first slot after the pause is remembered as long as the pause itself.
        assert 25_000 < server.pttl(f"{redis_prefix}:tat:b") <= 30_001
        assert 25_000 < server.pttl(f"{redis_prefix}:cd:b") <= 30_001
        # The pause, and then the time in which it grows back from nothing.
        assert 1_525_000 < server.pttl(f"{redis_prefix}:part:b") <= 1_530_001


def test_a_server_clock_that_was_set_back_stops_nothing_for_long(redis_url: str, redis_prefix: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        server.set(f"{redis_prefix}:tat:b", 10**16)

    async def scenario() -> None:
        async with _pacer(redis_url, redis_prefix) as pacer:
            got = await pacer.reserve(Bucket(key="b", per_second=10))
            assert got.wait <= 2.1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("maxmemory", "policy", "refused"),
    [
        (0, "allkeys-lru", False),
        (100_000_000, "noeviction", False),
        (100_000_000, "allkeys-lru", True),
        (100_000_000, "volatile-ttl", True),
    ],
)
def test_a_server_that_may_throw_limits_away_is_refused_at_the_start(
    maxmemory: int, policy: str, refused: bool
) -> None:
    with valkey() as url:
        with redis.Redis.from_url(url) as server:
            server.config_set("maxmemory", maxmemory)
            server.config_set("maxmemory-policy", policy)
        with pytest.raises(RedisEvicts, match=policy) if refused else nullcontext():
            require_redis(url)
