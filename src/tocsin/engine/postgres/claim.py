"""Claiming what is due: leases with their events."""

from __future__ import annotations

from tocsin.core.delivery import Lease
from tocsin.core.identifiers import DeliveryId, DestinationId
from tocsin.engine.codec import event_of
from tocsin.engine.postgres.leasing import Asked, lease
from tocsin.engine.postgres.sql import Connection, fetch_by_ids


async def claim(connection: Connection, asked: Asked) -> list[Lease]:
    """Lease due deliveries, each destination's oldest first, in rounds over the destinations.

    What another process claims at the same moment is passed over, so that two never wait for each other.
    """
    rows = await lease(connection, asked)
    found = await fetch_by_ids(connection, "claimed_events", {row[1] for row in rows})
    events = {row[0]: event_of(row) for row in found}
    return [
        Lease(
            delivery_id=DeliveryId(row[0]),
            destination_id=DestinationId(row[2]),
            event=events[row[1]],
            number=row[3],
            attempts_made=row[4],
            until_ms=asked.lease_until_ms,
            lane=row[5],
            retries_from=row[6],
        )
        for row in rows
        if row[1] in events
    ]
