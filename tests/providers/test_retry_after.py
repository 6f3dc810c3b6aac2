from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.providers.retry_after import retry_after

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "900000"}, 900_000.0),
        ({"retry-after-ms": "250", "retry-after": "20"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "20"}, 20.0),
        ({"retry-after": "Sun, 22 Nov 2026 08:01:00 GMT"}, 60.0),
        ({"retry-after": "Sun, 22 Nov 2026 08:01:00 -0000"}, 60.0),
        ({"retry-after": "Sun, 22 Nov 2026 07:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 22 Nov 2026 09:00:10 GMT", "date": "Sun, 22 Nov 2026 09:00:00 GMT"}, 10.0),
        ({"retry-after": "31536000"}, 31_536_000.0),
        ({"retry-after": "Mon, 22 Nov 2027 08:00:00 GMT"}, 31_536_000.0),
        ({"retry-after-ms": "86400000"}, 86_400.0),
        ({"retry-after-ms": "0", "retry-after": "20"}, 0.0),
        ({"retry-after-ms": "-1", "retry-after": "20"}, 20.0),
        ({"retry-after": "Sun, 22 Nov 2026 08:01:00 GMT", "date": "yesterday"}, 60.0),
        ({"retry-after": "Sunday, 22-Nov-26 08:01:00 GMT"}, 60.0),
        ({"retry-after": "Sun, 22 Nov 2026 08:59:50 GMT", "date": "Sun, 22 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Sun, 99 Nov 2026 08:01:00 GMT"}, None),
    ],
)
def test_seconds_a_date_and_milliseconds_are_understood(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(429, headers, now=NOW) == seconds
    assert retry_after(503, headers, now=NOW) == seconds


@pytest.mark.parametrize("status", [200, 301, 404, 500])
def test_only_429_and_503_ask_for_patience(status: int) -> None:
    assert retry_after(status, {"retry-after": "20"}, now=NOW) is None
