"""Dropping what is past its time, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import apsw
import msgspec

from tocsin.core.identifiers import first_id_at
from tocsin.engine.sqlite.sql import SQL

_PORTION = 200
"""Rows that are looked at at once."""

_BEHIND_EVERY_ID = b"\xff" * 17

_DEPENDENTS = (
    "drop_attempts_of_event",
    "drop_history_of_event",
    "drop_transactions_of_event",
    "drop_replayed",
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept; None is for ever.

    Attributes:
        jobs_ms: from their end on.
    """

    events_ms: int | None
    audit_ms: int | None
    jobs_ms: int | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far a round has come: behind which ids it goes on.

    What is kept past its time may be much, and is looked at once in a round.
    """

    events: bytes = b""
    incidents: bytes = b""


class Portion(msgspec.Struct, frozen=True):
    """What one call did.

    Attributes:
        more: whether there is more to do in this round.
        place: where the next call begins; a new round where there is no more.
    """

    more: bool
    place: Place


def tend(
    connection: apsw.Connection,
    *,
    now_ms: int,
    kept: Kept,
    place: Place,
    budget_ms: int,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Portion:
    """Drop expired keys and mailbox items, and events past retention with all that hangs on them; jobs, audit.

    An event is kept while a delivery of it is live or an item of it waits in a mailbox, an incident while it is open.
    """
    deadline_s = monotonic_s() + budget_ms / 1000

    def is_late() -> bool:
        return monotonic_s() >= deadline_s

    more = True
    while more and not is_late():
        swept = [_count(connection, name, now_ms) for name in ("expired_keys", "expired_items")]
        if kept.jobs_ms is not None:
            swept.append(_count(connection, "old_jobs", now_ms - kept.jobs_ms))
        if kept.audit_ms is not None:
            swept.append(_count(connection, "old_audit", first_id_at(now_ms - kept.audit_ms)))
        if kept.events_ms is not None:
            swept.append(_count(connection, "old_posted", first_id_at(now_ms - kept.events_ms)))
        more = max(swept) == _PORTION
        if kept.events_ms is not None:
            before_ms = now_ms - kept.events_ms
            place = Place(
                events=_drop_events(connection, place.events, before_ms, is_late),
                incidents=_drop_incidents(connection, place.incidents, before_ms),
            )
            more = more or place != _END
    return Portion(more, place if more else Place())


_END = Place(events=_BEHIND_EVERY_ID, incidents=_BEHIND_EVERY_ID)


def _count(connection: apsw.Connection, name: str, *bindings: Any) -> int:
    return len(connection.execute(SQL[name], (*bindings, _PORTION)).fetchall())


def _drop_events(connection: apsw.Connection, after: bytes, before_ms: int, is_late: Callable[[], bool]) -> bytes:
    """Drop the next events that are not kept, at least one if there are any; return behind which id to go on."""
    old: list[Any] = connection.execute(SQL["old_events"], (after, first_id_at(before_ms), _PORTION)).fetchall()
    for event_id, seq, is_kept in old:
        if is_kept:
            continue
        for name in _DEPENDENTS:
            connection.execute(SQL[name], (event_id,))
        connection.execute(SQL["drop_event"], (seq,))
        # Much may hang on a single event.
        if is_late():
            return bytes(event_id)
    return _place_behind(old)


def _drop_incidents(connection: apsw.Connection, after: bytes, before_ms: int) -> bytes:
    bindings = (after, first_id_at(before_ms), _PORTION, before_ms)
    old = connection.execute(SQL["old_incidents"], bindings).fetchall()
    for incident_id, is_kept in old:
        if not is_kept:
            connection.execute(SQL["drop_incident"], (incident_id,))
    return _place_behind(old)


def _place_behind(rows: list[Any]) -> bytes:
    return bytes(rows[-1][0]) if len(rows) == _PORTION else _BEHIND_EVERY_ID
