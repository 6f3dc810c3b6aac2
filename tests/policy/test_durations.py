from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model.errors import Invalid
from worker.policy.durations import (
    AMBIGUOUS_DURATION,
    EMPTY_DURATION,
    NOT_A_DURATION,
    Duration,
    parse_duration,
)

_START = datetime(2026, 8, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("30d", "P30D"),
        ("4w", "P4W"),
        ("36h", "PT36H"),
        ("P30D", "P30D"),
        ("P6M", "P6M"),
        ("P1Y2M3W4DT5H6M7S", "P1Y2M3W4DT5H6M7S"),
        ("P0Y030D", "P30D"),
        ("PT90S", "PT90S"),
        ("P100Y", "P100Y"),
        ("36525d", "P36525D"),
    ],
)
def test_a_duration_is_printed_in_iso_8601(text: str, printed: str) -> None:
    assert str(parse_duration(text)) == printed


@pytest.mark.parametrize(
    ("one", "other"),
    [("4w", "28d"), ("P1Y", "P12M"), ("24h", "1d"), ("PT3600S", "1h"), ("P1DT12H", "36h"), ("30d", "P4W2D")],
)
def test_durations_are_compared_by_value(one: str, other: str) -> None:
    assert parse_duration(one) == parse_duration(other)
    assert hash(parse_duration(one)) == hash(parse_duration(other))
    assert parse_duration(one).canonical == parse_duration(other).canonical


def test_a_month_is_not_thirty_days() -> None:
    assert parse_duration("P1M") != parse_duration("30d")


@pytest.mark.parametrize("text", ["6m", "6M", "6mo", "15min"])
def test_minutes_or_months_is_asked_back(text: str) -> None:
    with pytest.raises(Invalid, match="ambiguous") as refused:
        parse_duration(text)
    assert refused.value.code == AMBIGUOUS_DURATION


@pytest.mark.parametrize("text", ["0d", "0h", "P0D", "PT0S", "P0Y0M", "-3d", "-P1D"])
def test_no_time_and_less_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="greater than zero") as refused:
        parse_duration(text)
    assert refused.value.code == EMPTY_DURATION


_NO_DURATIONS = """30|030|030d|30 d|30D|1y|d|P|PT|P1DT|PT5|P1.5D|PT0,5H|p30d|1e3d|P1D1M|12:30|P36526D|101y
P101Y|P999999999Y|999999999d|999999999w|3\u0660d|forever|""".replace("\n", "|").split("|")


@pytest.mark.parametrize("text", _NO_DURATIONS)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_duration(text)
    assert refused.value.code == NOT_A_DURATION
    assert refused.value.repair.startswith("Write")


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("P1M", datetime(2026, 9, 30, 12, tzinfo=UTC)),
        ("P6M", datetime(2027, 2, 28, 12, tzinfo=UTC)),
        ("P1Y6M", datetime(2028, 2, 29, 12, tzinfo=UTC)),
        ("P6M1D", datetime(2027, 3, 1, 12, tzinfo=UTC)),
        ("PT12H", datetime(2026, 9, 1, tzinfo=UTC)),
        ("P1W", datetime(2026, 9, 7, 12, tzinfo=UTC)),
    ],
)
def test_months_clamp_to_the_end_of_the_month_before_days_are_added(text: str, end: datetime) -> None:
    assert parse_duration(text).add_to(_START) == end


def test_a_day_is_24_hours_across_a_clock_change() -> None:
    offset = datetime.fromisoformat("2026-10-24T12:00:00+02:00")
    assert parse_duration("2d").add_to(offset) == datetime(2026, 10, 26, 10, tzinfo=UTC)


def test_adding_stops_at_the_last_instant() -> None:
    late = datetime(9999, 6, 1, tzinfo=UTC)
    for text in ("P1Y", "365d"):
        assert parse_duration(text).add_to(late) == datetime.max.replace(tzinfo=UTC)


