"""The plainest way to keep a rate: one process, one loop, one request whenever its time has come.

It deletes nothing and proves nothing. What it misses of the rate, and how its requests bunch up, is the
machine's doing, and stands beside what Tenure's workers do. `python -m tests.bench.ideal JSON`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

import aiohttp

from tests.bench.measure import own_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Ideal:
    """So many requests at so many a second."""

    base_url: str
    path: str
    per_second: float
    requests: int


async def send(task: Ideal) -> None:
    headers = {"Authorization": "Bearer key-of-ideal"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as group:
        begun = time.monotonic()
        for number in range(task.requests):
            await asyncio.sleep(begun + number / task.per_second - time.monotonic())
            group.create_task(_get(session, task.base_url + task.path))


async def _get(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url) as answer:
        await answer.read()


if __name__ == "__main__":
    with own_cost() as told:
        asyncio.run(send(Ideal(**json.loads(sys.argv[1]))))
    print(json.dumps(asdict(told[0])))
