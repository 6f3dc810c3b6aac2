"""Which of two durations is the longer one, whatever day both start on."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from functools import lru_cache

from worker.policy.durations import Duration

# Between two starts in a month the ends differ only where a month's end clamps them, from the 28th on.
_LAST_UNCLAMPED = 28
# The hundred years from the first thread of any provider, with the year 2100, which is no leap year.
_YEARS = range(2020, 2120)


@lru_cache(maxsize=4096)
def lasts_as_long(one: Duration, other: Duration) -> bool:
    """Whether ``one`` provably never ends before ``other`` when both start together."""
    if one.months == other.months:
        return one.rest >= other.rest
    if one.months > other.months and one.rest >= other.rest:
        return True
    return all(one.add_to(start) >= other.add_to(start) for start in _starts())


@lru_cache(maxsize=1)
def _starts() -> tuple[datetime, ...]:
    return tuple(
        datetime(year, month, day, tzinfo=UTC)
        for year in _YEARS
        for month in range(1, 13)
        for day in range(_LAST_UNCLAMPED, monthrange(year, month)[1] + 1)
    )