def test_only_calendar_parts_have_no_exact_length() -> None:
    assert parse_duration("1w").as_timedelta() == timedelta(days=7)
    assert parse_duration("P1M").as_timedelta() is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("29d", "P1M", True),
        ("30d", "P1M", True),
        ("31d", "P1M", False),
        ("P1M", "28d", False),
        ("P1M", "30d", True),
    ],
)
def test_ends_before_asks_every_day_one_may_start_on(one: str, other: str, expected: bool) -> None:
    assert parse_duration(one).ends_before(parse_duration(other)) is expected


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("24h", 1),
        ("P1M", 31),
        ("P2M", 62),
        ("P3M", 92),
        ("P1Y", 366),
        ("P3Y", 1096),
        ("P7Y", 2557),
        ("P1M1D", 32),
    ],
)
def test_the_longest_that_a_duration_may_last(text: str, days: int) -> None:
    assert parse_duration(text).longest == timedelta(days=days)


_DURATIONS = st.builds(
    lambda months, seconds: Duration(months=months, rest=timedelta(seconds=seconds), text=""),
    st.integers(0, 1000),
    st.integers(1, 10**8),
)


@given(_DURATIONS, st.timedeltas(timedelta(), timedelta(days=20_000)))
def test_nothing_lasts_longer_than_the_longest(duration: Duration, since: timedelta) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC) + since
    assert duration.add_to(start) - start <= duration.longest


@given(_DURATIONS)
def test_the_canonical_text_reads_back_to_the_same_value(duration: Duration) -> None:
    assert parse_duration(duration.canonical) == duration
    assert str(parse_duration(duration.canonical)) == duration.canonical


@given(_DURATIONS, st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_a_later_start_never_ends_earlier(duration: Duration, one: datetime, other: datetime) -> None:
    assert duration.add_to(min(one, other)) <= duration.add_to(max(one, other))


@given(st.text(alphabet="0123456789PTYMWDHSdhwmo-. :", max_size=12))
def test_every_text_is_read_or_refused(text: str) -> None:
    try:
        duration = parse_duration(text)
    except Invalid:
        return
    assert parse_duration(str(duration)) == duration


_LENGTHS = st.sampled_from(["1h", "30d", "P1M", "P2M", "P1Y", "P1MT5H", "P2M10D"]).map(parse_duration)
_NEAR_MONTHS_END = st.builds(
    lambda start, hours, micros: start + timedelta(hours=hours, microseconds=micros),
    st.sampled_from([datetime(year, 1, 27, tzinfo=UTC) for year in (2023, 2024)]),
    st.integers(0, 24 * 90),
    st.sampled_from([0, 1, 999_999]),
)


@given(_LENGTHS, _NEAR_MONTHS_END, _NEAR_MONTHS_END, st.lists(st.integers(1, 24 * 60), max_size=20))
def test_the_start_for_an_end_is_the_earliest(
    length: Duration, after: datetime, end: datetime, hours: list[int]
) -> None:
    end += length.rest + timedelta(days=31 * length.months)
    if length.add_to(after) < end:
        start = length.start_for(end, after=after)
        assert start > after
        assert length.add_to(start) >= end
        earlier = [start - timedelta(microseconds=1), *(start - timedelta(hours=some) for some in hours)]
        assert [one for one in earlier if one >= after and length.add_to(one) >= end] == []


def test_where_a_months_last_days_end_on_one_day_the_first_that_reaches_the_end_counts() -> None:
    month, end = parse_duration("P1M"), datetime(2026, 2, 28, 20, tzinfo=UTC)
    first = datetime(2026, 1, 28, 20, tzinfo=UTC)
    assert month.start_for(end, after=datetime(2026, 1, 2, tzinfo=UTC)) == first
    # On the 29th before that hour it ends too soon again.
    assert month.start_for(end, after=datetime(2026, 1, 29, 3, tzinfo=UTC)) == first + timedelta(days=1)
