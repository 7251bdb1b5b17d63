"""The time as the core sees it: whole milliseconds since 1970, UTC, always an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

DAY_MS = 86_400_000
"""One day in milliseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME_MIN_MS = -62_135_596_800_000
"""The first millisecond of the year 1, before which a date cannot be written."""
TIME_MAX_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, beyond which a date cannot be written."""


class Clock(Protocol):
    """What tells the time; tests move it by hand."""

    def now_ms(self) -> int:
        """Return the wall clock's milliseconds since 1970, UTC."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back, for measuring and for deadlines."""
        ...


def rfc3339(at_ms: int, *, milliseconds: bool = False) -> str:
    """Return ``at_ms``, from ``TIME_MIN_MS`` to ``TIME_MAX_MS``, as an RFC 3339 date-time in UTC.

    ``2026-05-26T12:00:00Z``, or with milliseconds ``2026-05-26T12:00:00.000Z``.

    Source: RFC 3339, section 5.6.
    """
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds" if milliseconds else "seconds")[: -len("+00:00")] + "Z"


def parse_rfc3339(text: str) -> int | None:
    """Return the milliseconds of an ISO 8601 date-time, or None where it is not one.

    A time without an offset is UTC; a date alone is its midnight.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(milliseconds=1)


def month_of(at_ms: int) -> str:
    """Return the calendar month in UTC that holds ``at_ms``, as ``2026-05``."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m")


def next_month_ms(at_ms: int) -> int:
    """Return the first millisecond of the calendar month after the one that holds ``at_ms``."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    first = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1, day=1)
    first = first.replace(hour=0, minute=0, second=0, microsecond=0)
    return (first - _EPOCH) // timedelta(milliseconds=1)
