"""Beat goes on ticking whatever somebody does to the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery

from worker.celery import make_app
from worker.jobs.every import Every, SteadyScheduler
from worker.settings import load_settings

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Hand:
    at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.mark.parametrize("step", [timedelta(), timedelta(hours=-1), timedelta(hours=1)])
def test_it_is_due_once_each_time_that_passed_wherever_the_wall_clock_was_set(
    hand: Hand, step: timedelta
) -> None:
    every = Every(timedelta(seconds=15), monotonic=hand)
    assert every.is_due(NOON) == (False, 15)
    hand.at += 14
    assert every.is_due(NOON) == (False, 1)
    hand.at += 1
    assert every.is_due(NOON) == (True, 15)
    # It ran, and the wall clock says anything.
    ran = NOON + step + timedelta(seconds=15)
    assert every.is_due(ran) == (False, 15)
    hand.at += 15
    assert every.is_due(ran) == (True, 15)


class Counting(SteadyScheduler):
    """Counts what it would send."""

    def __init__(self, app: Celery, hand: Hand) -> None:
        self.sent = 0
        self.monotonic = hand
        super().__init__(app, lazy=True)
        self.setup_schedule()

    def apply_entry(self, entry: object, producer: object = None) -> None:
        del entry, producer
        self.sent += 1


def test_celerys_scheduler_sends_by_it_while_the_wall_clock_is_an_hour_ahead_and_back(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(load_settings(tick_seconds=15))
    app.conf.beat_schedule["tick"]["schedule"] = Every(timedelta(seconds=15), monotonic=hand)
    wall = {"now": NOON}
    monkeypatch.setattr(app, "now", lambda: wall["now"])
    scheduler = Counting(app, hand)
    scheduler.tick()
    for moved in (timedelta(hours=1), timedelta(), timedelta(hours=-2), timedelta()):
        hand.at += 15
        wall["now"] = NOON + moved
        while scheduler.tick() == 0:
            pass
    assert scheduler.sent == 4


def test_the_tick_is_scheduled_so() -> None:
    app = make_app(load_settings(tick_seconds=15))
    tick = app.conf.beat_schedule["tick"]["schedule"]
    assert isinstance(tick, Every)
    assert tick.seconds == 15
