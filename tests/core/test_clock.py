"""Times are written as RFC 3339, read back, and put into their calendar month."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.clock import DAY_MS, TIME_MAX_MS, TIME_MIN_MS, month_of, next_month_ms, parse_rfc3339, rfc3339
from tocsin.testing.clock import START_MS, ManualClock

TIMES = st.integers(TIME_MIN_MS, TIME_MAX_MS)
"""The years 1 to 9999."""


@given(TIMES)
def test_a_time_is_read_back_as_it_was_written(at_ms: int) -> None:
    assert parse_rfc3339(rfc3339(at_ms, milliseconds=True)) == at_ms
    assert parse_rfc3339(rfc3339(at_ms)) == at_ms - at_ms % 1000


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (TIME_MAX_MS, "9999-12-31T23:59:59.999Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (951_782_400_001, "2000-02-29T00:00:00.001Z"),
    ],
)
def test_times_are_written_so(at_ms: int, text: str) -> None:
    assert rfc3339(at_ms, milliseconds=True) == text
    assert rfc3339(at_ms) == f"{text[:19]}Z"


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-02", DAY_MS),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.1239Z", 123),
        ("1969-12-31T23:59:59.9995Z", -1),
    ],
)
def test_times_are_read_so(text: str, at_ms: int) -> None:
    assert parse_rfc3339(text) == at_ms


@pytest.mark.parametrize(
    "text", ["", "now", "1970-13-01", "1970-01-01T25:00:00Z", "10000-01-01", "1970-01-01T00:00:00ZZ"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_rfc3339(text) is None


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    assert parse_rfc3339(text) is None or isinstance(parse_rfc3339(text), int)


@given(st.integers(0, TIME_MAX_MS - 32 * DAY_MS))
def test_a_month_ends_where_the_next_begins(at_ms: int) -> None:
    next_ms = next_month_ms(at_ms)
    assert at_ms < next_ms <= at_ms + 31 * DAY_MS
    assert month_of(at_ms) == month_of(next_ms - 1) < month_of(next_ms)
    first = datetime.fromtimestamp(next_ms / 1000, UTC)
    assert (first.day, first.hour, first.minute, first.second, first.microsecond) == (1, 0, 0, 0, 0)


def test_a_leap_day_belongs_to_february() -> None:
    leap_day_ms = parse_rfc3339("2028-02-29T23:59:59.999Z")
    assert leap_day_ms is not None
    assert month_of(leap_day_ms) == "2028-02"
    assert next_month_ms(leap_day_ms) == leap_day_ms + 1


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock()
    assert (clock.now_ms(), clock.monotonic_s()) == (START_MS, 0.0)
    clock.advance_ms(1500)
    assert (clock.now_ms(), clock.monotonic_s()) == (START_MS + 1500, 1.5)
    clock.set_ms(0)
    assert (clock.now_ms(), clock.monotonic_s()) == (0, 1.5)
