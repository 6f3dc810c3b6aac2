"""Durations: ``30d``, ``12h``, ``4w`` and ISO 8601 (``P6M``, ``P1Y2M10DT2H``), in whole numbers."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from worker.model.errors import Invalid

NOT_A_DURATION = "not_a_duration"
AMBIGUOUS_DURATION = "ambiguous_duration"
EMPTY_DURATION = "empty_duration"

_SHORT = re.compile(r"(0|[1-9][0-9]{0,8})([hdw])")
_ISO = re.compile(
    r"P(?=[0-9T])(?:(?P<years>[0-9]{1,9})Y)?(?:(?P<months>[0-9]{1,9})M)?(?:(?P<weeks>[0-9]{1,9})W)?"
    r"(?:(?P<days>[0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,9})H)?(?:(?P<minutes>[0-9]{1,9})M)?(?:(?P<seconds>[0-9]{1,9})S)?)?"
)
# The form alone; that it is more than nothing and at most a century is told by reading.
FORM = f"(?:{_SHORT.pattern}|{_ISO.pattern})"
_AMBIGUOUS = re.compile(r"-?([0-9]+)(?:m|M|mo|mon|min|mins)")
_NEGATIVE = re.compile(r"-(?:[0-9]+[hdw]|P[0-9TYMWDHS]+)")
_MONTHS_PER_YEAR = 12
_CENTURY_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_CENTURY_TO = datetime(2100, 1, 1, tzinfo=UTC)
_LAST_INSTANT = datetime.max.replace(tzinfo=UTC)
# Every month length and clamping case of a leap year and its neighbours.
_STARTS = tuple(
    datetime(year, month, day, tzinfo=UTC)
    for year in (2023, 2024, 2025, 2026)
    for month in range(1, 13)
    for day in (1, 28, monthrange(year, month)[1])
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A length of time: calendar months, then an exact rest.

    Compared by value (``P4W`` equals ``P28D``, ``P12M`` equals ``P1Y``); ``str()`` prints ISO 8601 in
    the units it was written in.
    """

    months: int
    rest: timedelta
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text

    def add_to(self, at: datetime) -> datetime:
        """Return that instant plus this: months in UTC, clamped to the month's end, then the rest.

        Beyond the year 9999 it stops at the last instant there is.
        """
        try:
            return _plus_months(at.astimezone(UTC), self.months) + self.rest
        except (OverflowError, ValueError):
            return _LAST_INSTANT

    def start_for(self, end: datetime, *, after: datetime) -> datetime:
        """Return the earliest instant later than ``after`` from which this ends no sooner than ``end``.

        ``after`` itself must be too early. Where a month's last days all end on one day, the later of them
        may end sooner again, so ``after`` has a say.
        """
        due = end.astimezone(UTC) - self.rest
        if not self.months:
            return due
        month = _plus_months(_midnight(due).replace(day=1), -self.months)
        if due.day > monthrange(month.year, month.month)[1]:
            return _plus_months(month, 1)
        day = max(month.replace(day=due.day), _midnight(after.astimezone(UTC)))
        return day + (due - _midnight(due))

    def as_timedelta(self) -> timedelta | None:
        """Return the exact length, or None where months make it depend on the calendar."""
        return None if self.months else self.rest

    @property
    def longest(self) -> timedelta:
        """The longest that this may last, whatever day it starts on."""
        return max(self.add_to(start) - start for start in _STARTS)

    def ends_before(self, other: Duration) -> bool:
        """Whether this ends before the other for at least one day that both may start on."""
        return any(self.add_to(start) < other.add_to(start) for start in _STARTS)

    @property
    def canonical(self) -> str:
        """The one ISO 8601 text of this value, whatever units it was written in."""
        years, months = divmod(self.months, _MONTHS_PER_YEAR)
        minutes, seconds = divmod(self.rest.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        days = self.rest.days
        if hours and not minutes and not seconds:
            days, hours = 0, hours + 24 * days
        part = {"years": years, "months": months, "days": days}
        return _printed(part | {"hours": hours, "minutes": minutes, "seconds": seconds})


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _plus_months(at: datetime, months: int) -> datetime:
    if not months:
        return at
    years, month = divmod(at.month - 1 + months, _MONTHS_PER_YEAR)
    year = at.year + years
    return at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> Duration:
    """Read a duration; raises Invalid, whose code says why (not, ambiguous or empty)."""
    if unclear := _AMBIGUOUS.fullmatch(text):
        count = unclear[1]
        raise Invalid(
            f'"{text}" is ambiguous (minutes or months).',
            repair=f'Write "P{count}M" or "PT{count}M".',
            code=AMBIGUOUS_DURATION,
        )
    if _NEGATIVE.fullmatch(text):
        raise _empty(text, "is negative")
    duration = _from_short(text) or _from_iso(text)
    if duration is None:
        raise Invalid(f'"{text[:40]}" is not a duration.', repair=_repair(text), code=NOT_A_DURATION)
    if not duration.months and not duration.rest:
        raise _empty(text, "is no time at all")
    if duration.add_to(_CENTURY_FROM) > _CENTURY_TO:
        raise Invalid(
            f'"{text[:40]}" is more than 100 years.', repair='Write at most "P100Y".', code=NOT_A_DURATION
        )
    return duration


def _empty(text: str, what: str) -> Invalid:
    return Invalid(
        f'"{text[:40]}" {what}: a duration must be greater than zero.',
        repair='Write for example "30d".',
        code=EMPTY_DURATION,
    )


def _from_short(text: str) -> Duration | None:
    found = _SHORT.fullmatch(text)
    if found is None:
        return None
    count = int(found[1])
    match found[2]:
        case "h":
            return Duration(months=0, rest=timedelta(hours=count), text=f"PT{count}H")
        case "d":
            return Duration(months=0, rest=timedelta(days=count), text=f"P{count}D")
        case _:
            return _weeks(count)


def _weeks(count: int) -> Duration | None:
    # timedelta ends at 999,999,999 days; a longer one is no duration we know.
    return Duration(months=0, rest=timedelta(weeks=count), text=f"P{count}W") if count <= 10**8 else None


def _from_iso(text: str) -> Duration | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    part = {name: int(digits or 0) for name, digits in found.groupdict().items()}
    try:
        rest = timedelta(
            weeks=part["weeks"],
            days=part["days"],
            hours=part["hours"],
            minutes=part["minutes"],
            seconds=part["seconds"],
        )
    except OverflowError:
        return None
    return Duration(months=part["years"] * _MONTHS_PER_YEAR + part["months"], rest=rest, text=_printed(part))


def _printed(part: Mapping[str, int]) -> str:
    date = "".join(_unit(part, name) for name in ("years", "months", "weeks", "days"))
    time = "".join(_unit(part, name) for name in ("hours", "minutes", "seconds"))
    return f"P{date}T{time}" if time else f"P{date}"


def _unit(part: Mapping[str, int], name: str) -> str:
    count = part.get(name, 0)
    return f"{count}{name[0].upper()}" if count else ""


def _repair(text: str) -> str:
    digits = text if re.fullmatch(r"[1-9][0-9]{0,4}", text) else "30"
    return f'Write "{digits}d" or "P{digits}D".'
