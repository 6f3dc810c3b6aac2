"""Several processes on one bucket: each gets its part, and together they get all of it and no more."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from datetime import UTC, datetime
from itertools import count

import pytest

from worker.pacing.base import HORIZON_SECONDS, Bucket
from worker.pacing.lane import Lane
from worker.pacing.memory import MemoryPacer
from worker.pacing.waiters import Rank

START = 1000.0
# So often every task that can go on has done so.
STEPS = 40


class VirtualTime:
    """Goes on to the next sleeper's instant when nobody has anything to do at this one."""

    def __init__(self) -> None:
        self.at = START
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.at + max(0.0, seconds), next(self._numbers), woken))
        await woken

    async def run(self, until: float) -> None:
        while self.at < until:
            for _ in range(STEPS):
                await asyncio.sleep(0)
            self.at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


@pytest.mark.parametrize(("per_second", "burst"), [(50.0, 1), (50.0, 5), (5.0, 1)])
@pytest.mark.parametrize("crowds", [(1, 1, 1, 1), (1, 30, 3, 9)])
def test_processes_share_all_of_a_bucket_and_none_is_kept_out(
    per_second: float, burst: int, crowds: tuple[int, ...]
) -> None:
    """However many the others have waiting, nobody waits longer for a slot than the two seconds ahead."""
    seconds = 40.0
    served: Counter[int] = Counter()

    async def scenario() -> None:
        time = VirtualTime()
        pacer = MemoryPacer(time.monotonic)
        bucket = Bucket(key="b", per_second=per_second, burst=burst)

        async def wants(process: int, lane: Lane) -> None:
            while True:
                slot = await lane.permit(Rank.DELETE, 0)
                served[process] += 1
                # The request itself takes no time here; what is asked for next is.
                assert slot.at <= time.at

        tasks = []
        for process, crowd in enumerate(crowds):
            lane = Lane(pacer, bucket, time, sleep=time.sleep)
            tasks += [asyncio.create_task(wants(process, lane)) for _ in range(crowd)]
        await time.run(START + seconds)
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())
    total = per_second * seconds
    assert total * 0.95 <= served.total() <= total + burst + 1
    if len(set(crowds)) == 1:
        assert max(served.values()) - min(served.values()) <= 1
    assert min(served[process] for process in range(len(crowds))) >= seconds / (HORIZON_SECONDS + 0.25)
