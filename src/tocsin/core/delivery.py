"""Deliveries: one event on its way to one destination, and what each attempt came to."""

from __future__ import annotations

from enum import StrEnum

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
        error: one line for a person; None when it was delivered.
        remote_id: the remote's own id of what it received, such as a message id.
    """

    started_ms: int
    duration_ms: int
    exchange: Exchange
    connect_ms: int | None = None
    status_code: int | None = None
    error_class: ErrorClass | None = None
    error: str | None = None
    remote_id: str | None = None


class Delivered(msgspec.Struct, frozen=True):
    """The destination has it."""

    attempt: Attempt


class Deferred(msgspec.Struct, frozen=True):
    """It failed, and another try may succeed.

    Attributes:
        retry_after_s: what the remote asked for.
        counted: False when the remote only asked for patience, so that no retry is used up.
    """

    attempt: Attempt
    retry_after_s: float | None = None
    counted: bool = True


class Rejected(msgspec.Struct, frozen=True):
    """It failed for good.

    Attributes:
        disable: the address itself is dead: nothing more is to be sent there.
    """

    attempt: Attempt
    disable: bool = False


Outcome = Delivered | Deferred | Rejected


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to store with its event.

    Attributes:
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
    """

    delivery_id: DeliveryId
    destination_id: DestinationId
    event: Event
    number: int
    attempts_made: int
    until_ms: int


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


class RecordedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """A stored attempt: which delivery's, and its number from 1; a late one, of a lost lease, has number 0."""

    delivery_id: DeliveryId
    number: int
    attempt: Attempt
