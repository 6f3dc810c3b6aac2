"""Notices: a deletion that owes one waits for its delivery and its grace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from worker.model.decision import Notice
from worker.policy.durations import Duration


def after_grace(graces: Sequence[Duration], start: datetime) -> datetime:
    """Return the end of the longest grace that starts then."""
    return max(grace.add_to(start) for grace in graces)


def promised_date(
    graces: Sequence[Duration], notices: Sequence[Notice], eligible_at: datetime
) -> datetime | None:
    """Return the date that a counting notice allows, or None when none counts.

    A notice counts while the date is not before the one it promised.
    """
    allowed: list[datetime] = []
    for notice in notices:
        over = after_grace(graces, notice.at)
        date = max(eligible_at, over)
        if date >= (over if notice.promised is None else notice.promised):
            allowed.append(date)
    return min(allowed, default=None)


def owed_from(graces: Sequence[Duration], eligible_at: datetime, now: datetime) -> datetime:
    """Return the earliest instant after ``now`` at which the notice must go out for the date to hold.

    ``now`` itself is too early: its grace ends before the date.
    """
    return min(grace.start_for(eligible_at, after=now) for grace in graces)
