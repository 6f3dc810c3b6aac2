"""A worker that is alive and claims nothing is ended."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.world.world import World, make_world
from worker.jobs.watchdog import Watchdog
from worker.model.clock import SystemClock
from worker.model.thread import Kind
from worker.settings import load_settings
from worker.store import work
from worker.wiring import wire

LIMIT = timedelta(seconds=0.5)


@pytest.fixture(autouse=True)
def _leases_run_on_the_given_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "lease_clock", lambda _, now: now)


@pytest.fixture
def ended() -> threading.Event:
    return threading.Event()


def _watch(world: World, tmp_path: Path, end: threading.Event) -> Watchdog:
    tenure = wire(load_settings(data_dir=tmp_path / "data"), role="worker")
    return Watchdog(replace(tenure, database=world.database, clock=world.clock), LIMIT, end=end.set)


def test_it_ends_the_process_when_ready_work_is_left_lying(
    database_url: str, tmp_path: Path, ended: threading.Event
) -> None:
    with make_world(database_url, tmp_path / "policies") as world:
        world.register(kind=Kind.FILE)
        world.sweep()
        world.clock.move(timedelta(minutes=1))
        dog = _watch(world, tmp_path, ended)
        dog.start()
        assert ended.wait(20)


class _Standing(SystemClock):
    """No time passes since the process began; tells when it has been asked often enough."""

    def __init__(self) -> None:
        self.asked = 0
        self.looked = threading.Event()

    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)

    def monotonic(self) -> float:
        self.asked += 1
        if self.asked > 4:
            self.looked.set()
        return 0.0


def test_a_process_that_has_just_begun_is_not_ended_for_what_others_left_lying(
    database_url: str, tmp_path: Path, ended: threading.Event
) -> None:
    with make_world(database_url, tmp_path / "policies") as world:
        world.register(kind=Kind.FILE)
        world.sweep()
        clock = _Standing()
        tenure = wire(load_settings(data_dir=tmp_path / "data"), role="worker")
        dog = Watchdog(replace(tenure, database=world.database, clock=clock), LIMIT, end=ended.set)
        dog.start()
        assert clock.looked.wait(20)
        dog.stop()
        dog._thread.join(20)
        assert not ended.is_set()


def test_a_process_that_is_being_stopped_is_left_alone(
    database_url: str, tmp_path: Path, ended: threading.Event
) -> None:
    with make_world(database_url, tmp_path / "policies") as world:
        world.register(kind=Kind.FILE)
        world.sweep()
        world.clock.move(timedelta(minutes=1))
        dog = _watch(world, tmp_path, ended)
        dog.stop()
        dog.start()
        dog._thread.join(20)
        assert not ended.is_set()
