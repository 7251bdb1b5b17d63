"""Between the core's values and the columns of a row, the same for every engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tocsin.core.audit import AuditRecord
from tocsin.core.delivery import Attempt, Delivery, DeliveryState
from tocsin.core.destination import Destination
from tocsin.core.device import Device
from tocsin.core.event import Dialect, Environment, Event, Severity
from tocsin.core.identifiers import DeliveryId, DestinationId, EventId, OrganisationId, bucket_of, created_ms
from tocsin.core.incident import Incident, IncidentState
from tocsin.core.job import Job
from tocsin.core.organisation import ApiKey, Category, Channel, KeyMark, Organisation, ServiceKey
from tocsin.core.transaction import Transaction
from tocsin.engine.rows import CatalogDelta, Entity

_pack = msgspec.msgpack.Encoder().encode
# JSON where an application's own numbers stand, since MessagePack has none beyond 64 bits.
_write_json = msgspec.json.Encoder().encode
_read_json = msgspec.json.Decoder().decode
_unpack_attempt = msgspec.msgpack.Decoder(Attempt).decode

Row = Sequence[Any]

EVENT_COLUMNS = (
    "id",
    "organisation_id",
    "dialect",
    "source",
    "type",
    "subject",
    "severity",
    "environment",
    "time_ms",
    "data",
    "extension",
    "incident_state",
    "replay_of",
)
"""What ``event_of`` reads, in its order."""

_TRACE = "\0trace"
"""Where the stored extension holds the event's trace: a name that no dialect uses."""

_DIALECTS = {each.value: each for each in Dialect}
_ENVIRONMENTS = {each.value: each for each in Environment}


def event_row(event: Event) -> tuple[Any, ...]:
    """Return the columns of an event: its bucket, then ``EVENT_COLUMNS``."""
    return (
        bucket_of(event.id),
        event.id,
        event.organisation_id,
        event.dialect.value,
        event.source,
        event.type,
        event.subject,
        None if event.severity is None else event.severity.value,
        event.environment.value,
        event.time_ms,
        event.data,
        _written_extension(event),
        None if event.incident_state is None else event.incident_state.value,
        event.replay_of,
    )


def _written_extension(event: Event) -> bytes | None:
    """Return an event's extension as it is stored; the trace is in it, since few events have one."""
    if event.trace is not None:
        return _write_json({**event.extension, _TRACE: event.trace})
    return _write_json(event.extension) if event.extension else None


def event_of(row: Row) -> Event:
    """Return the event whose ``EVENT_COLUMNS`` these are."""
    extension = {} if row[10] is None else _read_json(row[10])
    return Event(
        id=EventId(row[0]),
        organisation_id=OrganisationId(row[1]),
        dialect=_DIALECTS[row[2]],
        source=row[3],
        type=row[4],
        subject=row[5],
        severity=None if row[6] is None else Severity(row[6]),
        environment=_ENVIRONMENTS[row[7]],
        time_ms=row[8],
        data=row[9],
        trace=extension.pop(_TRACE, None),
        extension=extension,
        incident_state=None if row[11] is None else IncidentState(row[11]),
        replay_of=None if row[12] is None else EventId(row[12]),
    )


STATE_CODES: dict[DeliveryState, int] = {
    DeliveryState.READY: 0,
    DeliveryState.LEASED: 1,
    DeliveryState.BLOCKED: 2,
    DeliveryState.DELIVERED: 3,
    DeliveryState.EXPIRED: 4,
    DeliveryState.CANCELLED: 5,
}
"""How a delivery's state is stored."""

_STATES = {code: state for state, code in STATE_CODES.items()}

DELIVERY_COLUMNS = (
    "id",
    "organisation_id",
    "event_id",
    "destination_id",
    "state",
    "attempts",
    "{moment}",
    "status_code",
    "duration_ms",
    "error",
)
"""What ``delivery_of`` reads; ``{moment}`` is due_ms of a live delivery, settled_ms of a final one."""


def delivery_of(row: Row) -> Delivery:
    """Return the delivery whose ``DELIVERY_COLUMNS`` these are."""
    state = _STATES[row[4]]
    final = row[4] > STATE_CODES[DeliveryState.BLOCKED]
    return Delivery(
        id=DeliveryId(row[0]),
        organisation_id=OrganisationId(row[1]),
        event_id=EventId(row[2]),
        destination_id=DestinationId(row[3]),
        state=state,
        attempts_made=row[5],
        created_ms=created_ms(row[0]),
        due_ms=None if final else row[6],
        settled_ms=row[6] if final else None,
        status_code=row[7],
        duration_ms=row[8],
        error=row[9],
    )


def attempt_body(attempt: Attempt) -> bytes:
    """Return an attempt as it is stored."""
    return _pack(attempt)


