"""What one worker process keeps between tasks: its wiring, and one loop thread with its clients.

All of it is made lazily, after a fork: a loop or a connection that crosses a fork hangs or is shared.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

from worker.flows.rest import place_of
from worker.flows.tools import Tools
from worker.jobs.stopping import told_to_stop
from worker.settings import load_settings
from worker.wiring import Tenure, wire

T = TypeVar("T")

# A batch that is cancelled has writes of its own to end; the hard limit comes later than this.
_END_SECONDS = 10


class Process:
    """One operating-system process that runs tasks."""

    def __init__(self, tenure: Tenure) -> None:
        self.tenure = tenure
        self._stop = threading.Event()

    def stop(self) -> None:
        """Begin nothing new in this process."""
        self._stop.set()

    def is_stopping(self) -> bool:
        """Whether this process, or the worker that it is a child of, is told to stop."""
        return self._stop.is_set() or told_to_stop()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()

        def run() -> None:
            loop.run_forever()
            loop.close()

        self._loop_thread = threading.Thread(target=run, name="tenure-loop", daemon=True)
        self._loop_thread.start()
        return loop

    @cached_property
    def tools(self) -> Tools:
        """What this process works with; its clients live on its loop."""
        made = self.tenure.tools(self.is_stopping)
        # What is loaded by now lives as long as the process. Collections need not look at it again, which
        # takes a tenth of the time of a worker that is busy.
        gc.freeze()
        return made

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run a coroutine on the process's loop; an interrupted caller cancels it and waits for its end.

        Without waiting, the steps of a batch that met its time limit would run beside the next batch.
        """
        ended = threading.Event()
        running: list[asyncio.Task[object] | None] = []

        async def whole() -> T:
            running.append(asyncio.current_task())
            try:
                return await work
            finally:
                ended.set()

        def cancel() -> None:
            for task in filter(None, running):
                task.cancel()

        try:
            return asyncio.run_coroutine_threadsafe(whole(), self._loop).result()
        except BaseException:
            # Where the work itself raised, it is over. Otherwise the caller was interrupted, perhaps before
            # it knew of a future: so the task is cancelled by its own name.
            if not ended.is_set():
                self._loop.call_soon_threadsafe(cancel)
                ended.wait(_END_SECONDS)
            raise

    def close(self) -> None:
        """Close the clients on their loop, and end it."""
        if "tools" in self.__dict__:
            self.run(self.tools.close())
        if "_loop" in self.__dict__:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(_END_SECONDS)

    @contextmanager
    def place_of(self, credential: str) -> Iterator[bool]:
        """Take one of the credential's places; False when they are taken or this process is to stop."""
        if self.is_stopping():
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
