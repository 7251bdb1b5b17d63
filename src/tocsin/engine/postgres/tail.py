"""Following events in the order of their positions, none left out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tocsin.core.event import Event
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.engine.codec import event_of
from tocsin.engine.payloads import fitting
from tocsin.engine.postgres.sql import Connection, fetch
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
    newest = await _newest(connection, cursor)
    if cursor is None:
        return TailPage([], newest)
    reach = await fetch(connection, "tail_reach", cursor, newest, _POSITIONS_MAX - 1)
    until = reach[0][0] if reach else newest
    whose = None if organisations is None else list(organisations)
    count, is_cut = limit, False
    if with_data:
        sizes = await fetch(connection, "tail_sizes", cursor, until, whose, limit)
        fit, is_cut = fitting(sizes, lambda row: int(row[1]), page_bytes_max)
        count = len(fit)
    rows = await fetch(connection, "tail", cursor, until, with_data, whose, count) if count else []
    events = [event_of(each[1:]) for each in rows]
    # A store that was put back from a copy may end before the cursor.
    reached = rows[-1][0] if rows and (is_cut or len(rows) == limit) else max(cursor, until)
    return TailPage(
        events,
        reached,
        positions=[each[0] for each in rows],
        destinations=await _destinations(connection, events) if with_destinations else [],
        more=reached < newest,
    )


async def _newest(connection: Connection, cursor: int | None) -> int:
    """Return the position of the newest event that is safe to be told, 0 where there is none.

    Where something is stored that is not, it looks closer at what that waits for; where nothing is new, it looks
    again in a moment.
    """
    newest = 0
    for pause_s in (*_PAUSES_S, None):
        ((bound, is_behind),) = await fetch(connection, "tail_bound")
        if is_behind:
            ((bound, is_behind),) = await fetch(connection, "tail_bound_of_ours")
        found = await fetch(connection, "tail_newest", bound)
        newest = found[0][0] if found else 0
        if not is_behind or (cursor is not None and newest > cursor) or pause_s is None:
            break
        await asyncio.sleep(pause_s)
    return newest


async def _destinations(connection: Connection, events: Sequence[Event]) -> list[frozenset[DestinationId]]:
    """Return where the deliveries of each event go."""
    found: dict[bytes, set[DestinationId]] = {event.id: set() for event in events}
    if found:
        for event_id, destination_id in await fetch(connection, "destinations_of_events", list(found)):
            found[event_id].add(destination_id)
    return [frozenset(found[event.id]) for event in events]
