"""How long a provider asks to be left alone (RFC 9110 section 10.2.3, and OpenAI's millisecond variant)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

_ASKING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def retry_after(status: int, headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return seconds, or None where a 429 or 503 names none. ``headers`` has lower-case names.

    A date is counted from the answer's own Date where there is one: the two clocks may differ.
    """
    if status not in _ASKING:
        return None
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    asked = headers.get("retry-after")
    seconds = _number(asked)
    if seconds is not None:
        return seconds
    until = _date(asked)
    return max(0.0, (until - (_date(headers.get("date")) or now)).total_seconds()) if until else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
    # "-0000" gives no offset; HTTP dates are in UTC.
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
