"""Quiet hours: when they hold, when they end, over midnight and through a change of the clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.identifiers import subject_bucket
from tocsin.core.quiet_hours import (
    QuietHours,
    lane_bucket,
    quiet_hours_fault,
    quiet_over_ms,
    quiet_until_ms,
    urgent_lane,
)

NIGHT = QuietHours(start="22:00", end="07:00")
NOON = QuietHours(start="12:00", end="13:30")
BERLIN = QuietHours(start="22:00", end="07:00", timezone="Europe/Berlin")
DAY_MS = 86_400_000


def ms(text: str) -> int:
    """Return the milliseconds of a date-time in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("quiet", "at", "until"),
    [
        (NIGHT, "2026-05-26T21:59:59.999", None),
        (NIGHT, "2026-05-26T22:00", "2026-05-27T07:00"),
        (NIGHT, "2026-05-27T00:00", "2026-05-27T07:00"),
        (NIGHT, "2026-05-27T06:59:59.999", "2026-05-27T07:00"),
        (NIGHT, "2026-05-27T07:00", None),
        (NOON, "2026-05-26T11:59:59.999", None),
        (NOON, "2026-05-26T12:00", "2026-05-26T13:30"),
        (NOON, "2026-05-26T13:30", None),
        # In winter Berlin is an hour ahead of UTC, in summer two.
        (BERLIN, "2026-01-10T20:59", None),
        (BERLIN, "2026-01-10T21:00", "2026-01-11T06:00"),
        (BERLIN, "2026-07-10T20:00", "2026-07-11T05:00"),
        # The night of 2026-03-29 has one hour less, that of 2026-10-25 one more.
        (BERLIN, "2026-03-28T21:00", "2026-03-29T05:00"),
        (BERLIN, "2026-10-24T20:00", "2026-10-25T06:00"),
        (QuietHours(start="22:00", end="07:00", timezone="Pacific/Auckland"), "2026-05-26T11:00", "2026-05-26T19:00"),
    ],
)
def test_they_hold_from_start_to_end(quiet: QuietHours, at: str, until: str | None) -> None:
    assert quiet_until_ms(quiet, ms(at)) == (None if until is None else ms(until))


def test_without_any_nothing_is_held() -> None:
    assert quiet_until_ms(None, ms("2026-05-26T23:00")) is None
    assert quiet_over_ms(None, ms("2026-05-26T23:00"), ms("2026-05-27T08:00")) is None


def test_what_they_held_back_is_known_once_they_are_over() -> None:
    held = ms("2026-05-26T23:00")
    assert quiet_over_ms(NIGHT, held, ms("2026-05-27T06:59")) is None
    assert quiet_over_ms(NIGHT, held, ms("2026-05-27T07:00")) == ms("2026-05-27T07:00")
    assert quiet_over_ms(NIGHT, ms("2026-05-26T21:00"), ms("2026-05-27T07:00")) is None


@given(
    at_ms=st.integers(0, 4_000_000_000_000),
    start=st.integers(0, 1439),
    end=st.integers(0, 1439),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
)
def test_their_end_is_ahead_within_a_day_and_is_not_quiet_itself(
    at_ms: int, start: int, end: int, timezone: str
) -> None:
    quiet = QuietHours(
        start=f"{start // 60:02}:{start % 60:02}", end=f"{end // 60:02}:{end % 60:02}", timezone=timezone
    )
    until_ms = quiet_until_ms(quiet, at_ms)
    if until_ms is not None and start != end:
        assert at_ms < until_ms <= at_ms + DAY_MS + 2 * 3_600_000
        assert quiet_until_ms(quiet, until_ms) is None


@pytest.mark.parametrize(
    ("quiet", "field"),
    [
        (QuietHours(start="24:00", end="07:00"), "start"),
        (QuietHours(start="7:00", end="07:00"), "start"),
        (QuietHours(start="22.00", end="07:00"), "start"),
        (QuietHours(start="٢٢:00", end="07:00"), "start"),
        (QuietHours(start="22:00", end="07:60"), "end"),
        (QuietHours(start="22:00", end="22:00"), "end"),
        (QuietHours(start="22:00", end="07:00", timezone="Berlin"), "timezone"),
        (QuietHours(start="22:00", end="07:00", timezone=""), "timezone"),
        (QuietHours(start="22:00", end="07:00", timezone="../etc/passwd"), "timezone"),
        (QuietHours(start="22:00", end="07:00", timezone="a" * 5000), "timezone"),
        (QuietHours(start="22:00", end="07:00", timezone="Europe"), "timezone"),
    ],
)
def test_what_is_no_time_or_no_zone_is_told(quiet: QuietHours, field: str) -> None:
    fault = quiet_hours_fault(quiet)
    assert fault is not None
    assert fault[0] == field


def test_good_ones_have_no_fault() -> None:
    assert [quiet_hours_fault(each) for each in (NIGHT, NOON, BERLIN)] == [None, None, None]


@given(st.text(max_size=9))
def test_an_urgent_lane_is_where_the_usual_one_of_its_subject_is(subject: str) -> None:
    lane = subject.encode()
    assert lane_bucket(lane) == lane_bucket(urgent_lane(lane)) == subject_bucket(subject)
