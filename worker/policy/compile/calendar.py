"""Calendar arithmetic for SQLite, which has none that keeps to a month's end: functions made known to it.

Instants are whole microseconds since 1970 in UTC. Each function is total: an error would end the statement,
and with it the dates of every other thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from worker.model.errors import Invalid
from worker.policy.durations import Duration, parse_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def months_after(at: int | None, months: int) -> int | None:
    """Return that instant plus months, clamped to the month's end."""
    start = _instant(at)
    if start is None:
        return None
    return _micros(Duration(months=months, rest=timedelta(), text="").add_to(start))


def ttl_end(at: int | None, ttl: str | None) -> int | None:
    """Return when a TTL that starts then is over, or NULL where the text is no duration."""
    start = _instant(at)
    if start is None:
        return None
    try:
        return _micros(parse_duration(ttl or "").add_to(start))
    except Invalid:
        return None


def start_for(end: int | None, months: int, seconds: int, after: int) -> int | None:
    """Return the earliest instant later than ``after`` from which the length ends no sooner than ``end``."""
    to, late = _instant(end), _instant(after)
    if to is None or late is None:
        return None
    length = Duration(months=months, rest=timedelta(seconds=seconds), text="")
    # Asked also where the answer has no say, so what Duration takes for granted may not hold.
    try:
        return _micros(length.start_for(to, after=late))
    except (OverflowError, ValueError):
        return None


def _instant(micros: int | None) -> datetime | None:
    try:
        return None if micros is None else _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return None


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


SQLITE_FUNCTIONS: Mapping[str, tuple[int, Callable[..., int | None]]] = {
    "tenure_months_after": (2, months_after),
    "tenure_ttl_end": (2, ttl_end),
    "tenure_start_for": (4, start_for),
}
