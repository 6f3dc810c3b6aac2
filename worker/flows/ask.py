"""Ask: one request to a provider, with its permit, inside its lease, in one of the project's seats."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from worker.flows.patience import LeaseShort, Patience
from worker.model.clock import Clock
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Kind, Thread
from worker.pacing.lane import Lane, Rank, Slot
from worker.providers.base import ChildPage, ListPage, Named, Provider

# Without Retry-After a 429 stops the whole credential for this long.
_COOLDOWN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """What a batch asks with: one client, its lanes for reads and writes, its seats and its time."""

    provider: Provider
    reads: Lane
    writes: Lane
    seats: asyncio.Semaphore
    clock: Clock
    timeout: float
    nothing_leaves_after: float
    patience: Patience

    async def read(
        self, thread: Thread, step: Step, *, rank: Rank = Rank.READ, order: float = 0
    ) -> Observation:
        """GET the thread; raises LeaseShort, PacerUnavailable or CoolingDown before anything is sent."""
        return await self.read_object(thread.kind, thread.external_id, step, rank=rank, order=order)

    async def read_object(
        self, kind: Kind, external_id: str, step: Step, *, rank: Rank, order: float = 0
    ) -> Observation:
        """GET any object of the account."""
        await (await self.slot(self.reads, rank, order)).wait()
        async with self.seats:
            self._check_time(rank)
            seen = await self.provider.read(kind, external_id, step=step, timeout=self.timeout)
        return await self.heed(seen, self.reads)

    async def create_canary(self, kind: Kind) -> tuple[Observation, str | None]:
        """POST the cheapest object of a kind; its id is None unless it was surely made."""
        await (await self.slot(self.writes, Rank.CONTROL, 0)).wait()
        async with self.seats:
            self._check_time(Rank.CONTROL)
            seen, external_id = await self.provider.create_canary(kind, timeout=self.timeout)
        return await self.heed(seen, self.writes), external_id

    async def delete_object(self, kind: Kind, external_id: str) -> Observation:
        """DELETE something that Tenure itself made, a canary; never a thread, which needs arming."""
        await (await self.slot(self.writes, Rank.CONTROL, 0)).wait()
        async with self.seats:
            self._check_time(Rank.CONTROL)
            seen = await self.provider.delete(kind, external_id, timeout=self.timeout)
        return await self.heed(seen, self.writes)

    async def list_children(
        self, thread: Thread, *, after: str | None, step: Step, order: float
    ) -> ChildPage:
        """GET one page of children."""
        await (await self.slot(self.reads, Rank.CONTROL, order)).wait()
        async with self.seats:
            self._check_time(Rank.CONTROL)
            page = await self.provider.list_children(
                thread.kind, thread.external_id, after=after, timeout=self.timeout, step=step
            )
        await self.heed(page.observation, self.reads)
        return page

    async def named_children(self, thread: Thread, *, step: Step, order: float) -> Named:
        """GET the thread for what it names."""
        await (await self.slot(self.reads, Rank.CONTROL, order)).wait()
        async with self.seats:
            self._check_time(Rank.CONTROL)
            found = await self.provider.named_children(
                thread.kind, thread.external_id, step=step, timeout=self.timeout
            )
        await self.heed(found.observation, self.reads)
        return found

    async def list_page(self, kind: Kind, *, after: str | None, rank: Rank = Rank.READ) -> ListPage:
        """GET one page of everything of a kind; raises NotListable where the provider has no such list."""
        await (await self.slot(self.reads, rank, 0)).wait()
        async with self.seats:
            self._check_time(rank)
            page = await self.provider.list_page(kind, after=after, timeout=self.timeout)
        await self.heed(page.observation, self.reads)
        return page

    async def slot(self, lane: Lane, rank: Rank, order: float) -> Slot:
        """Wait for a slot; raises LeaseShort too, when the process is told to stop meanwhile."""
        async with self.patience.bound(rank):
            return await lane.slot(rank, order)

    def time_left(self) -> bool:
        """Whether a DELETE may still leave: under this lease, from a process that goes on."""
        return not self.patience.is_stopping and self._lease_lasts()

    def _lease_lasts(self) -> bool:
        return self.clock.monotonic() < self.nothing_leaves_after

    def _check_time(self, rank: Rank) -> None:
        if not self._lease_lasts() or self.patience.is_over(rank):
            problem = "The lease is nearly over, or the process stops."
            raise LeaseShort(problem, repair="The item is claimed again.")

    async def heed(self, seen: Observation, lane: Lane) -> Observation:
        """Let the whole credential pause where the provider asked for it."""
        if seen.seen is Class.THROTTLED:
            await lane.cool_down(seen.retry_after or _COOLDOWN_SECONDS)
        return seen
