"""The payloads of a page's rows: read once the page is known, and no more of them than its bound on bytes lets in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.core.identifiers import OrganisationId
from tocsin.engine.payloads import EventR, fitting, shown_with
from tocsin.engine.postgres.sql import Connection, by_ids, fetch


async def with_data(
    connection: Connection, organisation_id: OrganisationId, rows: Sequence[EventR], bytes_max: int
) -> list[EventR]:
    """Return the rows with their events' data, as many from the first on as fit, at least one."""
    keys = by_ids(dict.fromkeys(row.event.id for row in rows))
    sizes_bytes: dict[Any, Any] = dict(await fetch(connection, "payload_sizes", organisation_id, *keys))
    found, _ = fitting(rows, lambda row: int(sizes_bytes[row.event.id]), bytes_max)
    keys = by_ids(dict.fromkeys(row.event.id for row in found))
    data: dict[Any, Any] = dict(await fetch(connection, "payloads", organisation_id, *keys))
    return [shown_with(row, data[row.event.id]) for row in found]
