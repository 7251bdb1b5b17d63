"""Deliveries: one event on its way to one destination, and what each attempt came to."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from tocsin.core.event import Event
from tocsin.core.identifiers import DeliveryId, DestinationId, EventId, OrganisationId


class DeliveryState(StrEnum):
    """Where a delivery stands; the first three are live, the rest final."""

    READY = "ready"
    """Waits until it is due."""
    LEASED = "leased"
    """A dispatcher has it."""
    BLOCKED = "blocked"
    """Waits behind another of its lane."""
    DELIVERED = "delivered"
    EXPIRED = "expired"
    """Given up: retries used up, or refused for good."""
    CANCELLED = "cancelled"


LIVE = frozenset({DeliveryState.READY, DeliveryState.LEASED, DeliveryState.BLOCKED})


class DeliveryPhase(StrEnum):
    """What a person wants to know of a delivery: its state, and whether it was tried."""

    NEW = "new"
    """Waits, and was never tried."""
    RETRYING = "retrying"
    """Waits, after at least one attempt."""
    SENDING = "sending"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


def phase_of(state: DeliveryState, attempts_made: int) -> DeliveryPhase:
    """Return the phase of a delivery in this state after that many attempts."""
    if state in (DeliveryState.READY, DeliveryState.BLOCKED):
        return DeliveryPhase.RETRYING if attempts_made else DeliveryPhase.NEW
    return _PHASES[state]


_PHASES = {
    DeliveryState.LEASED: DeliveryPhase.SENDING,
    DeliveryState.DELIVERED: DeliveryPhase.DELIVERED,
    DeliveryState.EXPIRED: DeliveryPhase.EXPIRED,
    DeliveryState.CANCELLED: DeliveryPhase.CANCELLED,
}


class EventStatus(StrEnum):
    """An event's status, in PromptJang's words: the first of these that one of its deliveries is in."""

    PROCESSING = "PROCESSING"
    RETRYING = "RETRYING"
    QUEUED = "QUEUED"
    EXPIRED = "EXPIRED"
    DELIVERED = "DELIVERED"
    RECEIVED = "RECEIVED"
    """It has no deliveries."""
    REPLAYED = "REPLAYED"
    """Another event took its place, whatever its deliveries came to."""


STATUS_OF_PHASE: dict[DeliveryPhase, EventStatus] = {
    DeliveryPhase.SENDING: EventStatus.PROCESSING,
    DeliveryPhase.RETRYING: EventStatus.RETRYING,
    DeliveryPhase.NEW: EventStatus.QUEUED,
    DeliveryPhase.EXPIRED: EventStatus.EXPIRED,
    DeliveryPhase.CANCELLED: EventStatus.EXPIRED,
    DeliveryPhase.DELIVERED: EventStatus.DELIVERED,
}
"""From the worst to the best; a cancelled delivery was given up, like an expired one."""


def event_status(phases: Iterable[DeliveryPhase], *, replayed: bool) -> EventStatus:
    """Return the status of an event whose deliveries are in these phases."""
    if replayed:
        return EventStatus.REPLAYED
    present = {STATUS_OF_PHASE[phase] for phase in phases}
    return next((status for status in EventStatus if status in present), EventStatus.RECEIVED)


class ErrorClass(StrEnum):
    """Why an attempt failed, in the operator's terms."""

    ADDRESS_REFUSED = "address_refused"
    """The address is private, or the URL is not one that may be reached."""
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    """The answer was not HTTP, or broke off."""
    STATUS = "status"
    """An answer came, and its status says no."""
    RESPONSE_HEADERS = "response_headers"
    """An answer came without a header that this destination must send."""
    INTERNAL = "internal"
    """A fault of ours."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """What went out and what came back, as an operator may see it: secrets are masked already.

    Attributes:
        request_line: ``POST https://example.com/hook``.
        request_headers: as sent, in order.
        response_headers: as received, in order; empty without an answer.
        response_body: the first 16 KiB.
        response_truncated: whether there was more.
    """

    request_line: str
    request_headers: tuple[tuple[str, str], ...] = ()
    response_headers: tuple[tuple[str, str], ...] = ()
    response_body: bytes = b""
    response_truncated: bool = False


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try.

    Attributes:
        started_ms: wall clock.
        duration_ms: from handing it to the client to the answer's end.
        connect_ms: until connected; None when a kept connection served, or none was made.
        status_code: the answer's; None when none came.
        error_class: None when it was delivered.
        error: one line for a person; None when it was delivered, unless some of a destination's addresses refused it.
        remote_id: the remote's own id of what it received, such as a message id.
        shortened: whether the remote's limits made us cut the message.
    """

    started_ms: int
    duration_ms: int
    exchange: Exchange
    connect_ms: int | None = None
    status_code: int | None = None
    error_class: ErrorClass | None = None
    error: str | None = None
    remote_id: str | None = None
    shortened: bool = False


