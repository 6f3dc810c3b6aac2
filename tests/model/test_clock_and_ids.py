from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model import ids
from worker.model.clock import SystemClock, parse_rfc3339, rfc3339

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


@given(MOMENTS)
def test_an_instant_survives_being_written_and_read(at: datetime) -> None:
    assert parse_rfc3339(rfc3339(at)) == at


def test_whole_seconds_have_no_fraction_and_others_have_six_digits() -> None:
    at = datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert rfc3339(at) == "2026-11-22T08:00:00Z"
    assert rfc3339(at + timedelta(milliseconds=1)) == "2026-11-22T08:00:00.001000Z"


def test_an_offset_is_turned_into_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    assert rfc3339(datetime(2026, 11, 22, 9, tzinfo=berlin)) == "2026-11-22T08:00:00Z"
    assert parse_rfc3339("2026-11-22T09:00:00+01:00") == datetime(2026, 11, 22, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "2026-11-22", "2026-11-22T08:00:00", "20261122T080000.000Z", "tomorrow at eight"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|offset"):
        parse_rfc3339(text)


def test_the_system_clock_is_aware_and_its_count_never_steps_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


@given(MOMENTS)
def test_a_uuid7_begins_with_its_milliseconds_and_has_version_and_variant(at: datetime) -> None:
    made = ids.uuid7(at)
    millis = int(at.timestamp() * 1000)
    assert re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", made)
    assert int(made[:12], 16) == millis


@given(MOMENTS, st.binary(min_size=ids.UUID7_BYTES, max_size=ids.UUID7_BYTES))
def test_a_uuid7_of_given_bytes_has_all_their_bits_but_six(at: datetime, tail: bytes) -> None:
    """RFC 9562 section 5.7: 48 bits of milliseconds, version, 12 random bits, variant, 62 random bits."""
    millis = int(at.timestamp() * 1000) & (1 << 48) - 1
    high = int.from_bytes(tail[:2], "big") & (1 << 12) - 1
    low = int.from_bytes(tail[2:], "big") & (1 << 62) - 1
    fields = millis << 80 | 0b0111 << 76 | high << 64 | 0b10 << 62 | low
    assert ids.uuid7_of(at, tail) == f"{fields:032x}"


def test_ids_sort_by_the_time_they_were_made_and_do_not_repeat() -> None:
    start = datetime(2026, 11, 22, tzinfo=UTC)
    made = [ids.new_id("thr", start + timedelta(milliseconds=n)) for n in range(50)]
    assert made == sorted(made)
    assert len({ids.uuid7(start) for _ in range(100)}) == 100


def test_tokens_and_bytes_have_the_asked_length() -> None:
    assert re.fullmatch(r"[A-Za-z0-9]{43}", ids.random_token(43))
    assert len(ids.random_bytes(16)) == 16
    assert 0 <= ids.jitter() < 1
