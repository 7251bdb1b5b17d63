"""Finding records by id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from tocsin.core.delivery import Delivery, Posted
from tocsin.core.device import Device
from tocsin.core.event import Event
from tocsin.core.identifiers import DestinationId, EventId, OrganisationId
from tocsin.core.incident import Incident
from tocsin.core.job import Job
from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.codec import delivery_of, device_of, event_of, incident_of, job_of
from tocsin.engine.listing import event_row_of
from tocsin.engine.postgres.listings import EVENT_WITH_STATUS
from tocsin.engine.postgres.reading import rows_by_ids
from tocsin.engine.postgres.sql import Connection, fetch, fetch_by_ids
from tocsin.engine.rows import EventRow, TransactionTally

T = TypeVar("T")

_Found = dict[bytes, Any]
"""Records by id."""

_ID_BYTES = 16


async def find(
    connection: Connection, kind: type[T], organisation_id: OrganisationId, ids: Sequence[bytes]
) -> list[T | None]:
    """Return the organisation's records of these ids."""
    found = await _FINDERS[kind](connection, organisation_id, ids)
    return [cast("T | None", found.get(identifier)) for identifier in ids]


async def usage(connection: Connection, organisation_id: OrganisationId, counter: str) -> int:
    """Return how much of a quota's counter is used."""
    rows = await fetch(connection, "quota_used", organisation_id, counter)
    return int(rows[0][0]) if rows else 0


async def _events(connection: Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = await fetch_by_ids(connection, "events_of_organisation", set(ids), organisation_id)
    return {row[0]: event_of(row) for row in rows}


async def _event_rows(connection: Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = await rows_by_ids(connection, EVENT_WITH_STATUS, set(ids), organisation_id)
    return {row[0]: event_row_of(row) for row in rows}


async def _deliveries(connection: Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = await fetch_by_ids(connection, "deliveries_of_organisation", set(ids), organisation_id)
    return {row[0]: delivery_of(row) for row in rows}


async def _incidents(connection: Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = await fetch_by_ids(connection, "incidents_of_organisation", set(ids), organisation_id)
    return {row[0]: incident_of(row[1]) for row in rows}


async def _devices(connection: Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    keys = [each.decode() for each in ids]
    rows = await fetch(connection, "devices_of_organisation", organisation_id, keys)
    return {row[0].encode(): device_of(row[1]) for row in rows}


async def _tallies(connection: Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = await fetch_by_ids(connection, "tallies", set(ids), organisation_id)
    return {row[0]: TransactionTally(total=row[1], processing=row[2]) for row in rows}


async def _jobs(connection: Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    rows = await fetch(connection, "jobs_of_organisation", organisation_id, list(ids))
    return {row[0]: job_of(row[1], row[2]) for row in rows}


async def _posted(connection: Connection, organisation_id: OrganisationId, ids: Sequence[bytes]) -> _Found:
    found: _Found = {}
    for each in ids:
        destination_id, lane = DestinationId(each[:_ID_BYTES]), each[_ID_BYTES:]
        bucket = lane_bucket(lane)
        for row in await fetch(connection, "posted_of_organisation", organisation_id, bucket, destination_id, lane):
            found[each] = Posted(
                organisation_id=organisation_id,
                destination_id=destination_id,
                lane=lane,
                event_id=EventId(row[2]),
                remote_id=row[3],
            )
    return found


_Finder = Callable[[Connection, OrganisationId, Sequence[bytes]], Awaitable[_Found]]

_FINDERS: dict[type[Any], _Finder] = {
    Event: _events,
    EventRow: _event_rows,
    Delivery: _deliveries,
    Incident: _incidents,
    Device: _devices,
    TransactionTally: _tallies,
    Job: _jobs,
    Posted: _posted,
}
