"""What one worker process keeps between tasks: its wiring, and one loop thread with its clients.

All of it is made lazily, after a fork: a loop or a connection that crosses a fork hangs or is shared.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

from worker.flows.rest import place_of
from worker.flows.tools import Tools
from worker.settings import load_settings
from worker.wiring import Tenure, wire

T = TypeVar("T")


class Process:
    """One operating-system process that runs tasks."""

    def __init__(self, tenure: Tenure) -> None:
        self.tenure = tenure
        self.stopping = threading.Event()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="tenure-loop", daemon=True).start()
        return loop

    @cached_property
    def tools(self) -> Tools:
        """What this process works with; its clients live on its loop."""
        return self.tenure.tools(self.stopping.is_set)

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run a coroutine on the process's loop; an interrupted caller cancels it and waits for its end."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Close the clients on their loop, and end it."""
        if "tools" in self.__dict__:
            self.run(self.tools.close())
        if "_loop" in self.__dict__:
            self._loop.call_soon_threadsafe(self._loop.stop)

    @contextmanager
    def place_of(self, credential: str) -> Iterator[bool]:
        """Take one of the credential's places; False when they are taken or this process is to stop."""
        if self.stopping.is_set():
            yield False
            return
        tenure = self.tenure
        most = tenure.settings.drains_per_credential
        with place_of(
            tenure.database, credential, most=most, lease=tenure.lease, clock=tenure.clock
        ) as taken:
            yield taken


_processes: dict[int, Process] = {}
_making = threading.Lock()


def this_process() -> Process:
    """Return this process's own; a child of a fork makes its own."""
    with _making:
        pid = os.getpid()
        if pid not in _processes:
            _processes.clear()
            _processes[pid] = Process(wire(load_settings(), role="worker"))
        return _processes[pid]


def adopt(tenure: Tenure) -> Process:
    """Let tasks in this process use a wiring that exists already (the one-process service)."""
    with _making:
        _processes.clear()
        _processes[os.getpid()] = Process(tenure)
        return _processes[os.getpid()]