class Delivered(msgspec.Struct, frozen=True):
    """The destination has it.

    Attributes:
        rest_s: for how long the remote takes nothing more from this destination; 0 is not at all.
        learned: what the remote told of the destination's address, to be kept with it.
    """

    attempt: Attempt
    rest_s: float = 0.0
    learned: dict[str, Any] = {}


class Deferred(msgspec.Struct, frozen=True):
    """It failed, and another try may succeed.

    Attributes:
        retry_after_s: what the remote asked for.
        counted: False when the remote only asked for patience, so that no retry is used up.
        rest_s: for how long the remote takes nothing at all from this destination; 0 is not at all.
        learned: what the remote told of the destination's address, to be kept with it.
    """

    attempt: Attempt
    retry_after_s: float | None = None
    counted: bool = True
    rest_s: float = 0.0
    learned: dict[str, Any] = {}


class Rejected(msgspec.Struct, frozen=True):
    """It failed for good.

    Attributes:
        disable: the address itself is dead: nothing more is to be sent there.
        rest_s: for how long the remote takes nothing more from this destination; 0 is not at all.
    """

    attempt: Attempt
    disable: bool = False
    rest_s: float = 0.0


Outcome = Delivered | Deferred | Rejected


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to store with its event.

    Attributes:
        id: of the event's bucket.
        lane: the ordering key at an ordered destination; None where order does not count.
        leased: the storing process sends it at once; else it waits to be claimed.
    """

    id: DeliveryId
    destination_id: DestinationId
    lane: bytes | None = None
    leased: bool = False


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A dispatcher's claim on a delivery.

    Attributes:
        number: the fencing number; a settle with another is refused.
        attempts_made: attempts finished before this one.
        until_ms: when another may claim it.
        lane: the ordering key at an ordered destination; None where order does not count.
        retries_from: the attempts made when its schedule last began: 0, or more after a retry by hand.
    """

    delivery_id: DeliveryId
    destination_id: DestinationId
    event: Event
    number: int
    attempts_made: int
    until_ms: int
    lane: bytes | None = None
    retries_from: int = 0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as lists show it.

    Attributes:
        due_ms: when it is tried next; None when final.
        settled_ms: when it became final.
        status_code, error, duration_ms: of the last attempt.
    """

    id: DeliveryId
    organisation_id: OrganisationId
    event_id: EventId
    destination_id: DestinationId
    state: DeliveryState
    attempts_made: int
    created_ms: int
    due_ms: int | None = None
    settled_ms: int | None = None
    status_code: int | None = None
    duration_ms: int | None = None
    error: str | None = None


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """What a remote calls the last message by which a destination was told of one subject.

    Attributes:
        lane: the ordering key of the subject.
        event_id: the event that the message told.
        remote_id: the remote's own id of the message.
    """

    organisation_id: OrganisationId
    destination_id: DestinationId
    lane: bytes
    event_id: EventId
    remote_id: str


class RecordedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """A stored attempt.

    Attributes:
        sequence: rises from attempt to attempt; with the delivery's id it names the attempt.
        number: from 1; 0 for a late one, whose lease was lost.
    """

    delivery_id: DeliveryId
    sequence: int
    number: int
    attempt: Attempt
