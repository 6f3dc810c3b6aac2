"""Every so many seconds, by a clock that nobody can set.

Celery asks the wall clock how long ago an entry ran, and when the next one is. Set back by an hour, beat
would send nothing for an hour, and nothing would be swept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedstate, schedule

from worker.model.clock import SystemClock

_CLOCK = SystemClock()


class Every(schedule):
    """Is due once in each such time that has passed, whatever the wall clock says of the last run."""

    def __init__(self, run_every: timedelta, *, monotonic: Callable[[], float] = _CLOCK.monotonic) -> None:
        super().__init__(run_every)
        self._monotonic = monotonic
        self._since = monotonic()

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Return whether to run now, and after how many seconds to ask again; who is told so, runs."""
        del last_run_at
        every, now = float(self.seconds), self._monotonic()
        left = every - (now - self._since)
        if left <= 0:
            self._since = now
        due: tuple[bool, float] = schedstate(left <= 0, every if left <= 0 else left)
        return due


class SteadyScheduler(Scheduler):
    """Celery's scheduler in memory, whose queue of entries is ordered by the same clock."""

    monotonic: Callable[[], float] = staticmethod(_CLOCK.monotonic)

    def _when(self, entry: ScheduleEntry, next_time_to_run: float, *_: Any) -> float:  # noqa: ANN401 - Celery's
        del entry
        return self.monotonic() + float(self.adjust(next_time_to_run) or 0)
