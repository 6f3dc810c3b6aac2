from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model.clock import parse_rfc3339, rfc3339
from worker.model.errors import Invalid
from worker.policy.document import Schedule
from worker.policy.schedule import check_cron, check_zone, clock_changes, latest_slot

_NIGHTLY = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")


def _latest(schedule: Schedule, after: str, now: str) -> str | None:
    slot = latest_slot(schedule, after=parse_rfc3339(after), now=parse_rfc3339(now))
    return rfc3339(slot) if slot else None


@pytest.mark.parametrize(
    ("cron", "after", "now", "slot"),
    [
        ("* * * * *", "2026-11-22T00:00:00Z", "2026-11-22T00:00:59Z", None),
        ("* * * * *", "2026-11-22T00:00:00Z", "2026-11-22T00:01:00Z", "2026-11-22T00:01:00Z"),
        ("* * * * *", "2000-01-01T00:00:00Z", "2026-11-22T00:01:30Z", "2026-11-22T00:01:00Z"),
        ("15 3 * * *", "2026-11-20T03:15:00Z", "2026-11-22T03:14:59Z", "2026-11-21T03:15:00Z"),
        ("15 3 * * *", "2026-11-22T03:15:00Z", "2026-11-22T23:00:00Z", None),
        ("0 4 1 * *", "2026-01-01T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-01T04:00:00Z"),
        ("0 0 29 2 *", "2020-01-01T00:00:00Z", "2026-11-22T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("* * * * *", "2026-11-22T00:05:00Z", "2026-11-22T00:01:00Z", None),
    ],
)
def test_the_newest_slot_after_one_instant_and_up_to_another(
    cron: str, after: str, now: str, slot: str | None
) -> None:
    assert _latest(Schedule(cron=cron), after, now) == slot


def test_cron_is_wall_clock_time_of_its_zone() -> None:
    assert _latest(_NIGHTLY, "2026-07-01T12:00:00Z", "2026-07-02T12:00:00Z") == "2026-07-02T00:30:00Z"
    assert _latest(_NIGHTLY, "2026-12-01T12:00:00Z", "2026-12-02T12:00:00Z") == "2026-12-02T01:30:00Z"


def _all_slots(schedule: Schedule, after: datetime, now: datetime) -> list[datetime]:
    found: list[datetime] = []
    while slot := latest_slot(schedule, after=after, now=now):
        found.append(slot)
        now = slot - timedelta(microseconds=1)
    return found[::-1]


@pytest.mark.parametrize(
    ("day", "slot"), [("2027-03-28", "2027-03-28T01:30:00Z"), ("2027-10-31", "2027-10-31T00:30:00Z")]
)
def test_a_slot_in_a_clock_change_runs_once(day: str, slot: str) -> None:
    midnight = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=ZoneInfo("Europe/Berlin"))
    slots = _all_slots(_NIGHTLY, midnight.astimezone(UTC), midnight.astimezone(UTC) + timedelta(hours=23))
    assert [rfc3339(one) for one in slots] == [slot]


@pytest.mark.parametrize(
    ("zone", "day", "cron", "slot"),
    [
        # A gap: the slot counts at the instant the wall clock would have shown without the change.
        ("Europe/Berlin", "2027-03-28", "0 2 * * *", "2027-03-28T01:00:00Z"),
        ("Europe/Berlin", "2027-03-28", "59 2 * * *", "2027-03-28T01:59:00Z"),
        ("Europe/Berlin", "2027-03-28", "0 3 * * *", "2027-03-28T01:00:00Z"),
        ("America/New_York", "2027-03-14", "30 2 * * *", "2027-03-14T07:30:00Z"),
        ("America/New_York", "2027-03-14", "0 3 * * *", "2027-03-14T07:00:00Z"),
        ("Australia/Lord_Howe", "2027-10-03", "15 2 * * *", "2027-10-02T15:45:00Z"),
        ("America/Santiago", "2027-09-05", "30 0 * * *", "2027-09-05T04:30:00Z"),
        # An overlap: the slot counts at its first occurrence.
        ("Europe/Berlin", "2027-10-31", "0 2 * * *", "2027-10-31T00:00:00Z"),
        ("Europe/Berlin", "2027-10-31", "59 2 * * *", "2027-10-31T00:59:00Z"),
        ("Europe/Berlin", "2027-10-31", "0 3 * * *", "2027-10-31T02:00:00Z"),
        ("America/New_York", "2027-11-07", "30 1 * * *", "2027-11-07T05:30:00Z"),
        ("America/New_York", "2027-11-07", "0 2 * * *", "2027-11-07T07:00:00Z"),
        ("Australia/Lord_Howe", "2027-04-04", "45 1 * * *", "2027-04-03T14:45:00Z"),
        ("America/Santiago", "2027-04-03", "30 23 * * *", "2027-04-04T02:30:00Z"),
    ],
)
def test_a_gap_and_an_overlap_of_any_zone_has_its_slot_once(
    zone: str, day: str, cron: str, slot: str
) -> None:
    schedule = Schedule(cron=cron, timezone=zone)
    midnight = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=ZoneInfo(zone))
    start, end = midnight, midnight + timedelta(days=1)  # by the wall clock: that day has not 24 hours
    moment = timedelta(microseconds=1)
    slots = _all_slots(schedule, start.astimezone(UTC) - moment, end.astimezone(UTC) - moment)
    assert [rfc3339(one) for one in slots] == [slot]


