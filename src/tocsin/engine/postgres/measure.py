"""Measuring: how much is live, what waits in mailboxes, and how large the database is."""

from __future__ import annotations

import msgspec

from tocsin.core.identifiers import DestinationId
from tocsin.engine.postgres.sql import Connection, fetch
from tocsin.engine.rows import Measures, QueueDepth


async def measure(connection: Connection, *, now_ms: int) -> Measures:
    """Return how much stands in the store; how much room its disk has, only the server's host knows."""
    queues = {
        row[0]: QueueDepth(
            destination_id=DestinationId(row[0]),
            due=row[1],
            scheduled=row[2],
            leased=row[3],
            oldest_due_ms=row[4],
        )
        for row in await fetch(connection, "queue_depth", now_ms)
    }
    for destination_id, blocked in await fetch(connection, "blocked_depth"):
        queue = queues.get(destination_id, QueueDepth(destination_id=DestinationId(destination_id)))
        queues[destination_id] = msgspec.structs.replace(queue, blocked=blocked)
    ((waiting,),) = await fetch(connection, "mailbox_depth")
    ((database_bytes,),) = await fetch(connection, "database_bytes")
    return Measures(queues=tuple(queues.values()), mailbox_items=waiting, file_bytes={"database": database_bytes})
