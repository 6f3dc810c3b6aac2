from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from worker.model.clock import monotonic
from worker.pacing.base import Pacer
from worker.pacing.memory import MemoryPacer
from worker.pacing.redis import RedisPacer

Open = Callable[[], AbstractAsyncContextManager[Pacer]]


@pytest.fixture(params=["memory", "redis"])
def open_pacer(request: pytest.FixtureRequest) -> Open:
    """``async with open_pacer() as pacer``: each one is of a process of its own, as far as it can tell."""
    if request.param == "memory":
        shared = MemoryPacer(monotonic)
        make: Callable[[], Pacer] = lambda: shared  # noqa: E731 - the twin of the line below
    else:
        url, prefix = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_prefix")
        make = lambda: RedisPacer(url, prefix)  # noqa: E731

    @asynccontextmanager
    async def opened() -> AsyncIterator[Pacer]:
        pacer = make()
        try:
            yield pacer
        finally:
            await pacer.aclose()

    return opened