@settings(max_examples=15)
@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(2026, 2028),
)
def test_a_daily_slot_comes_once_for_every_day_of_a_year(
    zone: str, hour: int, minute: int, year: int
) -> None:
    schedule = Schedule(cron=f"{minute} {hour} * * *", timezone=zone)
    start = datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(seconds=1)
    end = datetime(year + 1, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(seconds=1)
    slots = _all_slots(schedule, start, end)
    days = (end - start).days
    assert len(slots) == len(set(slots)) == days
    assert slots == sorted(slots)


def test_a_schedule_of_every_hour_goes_on_through_both_clock_changes() -> None:
    hourly = Schedule(cron="0 * * * *", timezone="Europe/Berlin")
    for change in ("2027-03-28T01:00:00Z", "2027-10-31T01:00:00Z"):
        start = parse_rfc3339(change) - timedelta(hours=4)
        slots = _all_slots(hourly, start, start + timedelta(hours=8))
        assert slots == [start + timedelta(hours=count) for count in range(1, 9)]


@settings(max_examples=60)
@given(
    st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 */6 * * *", "5 1 * * 1-5", "59 23 31 12 *"]),
    st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.timedeltas(timedelta(), timedelta(days=400)),
    st.timedeltas(timedelta(), timedelta(days=400)),
)
def test_a_slot_does_not_depend_on_when_it_is_asked_for(
    cron: str, zone: str, start: datetime, first: timedelta, second: timedelta
) -> None:
    schedule = Schedule(cron=cron, timezone=zone)
    earlier, later = start + min(first, second), start + max(first, second)
    whole = latest_slot(schedule, after=start, now=later)
    tail = latest_slot(schedule, after=earlier, now=later)
    head = latest_slot(schedule, after=start, now=earlier)
    assert whole == (tail or head)
    assert whole is None or start < whole <= later


_NO_CRONS = """30 2 * *|@daily|0 30 2 * * *|61 * * * *|* 24 * * *|* * * * mon-|0 0 31 2 *|0 0 30 FEB *|
a b c d e|*/0 * * * *|"""


@pytest.mark.parametrize("cron", _NO_CRONS.replace("\n", "").split("|"))
def test_what_is_no_cron_or_never_comes_is_refused(cron: str) -> None:
    with pytest.raises(Invalid, match="cron"):
        check_cron(cron)


@pytest.mark.parametrize("cron", ["30 2 * * *", "*/5 0-6 * * MON-FRI", "0 0 29 2 *", "0 4 L * *"])
def test_five_fields_that_come_are_accepted(cron: str) -> None:
    check_cron(cron)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "localtime", "../../etc/passwd", "europe/berlin"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(Invalid, match="time zone"):
        check_zone(zone)


def test_clock_changes_are_told_of_schedules_that_meet_one() -> None:
    since = datetime(2026, 11, 22, tzinfo=UTC)
    assert clock_changes(_NIGHTLY, since=since) == (
        "02:30 does not exist on 2027-03-28 and occurs twice on 2027-10-31"
    )
    assert not clock_changes(Schedule(cron="30 4 * * *", timezone="Europe/Berlin"), since=since)
    assert not clock_changes(Schedule(cron="30 2 * * *"), since=since)
    assert not clock_changes(Schedule(cron="30 * * * *", timezone="Europe/Berlin"), since=since)
