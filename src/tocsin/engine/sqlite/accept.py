"""Storing events with all that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from tocsin.core.delivery import DeliveryState, Lease
from tocsin.core.event import Event, IdempotencyKey
from tocsin.core.identifiers import DestinationId, EventId, OrganisationId, bucket_of
from tocsin.core.incident import Incident, IncidentRefusal, advance
from tocsin.engine.codec import STATE_CODES, event_row, incident_body, incident_of
from tocsin.engine.rows import (
    Acceptance,
    Accepted,
    AcceptFailed,
    IncidentRefused,
    KeyConflict,
    NewEvent,
    QuotaExceeded,
    Repeated,
)
from tocsin.engine.sqlite import audit, settle
from tocsin.engine.sqlite.faults import lies_with_the_store
from tocsin.engine.sqlite.sql import SQL, fetch_by_marks, fetch_by_rows, first, write_rows

_READY = STATE_CODES[DeliveryState.READY]
_LEASED = STATE_CODES[DeliveryState.LEASED]
_BLOCKED = STATE_CODES[DeliveryState.BLOCKED]

_Known = dict[bytes, tuple[EventId, bytes]]


def accept(
    connection: apsw.Connection, events: Sequence[NewEvent], *, lease_until_ms: int, now_ms: int
) -> list[Acceptance]:
    """Store the batch with its records, all of it or, raising, nothing."""
    results = _Batch(connection, lease_until_ms=lease_until_ms, now_ms=now_ms).store(events)
    accepted = (new for new, result in zip(events, results, strict=True) if isinstance(result, Accepted))
    audit.keep(connection, [new.record for new in accepted if new.record is not None])
    return results


def accept_each(
    connection: apsw.Connection, events: Sequence[NewEvent], *, lease_until_ms: int, now_ms: int
) -> list[Acceptance]:
    """Store the events one by one, so that a faulty one fails alone."""
    results: list[Acceptance] = []
    for event in events:
        connection.execute("savepoint event")
        try:
            results += accept(connection, [event], lease_until_ms=lease_until_ms, now_ms=now_ms)
        except Exception as error:
            if lies_with_the_store(error):
                raise
            connection.execute("rollback to event")
            results.append(AcceptFailed(f"{type(error).__name__}: {error}"))
        connection.execute("release event")
    return results


class _Batch:
    """One batch on its way in: judged event by event, then written table by table."""

    def __init__(self, connection: apsw.Connection, *, lease_until_ms: int, now_ms: int) -> None:
        self._connection = connection
        self._lease_until_ms = lease_until_ms
        self._now_ms = now_ms
        self._known: _Known = {}
        self._incidents: dict[bytes, Incident] = {}
        self._changed_incidents: dict[bytes, Incident] = {}
        self._quotas: dict[tuple[OrganisationId, str], int] = {}
        self._busy_lanes: set[tuple[bytes, bytes]] = set()
        self._events: list[tuple[Any, ...]] = []
        self._keys: list[tuple[Any, ...]] = []
        self._deliveries: list[tuple[Any, ...]] = []
        self._mailbox_items: list[tuple[Any, ...]] = []
        self._replays: list[Event] = []
        self._fallen: list[Event] = []
        row = first(connection, "newest_event")
        assert row is not None
        self._seq: int = row[0]
        self._newest: bytes = row[1] or b""

    def store(self, events: Sequence[NewEvent]) -> list[Acceptance]:
        self._look_up(events)
        results = [self._judge(event) for event in events]
        write_rows(self._connection, "insert_events", self._events)
        write_rows(self._connection, "insert_keys", self._keys)
        write_rows(self._connection, "insert_deliveries", self._deliveries)
        write_rows(
            self._connection, "save_incidents", [_incident_row(each) for each in self._changed_incidents.values()]
        )
        write_rows(self._connection, "save_quotas", [(*counter, used) for counter, used in self._quotas.items()])
        write_rows(self._connection, "fill_mailboxes", self._mailbox_items)
        for event in self._replays:
            self._take_place(event)
        for event in self._fallen:
            self._connection.execute(SQL["cut_runs"], (event.id, event.organisation_id, event.type))
        return results

    def _look_up(self, events: Sequence[NewEvent]) -> None:
        keys = [(key.bucket, key.digest) for event in events for key in event.idempotency]
        for digest, event_id, fingerprint in fetch_by_rows(self._connection, "known_keys", keys, self._now_ms):
            self._known[digest] = (EventId(event_id), fingerprint)
        wanted = {new.incident.incident_id for new in events if new.incident is not None} - {None}
        for incident_id, body in fetch_by_marks(self._connection, "incidents_by_id", (), list(wanted)):
            self._incidents[incident_id] = incident_of(body)
        lanes = {
            (delivery.destination_id, delivery.lane)
            for new in events
            for delivery in new.deliveries
            if delivery.lane is not None
        }
        self._busy_lanes.update(fetch_by_rows(self._connection, "busy_lanes", list(lanes)))

    def _judge(self, new: NewEvent) -> Acceptance:
        repeated = self._repeated(new.idempotency)
        if isinstance(repeated, Repeated):
            # The request's other keys lead to the same event from now on, so that none of them makes a second one.
            self._stage_keys(new.idempotency, repeated.event_id)
        if repeated is not None:
            return repeated
        event = new.event
        if new.incident is not None:
            found = self._incidents.get(new.incident.incident_id or b"")
            moved = advance(found, new.incident, event.id, event.organisation_id)
            if isinstance(moved, IncidentRefusal):
                return IncidentRefused(moved)
        else:
            moved = None
        if new.quota is not None:
            counter = (event.organisation_id, new.quota.name)
            used = self._used(counter)
            if new.quota.limit is not None and used >= new.quota.limit:
                return QuotaExceeded(new.quota.limit)
            self._quotas[counter] = used + 1
        if moved is not None:
            self._incidents[moved.id] = self._changed_incidents[moved.id] = moved
            event = msgspec.structs.replace(event, incident_state=moved.state)
        self._stage_keys(new.idempotency, event.id)
        self._stage_event(event, unrouted=not new.deliveries)
        if new.mailbox_channel is not None:
            self._mailbox_items.append((event.id, new.mailbox_expires_ms, new.mailbox_channel, event.organisation_id))
        if event.replay_of is not None:
            self._replays.append(event)
        return Accepted(event, self._stage_deliveries(msgspec.structs.replace(new, event=event)))

    def _stage_keys(self, keys: tuple[IdempotencyKey, ...], event_id: EventId) -> None:
        for key in keys:
            if key.digest not in self._known:
                self._known[key.digest] = (event_id, key.fingerprint)
                expires_ms = self._now_ms + key.expires_after_ms
                self._keys.append((key.bucket, key.digest, event_id, key.fingerprint, expires_ms))

    def _stage_event(self, event: Event, *, unrouted: bool) -> None:
        self._seq += 1
        self._events.append((self._seq, *event_row(event), 1 if unrouted else None))
        if event.id < self._newest:
            self._fallen.append(event)
        else:
            self._newest = event.id

    def _repeated(self, keys: tuple[IdempotencyKey, ...]) -> Acceptance | None:
        first_known: EventId | None = None
        for key in keys:
            known = self._known.get(key.digest)
            if known is None:
                continue
            if known[1] != key.fingerprint:
                return KeyConflict(known[0])
            first_known = first_known or known[0]
        return None if first_known is None else Repeated(first_known)

    def _used(self, counter: tuple[OrganisationId, str]) -> int:
        staged = self._quotas.get(counter)
        if staged is not None:
            return staged
        row = first(self._connection, "quota_used", *counter)
        return 0 if row is None else int(row[0])

    def _stage_deliveries(self, new: NewEvent) -> tuple[Lease, ...]:
        event = new.event
        leases: list[Lease] = []
        for delivery in new.deliveries:
            state, due_ms, number = _READY, self._now_ms, 0
            if delivery.lane is not None and self._join_lane(delivery.destination_id, delivery.lane):
                state = _BLOCKED
            elif delivery.leased:
                state, due_ms, number = _LEASED, self._lease_until_ms, 1
                leases.append(
                    Lease(
                        delivery_id=delivery.id,
                        destination_id=delivery.destination_id,
                        event=event,
                        number=number,
                        attempts_made=0,
                        until_ms=due_ms,
                        lane=delivery.lane,
                    )
                )
            self._deliveries.append(
                (
                    delivery.id,
                    bucket_of(delivery.id),
                    event.organisation_id,
                    event.id,
                    delivery.destination_id,
                    state,
                    due_ms,
                    number,
                    0,
                    delivery.lane,
                    None if delivery.lane is None else self._seq,
                )
            )
        return tuple(leases)

    def _join_lane(self, destination_id: DestinationId, lane: bytes) -> bool:
        """Return whether somebody is in the lane already; who comes next will find it so."""
        key = (destination_id, lane)
        busy = key in self._busy_lanes
        self._busy_lanes.add(key)
        return busy

    def _take_place(self, event: Event) -> None:
        """Let a replay stand for the event that it repeats."""
        if event.replay_of is not None:
            self._connection.execute(SQL["mark_replayed"], (event.id, event.replay_of, event.organisation_id))
            settle.cancel_waiting(self._connection, event.organisation_id, event.replay_of, now_ms=self._now_ms)


def _incident_row(incident: Incident) -> tuple[Any, ...]:
    return (
        incident.id,
        bucket_of(incident.id),
        incident.organisation_id,
        incident.channel,
        incident.state.value,
        incident.opened_ms,
        incident.updated_ms,
        incident.closed_ms,
        incident_body(incident),
    )
