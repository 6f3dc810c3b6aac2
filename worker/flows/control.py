"""Control: a known-present read that supports an absent one. Without it no 404 is believed.

Sibling means the same account and kind, read with the same client. The batch's next pre-read serves for
nothing; after 1.5 s without one, a registered live sibling is read. `good` needs a 200 that was seen
after the read it supports and within 5 minutes, as the monotonic clock has it: the wall may be set back.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from worker.model.clock import Clock
from worker.model.evidence import Class, Control, Observation, Step
from worker.model.thread import Thread
from worker.pacing.base import CoolingDown

_WAIT_FOR_A_MATE = 1.5
_SUPPORTS_FOR = 300.0
_MOST_SIBLINGS = 5
_MOST_THROTTLED = 3

Pair = tuple[str, str]
Read = Callable[[Thread, Step], Awaitable[Observation]]
# Makes one and says how it went; None where the project or the kind has none.
Canary = Callable[[Thread], Awaitable["Support | None"]]
FindSiblings = Callable[[Thread, Collection[str], int], Awaitable[Sequence[Thread]]]
# Whether a sibling that was found gone had still been expected: no DELETE of Tenure's may be why it is gone.
IsExpected = Callable[[Thread], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What supports a read: the control, and the observation that it rests on."""

    control: Control
    observation: Observation | None = None
    failed_class: Class | None = None


class ControlDesk:
    """Hands out controls to the items of one batch, with as few requests as will do."""

    def __init__(
        self,
        read: Read,
        find_siblings: FindSiblings,
        is_expected: IsExpected,
        clock: Clock,
        canary: Canary | None = None,
    ) -> None:
        self._read = read
        self._find = find_siblings
        self._is_expected = is_expected
        self._clock = clock
        self._canary = canary
        self._routes: dict[Pair, tuple[Support, float]] = {}
        # Thread, what was seen of it, and when it was heard (monotonic seconds).
        self._present: dict[Pair, list[tuple[str, Observation, float]]] = defaultdict(list)
        self._pending: dict[Pair, int] = defaultdict(int)
        self._news = asyncio.Condition()
        self._locks: dict[Pair, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._armed: set[str] = set()

    def expect(self, pair: Pair) -> None:
        """Say that a pre-read of this pair is still to come."""
        self._pending[pair] += 1

    def arming(self, thread_id: str) -> None:
        """Say that a DELETE of this thread may leave: it can support nothing any more."""
        self._armed.add(thread_id)

    async def saw(self, pair: Pair, thread_id: str, seen: Observation) -> None:
        """Note a pre-read that was expected."""
        async with self._news:
            self._pending[pair] -= 1
            if seen.seen is Class.PRESENT:
                self._present[pair].append((thread_id, seen, self._clock.monotonic()))
            self._news.notify_all()

    def held(self, pair: Pair) -> bool:
        """Whether a registered thread of this pair was read present in this batch."""
        return bool(self._present[pair])

    async def gave_up(self, pair: Pair) -> None:
        """Say that a pre-read that was expected will not come."""
        async with self._news:
            self._pending[pair] -= 1
            self._news.notify_all()

    async def support(self, pair: Pair, thread: Thread, *, canary: bool = False) -> Support:
        """Return what supports a read of ``thread`` whose answer has just come.

        ``canary`` says that one would count: this pass itself read the thread present before.
        """
        since = self._clock.monotonic()
        found = await self._from_a_mate(pair, thread, since)
        if found is not None:
            return Support(control=Control.GOOD, observation=found)
        async with self._locks[pair]:
            # A reader that waited here may be served by what the one before it just read.
            found = self._after(pair, thread, since)
            if found is not None:
                return Support(control=Control.GOOD, observation=found)
            found_sibling = await self._from_a_sibling(pair, thread)
            if canary and found_sibling.control is Control.NONE:
                return await self._from_a_canary(pair, thread, since)
            return found_sibling

    async def _from_a_canary(self, pair: Pair, thread: Thread, since: float) -> Support:
        """Return a canary of this batch that lived after the read, or make one."""
        known = self._routes.get(pair)
        if known is not None and since < known[1] <= since + _SUPPORTS_FOR:
            return known[0]
        found = await self._canary(thread) if self._canary else None
        if found is None:
            return Support(control=Control.NONE)
        if found.control is Control.ROUTE_ONLY:
            self._routes[pair] = found, self._clock.monotonic()
        return found

    async def _from_a_mate(self, pair: Pair, thread: Thread, since: float) -> Observation | None:
        try:
            async with asyncio.timeout(_WAIT_FOR_A_MATE), self._news:
                await self._news.wait_for(
                    lambda: self._after(pair, thread, since) is not None or self._pending[pair] <= 0
                )
        except TimeoutError:
            return None
        return self._after(pair, thread, since)

    def _after(self, pair: Pair, thread: Thread, since: float) -> Observation | None:
        for thread_id, seen, heard in self._present[pair]:
            if thread_id != thread.id and since < heard <= since + _SUPPORTS_FOR:
                return seen
        return None

    async def _from_a_sibling(self, pair: Pair, thread: Thread) -> Support:
        failed: Observation | None = None
        for sibling in await self._find(thread, self._armed, _MOST_SIBLINGS):
            seen = await self._heard(sibling)
            if seen.seen is Class.PRESENT:
                async with self._news:
                    self._present[pair].append((sibling.id, seen, self._clock.monotonic()))
                    self._news.notify_all()
                return Support(control=Control.GOOD, observation=seen)
            if seen.seen is Class.OBJECT_ABSENT and not await self._is_expected(sibling):
                # Another worker may have deleted it since the look: that speaks for nothing.
                continue
            failed = seen
        if failed is None:
            return Support(control=Control.NONE)
        return Support(control=Control.FAILED, observation=failed, failed_class=failed.seen)

    async def _heard(self, sibling: Thread) -> Observation:
        """Read a sibling until something is said of it: a 429 says nothing, and fails no control.

        Raises CoolingDown where nothing else comes: then whoever wanted the control waits.
        """
        for _ in range(_MOST_THROTTLED):
            seen = await self._read(sibling, Step.CONTROL)
            if seen.seen is not Class.THROTTLED:
                return seen
        raise CoolingDown(_WAIT_FOR_A_MATE)
