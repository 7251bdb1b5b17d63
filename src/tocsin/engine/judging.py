"""Judging events one after another, as every engine does, before they are written table by table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.core.delivery import DeliveryState, Lease
from tocsin.core.event import Event, IdempotencyKey
from tocsin.core.identifiers import DestinationId, EventId, OrganisationId, bucket_of
from tocsin.core.incident import Incident, IncidentRefusal, advance
from tocsin.engine.codec import STATE_CODES, event_row
from tocsin.engine.rows import (
    Acceptance,
    Accepted,
    IncidentRefused,
    KeyConflict,
    NewEvent,
    QuotaExceeded,
    Repeated,
)

_READY = STATE_CODES[DeliveryState.READY]
_LEASED = STATE_CODES[DeliveryState.LEASED]
_BLOCKED = STATE_CODES[DeliveryState.BLOCKED]

Counter = tuple[OrganisationId, str]
"""Whose, and its name."""

LaneKey = tuple[bytes, bytes]
"""Destination and lane."""


class Stored(msgspec.Struct, kw_only=True):
    """What is stored already of what a batch may meet.

    Attributes:
        known: idempotency keys by digest: the event and the fingerprint.
        incidents: by id.
        used: quotas that the batch counts against.
        busy_lanes: in which something is live.
    """

    known: dict[bytes, tuple[EventId, bytes]] = {}
    incidents: dict[bytes, Incident] = {}
    used: dict[Counter, int] = {}
    busy_lanes: set[LaneKey] = set()


class Judge:
    """Judges the events of one batch in their order, and stages the rows of those that are accepted.

    Attributes:
        events: rows of ``event``: number, bucket, ``EVENT_COLUMNS``, unrouted.
        keys: rows of ``idempotency`` by digest.
        deliveries: rows of ``delivery``: bucket, id, organisation, event, destination, state, due, lease, attempts,
            lane and, where there is a lane, the event's number.
        incidents: as the batch leaves those that it moves.
        quotas: as it leaves those that it counts against.
        mailbox_items: event, until when, channel, organisation.
        replays: events that take another's place.

    Args:
        number: of the event before the first.
    """

    def __init__(self, stored: Stored, *, now_ms: int, number: int = 0) -> None:
        self._known = stored.known
        self._incidents = stored.incidents
        self._used: Mapping[Counter, int] = stored.used
        self._busy_lanes = stored.busy_lanes
        self._now_ms = now_ms
        self._number = number
        self.events: list[tuple[Any, ...]] = []
        self.keys: dict[bytes, tuple[Any, ...]] = {}
        self.deliveries: list[tuple[Any, ...]] = []
        self.incidents: dict[bytes, Incident] = {}
        self.quotas: dict[Counter, int] = {}
        self.mailbox_items: list[tuple[Any, ...]] = []
        self.replays: list[Event] = []

    def judge(self, new: NewEvent, lease_until_ms: int) -> Acceptance:
        """Return what becomes of the next event.

        Args:
            lease_until_ms: until when its deliveries marked ``leased`` belong to who asks.
        """
        repeated = self._repeated(new.idempotency)
        if isinstance(repeated, Repeated):
            # The request's other keys lead to the same event from now on, so that none of them makes a second one.
            self._stage_keys(new.idempotency, repeated.event_id)
        if repeated is not None:
            return repeated
        event, moved = new.event, None
        if new.incident is not None:
            found = self._incidents.get(new.incident.incident_id or b"")
            advanced = advance(found, new.incident, event.id, event.organisation_id)
            if isinstance(advanced, IncidentRefusal):
                return IncidentRefused(advanced)
            moved = advanced
        if new.quota is not None:
            counter = (event.organisation_id, new.quota.name)
            used = self.quotas.get(counter, self._used.get(counter, 0))
            if new.quota.limit is not None and used >= new.quota.limit:
                return QuotaExceeded(new.quota.limit)
            self.quotas[counter] = used + 1
        if moved is not None:
            self._incidents[moved.id] = self.incidents[moved.id] = moved
            event = msgspec.structs.replace(event, incident_state=moved.state)
        self._stage(new, event)
        return Accepted(event, self._stage_deliveries(new, event, lease_until_ms))

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

    def _stage(self, new: NewEvent, event: Event) -> None:
        self._stage_keys(new.idempotency, event.id)
        self._number += 1
        self.events.append((self._number, *event_row(event), None if new.deliveries else 1))
        if new.mailbox_channel is not None:
            self.mailbox_items.append((event.id, new.mailbox_expires_ms, new.mailbox_channel, event.organisation_id))
        if event.replay_of is not None:
            self.replays.append(event)

    def _stage_keys(self, keys: tuple[IdempotencyKey, ...], event_id: EventId) -> None:
        for key in keys:
            if key.digest not in self._known:
                self._known[key.digest] = (event_id, key.fingerprint)
                expires_ms = self._now_ms + key.expires_after_ms
                self.keys[key.digest] = (key.bucket, key.digest, event_id, key.fingerprint, expires_ms)

    def _stage_deliveries(self, new: NewEvent, event: Event, lease_until_ms: int) -> tuple[Lease, ...]:
        leases: list[Lease] = []
        for delivery in new.deliveries:
            state, due_ms, number = _READY, self._now_ms, 0
            if delivery.lane is not None and self._join_lane(delivery.destination_id, delivery.lane):
                state = _BLOCKED
            elif delivery.leased:
                state, due_ms, number = _LEASED, lease_until_ms, 1
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
            self.deliveries.append(
                (
                    bucket_of(delivery.id),
                    delivery.id,
                    event.organisation_id,
                    event.id,
                    delivery.destination_id,
                    state,
                    due_ms,
                    number,
                    0,
                    delivery.lane,
                    None if delivery.lane is None else self._number,
                )
            )
        return tuple(leases)

    def _join_lane(self, destination_id: DestinationId, lane: bytes) -> bool:
        """Return whether somebody is in the lane already; who comes next will find it so."""
        key = (destination_id, lane)
        busy = key in self._busy_lanes
        self._busy_lanes.add(key)
        return busy
