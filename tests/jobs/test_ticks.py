"""Ticks that waited in the queue, and a beat whose clock differs from the worker's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from worker.flows.tick import LAST_TICK
from worker.jobs.process import adopt
from worker.jobs.tick import tick_now
from worker.settings import load_settings
from worker.store import keys, work
from worker.store.migrate import upgrade
from worker.wiring import Tenure, wire

EVERY = timedelta(seconds=15)


@pytest.fixture
def tenure(database_url: str, tmp_path: Path) -> Iterator[Tenure]:
    settings = load_settings(data_dir=tmp_path, database_url=database_url, tick_seconds=EVERY.total_seconds())
    made = wire(settings, role="worker")
    upgrade(made.database)
    process = adopt(made)
    yield made
    process.close()
    made.database.dispose()


def last_tick(tenure: Tenure) -> datetime:
    with tenure.database.read() as db:
        told = keys.read_fact(db, LAST_TICK)
    assert told is not None
    return told[1]


def let_one_be(tenure: Tenure, ago: timedelta) -> datetime:
    """Say that a tick ended so long ago."""
    with tenure.database.write() as db:
        at = work.time_of_waits(db, tenure.clock.now()) - ago
        keys.note_fact(db, LAST_TICK, {}, at)
    return at


def test_the_first_tick_runs(tenure: Tenure) -> None:
    tick_now()
    assert last_tick(tenure) <= tenure.clock.now() + EVERY


def test_of_ticks_that_waited_in_the_queue_only_the_first_does_something(tenure: Tenure) -> None:
    tick_now()
    first = last_tick(tenure)
    for _ in range(3):
        tick_now()
    assert last_tick(tenure) == first


@pytest.mark.parametrize("ago", [EVERY / 2, EVERY, timedelta(days=1)])
def test_a_tick_that_comes_on_time_runs(tenure: Tenure, ago: timedelta) -> None:
    before = let_one_be(tenure, ago)
    tick_now()
    assert last_tick(tenure) > before


def test_a_tick_of_a_clock_that_was_ahead_keeps_none_back(tenure: Tenure) -> None:
    before = let_one_be(tenure, -timedelta(days=1))
    tick_now()
    assert last_tick(tenure) < before
