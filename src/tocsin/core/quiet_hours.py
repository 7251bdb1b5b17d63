"""Quiet hours: when a destination is left alone, unless it is critical."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tocsin.core.event import TEST_TYPE, Event, Severity
from tocsin.core.identifiers import subject_bucket

_URGENT = b"\xff"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class QuietHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time of every day in which nothing is told that can wait.

    Attributes:
        start: when it begins, ``HH:MM`` in local time.
        end: when it ends, ``HH:MM``; on the next day where it is not after ``start``.
        timezone: an IANA name such as ``Europe/Berlin``.
    """

    start: str
    end: str
    timezone: str = "UTC"


def quiet_hours_fault(quiet: QuietHours) -> tuple[str, str] | None:
    """Return the field that is at fault and what is wrong with it, or None."""
    for field in ("start", "end"):
        if _clock_time(getattr(quiet, field)) is None:
            return field, "must be a time of day, HH:MM"
    if quiet.start == quiet.end:
        return "end", "must not be the same as start"
    try:
        ZoneInfo(quiet.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "timezone", "must be the IANA name of a time zone, such as Europe/Berlin"
    return None


def quiet_until_ms(quiet: QuietHours | None, at_ms: int) -> int | None:
    """Return when the quiet hours that hold ``at_ms`` end, or None where none hold it.

    They follow the clock on the wall: a night in which the clock is changed is an hour shorter or longer.
    """
    if quiet is None:
        return None
    start, end = _clock_time(quiet.start), _clock_time(quiet.end)
    if start is None or end is None:
        return None
    zone = ZoneInfo(quiet.timezone)
    today = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).date()
    for begins in (today - timedelta(days=1), today):
        ends = begins if start < end else begins + timedelta(days=1)
        end_ms = _at_ms(ends, end, zone)
        if _at_ms(begins, start, zone) <= at_ms < end_ms:
            return end_ms
    return None


def quiet_over_ms(quiet: QuietHours | None, accepted_ms: int, now_ms: int) -> int | None:
    """Return when those quiet hours ended that held back what was accepted then, or None where none did."""
    ended_ms = quiet_until_ms(quiet, accepted_ms)
    return ended_ms if ended_ms is not None and ended_ms <= now_ms else None


def may_wait(event: Event) -> bool:
    """Return whether quiet hours hold an event back: not what is critical, nor a test, which somebody waits for."""
    return event.severity is not Severity.CRITICAL and event.type != TEST_TYPE


def urgent_lane(lane: bytes) -> bytes:
    """Return the ordering key of what is critical within quiet hours: what these hold back must not hold it back.

    No text encodes to it, so that it is no other subject's.
    """
    return _URGENT + lane


def lane_bucket(lane: bytes) -> int:
    """Return the bucket of everything in a lane, an urgent one's too: that of the subject which it keeps in order."""
    return subject_bucket(lane.removeprefix(_URGENT).decode())


def _clock_time(text: str) -> time | None:
    hours, colon, minutes = text.partition(":")
    if not (colon and len(hours) == len(minutes) == 2 and text.isascii() and (hours + minutes).isdigit()):
        return None
    if int(hours) > 23 or int(minutes) > 59:
        return None
    return time(int(hours), int(minutes))


def _at_ms(day: date, at: time, zone: ZoneInfo) -> int:
    return (datetime.combine(day, at, zone).astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
