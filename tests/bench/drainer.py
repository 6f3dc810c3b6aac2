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
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
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
    """The slots of one process, and one that looks for all of them.

    Forty slots that looked for themselves took more of the processor than the work did.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._database, self._clock = process.tenure.database, process.tenure.clock
        self._most_each = process.tenure.settings.drains_per_credential
        self._turns: Counter[str] = Counter()
        self._ended = threading.Condition()

    def start(self, slots: int) -> None:
        """Let the slots take turns."""
        threading.Thread(target=self._look, args=(slots,), daemon=True).start()

    def _look(self, slots: int) -> None:
        pool = ThreadPoolExecutor(slots)
        while True:
            for credential in anything_ready(self._database, self._clock):
                if self._turns.total() < slots and self._turns[credential] < self._most_each:
                    with self._ended:
                        self._turns[credential] += 1
                    pool.submit(self._turn, credential)
            with self._ended:
                self._ended.wait(_LOOK_SECONDS)

    def _turn(self, credential: str) -> None:
        entered = False
        try:
            with self._process.place_of(credential) as entered:
                if entered:
                    self._process.run(turn(self._process.tools, credential))
        except Exception:  # noqa: BLE001 - whatever it is, the slot is free again
            # A slot goes on as a task's does; what failed is claimed again when its lease runs out.
            traceback.print_exc()
        finally:
            with self._ended:
                self._turns[credential] -= 1
                # Who found every place taken waits for the next look, as a task for the next tick: woken at
                # once, four processes that ask for two places do nothing else.
                if entered:
                    self._ended.notify()


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
