"""Measuring: how much is live, what waits in mailboxes, and how large the database is."""

from __future__ import annotations

import msgspec

from tocsin.core.identifiers import DestinationId
from tocsin.engine.postgres.sql import Connection, fetch, fetch_each_part
from tocsin.engine.rows import Measures, QueueDepth


async def measure(connection: Connection, *, now_ms: int) -> Measures:
    """Return how much stands in the store; how much room its disk has, only the server's host knows."""
    queues: dict[bytes, QueueDepth] = {}
    for row in await fetch_each_part(connection, "queue_depth", now_ms):
        destination_id, due, scheduled, leased, oldest_due_ms = row
        queue = queues.get(destination_id, QueueDepth(destination_id=DestinationId(destination_id)))
        oldest = [each for each in (queue.oldest_due_ms, oldest_due_ms) if each is not None]
        queues[destination_id] = msgspec.structs.replace(
            queue,
            due=queue.due + due,
            scheduled=queue.scheduled + scheduled,
            leased=queue.leased + leased,
            oldest_due_ms=min(oldest, default=None),
        )
    for destination_id, blocked in await fetch_each_part(connection, "blocked_depth"):
        queue = queues.get(destination_id, QueueDepth(destination_id=DestinationId(destination_id)))
        queues[destination_id] = msgspec.structs.replace(queue, blocked=queue.blocked + blocked)
    ((waiting,),) = await fetch(connection, "mailbox_depth")
    size_bytes = await _size_bytes(connection)
    return Measures(queues=tuple(queues.values()), mailbox_items=waiting, file_bytes={"database": size_bytes})


async def _size_bytes(connection: Connection) -> int:
    """Return how large the database is, on all nodes that answer."""
    rows = await fetch(connection, "cluster_bytes" if connection.parts.is_cluster else "database_bytes")
    return sum(row[0] for row in rows if row[0] is not None)
