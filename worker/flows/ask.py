"""Ask: one request to a provider, with its permit, inside its lease, in one of the project's seats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from worker.flows.patience import Patience, time_short
from worker.flows.pauses import Pauses
from worker.model.clock import Clock
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Kind, Thread
from worker.pacing.base import CoolingDown
from worker.pacing.lane import Lane, Slot
from worker.pacing.seats import Seats
from worker.pacing.waiters import Rank
from worker.providers.base import ChildPage, ListPage, Named, Provider
from worker.telemetry.meters import count

# Without Retry-After a 429 stops the whole credential for this long.
_COOLDOWN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """What a batch asks with: one client, its lanes for reads and writes, its seats and its time."""

    provider: Provider
    reads: Lane
    writes: Lane
    seats: Seats
    clock: Clock
    timeout: float
    nothing_leaves_after: float
    patience: Patience
    pauses: Pauses = field(default_factory=Pauses)

    async def read(
        self, thread: Thread, step: Step, *, rank: Rank = Rank.READ, order: float = 0
    ) -> Observation:
        """GET the thread; raises LeaseShort, PacerUnavailable or CoolingDown before anything is sent."""
        return await self.read_object(thread.kind, thread.external_id, step, rank=rank, order=order)

    async def read_object(
        self, kind: Kind, external_id: str, step: Step, *, rank: Rank, order: float = 0
    ) -> Observation:
        """GET any object of the account."""
        async with self.turn(self.reads, rank, order):
            seen = await self.provider.read(kind, external_id, step=step, timeout=self.timeout)
        return await self.heed(seen, self.reads)

    async def create_canary(self, kind: Kind) -> tuple[Observation, str | None]:
        """POST the cheapest object of a kind; its id is None unless it was surely made."""
        async with self.turn(self.writes, Rank.CONTROL):
            seen, external_id = await self.provider.create_canary(kind, timeout=self.timeout)
        return await self.heed(seen, self.writes), external_id

    async def delete_object(self, kind: Kind, external_id: str) -> Observation:
        """DELETE something that Tenure itself made, a canary; never a thread, which needs arming."""
        async with self.turn(self.writes, Rank.CONTROL):
            seen = await self.provider.delete(kind, external_id, timeout=self.timeout)
        return await self.heed(seen, self.writes)

    async def list_children(
        self, thread: Thread, *, after: str | None, step: Step, order: float
    ) -> ChildPage:
        """GET one page of children."""
        async with self.turn(self.reads, Rank.CONTROL, order):
            page = await self.provider.list_children(
                thread.kind, thread.external_id, after=after, timeout=self.timeout, step=step
            )
        await self.heed(page.observation, self.reads)
        return page

    async def named_children(self, thread: Thread, *, step: Step, order: float) -> Named:
        """GET the thread for what it names."""
        async with self.turn(self.reads, Rank.CONTROL, order):
            found = await self.provider.named_children(
                thread.kind, thread.external_id, step=step, timeout=self.timeout
            )
        await self.heed(found.observation, self.reads)
        return found

    async def list_page(self, kind: Kind, *, after: str | None, rank: Rank = Rank.READ) -> ListPage:
        """GET one page of everything of a kind; raises NotListable where the provider has no such list."""
        async with self.turn(self.reads, rank):
            page = await self.provider.list_page(kind, after=after, timeout=self.timeout)
        await self.heed(page.observation, self.reads)
        return page

    @asynccontextmanager
    async def turn(self, lane: Lane, rank: Rank, order: float = 0) -> AsyncIterator[Slot]:
        """Within it one request may leave: it has the slot that is returned, a seat, and time of the lease.

        Raises LeaseShort, PacerUnavailable or CoolingDown.
        """
        slot = await self._in_time(rank, self._coming(lane, rank, order))
        async with self.seats.taken(rank, order, came=True):
            if slot.spent:
                # It waited for its seat. Used now, it would leave in a crowd of such, or in a pause that the
                # answer before it asked for. The seat is kept.
                slot = await self._in_time(rank, self._waited(lane.permit(rank, order)))
            self._check_lease(rank)
            yield slot

    async def slot(self, lane: Lane, rank: Rank, order: float) -> Slot:
        """Return the next slot, a moment before it begins; raises what `turn` raises."""
        return await self._in_time(rank, self._waited(lane.slot(rank, order)))

    async def slot_ahead(self, lane: Lane, rank: Rank, order: float) -> Slot:
        """Return a slot that leaves time to arm; raises what `turn` raises."""
        return await self._in_time(rank, self._waited(lane.slot_ahead(rank, order)))

    async def _coming(self, lane: Lane, rank: Rank, order: float) -> Slot:
        """Return a slot that has begun, for somebody who will find a seat soon."""
        await self.seats.come(rank, order)
        try:
            return await self._waited(lane.permit(rank, order))
        except BaseException:
            self.seats.turn_back()
            raise

    async def _waited(self, slot: Awaitable[Slot]) -> Slot:
        """Wait for a slot, and note the pause that is there instead."""
        began = self.clock.monotonic()
        try:
            found = await slot
        except CoolingDown as e:
            self.pauses.left = max(self.pauses.left, e.seconds)
            raise
        try:
            self.pauses.check()
        except CoolingDown:
            found.give_back()
            raise
        waited = self.clock.monotonic() - began
        count(lambda to: to.permit_wait.observe(waited))
        return found

    async def _in_time(self, rank: Rank, slot: Coroutine[object, object, Slot]) -> Slot:
        """Wait no longer for a slot than a request of its rank may leave; raises LeaseShort."""
        left = max(0, self.nothing_leaves_after - self.clock.monotonic())
        async with self.patience.bound(rank, left):
            return await slot

    def time_left(self) -> bool:
        """Whether a DELETE may still leave: under this lease, from a process that goes on."""
        return not self.patience.is_stopping and self._lease_lasts()

    def _lease_lasts(self) -> bool:
        return self.clock.monotonic() < self.nothing_leaves_after

    def check(self, rank: Rank) -> None:
        """Raise LeaseShort or CoolingDown where nothing of this rank will leave any more."""
        self._check_lease(rank)
        self.pauses.check()

    def _check_lease(self, rank: Rank) -> None:
        if not self._lease_lasts() or self.patience.is_over(rank):
            raise time_short()

    async def heed(self, seen: Observation, lane: Lane) -> Observation:
        """Let the whole credential pause where the provider asked for it: by a 429, or a 503 with a time."""
        pause = seen.retry_after or _COOLDOWN_SECONDS
        count(lambda to: to.provider_requests.labels(step=seen.step.value, seen=seen.seen.value).inc())
        self.pauses.heard(seen, pause, self.clock.monotonic())
        if seen.seen is Class.THROTTLED or seen.retry_after:
            count(lambda to: to.throttles.inc())
            count(lambda to: to.cooldown_seconds.inc(pause))
            await lane.cool_down(pause)
        return seen
