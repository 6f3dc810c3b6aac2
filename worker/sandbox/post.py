"""What the gate and the faults consult: options, ids, faults in force, the log, and the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from worker.model.clock import monotonic
from worker.sandbox.fault_book import FaultBook
from worker.sandbox.ids import ObjectIds
from worker.sandbox.options import SandboxOptions
from worker.sandbox.request_log import RequestLog


@dataclass(slots=True, kw_only=True)
class GatePost:
    """What the gate consults. ``closing`` ends every pause, so that a stop need not wait.

    It belongs to one event loop, so each start of a server puts a new one here.
    """

    options: SandboxOptions
    ids: ObjectIds
    faults: FaultBook
    log: RequestLog
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    monotonic: Callable[[], float] = monotonic

    async def pause(self, delay: timedelta) -> None:
        """Wait that long, or until the server closes."""
        if delay <= timedelta():
            return
        try:
            await asyncio.wait_for(self.closing.wait(), delay.total_seconds())
        except TimeoutError:
            return
