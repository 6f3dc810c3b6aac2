"""The dates of a thread that rules count from, and which of them nobody should believe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_never

from worker.model.thread import Thread
from worker.policy.document import Since

# No provider of threads existed earlier; a seconds and milliseconds slip lands in 1970.
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
CLOCK_SKEW = timedelta(hours=1)
_FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)


def date_of(thread: Thread, since: Since) -> datetime | None:
    """Return the date that a rule counts from, or None where it is unknown."""
    match since:
        case Since.CREATED_AT:
            return thread.created_at
        case Since.REGISTERED_AT:
            return thread.registered_at
        case Since.LAST_ACTIVITY_AT:
            return _last_activity(thread)
        case _:
            assert_never(since)


def _last_activity(thread: Thread) -> datetime | None:
    if thread.last_activity_at is None or thread.created_at is None:
        return thread.last_activity_at or thread.created_at
    return max(thread.last_activity_at, thread.created_at)


def is_before_any_provider(thread: Thread) -> bool:
    """Whether the thread's age is older than any thread can be."""
    age = thread.created_at or thread.last_activity_at
    return age is not None and age < EARLIEST


def believable_from(thread: Thread) -> datetime:
    """Return the instant from which none of the thread's dates is more than the clock skew ahead."""
    dates = [at for at in (thread.created_at, thread.last_activity_at) if at is not None]
    return max((_less_skew(at) for at in dates), default=_FIRST_INSTANT)


def _less_skew(at: datetime) -> datetime:
    return at - CLOCK_SKEW if at > _FIRST_INSTANT + CLOCK_SKEW else _FIRST_INSTANT
