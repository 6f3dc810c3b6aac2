"""The only place that looks at a clock or waits; everything else takes time as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


def utc_now() -> datetime:
    """Return the wall clock as an aware UTC datetime."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds that never step back; only differences mean anything."""
    return time.monotonic()


class Clock(Protocol):
    """What flows need of time: the wall (for records) and a monotonic count (for limits)."""

    def now(self) -> datetime:
        """Return the wall clock, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return monotonic seconds."""
        ...

    def wait(self, seconds: float) -> None:
        """Let that many seconds pass."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall clock, aware and in UTC."""
        return utc_now()

    def monotonic(self) -> float:
        """Return monotonic seconds."""
        return monotonic()

    def wait(self, seconds: float) -> None:
        """Block this thread for that many seconds."""
        time.sleep(seconds)


@lru_cache(maxsize=512)
def rfc3339(at: datetime) -> str:
    """Write an instant as RFC 3339 UTC: whole seconds without, else with six fractional digits.

    Kept for a while: an observation's instant stands in several entries and in its row. Equal instants are
    written alike, whatever their zone.
    """
    return at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """Read an RFC 3339 instant; raises ValueError for anything else, also for a missing offset."""
    if len(text) < len("2026-01-01T00:00:00Z") or text[10] not in "Tt ":
        msg = f"{text!r} is not an RFC 3339 instant such as 2026-11-22T08:00:00Z"
        raise ValueError(msg)
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        msg = f"{text!r} names no offset; write 2026-11-22T08:00:00Z"
        raise ValueError(msg)
    return at.astimezone(UTC)
