"""Following events in the order of their positions, none left out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from tocsin.core.event import Event
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.engine.codec import event_of
from tocsin.engine.payloads import fitting
from tocsin.engine.postgres.positions import settled_bound
from tocsin.engine.postgres.reading import Reader, readers_of
from tocsin.engine.postgres.sql import Connection, Row, fetch_of_ids
from tocsin.engine.rows import TailPage

_POSITIONS_MAX = 10_000
"""Events that one page of a tail looks at; of a quiet organisation among busy ones most are passed over."""

_PAUSES_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.03)
"""Before each further look for what is stored but not yet safe to be told."""


async def tail(
    connection: Connection,
    cursor: int | None,
    limit: int,
    *,
    back: int,
    organisations: frozenset[OrganisationId] | None,
    with_data: bool,
    with_destinations: bool,
    page_bytes_max: int,
) -> TailPage:
    """Return events behind ``cursor`` in the order of their positions, which begin with their transactions' ids.

    What was stored while an older transaction is still open is not told before that one has ended, since it may store
    events that come before. Such a transaction mostly ends within milliseconds, and who asks is kept waiting for it
    rather than sent away with nothing; a longer one only delays what is told.
    """
    ends = await _ends(connection, cursor)
    newest = max((each.newest for each in ends), default=0)
    if cursor is None:
        return TailPage([], await _position_before(ends, newest, back))
    # Mostly few parts have anything new.
    readers = [each.reader for each in ends if each.newest > cursor]
    until = await _until(readers, cursor, newest)
    whose = None if organisations is None else list(organisations)
    # A store that was put back from a copy may end before the cursor.
    last, reached = until, max(cursor, until)
    if with_data:
        sizes = await _in_order(readers, "tail_sizes", cursor, until, whose, limit, limit=limit)
        fit, is_cut = fitting(sizes, lambda row: int(row[1]), page_bytes_max)
        last = fit[-1][0] if fit else cursor
        if is_cut or len(fit) == limit:
            # Whatever of these events is dropped before it is read, nothing behind them is passed over.
            reached = last
    rows = (
        await _in_order(readers, "tail", cursor, last, with_data, whose, limit, limit=limit) if last > cursor else []
    )
    if len(rows) == limit:
        reached = rows[-1][0]
    events = [event_of(each[1:]) for each in rows]
    return TailPage(
        events,
        reached,
        positions=[each[0] for each in rows],
        destinations=await _destinations(connection, events) if with_destinations else [],
        more=reached < newest,
    )


class _End(msgspec.Struct, frozen=True):
    """The position of a part's newest event that is safe to be told, 0 where there is none."""

    reader: Reader
    newest: int


async def _ends(connection: Connection, cursor: int | None) -> list[_End]:
    """Return where each part ends.

    Where something is stored that is not safe to be told, it looks closer at what that waits for; where nothing is
    new, it looks again in a moment.
    """
    ends: list[_End] = []
    for pause_s in (*_PAUSES_S, None):
        ends, is_behind = await _ends_at(connection, await settled_bound(connection))
        if is_behind and not connection.parts.is_cluster:
            ends, is_behind = await _ends_at(connection, await settled_bound(connection, closer=True))
        is_new = cursor is not None and any(each.newest > cursor for each in ends)
        if not is_behind or is_new or pause_s is None:
            break
        await asyncio.sleep(pause_s)
    return ends


async def _ends_at(connection: Connection, bound: int) -> tuple[list[_End], bool]:
    """Return where each part ends below a bound, and whether any goes on behind it."""
    ends: list[_End] = []
    goes_on = False
    for reader in readers_of(connection):
        ((newest, is_behind),) = await reader.fetch("tail_ends", bound)
        ends.append(_End(reader, newest or 0))
        goes_on = goes_on or is_behind
    return ends, goes_on


async def _position_before(ends: Sequence[_End], newest: int, back: int) -> int:
    """Return the position behind which there are so many events up to the newest, 0 where there are no more."""
    if not back:
        return newest
    readers = [each.reader for each in ends]
    # Of one part only that position is read; all of them may lie in any of several.
    skipped = back if len(readers) == 1 else 0
    found = [row[0] for each in readers for row in await each.fetch("tail_back", newest, skipped, back + 1 - skipped)]
    found.sort(reverse=True)
    return int(found[back - skipped]) if len(found) > back - skipped else 0


async def _until(readers: Sequence[Reader], cursor: int, newest: int) -> int:
    """Return up to which position a page looks: in each part at its share of the events, and in all as far."""
    until = newest
    for reader in readers:
        reach = await reader.fetch("tail_reach", cursor, newest, max(1, _POSITIONS_MAX // len(readers)) - 1)
        until = min(until, reach[0][0]) if reach else until
    return until


async def _in_order(readers: Sequence[Reader], name: str, *bindings: Any, limit: int) -> list[Row]:
    """Return the first rows that a statement gives for the parts, by their positions."""
    found = [row for each in readers for row in await each.fetch(name, *bindings)]
    if len(readers) > 1:
        found.sort(key=lambda row: row[0])
    return found[:limit]


async def _destinations(connection: Connection, events: Sequence[Event]) -> list[frozenset[DestinationId]]:
    """Return where the deliveries of each event go."""
    found: dict[bytes, set[DestinationId]] = {event.id: set() for event in events}
    for event_id, destination_id in await fetch_of_ids(connection, "destinations_of_events", found):
        found[event_id].add(destination_id)
    return [frozenset(found[event.id]) for event in events]
