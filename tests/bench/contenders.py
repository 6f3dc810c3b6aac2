"""Who deletes, each in a process of its own: `python -m tests.bench.contenders ORDER` with the order as JSON.

Tenure's worker, and what somebody would write instead. The verified ones read, delete and read each thread;
the others only delete, take a 404 for done, and leave what fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, OpenAI
from sqlalchemy import func, select

from tests.bench.measure import own_cost
from worker.flows.claim import anything_ready
from worker.flows.turn import turn
from worker.jobs.process import Process
from worker.model.work import OPEN_ITEM_STATES
from worker.providers.transport import make_http_client
from worker.settings import load_settings
from worker.store.tables import work_item
from worker.telemetry import set_up_logging
from worker.wiring import wire

CRON_BATCH = 100
_IDLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who deletes what: ``ids`` is a file of ids.

    Loops that verify have ``at_once`` threads under way, Tenure so many ``drains`` for ``longest`` seconds.
    """

    name: str
    base_url: str
    key: str
    ids: str
    at_once: int = 64
    drains: int = 2
    longest: float = 600.0

    @property
    def threads(self) -> list[str]:
        """The ids."""
        return list(json.loads(Path(self.ids).read_text()))


def bare(order: Order) -> list[str]:
    """Read, delete and read with one AsyncOpenAI on Tenure's own transport, many threads at once."""

    async def one(client: AsyncOpenAI, thread_id: str) -> bool:
        await client.beta.threads.retrieve(thread_id)
        deleted = await client.beta.threads.delete(thread_id)
        try:
            await client.beta.threads.retrieve(thread_id)
        except openai.NotFoundError:
            return deleted.deleted
        return False

    return asyncio.run(_on_tenures_transport(order, one))


def bare_raw(order: Order) -> list[str]:
    """The same without the SDK's models: its answers are left as they came."""

    async def one(client: AsyncOpenAI, thread_id: str) -> bool:
        path = f"/threads/{thread_id}"
        await client.get(path, cast_to=httpx2.Response)
        deleted = await client.delete(path, cast_to=httpx2.Response)
        try:
            await client.get(path, cast_to=httpx2.Response)
        except openai.NotFoundError:
            return bool(deleted.json()["deleted"])
        return False

    return asyncio.run(_on_tenures_transport(order, one))


async def _on_tenures_transport(
    order: Order, one: Callable[[AsyncOpenAI, str], Awaitable[bool]]
) -> list[str]:
    left, done = iter(order.threads), list[str]()
    async with AsyncOpenAI(
        base_url=order.base_url, api_key=order.key, http_client=make_http_client(), max_retries=0
    ) as client:

        async def work() -> None:
            for thread_id in left:
                if await one(client, thread_id):
                    done.append(thread_id)

        await asyncio.gather(*(work() for _ in range(order.at_once)))
    return done


def sequential(order: Order) -> list[str]:
    """Read, delete and read, one thread after the other."""
    done = []
    with OpenAI(base_url=order.base_url, api_key=order.key) as client:
        for thread_id in order.threads:
            client.beta.threads.retrieve(thread_id)
            deleted = client.beta.threads.delete(thread_id)
            try:
                client.beta.threads.retrieve(thread_id)
            except openai.NotFoundError:
                done += [thread_id] if deleted.deleted else []
    return done


def naive(order: Order) -> list[str]:
    """Delete one after the other with the SDK's defaults; a 404 is done, any other error is left behind."""
    with OpenAI(base_url=order.base_url, api_key=order.key) as client:
        return [one for one in order.threads if _delete(client, one)]


def _delete(client: OpenAI, thread_id: str) -> bool:
    try:
        return client.beta.threads.delete(thread_id).deleted
    except openai.NotFoundError:
        return True
    except openai.OpenAIError:
        return False


def gather(order: Order) -> list[str]:
    """Delete everything at once with asyncio.gather and the SDK's defaults; a 404 is done."""

    async def main() -> list[str]:
        ids = order.threads
        async with AsyncOpenAI(base_url=order.base_url, api_key=order.key) as client:
            told = await asyncio.gather(
                *(client.beta.threads.delete(one) for one in ids), return_exceptions=True
            )
        return [one for one, end in zip(ids, told, strict=True) if _is_done(end)]

    return asyncio.run(main())


def _is_done(end: Any) -> bool:
    return isinstance(end, openai.NotFoundError) or (not isinstance(end, BaseException) and end.deleted)


def cron(order: Order) -> list[str]:
    """One hour's batch: the first 100 rows, one after the other, forgotten only if the whole batch went."""
    first = order.threads[:CRON_BATCH]
    with OpenAI(base_url=order.base_url, api_key=order.key) as client:
        return [one for one in first if _delete(client, one)]


def tenure(order: Order) -> list[str]:
    """Tenure's drains in one process, until nothing is open: claim to settle, as `tenure.drain` does it."""
    _drain(order, order.drains)
    return []  # what it calls deleted stands in its database


def pool(order: Order) -> list[str]:
    """The same with a process for each drain, as a worker's pool has them: forked before anything is made."""
    children = [_forked(lambda: _drain(order, 1)) for _ in range(order.drains - 1)]
    _drain(order, 1)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0, "a process of the pool failed"
    return []


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:  # noqa: BLE001 - the parent hears of it by the exit code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _drain(order: Order, drains: int) -> None:
    process = Process(wire(load_settings(), role="worker"))
    give_up = time.monotonic() + order.longest

    def work() -> None:
        while time.monotonic() < give_up and _open_items(process):
            ready = anything_ready(process.tenure.database, process.tenure.clock)
            for credential in ready:
                with process.place_of(credential) as entered:
                    if entered:
                        process.run(turn(process.tools, credential))
            if not ready:
                time.sleep(_IDLE_SECONDS)

    threads = [threading.Thread(target=work) for _ in range(drains)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    process.close()


def _open_items(process: Process) -> int:
    with process.tenure.database.read() as db:
        wanted = select(func.count()).where(work_item.c.state.in_(OPEN_ITEM_STATES))
        return int(db.execute(wanted).scalar_one())


CONTENDERS: Mapping[str, Callable[[Order], list[str]]] = {
    "bare": bare,
    "bare_raw": bare_raw,
    "sequential": sequential,
    "naive": naive,
    "gather": gather,
    "cron": cron,
    "tenure": tenure,
    "pool": pool,
}


def warm_up() -> None:
    """Do what a process does once: the SDK is imported as it is used, and a TLS context takes 70 ms."""
    import_module("worker.providers.openai")
    with OpenAI(api_key="none") as client:
        assert client.beta.threads is not None
    make_http_client()


def main(order: Order) -> dict[str, Any]:
    """Run one contender against the clock."""
    # The SDK calls threads deprecated at each use; that is no part of what is measured.
    warnings.simplefilter("ignore", DeprecationWarning)
    set_up_logging("json", "info")
    warm_up()
    with own_cost() as cost:
        done = CONTENDERS[order.name](order)
    return {**asdict(cost[0]), "claimed": done}


if __name__ == "__main__":
    print(json.dumps(main(Order(**json.loads(sys.argv[1])))))
