"""Ending a worker in the middle of its work, at a point that a scenario names."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta

from tests.world.stepping import Passing
from tests.world.world import World
from worker.flows.drain import drain
from worker.model.clock import SystemClock
from worker.model.evidence import Observation, Step
from worker.model.thread import Kind
from worker.providers.base import Provider

PATIENCE = 10.0


class Gate(Passing):
    """Stands still where told until it is opened. Threads may look at ``reached`` and ``open`` it."""

    def __init__(
        self,
        inner: Provider,
        *,
        before_delete: bool = False,
        after_delete: bool = False,
        at_after: bool = False,
    ) -> None:
        super().__init__(inner)
        self.points = (before_delete, after_delete, at_after)
        self.reached = threading.Event()
        self.opened = threading.Event()

    def open(self) -> None:
        self.opened.set()

    async def delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation:
        before, after, _ = self.points
        await self._stand(before)
        answer = await self.inner.delete(kind, external_id, timeout=timeout)
        await self._stand(after)
        return answer

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        await self._stand(self.points[2] and step is Step.AFTER)
        return await self.inner.read(kind, external_id, step=step, timeout=timeout)

    async def _stand(self, here: bool) -> None:
        if here and not self.opened.is_set():
            self.reached.set()
            while not self.opened.is_set():  # noqa: ASYNC110 - another thread opens it
                await asyncio.sleep(0.005)


def gate(
    world: World, *, before_delete: bool = False, after_delete: bool = False, at_after: bool = False
) -> list[Gate]:
    """Put a gate in front of the provider of every worker made from now on; they are in the list."""
    made: list[Gate] = []

    def wrap(inner: Provider) -> Provider:
        made.append(Gate(inner, before_delete=before_delete, after_delete=after_delete, at_after=at_after))
        return made[-1].provider

    world.wrap = wrap
    return made


def kill_at(
    world: World, *, before_delete: bool = False, after_delete: bool = False, at_after: bool = False
) -> None:
    """Start a worker, end it where it stands at that point, and let its lease run out."""
    gates = gate(world, before_delete=before_delete, after_delete=after_delete, at_after=at_after)
    asyncio.run(_kill(world, lambda: bool(gates) and gates[0].reached.is_set()))
    world.wrap = lambda inner: inner
    world.clock.move(world.lease.length + timedelta(seconds=1))


async def _kill(world: World, reached: Callable[[], bool]) -> None:
    tools = world.tools()
    task = asyncio.create_task(drain(tools, world.credential))
    async with asyncio.timeout(PATIENCE):
        while not reached():
            assert not task.done(), "the worker came to its end without standing at the point"
            await asyncio.sleep(0.005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await tools.close()


@contextmanager
def in_background(world: World, workers: int = 1) -> Iterator[list[Future[object]]]:
    """Drain in threads of their own, each with its own loop, beside what the scenario does."""
    with ThreadPoolExecutor(workers) as pool:
        yield [pool.submit(world.drain) for _ in range(workers)]


def wait(event: threading.Event) -> None:
    """Wait until a gate has been reached."""
    assert event.wait(PATIENCE), "the worker never came to this point"


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; fails after PATIENCE seconds."""
    clock = SystemClock()
    deadline = clock.monotonic() + PATIENCE
    while not condition():
        assert clock.monotonic() < deadline, f"not within {PATIENCE} s"
        clock.wait(0.002)
