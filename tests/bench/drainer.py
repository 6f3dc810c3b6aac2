"""A worker without a broker: `python -m tests.bench.drainer` with a Drainer as JSON.

Its slots take turns at whatever credential is ready, as those of a pool do, through the very process that
Celery's tasks use. It says `ready`, waits for a signal, works until the next one, and prints what it saw as
one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from worker.flows import sending
from worker.flows.claim import anything_ready
from worker.flows.desk import Desk
from worker.flows.turn import turn
from worker.jobs.process import Process, this_process
from worker.providers.openai import OpenAIProvider
from worker.telemetry import set_up_logging

_LOOK_SECONDS = 0.2
TOLD = signal.SIGUSR1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drainer:
    """How many turns one process takes at once."""

    slots: int


@dataclass(slots=True)
class Seats:
    """Seconds during which a DELETE held a seat: all of them, and those spent on arming anew."""

    held: float = 0.0
    arming: float = 0.0
    deletes: int = 0


def watch(seen: Seats) -> None:
    """Measure around arming and sending, where both happen under the seat."""
    in_time, send = sending.armed_in_time, OpenAIProvider.delete

    async def armed_in_time(desk: Desk, intent: Any, armed: Any) -> Any:
        begun = time.perf_counter()
        told = await in_time(desk, intent, armed)
        spent = time.perf_counter() - begun
        seen.arming += spent
        seen.held += spent
        return told

    async def sent(provider: OpenAIProvider, *args: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        told = await send(provider, *args, **named)
        seen.held += time.perf_counter() - begun
        seen.deletes += 1
        return told

    sending.armed_in_time = armed_in_time
    OpenAIProvider.delete = sent  # type: ignore[method-assign, assignment]


class Worker:
    """The slots of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._database, self._clock = process.tenure.database, process.tenure.clock
        self._over = threading.Event()

    def start(self, slots: int) -> None:
        """Let the slots take turns."""
        for _ in range(slots):
            threading.Thread(target=self._slot, daemon=True).start()

    def _slot(self) -> None:
        while not self._over.is_set():
            if not any(self._turn(one) for one in anything_ready(self._database, self._clock)):
                self._over.wait(_LOOK_SECONDS)

    def _turn(self, credential: str) -> bool:
        with self._process.place_of(credential) as entered:
            return bool(entered and self._process.run(turn(self._process.tools, credential)))


def main(task: Drainer) -> None:
    # Before any thread begins, so that none of them takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {TOLD})
    set_up_logging("json", "error")
    seen = Seats()
    watch(seen)
    worker = Worker(this_process())
    # Imports, connections and the loop are not what is measured.
    anything_ready(this_process().tenure.database, this_process().tenure.clock)
    importlib.import_module("worker.providers.openai")
    print("ready", flush=True)
    signal.sigwait({TOLD})
    worker.start(task.slots)
    signal.sigwait({TOLD})
    print(json.dumps(asdict(seen)), flush=True)
    # What a credential that is refused still waits for would take minutes; its leases run out.
    os._exit(0)


if __name__ == "__main__":
    main(Drainer(**json.loads(sys.argv[1])))
