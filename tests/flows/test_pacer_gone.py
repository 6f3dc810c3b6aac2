"""Redis gone means no permit; when it is back, the same process goes on."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.servers.line import laid
from tests.world.world import World
from worker.flows.turn import turn
from worker.model.thread import Kind, ThreadState
from worker.pacing import redis as pacing
from worker.pacing.redis import RedisPacer


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_nothing_is_sent_while_redis_is_gone_and_all_of_it_when_it_is_back(
    world: World, redis_url: str, redis_prefix: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(pacing, "_SOCKET_SECONDS", 1.0)
    world.register(kind=Kind.FILE, age=timedelta(days=1))
    due = [world.register(kind=Kind.FILE) for _ in range(5)]
    world.sweep()

    async def scenario() -> None:
        async with laid(redis_url) as line:
            world.pacer = RedisPacer(line.url, redis_prefix)
            tools = world.tools()
            if how == "refused":
                await line.cut()
            line.silent = how == "silent"
            assert await turn(tools, world.credential) == {"waiting": 5}
            assert not world.sandbox.requests()
            assert {world.item(one).lease_until for one in due} == {None}

            line.silent = False
            if how == "refused":
                await line.connect()
            world.clock.move(timedelta(minutes=1))
            assert await turn(tools, world.credential) == {"done": 5}
            await tools.close()
            await world.pacer.aclose()

    asyncio.run(scenario())
    assert {world.state(one) for one in due} == {ThreadState.DELETED}
