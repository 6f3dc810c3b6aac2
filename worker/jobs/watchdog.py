"""The watchdog of a worker: a process that is alive and claims nothing ends, so that it is started anew.

A connection to the broker that is half open looks healthy from both ends and brings no message for ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.exc import DBAPIError

from worker.flows.stall import stalled_for
from worker.telemetry import ERROR_TYPE, log, raise_alert
from worker.wiring import Tenure

_LOOKS_PER_LIMIT = 10
_FAILED = 1


def end_process() -> None:
    """End at once: a hung connection keeps an orderly end from coming.

    Safe: what runs keeps its lease until that runs out, and is then claimed and read first, by somebody else.
    """
    os._exit(_FAILED)


class Watchdog:
    """Looks now and then from a thread of its own, in the worker's main process."""

    def __init__(self, tenure: Tenure, limit: timedelta, *, end: Callable[[], None] = end_process) -> None:
        self._tenure = tenure
        self._limit = limit
        self._end = end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tenure-watchdog", daemon=True)

    def start(self) -> None:
        """Begin; nothing is looked at before a tenth of the limit has passed."""
        self._thread.start()

    def stop(self) -> None:
        """End; a process that is being stopped claims nothing any more, and rightly so."""
        self._stopping.set()

    def _run(self) -> None:
        begun = self._tenure.clock.monotonic()
        while not self._stopping.wait(self._limit.total_seconds() / _LOOKS_PER_LIMIT):
            try:
                waited = stalled_for(self._tenure.database, self._tenure.clock)
            except DBAPIError as e:
                # A database that does not answer is no sign of a hung broker; /readyz tells of it.
                log().warning("watchdog.blind", **{ERROR_TYPE: type(e).__name__})
                continue
            # What lay there before this process began is no fault of it: it has a limit of its own.
            own = timedelta(seconds=self._tenure.clock.monotonic() - begun)
            if waited is not None and min(waited, own) > self._limit and not self._stopping.is_set():
                raise_alert(
                    "worker.stalled",
                    seconds=int(waited.total_seconds()),
                    repair="The process ends; start it anew.",
                )
                self._end()
                return
