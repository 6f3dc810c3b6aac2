"""Slots of a schedule: five cron fields read as wall-clock time of a zone, answered in UTC.

A time that a clock change skips counts at the instant the wall clock would have shown it without the
change; one that occurs twice counts at its first occurrence. So such a slot runs once.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

from worker.model.errors import Invalid
from worker.policy.document import Schedule

_FIELDS = 5
_MAX_CRON = 200
# These exist on some machines and mean something else on each.
_LOCAL_NAMES = frozenset({"localtime", "posixrules", "Factory"})
# A clock change moves wall time by less than this.
_SHIFT = timedelta(hours=3)
# Looked through one after the other, so that a frequent schedule costs little after a long pause.
_LOOK_BACK = (
    timedelta(hours=3),
    timedelta(days=2),
    timedelta(days=33),
    timedelta(days=368),
    timedelta(days=41 * 366),
)
_YEAR = timedelta(days=366)
_MINUTE = timedelta(minutes=1)
_NO_TIME = timedelta()


def check_cron(cron: str) -> None:
    """Refuse what is not five cron fields or never comes; raises Invalid."""
    if len(cron) > _MAX_CRON:
        raise Invalid(
            f"cron has {len(cron)} characters, at most {_MAX_CRON} are read.",
            repair='Write for example "*/5 2-4 * * *".',
            code="bad_cron",
        )
    count = len(cron.split())
    if count != _FIELDS:
        raise Invalid(f'cron "{cron}" has {count} fields, {_FIELDS} expected.', code="bad_cron")
    try:
        next(CronSim(cron, datetime(2024, 1, 1)))  # noqa: DTZ001 - wall-clock time
    except CronSimError as error:
        raise Invalid(
            f'cron "{cron}" cannot be read: {error}.',
            repair='Write for example "30 2 * * *".',
            code="bad_cron",
        ) from None
    except (StopIteration, ValueError, TypeError, AssertionError, OverflowError):
        raise Invalid(f'cron "{cron}" names no time that ever comes.', code="bad_cron") from None


def check_zone(name: str) -> None:
    """Refuse what is no IANA zone; raises Invalid."""
    if name in _LOCAL_NAMES or name not in _zones():
        raise Invalid(
            f'unknown time zone "{name}".',
            repair='Use an IANA name such as "Europe/Berlin".',
            code="bad_zone",
        )


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def latest_slot(schedule: Schedule, *, after: datetime, now: datetime) -> datetime | None:
    """Return the newest slot in (after, now], in UTC, or None. Whether it is still wanted is the caller's."""
    if after >= now:
        return None
    for window in _LOOK_BACK:
        earliest = max(after, now - window)
        slots = [slot for slot in _slots(schedule, earliest, now) if after < slot <= now]
        if slots:
            return max(slots)
        if earliest == after:
            return None
    return None


def _slots(schedule: Schedule, earliest: datetime, now: datetime) -> Iterator[datetime]:
    """Yield every slot between the two instants, and some beside."""
    zone = zoneinfo.ZoneInfo(schedule.timezone)
    until = _wall(now, zone) + _SHIFT
    start = _wall(earliest, zone) - _SHIFT
    hourly = schedule.cron.split()[1].startswith("*")
    for wall in CronSim(schedule.cron, start):
        if wall > until:
            return
        yield wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if hourly:
            # Where the hour is free, both passes of a repeated hour have their slots.
            yield wall.replace(tzinfo=zone, fold=1).astimezone(UTC)


def _wall(at: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


def clock_changes(schedule: Schedule, *, since: datetime) -> str:
    """Say which slots of the following year a clock change skips or doubles; empty when none."""
    if schedule.cron.split()[1].startswith("*"):
        return ""
    zone = zoneinfo.ZoneInfo(schedule.timezone)
    said: list[str] = []
    for change in _changes(zone, since):
        shift = (_offset(change, zone) or _NO_TIME) - (_offset(change - _MINUTE, zone) or _NO_TIME)
        wall = _wall(change, zone)
        start, end = (wall - shift, wall) if shift > _NO_TIME else (wall, wall - shift)
        hit = _first_between(schedule.cron, start, end)
        if hit:
            what = "does not exist" if shift > _NO_TIME else "occurs twice"
            said.append(f"{hit:%H:%M} {what} on {hit:%Y-%m-%d}")
    return " and ".join(said[:1] + [one.removeprefix(said[0][:6]) for one in said[1:]])


def _first_between(cron: str, start: datetime, end: datetime) -> datetime | None:
    slot = next(CronSim(cron, start - _MINUTE), end)
    return slot if slot < end else None


def _changes(zone: zoneinfo.ZoneInfo, since: datetime) -> list[datetime]:
    """Return the instants of the following year, to the minute, at which the zone's offset changes."""
    found: list[datetime] = []
    at = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    end = at + _YEAR
    while at < end:
        following = at + timedelta(days=1)
        if _offset(at, zone) != _offset(following, zone):
            low, high = at, following
            while high - low > _MINUTE:
                middle = low + (high - low) // 2
                low, high = (middle, high) if _offset(middle, zone) == _offset(low, zone) else (low, middle)
            found.append(high.replace(second=0, microsecond=0))
        at = following
    return found


def _offset(at: datetime, zone: zoneinfo.ZoneInfo) -> timedelta | None:
    return at.astimezone(zone).utcoffset()