def attempt_of(body: bytes) -> Attempt:
    """Return the attempt that was stored as ``body``."""
    return _unpack_attempt(body)


KINDS: dict[str, type[Entity]] = {
    "organisation": Organisation,
    "api_key": ApiKey,
    "service_key": ServiceKey,
    "channel": Channel,
    "category": Category,
    "destination": Destination,
    "key_mark": KeyMark,
}
"""The name under which each kind of entity is stored."""

KIND_NAMES = {kind: name for name, kind in KINDS.items()}
_ENTITY_DECODERS = {name: msgspec.msgpack.Decoder(kind) for name, kind in KINDS.items()}


def entity_body(entity: Entity) -> bytes:
    """Return an entity as it is stored."""
    return _pack(entity)


def entity_of(kind_name: str, body: bytes, revision: int) -> Entity:
    """Return the entity that was stored as ``body``, with the revision it has now."""
    entity: Entity = _ENTITY_DECODERS[kind_name].decode(body)
    return msgspec.structs.replace(entity, revision=revision)


def delta_of(rows: Iterable[Row], revision: int) -> CatalogDelta:
    """Return what changed after a revision; a kind that only a newer program knows is passed over.

    Args:
        rows: kind, id, revision and body, or None where it is gone, of what changed, oldest first.
    """
    saved: list[Entity] = []
    removed: list[tuple[type[Entity], bytes]] = []
    newest = revision
    for kind_name, identifier, entry_revision, body in rows:
        newest = entry_revision
        kind = KINDS.get(kind_name)
        if kind is None:
            continue
        if body is None:
            removed.append((kind, identifier))
        else:
            saved.append(entity_of(kind_name, body, entry_revision))
    return CatalogDelta(newest, saved, removed)


_read_incident = msgspec.json.Decoder(Incident).decode


def incident_body(incident: Incident) -> bytes:
    """Return an incident as it is stored."""
    return _write_json(incident)


def incident_of(body: bytes) -> Incident:
    """Return the incident that was stored as ``body``."""
    return _read_incident(body)


def incident_row(incident: Incident) -> tuple[Any, ...]:
    """Return the columns of an incident: bucket, id, organisation, environment, channel, state, times and body."""
    return (
        bucket_of(incident.id),
        incident.id,
        incident.organisation_id,
        incident.environment.value,
        incident.channel,
        incident.state.value,
        incident.opened_ms,
        incident.updated_ms,
        incident.closed_ms,
        incident_body(incident),
    )


_unpack_device = msgspec.msgpack.Decoder(Device).decode


def device_body(device: Device) -> bytes:
    """Return a device as it is stored."""
    return _pack(device)


def device_of(body: bytes) -> Device:
    """Return the device that was stored as ``body``."""
    return _unpack_device(body)


_unpack_transaction = msgspec.msgpack.Decoder(Transaction).decode


def transaction_row(transaction: Transaction, environment: Environment) -> tuple[Any, ...]:
    """Return the columns of a transaction: its event's bucket, event_id, tx_key, organisation_id, event_type, ...

    The output has a column of its own, so that the rest is read without it.
    """
    return (
        bucket_of(transaction.event_id),
        transaction.event_id,
        transaction.tx_key,
        transaction.organisation_id,
        transaction.event_type,
        environment.value,
        transaction.state.value,
        transaction.lease_until_ms,
        _pack(transaction if transaction.output is None else msgspec.structs.replace(transaction, output=None)),
        transaction.output,
    )


def transaction_of(body: bytes, output: str | None = None) -> Transaction:
    """Return the transaction that was stored, with its output where that was read too."""
    found = _unpack_transaction(body)
    return found if output is None else msgspec.structs.replace(found, output=output)


_unpack_job = msgspec.msgpack.Decoder(Job).decode


def job_body(job: Job) -> bytes:
    """Return a job as it is stored."""
    return _pack(job)


def job_of(body: bytes, revision: int) -> Job:
    """Return the job that was stored as ``body``, with the revision it has now."""
    return msgspec.structs.replace(_unpack_job(body), revision=revision)


_read_audit = msgspec.json.Decoder(AuditRecord).decode


def audit_body(record: AuditRecord) -> bytes:
    """Return a record of the audit trail as it is stored."""
    return _write_json(record)


def audit_of(body: bytes) -> AuditRecord:
    """Return the record that was stored as ``body``."""
    return _read_audit(body)


def audit_row(record: AuditRecord) -> tuple[Any, ...]:
    """Return the columns of a record: its id, organisation_id, actor, key_id, action, subject and body."""
    actor = record.actor
    return (
        record.id,
        record.organisation_id,
        actor.kind.value,
        actor.key_id,
        record.action,
        record.subject,
        audit_body(record),
    )
