"""Leasing what is due, each destination in its turn."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.core.delivery import Lease
from tocsin.core.identifiers import DeliveryId, DestinationId
from tocsin.engine.codec import event_of
from tocsin.engine.postgres.sql import Connection, by_ids, fetch
from tocsin.engine.rounds import Turn, first_turns, in_rounds


async def claim(
    connection: Connection,
    *,
    limit: int,
    per_destination: int,
    lease_until_ms: int,
    skip: frozenset[DestinationId],
    now_ms: int,
) -> list[Lease]:
    """Lease due deliveries, each destination's oldest first, in rounds over the destinations.

    What another process claims at the same moment is passed over, so that two never wait for each other.
    """
    # Every destination comes first to its first turn: those behind the limit are left out from the start.
    heads = await fetch(connection, "longest_due", now_ms, list(skip), limit)
    destinations = [row[0] for row in heads]
    chosen = await _chosen(connection, destinations, limit=limit, per_destination=per_destination, now_ms=now_ms)
    if not chosen:
        return []
    rows = await fetch(connection, "lease_deliveries", *by_ids(chosen), lease_until_ms)
    leased = {row[0]: row for row in rows}
    found = await fetch(connection, "claimed_events", *by_ids({row[1] for row in rows}))
    events = {row[0]: event_of(row) for row in found}
    return [
        Lease(
            delivery_id=DeliveryId(delivery_id),
            destination_id=DestinationId(row[2]),
            event=events[row[1]],
            number=row[3],
            attempts_made=row[4],
            until_ms=lease_until_ms,
            lane=row[5],
            retries_from=row[6],
        )
        for delivery_id in chosen
        if (row := leased.get(delivery_id)) is not None and row[1] in events
    ]


async def _chosen(
    connection: Connection, destinations: Sequence[bytes], *, limit: int, per_destination: int, now_ms: int
) -> list[bytes]:
    """Return due deliveries, locked: the first of each destination, then the second of each, the longest due first.

    No more are read of a destination than its turns need: their number is guessed, and doubled where it falls short.
    """
    if not destinations:
        return []
    turns = first_turns(len(destinations), limit=limit, per_destination=per_destination)
    due: dict[bytes, list[Turn]] = {}
    deeper = destinations
    while deeper:
        due.update({each: [] for each in deeper})
        for row in await fetch(connection, "due_of_destinations", list(deeper), now_ms, turns):
            due[row[0]].append((row[3], row[2]))
        if turns >= per_destination or sum(map(len, due.values())) >= limit:
            break
        deeper = [each for each in deeper if len(due[each]) == turns]
        turns = min(per_destination, 2 * turns)
    return in_rounds(due.values(), limit=limit)
