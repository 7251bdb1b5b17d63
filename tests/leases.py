"""Leases as a dispatcher is handed them, for tests of parts that need one and no store."""

from __future__ import annotations

from typing import Any

from tocsin.core.delivery import Lease
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, DestinationId, EventId


def made_event(**fields: Any) -> Event:
    """Return an event; ``fields`` are what matters of it."""
    usual: dict[str, Any] = {
        "id": EventId(bytes(16)),
        "organisation_id": DEFAULT_ORGANISATION,
        "dialect": Dialect.TOCSIN,
        "source": "tests",
        "type": "happened",
        "time_ms": 0,
        "data": b"{}",
    }
    return Event(**usual | fields)


def made_lease(**fields: Any) -> Lease:
    """Return a lease; ``fields`` are what matters of it."""
    usual: dict[str, Any] = {
        "delivery_id": DeliveryId(bytes(16)),
        "destination_id": DestinationId(bytes(16)),
        "event": made_event(),
        "number": 1,
        "attempts_made": 0,
        "until_ms": 0,
    }
    return Lease(**usual | fields)
