"""Measuring: how much is live, what waits in mailboxes, and how large the files are."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import msgspec

from tocsin.core.identifiers import DestinationId
from tocsin.engine.rows import Measures, QueueDepth
from tocsin.engine.sqlite.connection import DATABASE_FILE
from tocsin.engine.sqlite.sql import SQL, first


def measure(connection: apsw.Connection, directory: Path, *, now_ms: int) -> Measures:
    """Return how much stands in the store."""
    queues = {
        row[0]: QueueDepth(
            destination_id=DestinationId(row[0]),
            due=row[1],
            scheduled=row[2],
            leased=row[3],
            oldest_due_ms=row[4],
        )
        for row in connection.execute(SQL["queue_depth"], (now_ms,))
    }
    for destination_id, blocked in connection.execute(SQL["blocked_depth"]):
        queue = queues.get(destination_id, QueueDepth(destination_id=DestinationId(destination_id)))
        queues[destination_id] = msgspec.structs.replace(queue, blocked=blocked)
    waiting = first(connection, "mailbox_depth")
    space = os.statvfs(directory)
    return Measures(
        queues=tuple(queues.values()),
        mailbox_items=0 if waiting is None else int(waiting[0]),
        file_bytes={
            "database": _size(directory / DATABASE_FILE),
            "log": _size(directory / f"{DATABASE_FILE}-wal"),
        },
        free_bytes=space.f_bavail * space.f_frsize,
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
