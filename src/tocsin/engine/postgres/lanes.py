"""Lanes: one row for each in which something is live, locked by whoever lets a delivery in or takes one out."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.judging import LaneKey
from tocsin.engine.postgres.sql import Connection, fetch_by_rows, write_rows


async def lock(connection: Connection, lanes: Iterable[LaneKey]) -> set[LaneKey]:
    """Lock these lanes until the end of the transaction; return those in which something is live.

    Whoever locks lanes does so before anything else, and all of them at once, so that no two wait for each other.
    """
    rows = _rows(lanes)
    if not rows:
        return set()
    await write_rows(connection, "lock_lanes", rows)
    # In a statement of its own: only this one sees what those that held the locks have committed.
    return {(row[0], row[1]) for row in await fetch_by_rows(connection, "busy_lanes", rows)}


async def leave(connection: Connection, lanes: Iterable[LaneKey], now_ms: int) -> None:
    """Let the next ones go in these lanes, which are locked and which deliveries have left."""
    rows = _rows(lanes)
    await write_rows(connection, "promote_lanes", rows, now_ms)
    await write_rows(connection, "drop_idle_lanes", rows)


async def unlock_unused(connection: Connection, lanes: Iterable[LaneKey]) -> None:
    """Forget lanes that were locked for what then did not come in."""
    await write_rows(connection, "drop_idle_lanes", _rows(lanes))


def _rows(lanes: Iterable[LaneKey]) -> list[tuple[int, bytes, bytes]]:
    return sorted((lane_bucket(lane), destination_id, lane) for destination_id, lane in set(lanes))
