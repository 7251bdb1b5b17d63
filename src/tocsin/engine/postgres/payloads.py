"""The payloads of a page's rows: read once the page is known, and no more of them than its bound on bytes lets in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import OrganisationId
from tocsin.engine.payloads import EventR, fitting, shown_with
from tocsin.engine.postgres.sql import Connection, fetch_by_ids


async def with_data(
    connection: Connection, organisation_id: OrganisationId, rows: Sequence[EventR], bytes_max: int
) -> list[EventR]:
    """Return the rows with their events' data, as many from the first on as fit, at least one.

    Raises:
        Unavailable: an event was dropped since its row was read, where nodes have snapshots of their own.
    """
    sizes_bytes = await _of_events(connection, "payload_sizes", organisation_id, rows)
    found, _ = fitting(rows, lambda row: int(sizes_bytes[row.event.id]), bytes_max)
    data = await _of_events(connection, "payloads", organisation_id, found)
    return [shown_with(row, data[row.event.id]) for row in found]


async def _of_events(
    connection: Connection, name: str, organisation_id: OrganisationId, rows: Sequence[EventR]
) -> dict[bytes, Any]:
    """Return what a statement gives for each row's event, by its id."""
    ids = dict.fromkeys(row.event.id for row in rows)
    found = {row[0]: row[1] for row in await fetch_by_ids(connection, name, ids, organisation_id)}
    if len(found) < len(ids):
        raise Unavailable("an event went while it was read", retry_after_s=1)
    return found
