"""Work off: drain in this process what a sweep released, where no service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import timedelta

from worker.flows.claim import anything_ready
from worker.flows.compare import compare
from worker.flows.turn import turn
from worker.store import work
from worker.wiring import Tenure

_LOOK_EVERY = timedelta(seconds=1)


def work_off(tenure: Tenure, policies: Collection[str], *, progress: Callable[[int, int], None]) -> None:
    """Drain until every open item of these policies waits for its own time, or is settled.

    Waits out dead leases; raises LogRefused where an anchor refuses the log. ``progress`` is told how many
    items are worked off, of how many.
    """
    asyncio.run(_work_off(tenure, policies, progress))


async def _work_off(tenure: Tenure, policies: Collection[str], progress: Callable[[int, int], None]) -> None:
    tools, most = tenure.tools(), 0
    try:
        while (left := _busy(tenure, policies)) > 0:
            most = max(most, left)
            progress(most - left, most)
            # No beat runs beside this: whatever may be deleted here, this process compares itself.
            compare(tenure.database, tenure.sealer.log, clock=tenure.clock)
            ready = anything_ready(tenure.database, tenure.clock)
            for credential in ready:
                await turn(tools, credential)
            if not ready:
                # What is left is claimed by somebody: either that worker settles it or its lease ends.
                await asyncio.sleep(_LOOK_EVERY.total_seconds())
    finally:
        await tools.close()


def _busy(tenure: Tenure, policies: Collection[str]) -> int:
    with tenure.database.read() as db:
        return work.busy(db, policies, tenure.clock.now())
