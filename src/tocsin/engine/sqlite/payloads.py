"""The payloads of a page's rows: read once the page is known, and no more of them than its bound on bytes lets in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from tocsin.core.identifiers import OrganisationId
from tocsin.engine.payloads import EventR, fitting, shown_with
from tocsin.engine.sqlite.sql import fetch_by_marks


def with_data(
    connection: apsw.Connection, organisation_id: OrganisationId, rows: Sequence[EventR], bytes_max: int
) -> list[EventR]:
    """Return the rows with their events' data, as many from the first on as fit, at least one.

    How long each is stands at the head of its row, so that no payload is read for that.
    """
    ids = list(dict.fromkeys(row.event.id for row in rows))
    sizes_bytes = dict(fetch_by_marks(connection, "payload_sizes", (organisation_id,), ids))
    found, _ = fitting(rows, lambda row: int(sizes_bytes[row.event.id]), bytes_max)
    ids = list(dict.fromkeys(row.event.id for row in found))
    data: dict[Any, Any] = dict(fetch_by_marks(connection, "payloads", (organisation_id,), ids))
    return [shown_with(row, data[row.event.id]) for row in found]
