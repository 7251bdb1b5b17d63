"""Storing events with all that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from tocsin.core.delivery import DeliveryState, Lease
from tocsin.core.event import Event, IdempotencyKey
from tocsin.core.identifiers import EventId, OrganisationId, bucket_of
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
from tocsin.engine.sqlite import settle
from tocsin.engine.sqlite.faults import lies_with_the_store
from tocsin.engine.sqlite.sql import SQL, fetch_by_rows, first, insert

_READY = STATE_CODES[DeliveryState.READY]
_LEASED = STATE_CODES[DeliveryState.LEASED]
_BLOCKED = STATE_CODES[DeliveryState.BLOCKED]

_Known = dict[bytes, tuple[EventId, bytes]]


def accept(
    connection: apsw.Connection, events: Sequence[NewEvent], *, lease_until_ms: int, now_ms: int
) -> list[Acceptance]:
    """Store the batch; when that fails as a whole, one by one, so that a faulty event fails alone."""
    connection.execute("savepoint batch")
    try:
        results = _Batch(connection, lease_until_ms=lease_until_ms, now_ms=now_ms).store(events)
    except Exception as error:
        if lies_with_the_store(error):
            raise
        connection.execute("rollback to batch")
        connection.execute("release batch")
        if len(events) == 1:
            return [AcceptFailed(f"{type(error).__name__}: {error}")]
        return [
            result
            for event in events
            for result in accept(connection, [event], lease_until_ms=lease_until_ms, now_ms=now_ms)
        ]
    connection.execute("release batch")
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
        self._after: list[NewEvent] = []
        self._fallen: list[Event] = []
        row = first(connection, "newest_event")
        assert row is not None
        self._seq: int = row[0]
        self._newest: bytes = row[1] or b""

    def store(self, events: Sequence[NewEvent]) -> list[Acceptance]:
        self._look_up_keys(events)
        results = [self._judge(event) for event in events]
        insert(self._connection, "insert_events", self._events)
        insert(self._connection, "insert_keys", self._keys)
        insert(self._connection, "insert_deliveries", self._deliveries)
        for incident in self._changed_incidents.values():
            self._save(incident)
        for (organisation_id, counter), used in self._quotas.items():
            self._connection.execute(SQL["save_quota"], (organisation_id, counter, used))
        for new in self._after:
            self._follow_up(new)
        for event in self._fallen:
            self._connection.execute(SQL["cut_runs"], (event.id, event.organisation_id, event.type))
        return results

    def _look_up_keys(self, events: Sequence[NewEvent]) -> None:
        keys = [(key.bucket, key.digest) for event in events for key in event.idempotency]
        for digest, event_id, fingerprint in fetch_by_rows(self._connection, "known_keys", keys, self._now_ms):
            self._known[digest] = (EventId(event_id), fingerprint)

    def _judge(self, new: NewEvent) -> Acceptance:
        repeated = self._repeated(new.idempotency)
        if isinstance(repeated, Repeated):
            # The request's other keys lead to the same event from now on, so that none of them makes a second one.
            self._stage_keys(new.idempotency, repeated.event_id)
        if repeated is not None:
            return repeated
        event = new.event
        if new.incident is not None:
            moved = advance(self._incident(new.incident.incident_id), new.incident, event.id, event.organisation_id)
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
        self._stage_event(event)
        if new.mailbox_channel is not None or event.replay_of is not None:
            self._after.append(new)
        return Accepted(event, self._stage_deliveries(msgspec.structs.replace(new, event=event)))

    def _stage_keys(self, keys: tuple[IdempotencyKey, ...], event_id: EventId) -> None:
        for key in keys:
            if key.digest not in self._known:
                self._known[key.digest] = (event_id, key.fingerprint)
                expires_ms = self._now_ms + key.expires_after_ms
                self._keys.append((key.bucket, key.digest, event_id, key.fingerprint, expires_ms))

    def _stage_event(self, event: Event) -> None:
        self._seq += 1
        self._events.append((self._seq, *event_row(event)))
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

    def _incident(self, incident_id: EventId | None) -> Incident | None:
        if incident_id is None:
            return None
        staged = self._incidents.get(incident_id)
        if staged is not None:
            return staged
        row = first(self._connection, "incident_by_id", incident_id)
        if row is None:
            return None
        found = incident_of(row[0])
        self._incidents[incident_id] = found
        return found

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
            if delivery.lane is not None and self._lane_is_busy(delivery.destination_id, delivery.lane):
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

    def _lane_is_busy(self, destination_id: bytes, lane: bytes) -> bool:
        key = (destination_id, lane)
        if key in self._busy_lanes:
            return True
        self._busy_lanes.add(key)
        return first(self._connection, "lane_is_busy", *key) is not None

    def _save(self, incident: Incident) -> None:
        self._connection.execute(
            SQL["save_incident"],
            (
                incident.id,
                bucket_of(incident.id),
                incident.organisation_id,
                incident.channel,
                incident.state.value,
                incident.opened_ms,
                incident.updated_ms,
                incident.closed_ms,
                incident_body(incident),
            ),
        )

    def _follow_up(self, new: NewEvent) -> None:
        event = new.event
        if new.mailbox_channel is not None:
            items = (event.id, new.mailbox_expires_ms, new.mailbox_channel, event.organisation_id)
            self._connection.execute(SQL["fill_mailboxes"], items)
        if event.replay_of is not None:
            self._connection.execute(SQL["mark_replayed"], (event.id, event.replay_of, event.organisation_id))
            settle.cancel_waiting(self._connection, event.organisation_id, event.replay_of, now_ms=self._now_ms)
