"""Lanes: one row for each in which something is live, locked by whoever lets a delivery in or takes one out."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.core.identifiers import digest, digest_bucket
from tocsin.engine.judging import LaneKey
from tocsin.engine.postgres.sql import Connection, columns, execute, fetch


def lane_bucket(destination_id: bytes, lane: bytes) -> int:
    """Return the bucket of a lane: its own, whatever those of its deliveries are."""
    return digest_bucket(digest(destination_id, lane))


async def lock(connection: Connection, lanes: Iterable[LaneKey]) -> set[LaneKey]:
    """Lock these lanes until the end of the transaction; return those in which something is live.

    Whoever locks lanes does so before anything else, and all of them at once, so that no two wait for each other.
    """
    rows = _rows(lanes)
    if not rows:
        return set()
    await execute(connection, "lock_lanes", *columns(rows))
    # In a statement of its own: only this one sees what those that held the locks have committed.
    return {(row[0], row[1]) for row in await fetch(connection, "busy_lanes", *columns(rows))}


async def leave(connection: Connection, lanes: Iterable[LaneKey], now_ms: int) -> None:
    """Let the next ones go in these lanes, which are locked and which deliveries have left."""
    rows = _rows(lanes)
    if rows:
        await execute(connection, "promote_lanes", *columns(rows), now_ms)
        await execute(connection, "drop_idle_lanes", *columns(rows))


async def unlock_unused(connection: Connection, lanes: Iterable[LaneKey]) -> None:
    """Forget lanes that were locked for what then did not come in."""
    rows = _rows(lanes)
    if rows:
        await execute(connection, "drop_idle_lanes", *columns(rows))


def _rows(lanes: Iterable[LaneKey]) -> list[tuple[int, bytes, bytes]]:
    return sorted((lane_bucket(destination_id, lane), destination_id, lane) for destination_id, lane in set(lanes))
