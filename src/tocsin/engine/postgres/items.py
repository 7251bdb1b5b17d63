"""What waits in a mailbox: its rows, which have no bucket, then their events, which may lie in any part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.core.device import MailboxItem
from tocsin.core.identifiers import DeliveryId
from tocsin.engine.codec import EVENT_COLUMNS, event_of
from tocsin.engine.payloads import fitting, shown_with
from tocsin.engine.postgres.sql import Connection, fetch_by_ids
from tocsin.engine.rows import MailboxQuery

_SIZE_BYTES = len(EVENT_COLUMNS)


async def items(
    connection: Connection, query: MailboxQuery, rows: Sequence[Sequence[Any]], bytes_max: int
) -> tuple[list[MailboxItem], int]:
    """Return the items of a mailbox's rows with their events, and of how many rows, from the first on, these are.

    Args:
        rows: the delivery's id, the end of its time, and the event's id.
        bytes_max: payloads of the page, which has one row at least.
    """
    ids = dict.fromkeys(row[2] for row in rows)
    events = {row[0]: row for row in await fetch_by_ids(connection, "sized_events", ids, query.organisation_id)}
    fit, _ = fitting(rows, lambda row: events[row[2]][_SIZE_BYTES] if row[2] in events else 0, bytes_max)
    ids = dict.fromkeys(row[2] for row in fit)
    data: dict[Any, Any] = dict(await fetch_by_ids(connection, "payloads", ids, query.organisation_id))
    found = [
        MailboxItem(delivery_id=DeliveryId(delivery_id), expires_ms=expires_ms, event=event_of(events[event_id]))
        for delivery_id, expires_ms, event_id in fit
        # Where nodes have snapshots of their own, an event may be gone whose item was still there.
        if event_id in events and event_id in data
    ]
    return [shown_with(each, data[each.event.id]) for each in found], len(fit)
