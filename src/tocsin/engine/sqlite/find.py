"""Finding records by id, and following events in the order of their commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import apsw

from tocsin.core.delivery import Delivery, Posted
from tocsin.core.device import Device
from tocsin.core.event import Event
from tocsin.core.identifiers import DestinationId, EventId, OrganisationId
from tocsin.core.incident import Incident
from tocsin.core.job import Job
from tocsin.engine.codec import EVENT_COLUMNS, delivery_of, device_of, event_of, incident_of, job_of
from tocsin.engine.listing import event_row_of
from tocsin.engine.payloads import fitting
from tocsin.engine.rows import EventRow, TailPage, TransactionTally
from tocsin.engine.sqlite.listings import SPELLING
from tocsin.engine.sqlite.sql import SQL, fetch_by_marks, first

T = TypeVar("T")

_EVENT_WITH_STATUS = SPELLING.event_with_status

_Found = dict[bytes, Any]
"""Records by id."""

_ID_BYTES = 16


def find(
    connection: apsw.Connection, kind: type[T], organisation_id: OrganisationId, ids: Sequence[bytes]
) -> list[T | None]:
    """Return the organisation's records of these ids."""
    found = _FINDERS[kind](connection, organisation_id, ids)
    return [cast("T | None", found.get(identifier)) for identifier in ids]


def _events(connection: apsw.Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = fetch_by_marks(connection, "events_of_organisation", (organisation_id,), ids)
    return {row[0]: event_of(row) for row in rows}


def _event_rows(connection: apsw.Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    # One by one: who asks for the status with it wants one event.
    rows = (row for each in ids for row in connection.execute(_EVENT_WITH_STATUS, (organisation_id, each)))
    return {row[0]: event_row_of(row) for row in rows}


def _deliveries(connection: apsw.Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = fetch_by_marks(connection, "live_deliveries", (organisation_id,), ids)
    found = {row[0]: delivery_of(row) for row in rows}
    others = [each for each in ids if each not in found]
    rows = fetch_by_marks(connection, "final_deliveries", (organisation_id,), others)
    return found | {row[0]: delivery_of(row) for row in rows}


def _incidents(connection: apsw.Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = fetch_by_marks(connection, "incidents_of_organisation", (organisation_id,), ids)
    return {row[0]: incident_of(row[1]) for row in rows}


def _devices(connection: apsw.Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    keys = [each.decode() for each in ids]
    rows = fetch_by_marks(connection, "devices_of_organisation", (organisation_id,), keys)
    return {row[0].encode(): device_of(row[1]) for row in rows}


def _tallies(connection: apsw.Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = fetch_by_marks(connection, "tallies", (organisation_id,), ids)
    return {row[0]: TransactionTally(total=row[1], processing=row[2]) for row in rows}


def _jobs(connection: apsw.Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = fetch_by_marks(connection, "jobs_of_organisation", (organisation_id,), ids)
    return {row[0]: job_of(row[1], row[2]) for row in rows}


def _posted(connection: apsw.Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    found: _Found = {}
    for each in ids:
        row = first(connection, "posted_of_organisation", organisation_id, each[:_ID_BYTES], each[_ID_BYTES:])
        if row is not None:
            found[each] = Posted(
                organisation_id=organisation_id,
                destination_id=DestinationId(row[0]),
                lane=row[1],
                event_id=EventId(row[2]),
                remote_id=row[3],
            )
    return found


_FINDERS: dict[type[Any], Callable[[apsw.Connection, OrganisationId, Sequence[bytes]], _Found]] = {
    Event: _events,
    EventRow: _event_rows,
    Delivery: _deliveries,
    Incident: _incidents,
    Device: _devices,
    TransactionTally: _tallies,
    Job: _jobs,
    Posted: _posted,
}


_DATA_AT = 1 + EVENT_COLUMNS.index("data")
_TAIL_POSITIONS_MAX = 10_000
"""Events that one page of a tail looks at; of a quiet organisation among busy ones most are passed over."""


def tail(
    connection: apsw.Connection,
    cursor: int | None,
    limit: int,
    *,
    back: int,
    organisations: frozenset[OrganisationId] | None,
    with_data: bool,
    with_destinations: bool,
    page_bytes_max: int,
) -> TailPage:
    """Return events behind ``cursor`` in the order of their commits, which one writer makes the order of ``seq``."""
    row = first(connection, "tail_start")
    newest = 0 if row is None else int(row[0])
    if cursor is None:
        # One writer counts the events.
        return TailPage([], max(0, newest - back))
    until = min(newest, cursor + _TAIL_POSITIONS_MAX)
    text = SQL["tail"] if organisations is None else SQL.many("tail_of", len(organisations))
    whose = organisations or ()
    read = connection.execute(text, (with_data, cursor, until, *whose, limit))
    rows, is_cut = fitting(read, lambda row: len(row[_DATA_AT]), page_bytes_max)
    events = [event_of(each[1:]) for each in rows]
    # A store that was put back from a copy may end before the cursor.
    reached = rows[-1][0] if is_cut or len(rows) == limit else max(cursor, until)
    return TailPage(
        events,
        reached,
        positions=[each[0] for each in rows],
        destinations=_destinations(connection, events) if with_destinations else [],
        more=reached < newest,
    )


def _destinations(connection: apsw.Connection, events: Sequence[Event]) -> list[frozenset[DestinationId]]:
    """Return where the deliveries of each event go."""
    found: dict[bytes, set[DestinationId]] = {event.id: set() for event in events}
    for name in ("live_destinations", "final_destinations"):
        for event_id, destination_id in fetch_by_marks(connection, name, (), list(found)):
            found[event_id].add(destination_id)
    return [frozenset(found[event.id]) for event in events]
