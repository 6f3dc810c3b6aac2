"""A worker's process: what interrupts a task interrupts its batch too, and waits for its end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import pytest

from worker.jobs.process import Process
from worker.settings import load_settings
from worker.store.migrate import upgrade
from worker.wiring import wire


class SoftLimit(Exception):
    """Stands for what Celery raises in a task whose soft time limit is over."""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(wire(load_settings(data_dir=tmp_path), role="worker"))
    yield made
    made.close()


@pytest.fixture
def _interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise SoftLimit

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_interrupts")
def test_a_batch_that_met_its_time_limit_has_ended_before_the_next_task_begins(process: Process) -> None:
    begun, ended = threading.Event(), threading.Event()
    main = threading.get_ident()

    async def batch() -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            # What a cancelled batch still writes.
            await asyncio.shield(asyncio.to_thread(threading.Event().wait, 0.3))
            ended.set()

    def interrupt() -> None:
        assert begun.wait(10)
        signal.pthread_kill(main, signal.SIGUSR1)

    threading.Thread(target=interrupt).start()
    with pytest.raises(SoftLimit):
        process.run(batch())
    assert ended.is_set()


def test_one_credential_never_takes_every_place_of_a_process(process: Process) -> None:
    upgrade(process.tenure.database)
    with ExitStack() as stack:
        entered = [stack.enter_context(process.place_of(name)) for name in ("one", "one", "one", "another")]
        assert entered == [True, True, False, True]
    with process.place_of("one") as again:
        assert again


def test_a_process_that_stops_begins_no_drain(process: Process) -> None:
    process.stop()
    with process.place_of("one") as entered:
        assert not entered
    assert process.tools.stopping()


def test_every_task_of_a_process_has_one_loop_and_one_client_per_credential(process: Process) -> None:
    async def where() -> int:
        return id(asyncio.get_running_loop())

    assert process.run(where()) == process.run(where())
    assert process.tools is process.tools


def test_what_a_first_request_would_load_is_loaded_before_any_slot_begins(tmp_path: Path) -> None:
    """The loop would stand still for it, and every request that has a slot by then would be late."""
    code = (
        "import sys; from worker.providers import transport; from worker.settings import load_settings;"
        "from worker.wiring import wire;"
        "assert 'prometheus_client' not in sys.modules;"
        "wire(load_settings(), role='worker').tools();"
        "assert {'prometheus_client', 'openai'} <= set(sys.modules);"
        "assert transport._tls.cache_info().currsize == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
