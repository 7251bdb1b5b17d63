"""Dropping what is past its time, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import BUCKETS, first_id_at
from tocsin.engine.postgres import spans
from tocsin.engine.postgres.pool import Pool
from tocsin.engine.postgres.sql import Connection, fetch, fetch_by_ids, fetch_of_ids, fetch_part

_PORTION = 500
"""Rows that are looked at in one transaction."""

_DEPENDENTS = ("drop_attempts_of_events", "drop_history_of_events")
_KEYED_DEPENDENTS = ("drop_transactions_of_events", "drop_replayed", "drop_events")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept; None is for ever.

    Attributes:
        slack_ms: how much longer an event may stay, so that it goes with all of its span instead of on its own.
        jobs_ms: from their end on.
    """

    events_ms: int | None
    slack_ms: int
    audit_ms: int | None
    jobs_ms: int | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far a round has come, behind which it goes on.

    Attributes:
        spans: False once no more spans are to be dropped in this round.
        events: number of the part, bucket and id.
        incidents: number of the part, and id.
    """

    spans: bool = True
    events: tuple[int, int, bytes] = (0, 0, b"")
    incidents: tuple[int, bytes] = (0, b"")


# There are never more parts than buckets.
_END = Place(spans=False, events=(BUCKETS, 0, b""), incidents=(BUCKETS, b""))


class Portion(msgspec.Struct, frozen=True):
    """What one call did.

    Attributes:
        more: whether there is more to do in this round.
        place: where the next call begins; a new round where there is no more.
    """

    more: bool
    place: Place


async def tend(
    pool: Pool,
    *,
    now_ms: int,
    kept: Kept,
    place: Place,
    budget_ms: int,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Portion:
    """Drop expired keys and mailbox items, and events past retention with all that hangs on them; jobs, audit.

    Each portion is a transaction of its own, so that no lock is held for long. Whole spans go first; what is left of
    one, since something of it was under way, goes row by row once the slack is over too.
    """
    deadline_s = monotonic_s() + budget_ms / 1000
    more = True
    while more and monotonic_s() < deadline_s:
        swept = await pool.write(lambda c, _: _sweep(c, now_ms, kept))
        more = swept == _PORTION
        if kept.events_ms is not None:
            place = await _drop_old(pool, place, now_ms - kept.events_ms, kept.slack_ms)
            more = more or place != _END
    return Portion(more, place if more else Place())


async def _sweep(connection: Connection, now_ms: int, kept: Kept) -> int:
    """Drop a portion of everything that goes by a time of its own; return the most that was dropped of one kind."""
    sweeps: list[tuple[Any, ...]] = [("expired_items", now_ms)]
    if kept.jobs_ms is not None:
        sweeps.append(("old_jobs", now_ms - kept.jobs_ms))
    if kept.audit_ms is not None:
        sweeps.append(("old_audit", first_id_at(now_ms - kept.audit_ms)))
    by_part: list[tuple[Any, ...]] = [("expired_keys", now_ms)]
    if kept.events_ms is not None:
        by_part.append(("old_posted", first_id_at(now_ms - kept.events_ms)))
    swept = [len(await fetch(connection, *sweep, _PORTION)) for sweep in sweeps]
    for name, before in by_part:
        swept += [
            len(await fetch_part(connection, name, buckets, before, _PORTION)) for buckets in connection.parts.all
        ]
    return max([*swept, await spans.sweep_dropped(connection, _PORTION)])


async def _drop_old(pool: Pool, place: Place, before_ms: int, slack_ms: int) -> Place:
    if place.spans:
        return msgspec.structs.replace(place, spans=await _dropped_a_span(pool, before_ms))
    return Place(
        spans=False,
        events=await pool.write(lambda c, _: _drop_events(c, place.events, before_ms - slack_ms)),
        incidents=await pool.write(lambda c, _: _drop_incidents(c, place.incidents, before_ms)),
    )


async def _dropped_a_span(pool: Pool, before_ms: int) -> bool:
    try:
        return await pool.write(lambda c, _: spans.drop_one(c, before_ms))
    except Unavailable:
        # Somebody reads it: the next round tries again.
        return False


async def _drop_events(
    connection: Connection, after: tuple[int, int, bytes], before_ms: int
) -> tuple[int, int, bytes]:
    """Drop the next events of a part that are not kept; return behind which to go on."""
    part, *behind = after
    if part == BUCKETS:
        return _END.events
    buckets = connection.parts.all[part]
    old = await fetch_part(connection, "old_events", buckets, *behind, first_id_at(before_ms), _PORTION)
    ids = [row[1] for row in old]
    under_way = {row[0] for row in await fetch_of_ids(connection, "events_with_deliveries", ids)}
    under_way |= {row[0] for row in await fetch(connection, "events_with_items", ids)}
    gone = [each for each in ids if each not in under_way]
    for name in _DEPENDENTS:
        await fetch_of_ids(connection, name, gone)
    for name in _KEYED_DEPENDENTS:
        await fetch_by_ids(connection, name, gone)
    if len(old) == _PORTION:
        return part, old[-1][0], old[-1][1]
    return (part + 1, 0, b"") if part + 1 < len(connection.parts.all) else _END.events


async def _drop_incidents(connection: Connection, after: tuple[int, bytes], before_ms: int) -> tuple[int, bytes]:
    part, behind = after
    if part == BUCKETS:
        return _END.incidents
    buckets = connection.parts.all[part]
    old = await fetch_part(connection, "old_incidents", buckets, behind, first_id_at(before_ms), _PORTION, before_ms)
    await fetch_by_ids(connection, "drop_incidents", [row[1] for row in old if not row[2]])
    if len(old) == _PORTION:
        return part, old[-1][1]
    return (part + 1, b"") if part + 1 < len(connection.parts.all) else _END.incidents
