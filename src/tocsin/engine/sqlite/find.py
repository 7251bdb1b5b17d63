"""Finding records by id, and following events in the order of their commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import apsw

from tocsin.core.delivery import Delivery
from tocsin.core.device import Device
from tocsin.core.event import Event
from tocsin.core.identifiers import OrganisationId
from tocsin.core.incident import Incident
from tocsin.engine.codec import delivery_of, event_of, incident_of
from tocsin.engine.rows import EventRow, TailPage
from tocsin.engine.sqlite.listings import EVENT_WITH_STATUS, event_row_of
from tocsin.engine.sqlite.mailbox import unpack_device
from tocsin.engine.sqlite.sql import SQL, first

T = TypeVar("T")


def find(
    connection: apsw.Connection, kind: type[T], organisation_id: OrganisationId, ids: Sequence[bytes]
) -> list[T | None]:
    """Return the organisation's records of these ids."""
    finder = _FINDERS[kind]
    return [cast("T | None", finder(connection, organisation_id, identifier)) for identifier in ids]


def _find_event(connection: apsw.Connection, organisation_id: OrganisationId, identifier: bytes) -> Event | None:
    row = first(connection, "event_of_organisation", organisation_id, identifier)
    return None if row is None else event_of(row)


def _find_event_row(
    connection: apsw.Connection, organisation_id: OrganisationId, identifier: bytes
) -> EventRow | None:
    rows = connection.execute(EVENT_WITH_STATUS, (organisation_id, identifier)).fetchall()
    return event_row_of(rows[0]) if rows else None


def _find_delivery(
    connection: apsw.Connection, organisation_id: OrganisationId, identifier: bytes
) -> Delivery | None:
    row = first(connection, "live_delivery", organisation_id, identifier) or first(
        connection, "final_delivery", organisation_id, identifier
    )
    return None if row is None else delivery_of(row)


def _find_incident(
    connection: apsw.Connection, organisation_id: OrganisationId, identifier: bytes
) -> Incident | None:
    row = first(connection, "incident_of_organisation", organisation_id, identifier)
    return None if row is None else incident_of(row[0])


def _find_device(connection: apsw.Connection, organisation_id: OrganisationId, identifier: bytes) -> Device | None:
    row = first(connection, "device_of_organisation", organisation_id, identifier.decode())
    return None if row is None else unpack_device(row[0])


_FINDERS: dict[type[Any], Callable[[apsw.Connection, OrganisationId, bytes], Any]] = {
    Event: _find_event,
    EventRow: _find_event_row,
    Delivery: _find_delivery,
    Incident: _find_incident,
    Device: _find_device,
}


def tail(connection: apsw.Connection, cursor: int | None, limit: int) -> TailPage:
    """Return events behind ``cursor`` in the order of their commits, which one writer makes the order of ``seq``."""
    if cursor is None:
        row = first(connection, "tail_start")
        return TailPage([], 0 if row is None else int(row[0]))
    rows: list[tuple[Any, ...]] = connection.execute(SQL["tail"], (cursor, limit)).fetchall()
    return TailPage([event_of(row[1:]) for row in rows], rows[-1][0] if rows else cursor)
